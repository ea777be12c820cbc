"""Coordinate mappings made from their text: affine, polynomial, projections, chains of them.

Points are arrays of shape (axes, n).  A mapping that is not known here raises
`UnsupportedMapping`; who reads it then falls back on the FITS header.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skyloom._types import Floats
from skyloom.images.afw.ast_polynomials import axes_of, chebyshev_map, polynomial_map
from skyloom.images.afw.ast_text import AstObject, parse_ast
from skyloom.images.afw.coordinate_map import CoordinateMap, Transform, UnsupportedMapping

__all__ = ["AstProjection", "frame_set_map", "make_map", "read_map"]

_BLOCK = 1 << 12  # points; 36 terms of a polynomial for each are 1.2 MB


class AstProjection:
    """A mapping from parent pixels to right ascension and declination, and its text."""

    def __init__(self, mapping: CoordinateMap, text: str) -> None:
        if (mapping.n_in, mapping.n_out) != (2, 2):
            raise UnsupportedMapping("the mapping is not from two axes to two")
        self.mapping = mapping
        self.text = text

    @classmethod
    def parse(cls, text: str) -> AstProjection:
        """Read the text of a FrameSet whose current frame is the sky in ICRS."""
        frames = parse_ast(text)
        mapping = frame_set_map(frames)
        _check_sky(frames)
        return cls(mapping, text)

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return right ascension and declination [deg] of parent positions [pix]."""
        lon, lat = _in_blocks(self.mapping.forward, np.stack([x, y]))
        return np.degrees(lon) % 360.0, np.degrees(lat)

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Return parent positions [pix] of sky positions [deg]; NaN where there is none."""
        x, y = _in_blocks(self.mapping.inverse, np.radians(np.stack([ra, dec])))
        return x, y


def _in_blocks(function: Transform, points: Floats) -> Floats:
    """Map many points, some at a time: the terms of a polynomial would not fit into the cache."""
    n = points.shape[1]
    if n <= _BLOCK:
        return function(points)
    blocks = [function(points[:, at : at + _BLOCK]) for at in range(0, n, _BLOCK)]
    return np.concatenate(blocks, axis=1)


def frame_set_map(frames: AstObject) -> CoordinateMap:
    """Return the mapping from the base to the current frame of a FrameSet."""
    if frames.kind != "FrameSet":
        raise UnsupportedMapping(f"a FrameSet is needed, this is a {frames.kind}")
    base, current = frames.integer("Base", 1), frames.integer("Currnt", 1)
    base, current = frames.integer(f"Nod{base}", base), frames.integer(f"Nod{current}", current)
    result: CoordinateMap | None = None
    node, seen = current, set()
    while node != base:
        if node in seen or f"Map{node}" not in frames.parts:
            raise UnsupportedMapping("the frames are not one chain from pixels to the sky")
        seen.add(node)
        step = make_map(frames.parts[f"Map{node}"], frames.integer(f"Inv{node}", 0))
        result = step if result is None else _series(step, result)
        node = frames.integer(f"Lnk{node}")
    if result is None:
        raise UnsupportedMapping("the base frame is the current frame")
    return result


def _check_sky(frames: AstObject) -> None:
    """Refuse a sky that is not in ICRS, which SkyWcs needs, or has its axes swapped."""
    sky = frames.parts.get(f"Frm{frames.integer('Currnt', 1)}")
    if sky is None or sky.kind != "SkyFrame":
        return  # what it is, is not said
    system = sky.values.get("System", "ICRS")
    axes = [sky.integer(f"Axp{i}", i) for i in (1, 2)]
    if system != "ICRS" or axes != [1, 2]:
        raise UnsupportedMapping(f"the sky is in {system}, with axes {axes}")


def read_map(text: str) -> CoordinateMap:
    """Read the text of a mapping: one by itself, or that of a FrameSet."""
    part = parse_ast(text)
    return frame_set_map(part) if part.kind == "FrameSet" else make_map(part)


def make_map(part: AstObject, invert: int | None = None) -> CoordinateMap:
    """Make a mapping from its description.

    Parameters
    ----------
    part : AstObject
        The description.
    invert : int, optional
        Whether it is used the other way round, as whoever holds it says; default: its own flag.
    """
    maker = _MAKERS.get(part.kind)
    if maker is None:
        raise UnsupportedMapping(f"mappings of the kind {part.kind} are not known")
    made = maker(part)
    flag = part.integer("Invert", 0) if invert is None else invert
    return made.inverted() if flag else made


def _series(first: CoordinateMap, second: CoordinateMap) -> CoordinateMap:
    if first.n_out != second.n_in:
        raise UnsupportedMapping("the parts of a chain do not fit together")
    return CoordinateMap(
        first.n_in,
        second.n_out,
        lambda p: second.forward(first.forward(p)),
        lambda p: first.inverse(second.inverse(p)),
    )


def _compound(part: AstObject) -> CoordinateMap:
    first = make_map(part.parts["MapA"], part.integer("InvA", 0))
    second = make_map(part.parts["MapB"], part.integer("InvB", 0))
    if part.integer("Series", 1):
        return _series(first, second)

    def side_by_side(a: Transform, b: Transform, n: int) -> Transform:
        return lambda p: np.concatenate([a(p[:n]), b(p[n:])])

    return CoordinateMap(
        first.n_in + second.n_in,
        first.n_out + second.n_out,
        side_by_side(first.forward, second.forward, first.n_in),
        side_by_side(first.inverse, second.inverse, first.n_out),
    )


def _transposed(part: AstObject) -> CoordinateMap:
    """Make a TranMap: forward of one mapping, inverse of another."""
    first = make_map(part.parts["MapA"], part.integer("InvA", 0))
    second = make_map(part.parts["MapB"], part.integer("InvB", 0))
    return CoordinateMap(first.n_in, first.n_out, first.forward, second.inverse)


def _unit(part: AstObject) -> CoordinateMap:
    n = axes_of(part)
    return CoordinateMap(n, n, lambda p: p, lambda p: p)


def _affine(scale: Floats, shift: Floats) -> CoordinateMap:
    scale, shift = scale[:, None], shift[:, None]
    n = len(scale)
    return CoordinateMap(n, n, lambda p: p * scale + shift, lambda p: (p - shift) / scale)


def _window(part: AstObject) -> CoordinateMap:
    axes = range(1, axes_of(part) + 1)
    return _affine(
        np.array([part.number(f"Scl{i}", 1.0) for i in axes]),
        np.array([part.number(f"Sft{i}", 0.0) for i in axes]),
    )


def _zoom(part: AstObject) -> CoordinateMap:
    n = axes_of(part)
    return _affine(np.full(n, part.number("Zoom")), np.zeros(n))


def _shift(part: AstObject) -> CoordinateMap:
    n = axes_of(part)
    return _affine(np.ones(n), np.array([part.number(f"Sft{i}", 0.0) for i in range(1, n + 1)]))


def _matrix(part: AstObject) -> CoordinateMap:
    n_in = axes_of(part)
    n_out = axes_of(part, "Nout", n_in)
    form = part.values.get("Form", "Full")
    if form == "Full":
        values = [part.number(f"M{i}", 0.0) for i in range(n_in * n_out)]
        matrix = np.array(values).reshape(n_out, n_in)
    elif form == "Diagonal" and n_in == n_out:
        matrix = np.diag([part.number(f"M{i}", 0.0) for i in range(n_in)])
    elif form == "Unit":
        matrix = np.eye(n_out, n_in)
    else:
        raise UnsupportedMapping(f"matrices of the form {form} are not known")
    inverse = np.linalg.inv(matrix) if n_in == n_out else None

    def back(points: Floats) -> Floats:
        if inverse is None:
            raise UnsupportedMapping("a matrix that is not square has no inverse")
        return inverse @ points

    return CoordinateMap(n_in, n_out, lambda p: matrix @ p, back)


def _sphere(part: AstObject) -> CoordinateMap:
    """Make a SphMap: from Cartesian to spherical coordinates."""
    polar = part.number("PlrLg", 0.0)

    def to_angles(p: Floats) -> Floats:
        x, y, z = p
        radius = np.hypot(x, y)
        lon = np.where(radius > 0.0, np.arctan2(y, x), polar)
        return np.stack([lon, np.arctan2(z, radius)])

    def to_vector(p: Floats) -> Floats:
        lon, lat = p
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])

    return CoordinateMap(3, 2, to_angles, to_vector)


_POLE = 0.5 * np.pi

_ZENITHAL: dict[str, tuple[Transform, Transform]] = {
    "ARC": (lambda t: _POLE - t, lambda r: _POLE - r),
    "SIN": (np.cos, np.arccos),
    "STG": (lambda t: 2.0 * np.tan(0.5 * (_POLE - t)), lambda r: _POLE - 2.0 * np.arctan(0.5 * r)),
    "TAN": (lambda t: 1.0 / np.tan(t), lambda r: np.arctan2(1.0, r)),
    "ZEA": (lambda t: 2.0 * np.sin(0.5 * (_POLE - t)), lambda r: _POLE - 2.0 * np.arcsin(0.5 * r)),
}
"""Radius from the native pole in the plane [rad] of a native latitude [rad], and back."""

_ONE_SIDED = {"SIN", "TAN"}  # projections that show half of the sky


def _zenithal(part: AstObject) -> CoordinateMap:
    """Make a WcsMap: from native spherical to plane coordinates [rad]."""
    name = part.values.get("Type", "")
    if name not in _ZENITHAL:
        raise UnsupportedMapping(f"projections {name!r} are not known")
    axes = [part.integer(f"WcsAx{i}", i) for i in (1, 2)]
    if axes != [1, 2] or any(key.upper().startswith(("PV", "PROJP")) for key in part.values):
        raise UnsupportedMapping(f"a projection {name} with parameters or other axes is not known")
    radius_of, latitude_of = _ZENITHAL[name]

    def project(p: Floats) -> Floats:
        lon, lat = p
        with np.errstate(divide="ignore", invalid="ignore"):
            radius = radius_of(lat)
            if name in _ONE_SIDED:
                radius = np.where(np.sin(lat) > 0.0, radius, np.nan)
        return np.stack([radius * np.sin(lon), -radius * np.cos(lon)])

    def deproject(p: Floats) -> Floats:
        x, y = p
        with np.errstate(invalid="ignore"):
            return np.stack([np.arctan2(x, -y), latitude_of(np.hypot(x, y))])

    return CoordinateMap(2, 2, project, deproject)


def _unit_norm(part: AstObject) -> CoordinateMap:
    """Make a UnitNormMap: a vector as direction and length."""
    n = axes_of(part)
    centre = np.array([part.number(f"Ctr{i}", 0.0) for i in range(1, n + 1)])[:, None]

    def split(p: Floats) -> Floats:
        length = np.linalg.norm(p - centre, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = np.where(length > 0.0, (p - centre) / length, 0.0)
        return np.concatenate([unit, length[None]])

    return CoordinateMap(n, n + 1, split, lambda p: p[:-1] * p[-1] + centre)


def _permutation(part: AstObject) -> CoordinateMap:
    """Make a PermMap whose axes all come from axes."""
    n_in = axes_of(part)
    n_out = axes_of(part, "Nout", n_in)
    to_out = [part.integer(f"Out{i}", 0) for i in range(1, n_out + 1)]
    to_in = [part.integer(f"In{i}", 0) for i in range(1, n_in + 1)]
    if not all(1 <= k <= n_in for k in to_out) or not all(1 <= k <= n_out for k in to_in):
        raise UnsupportedMapping("a permutation with constants is not known")
    out, back = [k - 1 for k in to_out], [k - 1 for k in to_in]
    return CoordinateMap(n_in, n_out, lambda p: p[out], lambda p: p[back])


_MAKERS: dict[str, Callable[[AstObject], CoordinateMap]] = {
    "ChebyMap": chebyshev_map,
    "CmpMap": _compound,
    "MatrixMap": _matrix,
    "PermMap": _permutation,
    "PolyMap": polynomial_map,
    "ShiftMap": _shift,
    "SphMap": _sphere,
    "TranMap": _transposed,
    "UnitMap": _unit,
    "UnitNormMap": _unit_norm,
    "WcsMap": _zenithal,
    "WinMap": _window,
    "ZoomMap": _zoom,
}

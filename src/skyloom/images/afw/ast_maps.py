"""Coordinate mappings made from their text: affine, polynomial, gnomonic, and chains of them.

Points are arrays of shape (axes, n).  A mapping that is not known here raises
`UnsupportedMapping`; who reads it then falls back on the FITS header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats
from skyloom.images.afw.ast_text import AstObject, parse_ast

__all__ = ["AstProjection", "CoordinateMap", "UnsupportedMapping", "frame_set_map", "make_map"]

_ITERATIONS = 50  # of Newton's method; it converges quadratically
_TOLERANCE = 1e-13  # relative change of a point at which it has converged
_MOST_AXES = 8
_MOST_TERMS = 5000  # of a polynomial

Transform = Callable[[Floats], Floats]


class UnsupportedMapping(ValueError):  # noqa: N818 - as in errors.py
    """A kind of mapping that is not known here."""


@dataclass(frozen=True, slots=True, eq=False)
class CoordinateMap:
    """A mapping and its inverse."""

    n_in: int
    n_out: int
    forward: Transform
    inverse: Transform

    def inverted(self) -> CoordinateMap:
        """Return the mapping the other way round."""
        return CoordinateMap(self.n_out, self.n_in, self.inverse, self.forward)


class AstProjection:
    """A mapping from parent pixels to right ascension and declination."""

    def __init__(self, mapping: CoordinateMap) -> None:
        if (mapping.n_in, mapping.n_out) != (2, 2):
            raise UnsupportedMapping("the mapping is not from two axes to two")
        self.mapping = mapping

    @classmethod
    def parse(cls, text: str) -> AstProjection:
        """Read the text of a FrameSet."""
        return cls(frame_set_map(parse_ast(text)))

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return right ascension and declination [deg] of parent positions [pix]."""
        lon, lat = self.mapping.forward(np.stack([x, y]))
        return np.degrees(lon) % 360.0, np.degrees(lat)

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Return parent positions [pix] of sky positions [deg]; NaN where there is none."""
        x, y = self.mapping.inverse(np.radians(np.stack([ra, dec])))
        return x, y


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


def _axes(part: AstObject, name: str = "Nin", default: int | None = None) -> int:
    n = part.integer(name, default)
    if not 1 <= n <= _MOST_AXES:
        raise UnsupportedMapping(f"{name} = {n} is an impossible number of axes")
    return n


def _unit(part: AstObject) -> CoordinateMap:
    n = _axes(part)
    return CoordinateMap(n, n, lambda p: p, lambda p: p)


def _affine(scale: Floats, shift: Floats) -> CoordinateMap:
    scale, shift = scale[:, None], shift[:, None]
    n = len(scale)
    return CoordinateMap(n, n, lambda p: p * scale + shift, lambda p: (p - shift) / scale)


def _window(part: AstObject) -> CoordinateMap:
    axes = range(1, _axes(part) + 1)
    return _affine(
        np.array([part.number(f"Scl{i}", 1.0) for i in axes]),
        np.array([part.number(f"Sft{i}", 0.0) for i in axes]),
    )


def _zoom(part: AstObject) -> CoordinateMap:
    n = _axes(part)
    return _affine(np.full(n, part.number("Zoom")), np.zeros(n))


def _shift(part: AstObject) -> CoordinateMap:
    n = _axes(part)
    return _affine(np.ones(n), np.array([part.number(f"Sft{i}", 0.0) for i in range(1, n + 1)]))


def _matrix(part: AstObject) -> CoordinateMap:
    n_in = _axes(part)
    n_out = _axes(part, "Nout", n_in)
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


def _gnomonic(part: AstObject) -> CoordinateMap:
    """Make a WcsMap of the kind TAN: from native spherical to plane coordinates [rad]."""
    if part.values.get("Type") != "TAN":
        raise UnsupportedMapping(f"projections {part.values.get('Type')} are not known")

    def project(p: Floats) -> Floats:
        lon, lat = p
        with np.errstate(divide="ignore", invalid="ignore"):
            radius = np.where(np.sin(lat) > 0.0, np.cos(lat) / np.sin(lat), np.nan)
        return np.stack([radius * np.sin(lon), -radius * np.cos(lon)])

    def deproject(p: Floats) -> Floats:
        x, y = p
        return np.stack([np.arctan2(x, -y), np.arctan2(1.0, np.hypot(x, y))])

    return CoordinateMap(2, 2, project, deproject)


def _unit_norm(part: AstObject) -> CoordinateMap:
    """Make a UnitNormMap: a vector as direction and length."""
    n = _axes(part)
    centre = np.array([part.number(f"Ctr{i}", 0.0) for i in range(1, n + 1)])[:, None]

    def split(p: Floats) -> Floats:
        length = np.linalg.norm(p - centre, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = np.where(length > 0.0, (p - centre) / length, 0.0)
        return np.concatenate([unit, length[None]])

    return CoordinateMap(n, n + 1, split, lambda p: p[:-1] * p[-1] + centre)


@dataclass(frozen=True, slots=True, eq=False)
class _Polynomial:
    """Polynomials of several variables, one per output axis."""

    coefficients: list[Floats]  # of each output
    powers: list[np.ndarray[tuple[int, int], np.dtype[np.int64]]]  # (terms, n_in) of each output

    def __call__(self, p: Floats) -> Floats:
        rows = []
        for c, k in zip(self.coefficients, self.powers, strict=True):
            rows.append(c @ _terms(p, k))
        return np.stack(rows)

    def derivative(self, p: Floats) -> Floats:
        """Return the Jacobian, shape (n_out, n_in, n)."""
        rows = []
        for c, k in zip(self.coefficients, self.powers, strict=True):
            row = []
            for axis in range(k.shape[1]):
                lower = k.copy()
                lower[:, axis] = np.maximum(k[:, axis] - 1, 0)
                row.append((c * k[:, axis]) @ _terms(p, lower))
            rows.append(np.stack(row))
        return np.stack(rows)

    def solved(self, target: Floats) -> Floats:
        """Find the points that are mapped to `target`, by Newton's method."""
        n = self.powers[0].shape[1]
        linear, constant = np.zeros((n, n)), np.zeros(n)
        for out, (c, k) in enumerate(zip(self.coefficients, self.powers, strict=True)):
            degree = k.sum(axis=1)
            constant[out] = c[degree == 0].sum()
            for axis in range(n):
                linear[out, axis] = c[(degree == 1) & (k[:, axis] == 1)].sum()
        if abs(np.linalg.det(linear)) > 0.0:
            p: Floats = np.asarray(np.linalg.solve(linear, target - constant[:, None]))
        else:
            p = np.zeros_like(target)
        for _ in range(_ITERATIONS):
            step = _newton_step(self.derivative(p), self(p) - target)
            p = p - step
            is_moving = np.abs(step).max(axis=0) > _TOLERANCE * (1.0 + np.abs(p).max(axis=0))
            if not is_moving.any():
                break
        else:
            p = np.where(is_moving, np.nan, p)
        return np.asarray(p, np.float64)


def _newton_step(jacobian: Floats, off: Floats) -> Floats:
    """Solve for steps, (n, points); NaN where the Jacobian, (n, n, points), is singular."""
    matrices, right = np.moveaxis(jacobian, -1, 0), np.moveaxis(off, -1, 0)
    is_finite = np.isfinite(matrices).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    usable: Bools = np.asarray(is_finite)
    unit = np.eye(matrices.shape[1])
    matrices = np.where(usable[:, None, None], matrices, unit)
    usable &= np.linalg.det(matrices) != 0.0
    matrices = np.where(usable[:, None, None], matrices, unit)
    step = np.linalg.solve(matrices, right[..., None])[..., 0]
    return np.asarray(np.where(usable[:, None], step, np.nan).T)


def _terms(p: Floats, powers: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Floats:
    """Return the products of powers, shape (terms, n)."""
    result = np.ones((len(powers), p.shape[1]))
    for axis in range(powers.shape[1]):
        highest = int(powers[:, axis].max(initial=0))
        table = np.ones((highest + 1, p.shape[1]))
        for k in range(1, highest + 1):
            table[k] = table[k - 1] * p[axis]
        result *= table[powers[:, axis]]
    return result


def _polynomial(part: AstObject) -> CoordinateMap:
    n_in = _axes(part)
    n_out = _axes(part, "Nout", n_in)

    def read(letter: str, n_from: int, n_to: int) -> _Polynomial | None:
        counts = [part.integer(f"NC{letter}{i}", 0) for i in range(1, n_to + 1)]
        if not any(counts):
            return None
        if min(counts) < 0 or sum(counts) > _MOST_TERMS:
            raise UnsupportedMapping("a polynomial has too many terms")
        coefficients, powers, number = [], [], 0
        for count in counts:
            terms = range(number + 1, number + count + 1)
            coefficients.append(np.array([part.number(f"C{letter}{t}", 0.0) for t in terms]))
            rows = [
                [part.integer(f"P{letter}{(t - 1) * n_from + i}", 0) for i in range(1, n_from + 1)]
                for t in terms
            ]
            powers.append(np.array(rows, np.int64).reshape(count, n_from))
            number += count
        if any((k < 0).any() or (k > 100).any() for k in powers):
            raise UnsupportedMapping("a polynomial has impossible powers")
        return _Polynomial(coefficients, powers)

    forward, backward = read("F", n_in, n_out), read("I", n_out, n_in)
    if forward is None or (backward is None and n_in != n_out):
        raise UnsupportedMapping("a polynomial has no forward coefficients")
    use_iteration = backward is None or bool(part.integer("IterInv", 0))
    inverse = forward.solved if use_iteration or backward is None else backward
    return CoordinateMap(n_in, n_out, forward, inverse)


_MAKERS: dict[str, Callable[[AstObject], CoordinateMap]] = {
    "CmpMap": _compound,
    "MatrixMap": _matrix,
    "PolyMap": _polynomial,
    "ShiftMap": _shift,
    "SphMap": _sphere,
    "TranMap": _transposed,
    "UnitMap": _unit,
    "UnitNormMap": _unit_norm,
    "WcsMap": _gnomonic,
    "WinMap": _window,
    "ZoomMap": _zoom,
}

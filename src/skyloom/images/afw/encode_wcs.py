"""World coordinates as the text of mappings that afw stores.

The text is that of a FrameSet of AST: pixels (0-based, of the parent), intermediate world
coordinates, sky.  A WCS that was read from such a text is written with the same text.  Of those
that were made from FITS, gnomonic ones in ICRS, with or without SIP terms, have such a form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from skyloom._types import Floats
from skyloom.geometry import Box
from skyloom.images.afw.ast_maps import AstProjection
from skyloom.images.afw.encode import WRITERS, Encoder, Written, text_bytes
from skyloom.images.sky_wcs import SkyWcs

__all__ = ["sky_wcs_text"]

_INDENT = "   "
_HEADER = "1 SkyWcs 0 "  # version of the form, class, and that a text follows

_CHECKED = 2000  # pix, to all sides of the reference pixel

Item = tuple[str, Any]  # name, and value or object


class _Object:
    """An object of the text: values of its ancestors, whose names end them, and its own."""

    def __init__(self, kind: str, *sections: Sequence[Item], ancestors: Sequence[str] = ()) -> None:
        self.kind, self.sections, self.ancestors = kind, sections, ancestors

    def lines(self, depth: int) -> Iterator[str]:
        outer, inner = _INDENT * depth, _INDENT * (depth + 1)
        yield f" {outer}Begin {self.kind}"
        for number, section in enumerate(self.sections):
            for name, value in section:
                if isinstance(value, _Object):
                    yield f" {inner}{name} ="
                    yield from value.lines(depth + 2)
                else:
                    yield f" {inner}{name} = {_text(value)}"
            if number < len(self.ancestors):
                yield f" {outer}IsA {self.ancestors[number]}"
        yield f" {outer}End {self.kind}"


def sky_wcs_text(wcs: SkyWcs) -> str | None:
    """Return the text of a WCS, or None where it has no such form."""
    if isinstance(wcs.projection, AstProjection):
        return wcs.projection.text
    if not wcs.is_fits_exact:
        return None
    found = wcs.to_astropy()
    if not _is_gnomonic(found):
        return None
    frames = [
        ("Nframe", 3),
        ("Currnt", 3),
        ("Lnk2", 1),
        ("Lnk3", 2),
        ("Frm1", _plain_frame("PIXELS")),
        ("Frm2", _plane_frame()),
        ("Frm3", _sky_frame(found.wcs.crval)),
        ("Map2", _pixels_to_plane(found)),
        ("Map3", _plane_to_sky(found.wcs.crval)),
    ]
    whole = _Object("FrameSet", [], frames, ancestors=["Frame"])
    text = _HEADER + "\n".join(whole.lines(0)) + "\n"
    # Some distortions (TPV) do not show in what astropy tells of a WCS, but in what it gives.
    x, y = (round(float(c)) for c in found.wcs.crpix)
    near = Box(x - _CHECKED, x + _CHECKED, y - _CHECKED, y + _CHECKED)
    return text if SkyWcs(AstProjection.parse(text)).agrees(wcs, near) else None


def _is_gnomonic(wcs: Any) -> bool:
    """Tell whether an astropy WCS is TAN or TAN-SIP in ICRS, without anything else."""
    core = wcs.wcs
    types = [name.removesuffix("-SIP") for name in core.ctype]
    is_icrs = core.radesys == "ICRS" or (not core.radesys and np.isnan(core.equinox))
    tables = (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)
    return bool(
        types == ["RA---TAN", "DEC--TAN"]
        and is_icrs
        and all(table is None for table in tables)
        and not core.get_pv()
        and core.lonpole == 180.0
        and (wcs.sip is None or np.array_equal(wcs.sip.crpix, core.crpix))
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value) if isinstance(value, int) else f"{value:.17g}"


def _plain_frame(domain: str) -> _Object:
    axes = [(f"Ax{i}", _Object("Axis")) for i in (1, 2)]
    return _Object("Frame", [("Naxes", 2), ("Domain", domain), *axes])


def _plane_frame() -> _Object:
    axes = [(f"Ax{i}", _Object("Axis", [("Unit", "deg")])) for i in (1, 2)]
    title = ("Title", "FITS Intermediate World Coordinates")
    return _Object("Frame", [title, ("Naxes", 2), ("Domain", "IWC"), *axes])


def _sky_frame(crval: Floats) -> _Object:
    lon, lat = (float(v) for v in np.radians(crval))
    axes = [(f"Ax{i}", _Object("SkyAxis")) for i in (1, 2)]
    return _Object(
        "SkyFrame",
        [("Ident", " ")],
        [("Naxes", 2), ("System", "ICRS"), ("AlSys", "ICRS"), *axes],
        [("Proj", "gnomonic"), ("SRefIs", "Ignored"), ("SRef1", lon), ("SRef2", lat)],
        ancestors=["Object", "Frame"],
    )


def _map(kind: str, values: Sequence[Item], n_in: int = 2, n_out: int = 2, **more: int) -> _Object:
    head: list[Item] = [("Nin", n_in)]
    if n_out != n_in:
        head.append(("Nout", n_out))
    head += list(more.items())
    return _Object(kind, head, values, ancestors=["Mapping"])


def _both(
    first: _Object, second: _Object, *flags: Item, n_in: int = 2, n_out: int = 2, **more: int
) -> _Object:
    """Return a CmpMap: one mapping after the other."""
    return _map("CmpMap", [*flags, ("MapA", first), ("MapB", second)], n_in, n_out, **more)


def _pixels_to_plane(wcs: Any) -> _Object:
    shift = [(f"Sft{i}", float(1.0 - c)) for i, c in enumerate(wcs.wcs.crpix, start=1)]
    window = _map("WinMap", shift, Invert=0)
    matrix = _matrix(np.asarray(wcs.pixel_scale_matrix, np.float64), 2)
    if wcs.sip is None:
        return _both(window, matrix, IsSimp=1)
    return _both(window, _both(_distortion(wcs.sip), matrix))


def _matrix(values: Floats, n: int) -> _Object:
    forward = [(f"M{i}", float(v)) for i, v in enumerate(values.ravel())]
    backward = [(f"IM{i}", float(v)) for i, v in enumerate(np.linalg.inv(values).ravel())]
    return _map("MatrixMap", [*forward, *backward, ("Form", "Full")], n, n, Invert=0)


def _distortion(sip: Any) -> _Object:
    """Return the PolyMap of SIP terms; its inverse is found by iteration, as astropy does it."""
    columns = []
    for out, table in enumerate((sip.a, sip.b)):
        terms = np.zeros((2, 2)) if table is None else np.array(table, np.float64)
        if len(terms) < 2:
            terms = np.pad(terms, ((0, 2 - len(terms)), (0, 2 - len(terms))))
        terms[(1, 0) if out == 0 else (0, 1)] += 1.0
        columns.append([(float(terms[i, j]), int(i), int(j)) for i, j in np.argwhere(terms)])
    highest = [max(term[axis] for column in columns for term in column) for axis in (1, 2)]
    items: list[Item] = [("MPF1", highest[0]), ("MPF2", highest[1])]
    items += [(f"NCF{out}", len(column)) for out, column in enumerate(columns, start=1)]
    every = [term for column in columns for term in column]
    items += [(f"CF{n}", term[0]) for n, term in enumerate(every, start=1)]
    powers = [power for term in every for power in term[1:]]
    items += [(f"PF{n}", power) for n, power in enumerate(powers, start=1) if power]
    return _map("PolyMap", [*items, ("IterInv", 1)])


def _plane_to_sky(crval: Floats) -> _Object:
    """Return the mapping from the gnomonic plane [deg] to the sky [rad]."""
    lon, lat = np.radians(crval)
    cos_lon, sin_lon, cos_lat, sin_lat = np.cos(lon), np.sin(lon), np.cos(lat), np.sin(lat)
    turn = np.array(
        [
            [sin_lat * cos_lon, -sin_lon, cos_lat * cos_lon],
            [sin_lat * sin_lon, cos_lon, cos_lat * sin_lon],
            [-cos_lat, 0.0, sin_lat],
        ]
    )
    plane = _both(
        _map("WcsMap", [("Type", "TAN")], Invert=1),
        _map("ZoomMap", [("Zoom", 180.0 / np.pi)], Invert=0),
    )
    native = _both(_map("SphMap", [("UntRd", 1), ("PlrLg", 0)], 3, 2, Invert=1), plane, n_in=3)
    turned = _both(_turned_matrix(turn), native, ("InvA", 1), n_in=3)
    sphere = _map("SphMap", [("UntRd", 1), ("PlrLg", float(lon))], 3, 2, Invert=0)
    whole = _both(sphere, turned, ("InvA", 1), Invert=1)
    return _both(whole, _map("UnitMap", [], IsSimp=1), ("InvA", 1))


def _turned_matrix(turn: Floats) -> _Object:
    """Return the MatrixMap of a rotation, whose inverse is its transpose."""
    forward = [(f"M{i}", float(v)) for i, v in enumerate(turn.ravel())]
    backward = [(f"IM{i}", float(v)) for i, v in enumerate(turn.T.ravel())]
    return _map("MatrixMap", [*forward, *backward, ("Form", "Full")], 3, 3, Invert=0)


def _sky_wcs(_: Encoder, wcs: SkyWcs) -> Written:
    text = sky_wcs_text(wcs)
    if text is None:
        raise ValueError("it is neither gnomonic in ICRS, with or without SIP, nor from a file")
    return [[text_bytes("wcs", "wcs string representation", text)]]


WRITERS[SkyWcs] = ("SkyWcs", "lsst.afw.geom", _sky_wcs)

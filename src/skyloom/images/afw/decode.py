"""Archived objects of known classes, made from their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, Sip

from skyloom.errors import MissingComponent, NotCalibrated, UnreadableFile
from skyloom.geometry import Box
from skyloom.images.about import Amplifier, ArchivedObject, Detector, FilterLabel
from skyloom.images.afw.archive import Archive, Rows
from skyloom.images.afw.ast_maps import AstProjection, read_map
from skyloom.images.afw.coordinate_map import CoordinateMap, UnsupportedMapping
from skyloom.images.detector_frames import DetectorFrames
from skyloom.images.sky_wcs import SkyWcs

__all__ = ["DECODERS", "Decoder", "box_of", "header_wcs", "one"]

_HIGHEST_ORDER = 20  # of SIP polynomials


class Decoder:
    """Makes the objects of an archive, each once; those of unknown classes stay as they are."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()

    def get(self, id_: int) -> Any:
        """Return an object; None for id 0.

        Raises
        ------
        UnreadableFile
            If the archive is damaged.
        """
        if id_ == 0:
            return None
        if id_ not in self._made:
            if id_ in self._open:
                raise self.archive.index.error(f"object {id_} contains itself")
            self._open.add(id_)
            try:
                self._made[id_] = self._make(id_)
            finally:
                self._open.discard(id_)
        return self._made[id_]

    def need(self, id_: int, kind: type[Any]) -> Any:
        """Return an object that must be of a class.

        Raises
        ------
        MissingComponent
            If it is of a class that is not understood.
        """
        made = self.get(id_)
        if isinstance(made, kind):
            return made
        name = made.name if isinstance(made, ArchivedObject) else type(made).__name__
        raise MissingComponent(
            f"{self.archive.index.where}: object {id_} is a {name}, which is not understood as "
            f"{kind.__name__}; read the other parts",
            component=name,
        )

    def _make(self, id_: int) -> Any:
        name = self.archive.class_of(id_)
        parts = self.archive.parts(id_)
        maker = DECODERS.get(name)
        reason = ""
        if maker is not None:
            try:
                return maker(self, parts)
            except UnsupportedMapping as unknown:
                reason = str(unknown)  # it stays opaque
            except (UnreadableFile, MissingComponent, NotCalibrated):
                raise
            except (ValueError, KeyError, IndexError, TypeError, ArithmeticError) as error:
                wrong = " ".join(str(error).split())[:200]
                raise self.archive.index.error(
                    f"object {id_} ({name}) cannot be understood ({wrong})"
                ) from error
        module = self.archive.entries[id_][0].module
        return ArchivedObject(name=name, module=module, parts=tuple(parts), reason=reason)


def one(parts: list[Rows], number: int = 0) -> Rows:
    """Return a part that must have a single row."""
    if len(parts) <= number or len(parts[number]) != 1:
        raise ValueError("it should have a single row")
    return parts[number]


def box_of(row: Rows, name: str, at: int = 0) -> Box:
    """Return a box that is stored as its first and last pixel."""
    x0, y0 = row.point(f"{name}_min", at)
    x1, y1 = row.point(f"{name}_max", at)
    return Box(int(x0), int(x1) + 1, int(y0), int(y1) + 1)


def _filter(_: Decoder, parts: list[Rows]) -> FilterLabel:
    row = one(parts)
    return FilterLabel(
        band=row.get("band") if row.get("band_exists") else None,
        physical=row.get("physical") if row.get("physical_exists") else None,
    )


def _detector(decoder: Decoder, parts: list[Rows]) -> Detector:
    row = one(parts)
    frames = decoder.get(int(row.get("transformMap"))) if "transformMap" in row else None
    amplifiers = []
    for part in parts[1:]:
        for i in range(len(part)):
            x0, y0 = part.point("bbox_min", i)
            width, height = part.point("bbox_extent", i)
            amplifiers.append(
                Amplifier(
                    name=part.get("name", i),
                    box=Box(x0, x0 + width, y0, y0 + height),
                    gain=part.get("gain", i),
                    read_noise=part.get("readnoise", i),
                    saturation=float(part.get("saturation", i)),
                )
            )
    return Detector(
        name=row.get("name"),
        number=row.get("id"),
        serial=row.get("serial"),
        box=box_of(row, "bbox"),
        pixel_size=row.point("pixelSize"),
        amplifiers=tuple(amplifiers),
        frames=frames if isinstance(frames, DetectorFrames) else None,
    )


def _point_map(_: Decoder, parts: list[Rows]) -> CoordinateMap:
    mapping = read_map(bytes(one(parts).get("bytes")).decode("ascii"))
    if (mapping.n_in, mapping.n_out) != (2, 2):
        raise UnsupportedMapping("the mapping is not from two axes to two")
    return mapping


def _frames(decoder: Decoder, parts: list[Rows]) -> DetectorFrames:
    rows = parts[0]
    maps = {}
    for i in range(len(rows)):
        made = decoder.get(int(rows.get("transform", i)))
        if isinstance(made, CoordinateMap):  # else its mapping is not known
            maps[rows.get("fromSysName", i), rows.get("toSysName", i)] = made
    return DetectorFrames(maps=maps)


def _sky_wcs(_: Decoder, parts: list[Rows]) -> SkyWcs:
    text = bytes(one(parts).get("wcs")).decode("ascii")
    return SkyWcs(AstProjection.parse(text))


def _tan_wcs(_: Decoder, parts: list[Rows]) -> SkyWcs:
    """Make the WCS of old files; matrices are stored by columns, CRPIX counts from 0."""
    row = one(parts)
    wcs = WCS(naxis=2)
    wcs.wcs.crval = row.get("crval")
    wcs.wcs.crpix = row.get("crpix") + 1.0
    wcs.wcs.cd = row.get("cd").reshape(2, 2, order="F")
    has_sip = len(parts) > 1 and len(parts[1]) == 1
    suffix = "-SIP" if has_sip else ""
    wcs.wcs.ctype = [row.get("ctype1").removesuffix("-SIP") + suffix,
                     row.get("ctype2").removesuffix("-SIP") + suffix]  # fmt: skip
    wcs.wcs.radesys = row.get("radesys")
    wcs.wcs.equinox = row.get("equinox")
    wcs.wcs.cunit = [row.get("cunit1"), row.get("cunit2")]
    if has_sip:
        tables = [_square(parts[1].get(name)) for name in ("A", "B", "Ap", "Bp")]
        wcs.sip = Sip(*tables, wcs.wcs.crpix)
    wcs.wcs.set()
    return SkyWcs.from_astropy(wcs)


def _square(values: Any) -> Any:
    values = np.atleast_1d(np.asarray(values, np.float64))
    order = round(np.sqrt(values.size))
    if order**2 != values.size:
        raise ValueError(f"{values.size} SIP coefficients are no square")
    return np.ascontiguousarray(values.reshape(order, order, order="F"))


DECODERS: dict[str, Callable[[Decoder, list[Rows]], Any]] = {
    "Detector": _detector,
    "FilterLabel": _filter,
    "SkyWcs": _sky_wcs,
    "TanWcs": _tan_wcs,
    "TransformMap": _frames,
    "TransformPoint2ToPoint2": _point_map,
}
"""Class -> what makes it."""


def header_wcs(cards: fits.Header, xy0: tuple[int, int]) -> SkyWcs | None:
    """Return the WCS of the cards of an image; None where they have no celestial axes."""
    if not any(key.startswith("CTYPE") for key in cards):
        return None
    for key in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER", "WCSAXES"):
        if not 0 <= int(cards.get(key, 0)) <= _HIGHEST_ORDER:
            raise ValueError(f"{key} = {cards[key]} is impossible")
    wcs = WCS(cards)
    if not wcs.has_celestial:
        return None
    return SkyWcs.from_astropy(wcs, xy0=xy0, cards=cards)

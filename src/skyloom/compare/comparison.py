"""Two catalogues side by side: which source is which, and what differs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.errors import Mismatch, WrongValue
from skyloom.geometry import (
    CommonOffset,
    Positions,
    beyond_footprint,
    common_offset,
    mutual_nearest,
)

from .measured import MeasuredCatalog, measured_catalog
from .photometry import BandComparison, Offsets, compare_band
from .shapes import Shapes, angle_difference, to_sky
from .statistics import Differences, differences

__all__ = ["Comparison", "PositionComparison", "ShapeComparison", "Unmatched", "compare_catalogs"]

log = logging.getLogger(__name__)

Source: TypeAlias = MeasuredCatalog | Table | Path | str

_ROUND = 0.8  # b/a above which an angle means little


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PositionComparison:
    """Positions, new - old; one entry per pair, the common offset included."""

    unit: str  # arcsec, or pix
    dx: Floats  # east (RA cos Dec), or x
    dy: Floats  # north, or y
    offset: CommonOffset  # taken off for matching
    x: Differences
    y: Differences

    @property
    def separation(self) -> Floats:
        """Distance after the median offset is taken off."""
        return np.hypot(self.dx - self.x.median, self.dy - self.y.median)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShapeComparison:
    """Shapes of pairs that have one in both; new against old."""

    same_size: bool  # whether both define the size alike
    frame: str  # "sky", or "pixels" where no map to the sky is known
    log_size_ratio: Floats  # log10(new / old)
    delta_ellipticity: Floats  # of (a-b)/(a+b)
    delta_angle: Floats  # deg, where both are flatter than b/a = 0.8
    size: Differences
    ellipticity: Differences
    angle: Differences


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unmatched:
    """Sources of one catalogue without a partner in the other."""

    rows: Ints  # from 0
    beyond: Floats  # distance outside the other's footprint; negative inside
    unit: str

    @property
    def is_outside(self) -> Bools:
        """Sources that the other catalogue could not have: outside its footprint."""
        return np.asarray(self.beyond > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What differs between two catalogues."""

    old: MeasuredCatalog
    new: MeasuredCatalog
    radius: float  # of the match [arcsec, or pixels]
    rows_old: Ints  # pairs that are measured in both, from 0
    rows_new: Ints
    only_old: Ints  # rows of the old catalogue whose partner has no flux
    only_new: Ints  # rows of the new catalogue whose partner has no flux
    positions: PositionComparison
    bands: tuple[BandComparison, ...]
    shapes: ShapeComparison | None
    lost: Unmatched  # in the old catalogue only
    gained: Unmatched  # in the new catalogue only
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows_old)

    @property
    def types(self) -> dict[tuple[str, str], int]:
        """Number of pairs by (old type, new type); '' where a type is unknown."""
        pairs = zip(self.old.type[self.rows_old], self.new.type[self.rows_new], strict=True)
        counts: dict[tuple[str, str], int] = {}
        for old, new in pairs:
            counts[str(old), str(new)] = counts.get((str(old), str(new)), 0) + 1
        return counts


def compare_catalogs(
    old: Source,
    new: Source,
    *,
    bands: Sequence[str] | None = None,
    radius: float = 1.0,
    band_map: Mapping[str, str] | None = None,
    old_kind: str | None = None,
    new_kind: str | None = None,
    offsets: Offsets = "auto",
    trusted_only: bool = False,
) -> Comparison:
    """Match two catalogues and compare what they measured.

    Sources are matched one to one, each the nearest of the other, after the offset that most of
    them share has been taken off.  Signs are new - old throughout.

    Parameters
    ----------
    old, new : path, Table or MeasuredCatalog
        The two catalogues, of any dialect.
    bands : sequence of str, optional
        Bands to compare, by their names in the new catalogue; default: all that both have.
    radius : float
        Largest separation of a pair [arcsec; pixels where a catalogue has no sky positions].
    band_map : mapping, optional
        Old band name -> new band name, where they differ.
    old_kind, new_kind : str, optional
        Dialects, where the columns do not tell.
    offsets : {"auto", "fit", "keep"}
        Whether a difference of zero points is taken off; see `skyloom.compare.compare_band`.
    trusted_only : bool
        Leave out sources that either catalogue flags.

    Raises
    ------
    MissingFile, UnreadableFile, BadTable
        If a file cannot be read or has no positions.
    WrongValue
        If a band, a kind or the radius makes no sense.
    Mismatch
        If the catalogues have no band, or no source, in common.
    """
    if not radius > 0:
        raise WrongValue(f"radius = {radius:g} must be > 0 [arcsec]", radius=radius)
    old, new = _catalog(old, old_kind), _catalog(new, new_kind)
    names = _common_bands(old, new, bands, band_map or {})
    notes: list[str] = []
    notes += [f"no magnitudes: {c.name} has no fluxes" for c in (old, new) if not c.bands]
    place_old, place_new = _places(old, new)
    if place_old.unit == "pix":
        notes.append(f"matched in pixels: the radius is {radius:g} pixels")
    offset = common_offset(place_old, place_new, radius=radius)
    moved = place_new.shifted(-offset.dx, -offset.dy)
    pair_old, pair_new = _pairs(place_old, moved, old.is_measured, new.is_measured, radius=radius)
    if not len(pair_old):
        raise _no_overlap(old, new, place_old, place_new, radius)
    in_old, in_new = old.is_measured[pair_old], new.is_measured[pair_new]
    use = in_old & in_new
    if trusted_only:
        trusted = old.is_trusted[pair_old] & new.is_trusted[pair_new]
        notes.append(f"{int((use & ~trusted).sum())} flagged pairs left out")
        use &= trusted
    rows_old, rows_new = pair_old[use], pair_new[use]
    shapes, shape_notes = _compare_shapes(old, new, rows_old, rows_new)
    return Comparison(
        old=old,
        new=new,
        radius=radius,
        rows_old=rows_old,
        rows_new=rows_new,
        only_old=pair_old[in_old & ~in_new],
        only_new=pair_new[in_new & ~in_old],
        positions=_compare_positions(place_old, place_new, rows_old, rows_new, offset),
        bands=tuple(
            compare_band(old.bands[a], new.bands[b], rows_old, rows_new, names=(a, b),
                         offsets=offsets)
            for a, b in names
        ),
        shapes=shapes,
        lost=_unmatched(old, place_old, pair_old, moved[new.is_measured]),
        gained=_unmatched(new, moved, pair_new, place_old[old.is_measured]),
        notes=(*notes, *shape_notes),
    )  # fmt: skip


def _pairs(
    old: Positions, new: Positions, measured_old: Bools, measured_new: Bools, *, radius: float
) -> tuple[Ints, Ints]:
    """Match measured sources first, so that a row without fluxes takes nobody's partner."""
    pairs: list[tuple[Ints, Ints]] = []
    left_old, left_new = np.flatnonzero(measured_old), np.flatnonzero(measured_new)
    for _ in range(2):
        rows_old, rows_new = mutual_nearest(old[left_old], new[left_new], radius=radius)
        pairs.append((left_old[rows_old], left_new[rows_new]))
        left_old = np.setdiff1d(np.arange(len(old)), pairs[0][0])
        left_new = np.setdiff1d(np.arange(len(new)), pairs[0][1])
    rows_old, rows_new = (np.concatenate(side) for side in zip(*pairs, strict=True))
    order = np.argsort(rows_old, kind="stable")
    return rows_old[order], rows_new[order]


def _compare_positions(
    old: Positions, new: Positions, rows_old: Ints, rows_new: Ints, offset: CommonOffset
) -> PositionComparison:
    dx, dy = old.displacement(rows_old, new, rows_new)
    return PositionComparison(
        unit=_unit(old),
        dx=dx,
        dy=dy,
        offset=offset,
        x=differences(dx),
        y=differences(dy),
    )


def _unit(places: Positions) -> str:
    """Return the unit of distances."""
    return "arcsec" if places.unit == "deg" else "pix"


def _catalog(source: Source, kind: str | None) -> MeasuredCatalog:
    return source if isinstance(source, MeasuredCatalog) else measured_catalog(source, kind=kind)


def _common_bands(
    old: MeasuredCatalog,
    new: MeasuredCatalog,
    bands: Sequence[str] | None,
    band_map: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return (old, new) names of the bands to compare, in the order of the new catalogue."""
    for name in band_map:
        if name not in old.bands:
            raise WrongValue(
                f"{old.name} has no band {name!r} to map; it has {', '.join(old.bands) or 'none'}"
            )
    renamed = {band_map.get(name, name): name for name in old.bands}
    pairs = [(renamed[name], name) for name in new.bands if name in renamed]
    if not pairs and len(old.bands) == len(new.bands) == 1 and not band_map:
        pairs = [(next(iter(old.bands)), next(iter(new.bands)))]
        log.info("the only bands, %s and %s, are compared", *pairs[0])
    if bands:
        common = [name for _, name in pairs]
        unknown = [name for name in bands if name not in common]
        if unknown:
            raise Mismatch(
                f"band {', '.join(unknown)} is not in both catalogues; common to both: "
                f"{', '.join(common) or 'none'}; correct --bands or name it with --map OLD=NEW",
                bands=unknown,
            )
        return [pair for name in bands for pair in pairs if pair[1] == name]
    if not pairs and old.bands and new.bands:
        raise Mismatch(
            f"no common band: {old.name} has {', '.join(old.bands)}; {new.name} has "
            f"{', '.join(new.bands)}; say which is which with --map OLD=NEW",
            old_bands=list(old.bands),
            new_bands=list(new.bands),
        )
    return pairs


def _places(old: MeasuredCatalog, new: MeasuredCatalog) -> tuple[Positions, Positions]:
    """Return the positions that both have: sky, or else pixels."""
    if old.sky is not None and new.sky is not None:
        return old.sky, new.sky
    if old.pixels is not None and new.pixels is not None:
        return old.pixels, new.pixels
    lacking = old if old.sky is None else new
    raise Mismatch(
        f"{lacking.name} has pixel positions only, the other catalogue sky positions only; add "
        "RA and DEC (SExtractor: ALPHA_J2000, DELTA_J2000) to it",
        file=lacking.name,
    )


def _no_overlap(
    old: MeasuredCatalog, new: MeasuredCatalog, a: Positions, b: Positions, radius: float
) -> Mismatch:
    (x0, y0), (x1, y1) = a.centre(), b.centre()
    unit = "arcsec" if a.unit == "deg" else "pixels"
    return Mismatch(
        f"no source of {old.name} (centre {x0:.5f} {y0:.5f}) is within {radius:g} {unit} of one of "
        f"{new.name} (centre {x1:.5f} {y1:.5f}); check that both show the same field in the same "
        "frame, or widen --radius",
        centres=((x0, y0), (x1, y1)),
    )


def _unmatched(
    catalog: MeasuredCatalog, places: Positions, matched: Ints, of: Positions
) -> Unmatched:
    is_alone = catalog.is_measured & np.isfinite(places.x) & np.isfinite(places.y)
    is_alone[matched] = False
    rows = np.flatnonzero(is_alone)
    return Unmatched(
        rows=rows,
        beyond=beyond_footprint(places[rows], of),
        unit=_unit(places),
    )


def _compare_shapes(
    old: MeasuredCatalog, new: MeasuredCatalog, rows_old: Ints, rows_new: Ints
) -> tuple[ShapeComparison | None, tuple[str, ...]]:
    a, b, frame, notes = _one_frame(old, new)
    if a is None or b is None:
        return None, notes
    with np.errstate(invalid="ignore"):
        ratio = np.log10(b.size[rows_new] / a.size[rows_old])
    ell = b.ellipticity[rows_new] - a.ellipticity[rows_old]
    flat = (a.axis_ratio[rows_old] < _ROUND) & (b.axis_ratio[rows_new] < _ROUND)
    angle = np.where(flat, angle_difference(b.angle[rows_new], a.angle[rows_old]), np.nan)
    if not (np.isfinite(ratio) | np.isfinite(ell)).any():
        return None, (*notes, "no pair has a shape in both catalogues")
    same = a.size_is == b.size_is
    if not same and np.isfinite(ratio).any():
        notes = (*notes, f"sizes are defined differently: {a.size_is} / {b.size_is}")
    return ShapeComparison(
        same_size=same,
        frame=frame,
        log_size_ratio=ratio,
        delta_ellipticity=ell,
        delta_angle=angle,
        size=differences(ratio),
        ellipticity=differences(ell),
        angle=differences(angle),
    ), notes


def _one_frame(
    old: MeasuredCatalog, new: MeasuredCatalog
) -> tuple[Shapes | None, Shapes | None, str, tuple[str, ...]]:
    """Return the shapes of both in one frame: the sky if a map to it is known."""
    a, b = old.shapes, new.shapes
    if a.unit == b.unit == "pix" and old.frame is None and new.frame is None:
        return a, b, "pixels", ("shapes are compared in pixels",)
    notes: tuple[str, ...] = ()
    brought = []
    for shapes, own, other in ((a, old, new), (b, new, old)):
        frame = own.frame
        if shapes.unit == "arcsec":
            brought.append(shapes)
            continue
        if frame is None and other.frame is not None and other.dialect.name != "tractor":
            frame = other.frame
            notes = (*notes, f"{own.name}: pixel scale and orientation of the other one assumed")
        if frame is None:
            missing = f"no shapes: those of {own.name} are in pixels, and it has no pixel positions"
            return None, None, "", (*notes, missing)
        brought.append(to_sky(shapes, frame))
    return brought[0], brought[1], "sky", notes

"""A catalogue of any dialect, brought to one set of quantities that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.catalogs.io import read_table
from skyloom.catalogs.values import column_as_float, column_as_text, table_name, text_array
from skyloom.errors import BadTable
from skyloom.geometry import Positions

from .dialects import Dialect, FluxNames, band_columns, find_columns, recognised
from .shapes import PixelFrame, Shapes, pixel_frame, read_shapes
from .types import read_trust, read_types

__all__ = ["BandFluxes", "MeasuredCatalog", "measured_catalog"]

_NO_MAG = 50.0  # magnitudes from here on stand for "none" (99)
_NOT_BANDS = frozenset({"radius", "max", "flag", "flags", "unit"})  # flux_radius is no band
_DECAM_BANDS = "ugrizY"  # vector columns of the first Legacy Surveys releases


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandFluxes:
    """Fluxes of one band; arrays of one length."""

    flux: Floats  # any linear unit; NaN where not measured
    flux_err: Floats  # NaN where unknown
    zeropoint: float  # mag of flux 1
    is_ab: bool  # whether zeropoint is on the AB scale; else it is arbitrary
    column: str  # where they are from


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredCatalog:
    """What a catalogue says, in one convention; arrays of one length, one entry per row."""

    name: str  # file, for messages
    dialect: Dialect
    id: npt.NDArray[np.str_]
    sky: Positions | None  # deg
    pixels: Positions | None  # pix, 0-based
    bands: dict[str, BandFluxes]
    shapes: Shapes
    frame: PixelFrame | None
    type: npt.NDArray[np.str_]  # lower case; '' where unknown
    is_trusted: Bools  # by its own catalogue
    reason: npt.NDArray[np.str_]  # against trusting it
    notes: tuple[str, ...]  # what was recognised

    def __len__(self) -> int:
        return len(self.id)

    @property
    def is_measured(self) -> Bools:
        """Rows with a flux in some band; all rows of a catalogue without fluxes."""
        if not self.bands:
            return np.ones(len(self), dtype=bool)
        finite = [np.isfinite(band.flux) for band in self.bands.values()]
        return np.asarray(np.any(finite, axis=0))


def measured_catalog(source: Table | Path | str, *, kind: str | None = None) -> MeasuredCatalog:
    """Read a catalogue and find out what its columns mean.

    Parameters
    ----------
    source : Table or path
        A catalogue, or its file (see `skyloom.catalogs.read_table`).
    kind : str, optional
        Its dialect; by default its columns tell.

    Raises
    ------
    MissingFile, UnreadableFile, BadTable
        If the file cannot be read, is empty, or has no positions.
    """
    table = source if isinstance(source, Table) else read_table(source)
    where = table_name(table)
    if len(table) == 0:
        raise BadTable(f"{where}: the catalogue has no rows; give one with sources", file=where)
    dialect = recognised(table, kind)
    sky, sky_note = _sky(table, dialect)
    pixels = _pixels(table, dialect)
    if sky is None and pixels is None:
        raise BadTable(
            f"{where}: read as {dialect.name}, it has no column of positions "
            f"({' '.join(dialect.ra)}); name its kind, or write RA and DEC [deg]",
            file=where,
        )
    shapes = read_shapes(table, dialect)
    types, type_notes = read_types(table, dialect)
    is_trusted, reason = read_trust(table, dialect)
    bands = _bands(table, dialect)
    frame = None if sky is None or pixels is None else pixel_frame(sky, pixels.x, pixels.y)
    scale = () if frame is None else (f"pixel {frame.scale:.4f} arcsec, from its own positions",)
    form = table.meta.get("format", "table")
    notes = (
        f"{len(table)} rows, {form}, recognised as {dialect.name} ({dialect.about})",
        sky_note,
        _band_note(bands),
        *((f"sizes: {shapes.size_is}",) if shapes.size_is else ()),
        *scale,
        *shapes.notes,
        *type_notes,
        *((str(table.meta["note"]),) if "note" in table.meta else ()),
    )
    ids = find_columns(table, dialect.id)
    rows = text_array([str(i + 1) for i in range(len(table))])
    return MeasuredCatalog(
        name=where,
        dialect=dialect,
        id=column_as_text(table, ids[0]) if ids else rows,
        sky=sky,
        pixels=pixels,
        bands=bands,
        shapes=shapes,
        frame=frame,
        type=types,
        is_trusted=is_trusted,
        reason=reason,
        notes=notes,
    )


def _coalesced(table: Table, names: Sequence[str]) -> tuple[Floats, str] | None:
    """Return the first finite value of each row among columns, and the first column's name."""
    values: Floats | None = None
    for name in names:
        column = column_as_float(table, name)
        values = column if values is None else np.where(np.isfinite(values), values, column)
    return None if values is None else (values, names[0])


def _sky(table: Table, dialect: Dialect) -> tuple[Positions | None, str]:
    ra_names, dec_names = find_columns(table, dialect.ra), find_columns(table, dialect.dec)
    if dialect.name not in {"tract7dt", "skyloom"}:  # other files: one pair of columns
        ra_names, dec_names = ra_names[:1], dec_names[:1]
    ra, dec = _coalesced(table, ra_names), _coalesced(table, dec_names)
    if ra is None or dec is None or not np.isfinite(ra[0] + dec[0]).any():
        return None, "positions: pixels only"
    bad = np.flatnonzero(np.abs(dec[0]) > 90.0)
    if bad.size:
        where = table_name(table)
        raise BadTable(
            f"{where}, row {bad[0] + 1}: {dec[1]} = {dec[0][bad[0]]:g} is no declination [deg]; "
            "give degrees, and name the kind of the catalogue if the column is another",
            file=where,
            row=int(bad[0]) + 1,
        )
    return Positions(x=ra[0], y=dec[0]), f"positions: {ra[1]}, {dec[1]}"


def _pixels(table: Table, dialect: Dialect) -> Positions | None:
    x = _coalesced(table, find_columns(table, dialect.x))
    y = _coalesced(table, find_columns(table, dialect.y))
    if x is None or y is None:
        return None
    start = dialect.first_pixel
    return Positions(x=x[0] - start, y=y[0] - start, unit="pix")


def _band_note(bands: dict[str, BandFluxes]) -> str:
    if not bands:
        return "bands: none"
    scales = sorted({"AB" if b.is_ab else "instrumental" for b in bands.values()})
    first = next(iter(bands.values())).column
    return (
        f"bands: {' '.join(bands)} ({first}{' ...' if len(bands) > 1 else ''}; {', '.join(scales)})"
    )


def _bands(table: Table, dialect: Dialect) -> dict[str, BandFluxes]:
    """Return the fluxes of each band: the first kind of flux that the file has for it."""
    header = table.meta.get("header", {})
    is_sextractor = dialect.name in {"sextractor", "shapepipe"}
    kinds = [(names, _named_bands(table, names)) for names in dialect.fluxes]
    kinds = [(names, bands) for names, bands in kinds if bands]
    if dialect.name == "generic":  # one flux column, several spellings of its error
        kinds.sort(key=lambda kind: -sum(len(columns) for columns in kind[1].values()))
    found: dict[str, BandFluxes] = {}
    for names, bands in kinds:
        for band, columns in bands.items():
            label = band
            if not band and is_sextractor:
                words = str(header.get("FILTER", "")).split()
                label = words[0] if words else names.flux.removeprefix("FLUX_").lower()
            found |= _split_vector(table, columns, names, label)
        if found:
            break
    return found


def _named_bands(table: Table, names: FluxNames) -> dict[str, dict[str, str]]:
    """Return the columns of each band, by what they are."""
    parts = {
        part: band_columns(table, getattr(names, part))
        for part in ("flux", "err", "ivar", "mag", "mag_err")
    }
    errors = {*parts["err"].values(), *parts["ivar"].values(), *parts["mag_err"].values()}
    bands: dict[str, dict[str, str]] = {}
    for part, columns in parts.items():
        for band, column in columns.items():
            is_error = part in {"flux", "mag"} and column in errors  # flux_err_r is no band err_r
            if is_error or band.lower() in _NOT_BANDS:
                continue
            bands.setdefault(band, {})[part] = column
    if names.ivar:  # apertures and fibres have no band of their own
        bands = {b: c for b, c in bands.items() if "ivar" in c}
    usable = {b: c for b, c in bands.items() if "flux" in c or "mag" in c}
    return {b: c for b, c in usable.items() if _is_number(table, c)}


def _is_number(table: Table, columns: dict[str, str]) -> bool:
    """Tell fluxes from other columns that begin alike (flux_flag: a word)."""
    try:
        column_as_float(table, columns.get("flux", columns.get("mag", "")))
    except BadTable:
        return False
    return True


def _split_vector(
    table: Table, columns: dict[str, str], names: FluxNames, band: str
) -> dict[str, BandFluxes]:
    """Return the fluxes of a band; of a vector column, those of all its bands."""
    values = {part: column_as_float(table, name) for part, name in columns.items()}
    shown = columns.get("flux", columns.get("mag", ""))
    width = {v.shape[1] for v in values.values() if v.ndim == 2}
    listed = str(table.meta.get("header", {}).get("BANDS", "")).replace(",", " ").split()
    if not width:
        name = listed[0] if not band and len(listed) == 1 else band
        return {name or shown: _fluxes(values, names, shown)}
    labels = list(listed[0]) if len(listed) == 1 else listed
    if width == {len(_DECAM_BANDS)} and shown.lower().startswith("decam"):
        labels = list(_DECAM_BANDS)
    if width != {len(labels)}:  # apertures: not a band each
        return {}
    return {
        f"{label}": _fluxes({p: v[:, i] for p, v in values.items()}, names, f"{shown}[{i}]")
        for i, label in enumerate(labels)
    }


def _fluxes(values: dict[str, Floats], names: FluxNames, column: str) -> BandFluxes:
    mag = values.get("mag")
    if mag is not None:
        mag = np.where((mag < _NO_MAG) & (mag > -_NO_MAG), mag, np.nan)
    mag_err: Any = values.get("mag_err")
    if "flux" not in values:
        assert mag is not None
        flux = 10.0 ** (-0.4 * mag)
        err = np.full(len(flux), np.nan) if mag_err is None else flux * mag_err / 1.0857362
        return BandFluxes(flux=flux, flux_err=_positive(err), zeropoint=0.0,
                          is_ab=names.is_ab, column=column)  # fmt: skip
    flux = values["flux"].copy()
    if "ivar" in values:
        ivar = values["ivar"]
        flux[~(ivar > 0)] = np.nan  # no data in this band
        err = np.where(ivar > 0, 1.0 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), np.nan)
    else:
        err = values.get("err", np.full(len(flux), np.nan))
    zeropoint, is_ab = names.zeropoint, names.is_ab
    if zeropoint is None:  # what the file's own magnitudes say
        seen = np.zeros(0)
        if mag is not None:
            usable = (flux > 0) & np.isfinite(mag)
            seen = mag[usable] + 2.5 * np.log10(flux[usable])
        zeropoint, is_ab = (float(np.median(seen)), is_ab) if seen.size else (0.0, False)
    return BandFluxes(
        flux=flux, flux_err=_positive(err), zeropoint=zeropoint, is_ab=is_ab, column=column
    )


def _positive(values: Floats) -> Floats:
    return np.where((values > 0) & np.isfinite(values), values, np.nan)

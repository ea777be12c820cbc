"""Gaia stars in the source catalogue: matched rows get an identity, lost stars become rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats, Ints
from skyloom.calib.reference import GaiaReference
from skyloom.catalogs import InputCatalog, column_as_float, column_as_text, text_array
from skyloom.geometry import Box, sky_to_pixel

__all__ = ["Augmentation", "augment_catalog", "gaia_box", "match_one_to_one"]

log = logging.getLogger(__name__)

_EXCLUDED = ("excluded_crop", "excluded_saturation", "excluded_any")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Augmentation:
    """The catalogue with Gaia stars."""

    table: Table  # original rows in order, then the injected ones
    star: Ints  # row of the GaiaReference for every row of the table, -1 for none
    is_injected: Bools
    box: Box  # region [pix] that the stars were taken from
    changed: bool  # False: no star there; nothing to write


def gaia_box(x: Floats, y: Floats, *, shape: tuple[int, int], min_size: int) -> Box:
    """Return the square about the active sources that reference stars are taken from.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions of the active sources [pix]; those that are not finite are ignored.
    shape : (ny, nx)
        Working frame.
    min_size : int
        Smallest side [pix].

    Returns
    -------
    Box
        Side at least ``min_size`` and the extent of the sources, pushed into the frame where it
        sticks out, then clamped.
    """
    ny, nx = shape
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.any():
        low = np.array([x[finite].min(), y[finite].min()])
        high = np.array([x[finite].max(), y[finite].max()])
        centre = (low + high) / 2
        side = float(max(min_size, math.ceil(float((high - low).max()))))
    else:
        centre, side = np.array([nx / 2, ny / 2]), float(min_size)
    edges: list[int] = []
    for middle, size in zip(centre, (nx, ny), strict=True):
        lo, hi = middle - side / 2, middle + side / 2
        if lo < 0:
            lo, hi = 0.0, hi - lo
        if hi > size:
            lo, hi = lo - (hi - size), float(size)
        edges += [max(0, math.floor(lo)), min(size, math.ceil(hi))]
    return Box(*edges)


def match_one_to_one(
    ra: Floats, dec: Floats, star_ra: Floats, star_dec: Floats, *, radius_arcsec: float
) -> Ints:
    """Match catalogue rows with stars, nearest pairs first, each at most once.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Catalogue positions [deg]; NaN matches nothing.
    star_ra, star_dec : ndarray, shape (m,)
        Star positions [deg].
    radius_arcsec : float
        Largest separation, inclusive.

    Returns
    -------
    ndarray of int, shape (n,)
        Index of the star of each row, -1 for none.  Of several rows near a star the nearest gets
        it; ties go to the earlier row.
    """
    star = np.full(len(ra), -1, dtype=np.int64)
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    stars = np.flatnonzero(np.isfinite(star_ra) & np.isfinite(star_dec))
    if not rows.size or not stars.size:
        return star
    here = cKDTree(_unit_vectors(ra[rows], dec[rows]))
    there = cKDTree(_unit_vectors(star_ra[stars], star_dec[stars]))
    chord = 2 * math.sin(math.radians(radius_arcsec / 3600) / 2)
    # 1e-15: rounding of the unit vectors, 0.2 nano-arcsec.
    pairs = here.sparse_distance_matrix(there, chord + 1e-15, output_type="ndarray")
    taken = np.zeros(len(star_ra), dtype=bool)
    for i, j, _ in pairs[np.lexsort((pairs["j"], pairs["i"], pairs["v"]))].tolist():
        row, candidate = rows[i], stars[j]
        if star[row] < 0 and not taken[candidate]:
            star[row] = candidate
            taken[candidate] = True
    return star


def _unit_vectors(ra: Floats, dec: Floats) -> Floats:
    lon, lat = np.deg2rad(ra), np.deg2rad(dec)
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def augment_catalog(
    catalog: InputCatalog,
    gaia: GaiaReference,
    *,
    wcs: WCS,
    shape: tuple[int, int],
    active: Bools,
    bands: Sequence[str],
    zp_ref: float,
    gaia_mag_min: float = 8.0,
    gaia_mag_max: float = 18.0,
    match_radius_arcsec: float = 3.0,
    min_box_size_pix: int = 3000,
    inject: bool = True,
    pos_err_pix: float | None = 0.1,
    is_saturated: Callable[[Floats, Floats], Bools] | None = None,
) -> Augmentation:
    """Match the catalogue with Gaia, fill missing fluxes, and add the stars that it lacks.

    Parameters
    ----------
    catalog : InputCatalog
        Its table may carry the exclusion columns; injected rows get False there.
    gaia : GaiaReference
        With ``source_id`` and ``phot_g_mean_mag``.
    wcs, shape : astropy.wcs.WCS and (ny, nx)
        Of the working frame.
    active : ndarray of bool, shape (n,)
        Rows that are not excluded; they define the region.
    bands, zp_ref : sequence of str and float
        Bands of the images; zero point of the scaled counts [AB mag].
    gaia_mag_min, gaia_mag_max : float
        Window of ``phot_g_mean_mag``, inclusive.
    match_radius_arcsec : float
        Largest separation of a match.
    min_box_size_pix : int
        Smallest side of the region; see `gaia_box`.
    inject : bool
        Add unmatched stars as rows of TYPE STAR.
    pos_err_pix : float or None
        Position prior of injected rows [pix].
    is_saturated : callable, optional
        ``(x, y) -> bool array``: stars near saturated pixels, which are not injected.

    Returns
    -------
    Augmentation

    Raises
    ------
    BadTable
        If the reference lacks a column.
    """
    gaia.require("source_id", "phot_g_mean_mag")
    x, y = sky_to_pixel(wcs, catalog.ra, catalog.dec)
    used = active & np.isfinite(x) & np.isfinite(y)
    box = gaia_box(x[used], y[used], shape=shape, min_size=min_box_size_pix)
    chosen, sx, sy = _stars_in_box(gaia, wcs, box, gaia_mag_min, gaia_mag_max)
    if not chosen.size:
        log.warning(
            "no Gaia star of %s in the box %s: catalogue unchanged; widen zp.gaia_mag_min and "
            "zp.gaia_mag_max, or give a table that covers the field",
            gaia.name,
            f"x {box.x0} to {box.x1}, y {box.y0} to {box.y1} pix",
        )
    stars = gaia.ra[chosen], gaia.dec[chosen]
    place = match_one_to_one(catalog.ra, catalog.dec, *stars, radius_arcsec=match_radius_arcsec)
    lost = np.setdiff1d(np.arange(len(chosen)), place)
    if lost.size and is_saturated is not None:
        lost = lost[~is_saturated(sx[lost], sy[lost])]
    star = np.full(len(catalog), -1, dtype=np.int64)
    star[place >= 0] = chosen[place[place >= 0]]
    added = chosen[lost] if inject else chosen[:0]
    log.info("Gaia: %d stars, %d matched, %d added", len(chosen), np.sum(star >= 0), len(added))
    return Augmentation(
        table=_assemble(
            catalog,
            gaia,
            star=star,
            added=added,
            bands=bands,
            zp_ref=zp_ref,
            pos_err_pix=pos_err_pix,
        ),
        star=np.concatenate([star, added]),
        is_injected=np.arange(len(catalog) + len(added)) >= len(catalog),
        box=box,
        changed=chosen.size > 0,
    )


def _stars_in_box(
    gaia: GaiaReference, wcs: WCS, box: Box, mag_min: float, mag_max: float
) -> tuple[Ints, Floats, Floats]:
    """Return the rows of the usable stars inside the box and their pixel positions."""
    assert gaia.g_mag is not None
    assert gaia.source_id is not None
    usable = (gaia.g_mag >= mag_min) & (gaia.g_mag <= mag_max) & (gaia.source_id != "")
    _, first = np.unique(gaia.source_id, return_index=True)
    once = np.zeros(len(gaia), dtype=bool)
    once[first] = True
    rows = np.flatnonzero(usable & once)
    sx, sy = sky_to_pixel(wcs, gaia.ra[rows], gaia.dec[rows])
    inside = box.contains(sx, sy)
    return rows[inside], sx[inside], sy[inside]


def _assemble(
    catalog: InputCatalog,
    gaia: GaiaReference,
    *,
    star: Ints,
    added: Ints,
    bands: Sequence[str],
    zp_ref: float,
    pos_err_pix: float | None,
) -> Table:
    """Build the augmented table: every column for the original rows and for the added ones.

    Where stars were moved, ``gaia_epoch`` [Julian year] says when they stood where they were
    matched; for added rows this is the epoch of RA and Dec.
    """
    assert gaia.source_id is not None
    columns, table = catalog.columns, catalog.table
    ids = np.where(star >= 0, gaia.source_id[star], "") if len(gaia) else [""] * len(star)
    new: dict[str, list[str] | Floats] = {
        "gaia_source_id": gaia.source_id[added].tolist(),
        columns.ra: gaia.ra[added],
        columns.dec: gaia.dec[added],
        columns.type or "TYPE": ["STAR"] * len(added),
    }
    if columns.id is not None:
        new[columns.id] = [f"gaia_{s}" for s in gaia.source_id[added].tolist()]
    if pos_err_pix is not None:
        new[columns.pos_err or "POS_ERR"] = np.full(len(added), pos_err_pix)
    old: dict[str, list[str]] = {"gaia_source_id": list(ids)}
    if gaia.epoch is not None:
        new["gaia_epoch"] = gaia.epoch[added]
        old["gaia_epoch"] = ["" if s < 0 else repr(float(gaia.epoch[s])) for s in star]
    for band in bands:
        flux = _reference_flux(gaia, band, zp_ref)
        new[columns.flux.get(band, f"FLUX_{band}")] = np.nan_to_num(flux[added])  # 0: aperture
        if band in columns.flux:
            old[columns.flux[band]] = _backfilled(table, columns.flux[band], star, flux)
    known = [name for name in ("gaia_source_id", "gaia_epoch") if name in new]
    created = [] if not len(added) else [name for name in new if name not in table.colnames]
    out = Table(meta=dict(table.meta))
    for name in dict.fromkeys([*table.colnames, *known, *created]):
        out[name] = _column(table, name, old.get(name), new.get(name), len(added))
    return out


def _reference_flux(gaia: GaiaReference, band: str, zp_ref: float) -> Floats:
    """Return the flux of each star [scaled counts], NaN where its magnitude is not known."""
    mag = gaia.mag(band)
    if mag is None:
        return np.full(len(gaia), np.nan)
    return np.asarray(10.0 ** ((zp_ref - np.where(np.isfinite(mag), mag, np.nan)) / 2.5))


def _backfilled(table: Table, name: str, star: Ints, flux: Floats) -> list[str]:
    """Fill fluxes that are missing or exactly 0 in matched rows; other cells stay verbatim."""
    cells: list[str] = column_as_text(table, name).tolist()
    values = column_as_float(table, name)
    for row in np.flatnonzero((star >= 0) & (np.isnan(values) | (values == 0))):
        if np.isfinite(flux[star[row]]):
            cells[row] = repr(float(flux[star[row]]))
    return cells


def _column(
    table: Table,
    name: str,
    old: list[str] | None,
    new: list[str] | Floats | None,
    n_new: int,
) -> object:
    """Join the cells of the original rows and of the added ones into one column."""
    n = len(table)
    if name in _EXCLUDED and name in table.colnames:
        return np.concatenate([np.asarray(table[name], dtype=bool), np.zeros(n_new, dtype=bool)])
    if name not in table.colnames and old is None and not isinstance(new, list):
        numbers = np.full(n_new, np.nan) if new is None else new
        return np.concatenate([np.full(n, np.nan), numbers])
    if old is None:
        old = column_as_text(table, name).tolist() if name in table.colnames else [""] * n
    if new is None:
        new = [""] * n_new
    cells = new if isinstance(new, list) else [repr(float(v)) for v in new]
    return text_array([*old, *cells])

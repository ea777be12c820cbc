"""Photometric zero points from Gaia XP synthetic magnitudes.

For each star ``zp = mag + 2.5 log10(flux)``; MAD clipping; weighted median.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.calib.reference import GaiaReference
from skyloom.catalogs import column_as_bool, column_as_float, column_as_text, text_array

__all__ = [
    "BandZeroPoint",
    "StarPhotometry",
    "ZeroPointError",
    "ZeroPoints",
    "apply_zero_points",
    "mad_clip",
    "measure_zero_points",
    "weighted_median",
    "zero_point",
]

log = logging.getLogger(__name__)

ZeroPointError = Literal["all_mad", "bright_std"]

POGSON = 2.5 / np.log(10.0)
"""Magnitudes per relative flux change."""

_BRIGHT_MIN = 10
"""Stars needed for the scatter of the bright ones."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarPhotometry:
    """The reference stars of one band."""

    gaia_source_id: npt.NDArray[np.str_]
    mag: Floats  # AB mag, reference
    flux: Floats  # scaled counts
    flux_err: Floats  # scaled counts
    zp: Floats  # mag
    zp_err: Floats  # mag, NaN where the flux error is unusable
    is_reliable: Bools  # unreliable stars are plotted and counted only
    is_kept: Bools


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandZeroPoint:
    """The zero point of a band and how it came about."""

    band: str
    n_raw: int
    n_kept: int
    n_unreliable: int
    clip_sigma: float
    zp_median: float  # AB mag of one scaled count
    zp_err_mad: float  # mag, median absolute deviation
    zp_err_std: float  # mag, scatter of the bright stars
    n_zp_err_src: int  # stars behind zp_err_std
    zp_err_snr_used: float  # S/N cut behind zp_err_std, NaN after the fallback to the MAD
    zp_err: float  # mag, the one of the two that was chosen
    stars: StarPhotometry

    @property
    def n_clipped(self) -> int:
        """Reliable stars that the clipping dropped."""
        return self.n_raw - self.n_kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZeroPoints:
    """The zero points of a tile; ``reason`` says why there is none."""

    bands: tuple[str, ...]  # all bands with fitted fluxes, sorted
    results: tuple[BandZeroPoint, ...]
    reason: str = ""

    def of(self, band: str) -> BandZeroPoint | None:
        """Return the result of a band, or None."""
        return next((r for r in self.results if r.band == band), None)

    def summary_table(self) -> Table:
        """Return the table of ``ZP/zp_summary.csv``."""
        names = (
            *("band", "n_raw", "n_kept", "n_clipped", "n_unreliable", "clip_sigma", "zp_median"),
            *("zp_err_mad", "zp_err_std", "n_zp_err_src", "zp_err_snr_used"),
        )
        kinds = (str, int, int, int, int, float, float, float, float, int, float)
        columns: list[npt.NDArray[np.generic]] = [
            np.array([getattr(r, name) for r in self.results], dtype=kind)
            for name, kind in zip(names, kinds, strict=True)
        ]
        return Table(columns, names=names)

    def star_table(self) -> Table:
        """Return the table of ``ZP/zp_all_bands__per_object.csv``: the reliable stars."""
        parts: dict[str, list[npt.NDArray[np.generic]]] = {
            name: [np.zeros(0, dtype=kind)]
            for name, kind in (
                *(("band", "U1"), ("gaia_source_id", "U1"), ("gaiaxp_mag", float)),
                *(("flux", float), ("fluxerr", float), ("zp", float), ("zp_err", float)),
                *(("is_kept", bool), ("is_clipped", bool)),
            )
        }
        for result in self.results:
            s = result.stars
            use = s.is_reliable
            values = (
                text_array([result.band] * int(use.sum())),
                *(a[use] for a in (s.gaia_source_id, s.mag, s.flux, s.flux_err, s.zp, s.zp_err)),
                s.is_kept[use],
                ~s.is_kept[use],
            )
            for name, value in zip(parts, values, strict=True):
                parts[name].append(value)
        return Table({name: np.concatenate(chunks) for name, chunks in parts.items()})


def weighted_median(values: Floats, weights: Floats) -> float:
    """Return the first value, in ascending order, whose cumulative weight reaches half."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    place = int(np.searchsorted(cumulative, 0.5 * cumulative[-1], side="left"))
    return float(values[order][place])


def mad_clip(zp: Floats, *, clip_sigma: float, max_iters: int) -> Bools:
    """Return which values survive clipping at ``clip_sigma`` robust deviations.

    Every iteration judges all finite values, so that clipped ones may return.
    """
    finite = np.isfinite(zp)
    keep = finite.copy()
    for _ in range(max_iters):
        if keep.sum() < 3:
            break
        middle = np.median(zp[keep])
        spread = 1.4826 * np.median(np.abs(zp[keep] - middle))
        if spread <= 0:
            break
        new = finite & (np.abs(np.where(finite, zp, 0) - middle) <= clip_sigma * spread)
        if np.array_equal(new, keep):
            break
        keep = new
    return keep


def zero_point(
    band: str,
    *,
    mag: Floats,
    flux: Floats,
    flux_err: Floats,
    is_reliable: Bools,
    source_id: npt.NDArray[np.str_],
    clip_sigma: float = 3.0,
    clip_max_iters: int = 10,
    zp_err_method: ZeroPointError = "all_mad",
    zp_err_snr_min: float = 100.0,
) -> BandZeroPoint | None:
    """Measure the zero point of one band.

    Parameters
    ----------
    band : str
        Its name.
    mag, flux, flux_err : ndarray, shape (n,)
        Reference magnitude [AB], measured flux and error [scaled counts]; stars without a finite
        magnitude and a positive flux are left out.
    is_reliable : ndarray of bool, shape (n,)
        Stars that may be used.
    source_id : ndarray of str, shape (n,)
        Gaia identifiers.
    clip_sigma, clip_max_iters
        See `mad_clip`.
    zp_err_method : {"all_mad", "bright_std"}
        Which of the two errors counts.
    zp_err_snr_min : float
        S/N cut of the bright stars; halved up to twice until 10 stars pass.

    Returns
    -------
    BandZeroPoint or None
        None where no reliable star is left.
    """
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(mag) & np.isfinite(flux) & (flux > 0)
        mag, flux, flux_err = mag[usable], flux[usable], flux_err[usable]
        reliable = np.asarray(is_reliable[usable])
        has_error = np.isfinite(flux_err) & (flux_err > 0)
        zp = mag + 2.5 * np.log10(flux)
        zp_err = np.where(has_error, POGSON * flux_err / flux, np.nan)
    if not reliable.any():
        return None
    kept = mad_clip(np.where(reliable, zp, np.nan), clip_sigma=clip_sigma, max_iters=clip_max_iters)
    good = kept & has_error
    median = (
        weighted_median(zp[good], zp_err[good] ** -2) if good.any() else float(np.median(zp[kept]))
    )
    mad = float(np.median(np.abs(zp[kept] - median)))
    snr = np.where(has_error, flux / np.where(has_error, flux_err, 1.0), 0.0)[kept]
    std, n_used, cut = _bright_scatter(band, zp[kept], snr, zp_err_snr_min, mad)
    return BandZeroPoint(
        band=band,
        n_raw=int(reliable.sum()),
        n_kept=int(kept.sum()),
        n_unreliable=int((~reliable).sum()),
        clip_sigma=clip_sigma,
        zp_median=median,
        zp_err_mad=mad,
        zp_err_std=std,
        n_zp_err_src=n_used,
        zp_err_snr_used=cut,
        zp_err=std if zp_err_method == "bright_std" else mad,
        stars=StarPhotometry(
            gaia_source_id=source_id[usable],
            mag=mag,
            flux=flux,
            flux_err=flux_err,
            zp=zp,
            zp_err=zp_err,
            is_reliable=reliable,
            is_kept=kept,
        ),
    )


def _bright_scatter(
    band: str, zp: Floats, snr: Floats, snr_min: float, mad: float
) -> tuple[float, int, float]:
    """Return the scatter of the bright stars, their number and the S/N cut that was needed."""
    for divisor in (1, 2, 4):
        cut = snr_min / divisor
        bright = snr >= cut
        if bright.sum() >= _BRIGHT_MIN:
            if divisor > 1:
                log.warning("%s: zero-point scatter from stars at S/N >= %g", band, cut)
            return float(np.std(zp[bright])), int(bright.sum()), cut
    log.warning(
        "%s: fewer than %d stars at S/N >= %g; the MAD stands for the zero-point scatter",
        band,
        _BRIGHT_MIN,
        snr_min / 4,
    )
    return mad, len(zp), float("nan")


def measure_zero_points(
    catalog: Table,
    gaia: GaiaReference,
    *,
    clip_sigma: float = 3.0,
    clip_max_iters: int = 10,
    zp_err_method: ZeroPointError = "all_mad",
    zp_err_snr_min: float = 100.0,
) -> ZeroPoints:
    """Measure the zero points of all bands of a merged catalogue.

    Parameters
    ----------
    catalog : Table
        With ``gaia_source_id``, ``fit_is_reliable``, ``FLUX_{band}_fit``, ``FLUXERR_{band}_fit``.
    gaia : GaiaReference
        With ``source_id``; the first row of an identifier counts.
    clip_sigma, clip_max_iters, zp_err_method, zp_err_snr_min
        See `zero_point`.

    Returns
    -------
    ZeroPoints
        Without results, and with the reason, where there is nothing to measure.
    """
    names = catalog.colnames
    matches = (re.fullmatch(r"FLUX_(.+)_fit", name) for name in names)
    bands = tuple(sorted(m.group(1) for m in matches if m))
    for column in ("gaia_source_id", "fit_is_reliable"):
        if column not in names:
            return _nothing(bands, f"the catalogue has no column {column}")
    gaia.require("source_id")
    assert gaia.source_id is not None
    star_rows = {s: i for i, s in reversed(list(enumerate(gaia.source_id.tolist())))}
    ids = np.char.strip(column_as_text(catalog, "gaia_source_id"))
    known = np.array([s != "" and s in star_rows for s in ids.tolist()], dtype=bool)
    reliable = column_as_bool(catalog, "fit_is_reliable")[known]
    if not reliable.any():
        return _nothing(bands, "no reliable source is a star of the reference")
    star = np.array([star_rows[s] for s in ids[known].tolist()], dtype=np.int64)
    results = []
    for band in bands:
        mag = gaia.mag(band)
        if mag is None:
            log.warning("%s has no column mag_%s: no zero point for it", gaia.name, band)
            continue
        result = zero_point(
            band,
            mag=mag[star],
            flux=column_as_float(catalog, f"FLUX_{band}_fit")[known],
            flux_err=_flux_error(catalog, band)[known],
            is_reliable=reliable,
            source_id=ids[known],
            clip_sigma=clip_sigma,
            clip_max_iters=clip_max_iters,
            zp_err_method=zp_err_method,
            zp_err_snr_min=zp_err_snr_min,
        )
        if result is None:
            log.warning("%s: no reliable star with magnitude and flux: no zero point", band)
        else:
            results.append(result)
    if not results:
        return _nothing(bands, "no band has a reliable star with magnitude and flux")
    return ZeroPoints(bands=bands, results=tuple(results))


def _nothing(bands: tuple[str, ...], reason: str) -> ZeroPoints:
    log.warning("zero points skipped: %s", reason)
    return ZeroPoints(bands=bands, results=(), reason=reason)


def _flux_error(catalog: Table, band: str) -> Floats:
    name = f"FLUXERR_{band}_fit"
    if name not in catalog.colnames:
        return np.full(len(catalog), np.nan)
    return column_as_float(catalog, name)


def apply_zero_points(
    catalog: Table, zero_points: Mapping[str, tuple[float, float]], *, bands: Sequence[str]
) -> Table:
    """Return a copy with ``MAG_{band}_fit`` and ``MAGERR_{band}_fit`` as its last columns.

    Parameters
    ----------
    catalog : Table
        With ``FLUX_{band}_fit`` and ``FLUXERR_{band}_fit`` [scaled counts].
    zero_points : mapping of str to (float, float)
        Zero point and its error [mag] of each band that has one; the others get NaN.
    bands : sequence of str
        Bands; the columns come in sorted order.

    Returns
    -------
    Table
        Magnitudes are NaN where the flux is not positive, errors also where the flux error is not
        a positive number.  Applying twice changes nothing; without any zero point the catalogue
        comes back as it was.
    """
    out = catalog.copy()
    if not zero_points:
        return out
    old = [n for b in bands for n in (f"MAG_{b}_fit", f"MAGERR_{b}_fit") if n in out.colnames]
    out.remove_columns(old)
    for band in sorted(bands):
        zp, zp_err = zero_points.get(band, (np.nan, np.nan))
        flux = column_as_float(catalog, f"FLUX_{band}_fit")
        flux_err = _flux_error(catalog, band)
        with np.errstate(invalid="ignore"):
            bright = np.isfinite(flux) & (flux > 0)
            valid = bright & np.isfinite(flux_err) & (flux_err > 0)
        safe = np.where(bright, flux, 1.0)
        error = np.hypot(POGSON * np.where(valid, flux_err, 1.0) / safe, zp_err)
        out[f"MAG_{band}_fit"] = np.where(bright, zp - 2.5 * np.log10(safe), np.nan)
        out[f"MAGERR_{band}_fit"] = np.where(valid, error, np.nan)
        out[f"MAG_{band}_fit"].unit = out[f"MAGERR_{band}_fit"].unit = "mag"
    return out

"""Photometric zero points from Gaia XP synthetic magnitudes.

For each star ``zp = mag + 2.5 log10(flux)``; MAD clipping; weighted median, and a mean with
intrinsic scatter beside it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.calib.magnitudes import POGSON, frame_position
from skyloom.calib.reference import GaiaReference
from skyloom.calib.scatter import effective_number, fit_scatter, weighted_median_error
from skyloom.calib.trends import (
    SurfaceKind,
    Trend,
    ZeroPointSurface,
    choose_surface,
    measure_trend,
)
from skyloom.calib.zp_data import (
    BandZeroPoint,
    StarPhotometry,
    StarPlaces,
    ZeroPointError,
    ZeroPointEstimate,
    ZeroPoints,
)
from skyloom.catalogs import column_as_bool, column_as_float, column_as_text

__all__ = ["mad_clip", "measure_zero_points", "weighted_median", "zero_point"]

log = logging.getLogger(__name__)

_BRIGHT_MIN: Final = 10
"""Stars needed for the scatter of the bright ones."""
_FEW: Final = 5.0
"""Effective number of stars below which a weighted median hangs on single stars."""


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
    mag_err: Floats | None = None,
    places: StarPlaces | None = None,
    clip_sigma: float = 3.0,
    clip_max_iters: int = 10,
    zp_err_method: ZeroPointError = "all_mad",
    zp_err_snr_min: float = 100.0,
    estimate: ZeroPointEstimate = "median",
    surface: SurfaceKind = "none",
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
    mag_err : ndarray, shape (n,), optional
        Errors of the reference magnitudes [mag]; they enter the maximum-likelihood value only.
    places : StarPlaces, optional
        Positions and colours, for trends and the surface.
    clip_sigma, clip_max_iters
        See `mad_clip`.
    zp_err_method : {"all_mad", "bright_std"}
        Which of the two errors counts.
    zp_err_snr_min : float
        S/N cut of the bright stars; halved up to twice until 10 stars pass.
    estimate : {"median", "ml"}
        What calibrates: the median with weights ``1 / zp_err**2``, or the mean with intrinsic
        scatter (`fit_scatter`).
    surface : {"none", "plane", "quadratic"}
        Richest surface to try; see `choose_surface`.  Where one is used, all numbers describe the
        stars after its correction.

    Returns
    -------
    BandZeroPoint or None
        None where no reliable star is left.
    """
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(mag) & np.isfinite(flux) & (flux > 0)
    if not (usable & is_reliable).any():
        return None
    places = places or StarPlaces.unknown(len(mag))
    stars = _photometry(
        mag[usable],
        flux[usable],
        flux_err[usable],
        is_reliable=is_reliable[usable],
        source_id=source_id[usable],
        places=places.of(usable),
    )

    def clip(values: Floats) -> Bools:
        values = np.where(stars.is_reliable, values, np.nan)
        return mad_clip(values, clip_sigma=clip_sigma, max_iters=clip_max_iters)

    correction = None
    kept = clip(stars.zp)
    errors = _expected_errors(stars, kept)
    if mag_err is not None:
        errors = np.hypot(errors, np.nan_to_num(mag_err[usable]))
    if surface != "none":
        correction = _surface(stars, kept, errors, surface)
    if correction is not None:
        stars = replace(stars, correction=correction(stars.places.x, stars.places.y))
        kept = clip(stars.zp - stars.correction)
    return _summary(
        band,
        replace(stars, is_kept=kept),
        errors,
        surface=correction,
        clip=(clip_sigma, clip_max_iters),
        zp_err_method=zp_err_method,
        zp_err_snr_min=zp_err_snr_min,
        estimate=estimate,
    )


def _photometry(
    mag: Floats,
    flux: Floats,
    flux_err: Floats,
    *,
    is_reliable: Bools,
    source_id: npt.NDArray[np.str_],
    places: StarPlaces,
) -> StarPhotometry:
    """Return the zero point of every star; nothing is kept yet."""
    with np.errstate(invalid="ignore"):
        has_error = np.isfinite(flux_err) & (flux_err > 0)
    return StarPhotometry(
        gaia_source_id=source_id,
        mag=mag,
        flux=flux,
        flux_err=flux_err,
        zp=mag + 2.5 * np.log10(flux),
        zp_err=np.where(has_error, POGSON * flux_err / flux, np.nan),
        is_reliable=np.asarray(is_reliable),
        is_kept=np.zeros(len(mag), dtype=bool),
        places=places,
        correction=np.zeros(len(mag)),
    )


def _expected_errors(stars: StarPhotometry, kept: Bools) -> Floats:
    """Return the errors [mag] at the fluxes that the reference magnitudes let expect.

    At the measured fluxes a star that came out bright by chance would have a smaller error, and
    pull the mean up: by 0.5 to 1 mmag in the simulations of ``tests/calib/test_zp_scatter.py``.
    """
    too_bright = stars.zp - (np.median(stars.zp[kept]) if kept.any() else 0.0)
    return np.asarray(stars.zp_err * 10.0 ** (0.4 * np.clip(too_bright, -5.0, 5.0)))


def _surface(
    stars: StarPhotometry, kept: Bools, errors: Floats, most: SurfaceKind
) -> ZeroPointSurface | None:
    """Return the surface through the kept stars, or None where a constant does as well."""
    ml = fit_scatter(np.where(kept, stars.zp, np.nan), errors)
    return choose_surface(
        stars.places.x[kept],
        stars.places.y[kept],
        stars.zp[kept],
        errors[kept],
        intrinsic=ml.intrinsic,
        most=most,
    )


def _summary(
    band: str,
    stars: StarPhotometry,
    errors: Floats,
    *,
    surface: ZeroPointSurface | None,
    clip: tuple[float, int],
    zp_err_method: ZeroPointError,
    zp_err_snr_min: float,
    estimate: ZeroPointEstimate,
) -> BandZeroPoint:
    """Return all numbers of a band; ``errors`` are those of the maximum-likelihood value."""
    kept, zp = stars.is_kept, stars.zp - stars.correction
    good = kept & np.isfinite(stars.zp_err)
    if good.any():
        weights = stars.zp_err[good] ** -2
        median = weighted_median(zp[good], weights)
    else:
        weights, median = np.ones(int(kept.sum())), float(np.median(zp[kept]))
    deviation = np.abs(zp[kept] - median)
    mad = float(np.median(deviation))
    snr = POGSON / np.where(good, stars.zp_err, np.inf)[kept]
    std, n_used, cut = _bright_scatter(band, zp[kept], snr, zp_err_snr_min, mad)
    ml = fit_scatter(np.where(kept, zp, np.nan), errors, clip_sigma=clip[0], max_iters=clip[1])
    result = BandZeroPoint(
        band=band,
        n_raw=int(stars.is_reliable.sum()),
        n_kept=int(kept.sum()),
        n_unreliable=int((~stars.is_reliable).sum()),
        clip_sigma=clip[0],
        zp_median=median,
        zp_err_mad=mad,
        zp_err_std=std,
        n_zp_err_src=n_used,
        zp_err_snr_used=cut,
        zp_err=std if zp_err_method == "bright_std" else mad,
        zp_median_err=weighted_median_error(weights**-0.5, intrinsic=ml.intrinsic)
        if good.any()
        else weighted_median_error(np.zeros(len(weights)), intrinsic=ml.intrinsic),
        zp_scatter=1.4826 * float(np.median(np.abs(zp[kept] - np.median(zp[kept])))),
        n_effective=effective_number(weights),
        ml=ml,
        zp=ml.mean if estimate == "ml" else median,
        estimate=estimate,
        surface=surface,
        trends=_trends(stars, zp, errors, ml.intrinsic),
        stars=stars,
    )
    _warn(result)
    return result


def _trends(
    stars: StarPhotometry, zp: Floats, errors: Floats, intrinsic: float
) -> tuple[Trend, ...]:
    """Return the slopes of the kept stars against place, magnitude and colour."""
    kept, places = stars.is_kept, stars.places
    abscissae = {"x": places.x, "y": places.y, "mag": stars.mag, places.colour_name: places.colour}
    found = (
        measure_trend(name, t[kept], zp[kept], errors[kept], intrinsic=intrinsic)
        for name, t in abscissae.items()
    )
    return tuple(trend for trend in found if trend is not None)


def _warn(result: BandZeroPoint) -> None:
    """Say what someone should look at."""
    if result.estimate == "median" and result.n_effective < _FEW and result.n_kept >= _BRIGHT_MIN:
        log.warning(
            "%s: %.1f of %d stars carry the zero point %.4f +- %.4f mag; with an intrinsic scatter "
            "of %.4f mag all give %.4f +- %.4f (skyloom.zp_estimate: ml)",
            result.band,
            result.n_effective,
            result.n_kept,
            result.zp_median,
            result.zp_median_err,
            result.ml.intrinsic,
            result.ml.mean,
            result.ml.mean_err,
        )
    for trend in result.trends:
        if trend.is_significant:
            log.warning(
                "%s: zero point changes with %s by %+.1f mmag over %.4g %s (%.1f sigma); "
                "see ZP/zp_trends__%s.png%s",
                result.band,
                trend.against,
                1e3 * trend.amplitude,
                trend.span,
                "pix" if trend.against in ("x", "y") else "mag",
                abs(trend.significance),
                result.band,
                "" if trend.against not in ("x", "y") else " (skyloom.zp_surface: plane)",
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
    estimate: ZeroPointEstimate = "median",
    surface: SurfaceKind = "none",
) -> ZeroPoints:
    """Measure the zero points of all bands of a merged catalogue.

    Parameters
    ----------
    catalog : Table
        With ``gaia_source_id``, ``fit_is_reliable``, ``FLUX_{band}_fit``, ``FLUXERR_{band}_fit``.
        Of several rows with one identifier the first counts, with a warning.
    gaia : GaiaReference
        With ``source_id``; the first row of an identifier counts.
    clip_sigma, clip_max_iters, zp_err_method, zp_err_snr_min, estimate, surface
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
            return _nothing(
                bands, f"the catalogue has no column {column}; run with zp.enabled: true"
            )
    gaia.require("source_id")
    assert gaia.source_id is not None
    star_rows = {s: i for i, s in reversed(list(enumerate(gaia.source_id.tolist())))}
    ids = np.char.strip(column_as_text(catalog, "gaia_source_id"))
    known = _matched_once(ids, star_rows)
    reliable = column_as_bool(catalog, "fit_is_reliable")[known]
    if not reliable.any():
        return _nothing(
            bands,
            "no reliable source is a star of the reference; widen zp.gaia_mag_min, "
            "zp.gaia_mag_max, zp.match_radius_arcsec, or look at fit_quality_issues",
        )
    star = np.array([star_rows[s] for s in ids[known].tolist()], dtype=np.int64)
    results = []
    for band in bands:
        mag = gaia.mag(band)
        if mag is None:
            log.warning(
                "%s has no column mag_%s: no zero point for it, MAG_%s_fit stays empty; add the "
                "column",
                gaia.name,
                band,
                band,
            )
            continue
        result = zero_point(
            band,
            mag=mag[star],
            flux=column_as_float(catalog, f"FLUX_{band}_fit")[known],
            flux_err=_flux_error(catalog, band)[known],
            is_reliable=reliable,
            source_id=ids[known],
            mag_err=_of_stars(gaia.mag_errs.get(band), star),
            places=_places(catalog, gaia, band, known, star),
            clip_sigma=clip_sigma,
            clip_max_iters=clip_max_iters,
            zp_err_method=zp_err_method,
            zp_err_snr_min=zp_err_snr_min,
            estimate=estimate,
            surface=surface,
        )
        if result is None:
            log.warning(
                "%s: no reliable star with magnitude and flux: no zero point; look at "
                "fit_quality_issues and FLUX_%s_fit of the rows with a gaia_source_id",
                band,
                band,
            )
        else:
            results.append(result)
    if not results:
        return _nothing(bands, "no band has a reliable star with magnitude and flux")
    return ZeroPoints(bands=bands, results=tuple(results))


def _nothing(bands: tuple[str, ...], reason: str) -> ZeroPoints:
    log.warning("zero points skipped: %s", reason)
    return ZeroPoints(bands=bands, results=(), reason=reason)


def _matched_once(ids: npt.NDArray[np.str_], stars: dict[str, int]) -> Bools:
    """Tell which rows are a star of the reference; of several rows that are one, the first."""
    known = np.array([s != "" and s in stars for s in ids.tolist()], dtype=bool)
    rows = np.flatnonzero(known)
    _, first = np.unique(ids[rows], return_index=True)
    again = np.setdiff1d(np.arange(len(rows)), first)
    if len(again):
        known[rows[again]] = False
        log.warning(
            "%d rows have the gaia_source_id of an earlier row (%s, ...): the first counts",
            len(again),
            ids[rows[again[0]]],
        )
    return known


def _places(catalog: Table, gaia: GaiaReference, band: str, rows: Bools, star: Ints) -> StarPlaces:
    x, y = frame_position(catalog, band)
    name, colour = gaia.colour(band) or ("colour", np.full(len(gaia), np.nan))
    return StarPlaces(x=x[rows], y=y[rows], colour=colour[star], colour_name=name)


def _of_stars(values: Floats | None, star: Ints) -> Floats | None:
    return None if values is None else values[star]


def _flux_error(catalog: Table, band: str) -> Floats:
    name = f"FLUXERR_{band}_fit"
    if name not in catalog.colnames:
        return np.full(len(catalog), np.nan)
    return column_as_float(catalog, name)

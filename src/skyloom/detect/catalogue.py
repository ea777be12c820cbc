"""A source catalogue out of one image: positions, sizes, ellipses, stars and galaxies.

Meant for start values of a scene fit, not for photometry: numbers are corrected for the PSF in
the simplest way that is right on average.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sep
from astropy.table import Table
from scipy import ndimage
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats, Pixels
from skyloom.detect.background import cell_background
from skyloom.detect.extract import extract_segments
from skyloom.detect.growth import growth_radii
from skyloom.detect.locus import StarLocus, find_star_locus

__all__ = ["DetectOptions", "Detections", "detect_sources"]

log = logging.getLogger(__name__)

_SAMPLE = 2048  # pix, side of the part of the image on which the noise of the filter is measured
_FILTER = 0.7  # FWHM of the filter over that of the PSF; the matched filter merges more blends
_SIZE_NOISE = 0.7  # error of ln r50 times the signal-to-noise ratio (simulated stars)
_DOUBT = 0.12  # largest allowance for it: in doubt a galaxy, whose size the fit can shrink
_SERSIC_SNR = 150.0  # from here on a fit can measure a Sersic index
_DEV_CONCENTRATION = 3.7  # r80 / r20: discs lie at 3.1-3.5, n = 4 at 3.9-4.9 (simulated)
_DEV_SNR = 60.0  # below it the concentration is noise
_SIZE_SCALE = 0.85  # measured on simulated galaxies; the quadratic difference is too large by this
_ELL_MAX = 0.85
_TINY = 0.3  # of the PSF's half-light radius: smaller radii cannot be told from each other


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """How sources are looked for."""

    thresh: float = 5.0  # signal-to-noise ratio of the faintest point source
    minarea: int = 3  # pix above the threshold in the filtered image
    deblend_nthresh: int = 32
    deblend_cont: float = 0.0005
    mesh: int = 128  # pix, of the background


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """What was found.

    ``table`` has ``x, y`` [pix], ``snr``, ``type`` (STAR, EXP, DEV, SERSIC), ``re`` [pix, half
    light, major axis], ``ell`` (1 - b/a), ``theta`` [deg, counter-clockwise from +x], the last
    three of galaxies corrected for the PSF and NaN for stars, and ``r50`` [pix, as observed].
    """

    table: Table
    noise_factor: float  # noise in the filter over that of white noise of the given sigma
    r50_star: float  # pix, NaN where stars did not tell
    n_stars: int  # that told
    n_negative: int  # detections on the negative image: about as many are spurious
    n_merged: int  # that were another one's
    n_pieces: int  # of saturated stars, removed


def detect_sources(
    image: Pixels,
    sigma: Pixels,
    *,
    bad: Bools,
    saturated: Bools,
    fwhm: float,
    options: DetectOptions | None = None,
) -> Detections:
    """Find the sources of an image and guess what they are.

    Parameters
    ----------
    image, sigma : ndarray, shape (ny, nx)
        Image and its noise [any linear unit].
    bad, saturated : ndarray of bool, shape (ny, nx)
        Pixels without data, and saturated ones.
    fwhm : float
        FWHM of the PSF [pix]: the width of the matched filter.
    options : DetectOptions, optional
        Thresholds.

    Returns
    -------
    Detections
        In the order of y.

    Raises
    ------
    Unprocessable
        If detection fails.
    """
    options = options or DetectOptions()
    bad = bad | ~np.isfinite(image) | ~(np.isfinite(sigma) & (sigma > 0))
    level = cell_background(
        image, sigma, bad | saturated, boxsize=options.mesh, filtersize=3, mask_dilate=3
    ).level
    data = np.where(bad, 0, image - level).astype(np.float32)
    noise = np.where(bad, 1e30, sigma).astype(np.float32)
    kernel = gaussian_kernel(_FILTER * fwhm)
    factor = filter_noise(data, noise, bad, kernel)
    found, segments = _extract(data, noise, bad, factor=factor, kernel=kernel, options=options)
    negative, _ = _extract(-data, noise, bad, factor=factor, kernel=kernel, options=options)
    keep, n_pieces = _without_pieces(found, saturated, fwhm)
    found, n_merged = _without_twins(found[keep], max(1.0, 0.5 * fwhm))
    table, r50_star, n_stars = _measured(
        data,
        noise * factor,
        found,
        bad=bad,
        saturated=saturated,
        segments=segments,
        fwhm=fwhm,
    )
    table.sort(["y", "x"])
    return Detections(
        table=table,
        noise_factor=factor,
        r50_star=r50_star,
        n_stars=n_stars,
        n_negative=len(negative),
        n_merged=n_merged,
        n_pieces=n_pieces,
    )


def gaussian_kernel(fwhm: float) -> Pixels:
    """Return a Gaussian filter of this FWHM [pix], of odd side."""
    half = max(1, math.ceil(fwhm))
    r = np.arange(-half, half + 1) / (fwhm / 2.3548)
    line = np.exp(-0.5 * r**2)
    return np.outer(line, line).astype(np.float32)


def filter_noise(data: Pixels, noise: Pixels, bad: Bools, kernel: Pixels) -> float:
    """Measure the noise of the filtered image relative to white noise.

    Above 1 where ``noise`` is too small or pixels are correlated, as resampling makes them. From
    the median absolute deviation of the lower half, which sources do not reach.
    """
    ny, nx = data.shape
    y0, x0 = max(0, (ny - _SAMPLE) // 2), max(0, (nx - _SAMPLE) // 2)
    part = (slice(y0, y0 + _SAMPLE), slice(x0, x0 + _SAMPLE))
    good = ndimage.binary_erosion(~bad[part], iterations=kernel.shape[0] // 2, border_value=0)
    if good.sum() < 1000:
        return 1.0
    from scipy import signal  # noqa: PLC0415 - slow to import, and no other stage needs it

    snr = signal.fftconvolve(data[part] / noise[part], kernel, mode="same")
    snr = snr[good] / math.sqrt(float((kernel**2).sum()))
    middle = _mode(snr)
    lower = middle - snr[snr < middle]
    return float(np.clip(np.median(lower) / 0.6745, 0.3, 10.0)) if lower.size else 1.0


def _mode(values: Floats) -> float:
    """Return the middle of the blank sky: the median, clipped of sources."""
    for _ in range(5):
        median = float(np.median(values))
        width = 1.4826 * float(np.median(np.abs(values - median)))
        values = values[values <= median + 2.0 * width]
    # of a Gaussian cut at +2 sigma the median is low by 0.03 sigma
    return float(np.median(values))


def _extract(
    data: Pixels,
    noise: Pixels,
    bad: Bools,
    *,
    factor: float,
    kernel: Pixels,
    options: DetectOptions,
) -> tuple[Table, npt.NDArray[np.int32]]:
    table, segments = extract_segments(
        data,
        noise,
        bad,
        thresh=options.thresh * factor * math.sqrt(float((kernel**2).sum())) / float(kernel.sum()),
        kernel=kernel,
        filter_type="conv",
        minarea=options.minarea,
        deblend_nthresh=options.deblend_nthresh,
        deblend_cont=options.deblend_cont,
    )
    table["segment"] = np.arange(1, len(table) + 1)
    ny, nx = data.shape
    inside = (table["x"] > 0) & (table["x"] < nx - 1) & (table["y"] > 0) & (table["y"] < ny - 1)
    return table[np.asarray(inside)], segments


def _without_pieces(found: Table, saturated: Bools, fwhm: float) -> tuple[Bools, int]:
    """Keep one detection, the brightest, in each saturated region and one FWHM around it."""
    keep = np.ones(len(found), dtype=bool)
    if not saturated.any() or len(found) == 0:
        return keep, 0
    reach = max(2, round(fwhm))
    labels, _ = ndimage.label(ndimage.binary_dilation(saturated, iterations=reach))
    ix, iy = (np.asarray(np.rint(found[name]), dtype=np.int64) for name in ("x", "y"))
    region = labels[iy, ix]
    order = np.argsort(-np.asarray(found["flux"]), kind="stable")
    seen = set()
    for row in order[region[order] > 0]:
        keep[row] = region[row] not in seen
        seen.add(region[row])
    return keep, int((~keep).sum())


def _without_twins(found: Table, radius: float) -> tuple[Table, int]:
    """Drop detections within ``radius`` [pix] of a brighter one."""
    position = np.stack([found["x"], found["y"]], axis=1)
    if len(found) < 2:
        return found, 0
    pairs = cKDTree(position).query_pairs(radius, output_type="ndarray")
    flux = np.asarray(found["flux"])
    fainter = np.where(flux[pairs[:, 0]] < flux[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    keep = np.ones(len(found), dtype=bool)
    keep[fainter] = False
    return found[keep], int((~keep).sum())


def _measured(
    data: Pixels,
    noise: Pixels,
    found: Table,
    *,
    bad: Bools,
    saturated: Bools,
    segments: npt.NDArray[np.int32],
    fwhm: float,
) -> tuple[Table, float, int]:
    """Return the table of `Detections`, the half-light radius of stars, and their number."""
    x, y = _centroids(data, bad, found, fwhm)
    radius = np.full(len(found), 3.0 * fwhm)
    ids = np.asarray(found["segment"])
    core = growth_radii(data, x, y, radius=radius, bad=bad, segments=segments, ids=ids)
    aperture = np.full(len(found), 1.2 * fwhm)
    flux, error, _ = sep.sum_circle(
        data, x, y, aperture, err=noise, mask=bad, segmap=segments, seg_id=ids, subpix=5
    )
    snr = flux / np.maximum(error, 1e-30)
    reach = np.clip(6.0 * np.asarray(found["a"], np.float64), 3.0 * fwhm, 40.0 * fwhm)
    whole = growth_radii(data, x, y, radius=reach, bad=bad, segments=segments, ids=ids)
    full = _touches(saturated, x, y, fwhm)
    stars = _locus(found, x, y, r50=core.r50, snr=snr, full=full, fwhm=fwhm, shape=data.shape)
    ratio = np.log(np.maximum(np.nan_to_num(core.r50), 0.1) / stars.r50)
    is_star = full | (ratio < stars.width + np.minimum(_SIZE_NOISE / np.maximum(snr, 1.0), _DOUBT))
    axis2 = (fwhm / 2.3548) ** 2
    if stars.n_stars:
        axis2 = float(np.median((found["a"] * found["b"])[stars.members]))
    ell, theta = _ellipse(found, axis2)
    observed = np.fmax(whole.r50, core.r50)
    circular = _SIZE_SCALE * np.sqrt(
        np.maximum(observed**2 - stars.r50**2, (_TINY * stars.r50) ** 2)
    )
    table = Table(
        {
            "x": x,
            "y": y,
            "snr": snr,
            "type": _types(is_star, snr, whole.concentration),
            "re": np.where(is_star, np.nan, circular / np.sqrt(1.0 - ell)),
            "ell": np.where(is_star, np.nan, ell),
            "theta": np.where(is_star, np.nan, theta),
            "r50": core.r50,
            "concentration": whole.concentration,
        }
    )
    told = stars.r50[stars.members]
    return table, float(np.median(told)) if told.size else float("nan"), stars.n_stars


def _centroids(data: Pixels, bad: Bools, found: Table, fwhm: float) -> tuple[Floats, Floats]:
    """Return windowed positions; SEP's own where the window walks away (blends)."""
    x0, y0 = (np.asarray(found[name], dtype=np.float64) for name in ("x", "y"))
    if len(found) == 0:
        return x0, y0
    x, y, flag = sep.winpos(data, x0, y0, fwhm / 2.3548, mask=bad)
    stays = (flag & ~sep.APER_HASMASKED == 0) & (np.hypot(x - x0, y - y0) < 0.5 * fwhm)
    return np.where(stays, x, x0), np.where(stays, y, y0)


def _touches(saturated: Bools, x: Floats, y: Floats, fwhm: float) -> Bools:
    if not saturated.any() or x.size == 0:
        return np.zeros(x.size, dtype=bool)
    near = ndimage.binary_dilation(saturated, iterations=max(2, round(fwhm)))
    ny, nx = saturated.shape
    ix = np.clip(np.rint(x).astype(np.int64), 0, nx - 1)
    iy = np.clip(np.rint(y).astype(np.int64), 0, ny - 1)
    return np.asarray(near[iy, ix])


def _locus(
    found: Table,
    x: Floats,
    y: Floats,
    *,
    r50: Floats,
    snr: Floats,
    full: Bools,
    fwhm: float,
    shape: tuple[int, int],
) -> StarLocus:
    """Return the locus of stars; that of a Moffat profile where none can be recognised."""
    ny, nx = shape
    margin = 3.0 * fwhm
    inside = (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)
    axes = np.asarray(found["a"]), np.asarray(found["b"])
    round_enough = (axes[1] > 0) & (axes[0] < 1.4 * np.maximum(axes[1], 1e-6))
    alone = ~has_neighbour(x, y, np.asarray(found["flux"]), reach=3.0 * fwhm)
    clean = inside & round_enough & alone & ~full
    locus = find_star_locus(r50, snr, clean, x=x, y=y, shape=shape)
    if locus.n_stars == 0:
        # 0.6 FWHM: a Moffat of beta 3 within three FWHM
        return StarLocus(r50=np.full(x.size, 0.6 * fwhm), members=locus.members, width=0.15)
    return locus


def has_neighbour(x: Floats, y: Floats, flux: Floats, *, reach: float) -> Bools:
    """Tell which sources have another of a tenth of their flux within ``reach`` [pix]."""
    crowded = np.zeros(x.size, dtype=bool)
    if x.size < 2:
        return crowded
    pairs = cKDTree(np.stack([x, y], axis=1)).query_pairs(reach, output_type="ndarray")
    for one, other in ((0, 1), (1, 0)):
        mine, theirs = pairs[:, one], pairs[:, other]
        crowded[mine[flux[theirs] > 0.1 * flux[mine]]] = True
    return crowded


def _ellipse(found: Table, axis2: float) -> tuple[Floats, Floats]:
    """Return ellipticity and angle [deg] of the moments less those of the PSF."""
    a2, b2 = (np.asarray(found[name], np.float64) ** 2 for name in ("a", "b"))
    # The threshold cuts the moments of faint sources below those of bright stars.
    psf2 = np.minimum(axis2, 0.9 * b2)
    q = np.sqrt((b2 - psf2) / np.maximum(a2 - psf2, 1e-6))
    ell = np.clip(1.0 - q, 0.0, _ELL_MAX)
    theta = np.degrees(np.asarray(found["theta"], np.float64))
    return ell, (theta + 90.0) % 180.0 - 90.0


def _types(is_star: Bools, snr: Floats, concentration: Floats) -> npt.NDArray[np.str_]:
    concentrated = (concentration > _DEV_CONCENTRATION) & (snr > _DEV_SNR)
    kind = np.where(concentrated, "DEV", "EXP")
    kind = np.where(snr > _SERSIC_SNR, "SERSIC", kind)
    return np.where(is_star, "STAR", kind)

"""What a few cut-outs tell about an image: sky, noise, seeing, stars, saturation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sep
from astropy.table import Table, vstack
from scipy import ndimage

from skyloom._types import Bools, Floats, Pixels
from skyloom.detect.blank_sky import BlankSky, blank_sky
from skyloom.detect.catalogue import has_neighbour
from skyloom.detect.extract import extract_segments
from skyloom.detect.growth import growth_radii
from skyloom.detect.locus import find_star_locus
from skyloom.detect.no_data import ConstantPixels, constant_pixels
from skyloom.detect.saturation import find_plateau
from skyloom.geometry import Box

__all__ = ["SpotCheck", "check_spots", "spot_boxes"]

_THRESH, _MINAREA = 8.0, 5  # sigma, pix
_FULL_SNR = 100.0  # of the peak: fainter sources are not looked at for flat tops
_FINE = 5  # points per pixel of that
_STARS = 60  # brightest stars that tell the FWHM


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpotCheck:
    """Measurements on the cut-outs of one band, in ADU where they are brightnesses."""

    n_pixels: int  # that are finite
    finite: float  # fraction
    level: float  # of the sky, median of the cut-outs
    level_spread: float  # of the cut-outs' levels, highest minus lowest
    sky_rms: float  # of pixels without sources; NaN without any
    noise_ratio: float  # of that to the stated noise, pixel by pixel
    noise_spread: float  # of the ratio over the field, ninth over first decile
    neighbour: float  # correlation of the noise of adjacent pixels
    fwhm: float  # pix, median of the stars; NaN where too few were seen
    n_stars: int  # on the locus of stars
    x: Floats  # pix, of the stars
    y: Floats
    bright_x: Floats  # of all detections, stars or not
    bright_y: Floats
    peak: float  # highest pixel
    plateau: float  # lowest flat top; inf where there is none
    constant: ConstantPixels | None  # regions of one value in the cut-outs


def spot_boxes(shape: tuple[int, int], *, side: int = 320, per_axis: int = 3) -> list[Box]:
    """Return boxes on a regular grid over an image; fewer and larger where they would overlap."""
    ny, nx = shape
    if max(ny, nx) <= side:
        return [Box.of_shape(shape)]
    boxes: list[Box] = []
    for y0, y1 in _intervals(ny, side, per_axis):
        boxes.extend(Box(x0, x1, y0, y1) for x0, x1 in _intervals(nx, side, per_axis))
    return boxes


def _intervals(length: int, side: int, number: int) -> list[tuple[int, int]]:
    if length <= side * number:
        edges = np.linspace(0, length, max(1, length // side) + 1).astype(int)
        return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    starts = np.linspace(0, length - side, number).astype(int)
    return [(int(a), int(a) + side) for a in starts]


def check_spots(
    cuts: Sequence[tuple[Box, Pixels]],
    *,
    sigma: Sequence[float | Pixels],
    fwhm: float,
    shape: tuple[int, int],
) -> SpotCheck:
    """Measure the cut-outs of one image.

    Parameters
    ----------
    cuts : sequence of (Box, ndarray)
        Where the cut-outs lie, and their pixels [ADU].
    sigma : sequence of float or ndarray
        Stated noise of the pixels of each [ADU].
    fwhm : float
        First guess [pix].
    shape : tuple of int
        Of the image (ny, nx).

    Notes
    -----
    `blank_sky` says how the sky is measured.
    """
    skies = [blank_sky(pixels) for _, pixels in cuts]
    good = [sky for sky in skies if math.isfinite(sky.rms)]
    if not good:
        return _nothing(cuts)
    rms = float(np.median([sky.rms for sky in good]))
    ratios = np.concatenate(
        [_ratios(pixels, noise) for (_, pixels), noise in zip(cuts, sigma, strict=True)]
    )
    levels = np.array([sky.level for sky in good])
    found = [
        _sources(pixels, box, sky, fwhm)
        for (box, pixels), sky in zip(cuts, skies, strict=True)
        if math.isfinite(sky.rms)
    ]
    table = vstack(found, metadata_conflicts="silent")
    clean = np.asarray(table["clean"]) & (np.asarray(table["snr"]) > 30)
    x, y = np.asarray(table["x"]), np.asarray(table["y"])
    locus = find_star_locus(
        np.asarray(table["r50"]), np.asarray(table["snr"]), clean, x=x, y=y, shape=shape
    )
    star = locus.members
    return SpotCheck(
        n_pixels=sum(int(np.isfinite(p).sum()) for _, p in cuts),
        finite=float(np.mean([np.isfinite(p).mean() for _, p in cuts])),
        level=float(np.median(levels)),
        level_spread=float(np.ptp(levels)),
        sky_rms=rms,
        noise_ratio=float(np.median(ratios)) if ratios.size else math.nan,
        noise_spread=_spread(ratios),
        neighbour=float(np.median([sky.neighbour for sky in good])),
        fwhm=_fwhm(cuts, skies, table[star], fwhm=fwhm),
        n_stars=locus.n_stars,
        x=x[star],
        y=y[star],
        bright_x=x[np.asarray(table["snr"]) > 30],
        bright_y=y[np.asarray(table["snr"]) > 30],
        peak=max(float(np.nanmax(p, initial=-np.inf)) for _, p in cuts),
        plateau=min(float(t.meta["plateau"]) for t in found),
        constant=_constant(cuts),
    )


def _constant(cuts: Sequence[tuple[Box, Pixels]]) -> ConstantPixels | None:
    """Return the value that fills regions of the cut-outs, over all of them."""
    found = [one for _, pixels in cuts if (one := constant_pixels(pixels)) is not None]
    if not found:
        return None
    value = max(found, key=lambda one: one.n_pixels).value
    n = sum(one.n_pixels for one in found if one.value == value)
    return ConstantPixels(value=value, n_pixels=n, share=n / sum(p.size for _, p in cuts))


def _ratios(pixels: Pixels, sigma: float | Pixels) -> Floats:
    """Return measured over stated noise of the quarters of a cut-out that have enough sky."""
    ny, nx = (n // 2 for n in pixels.shape)
    parts = [(rows, columns) for rows in _halves(ny) for columns in _halves(nx)]
    pulls = pixels / sigma
    rms = np.array([blank_sky(pulls[part]).rms for part in parts])
    return np.asarray(rms[np.isfinite(rms)])


def _spread(ratios: Floats) -> float:
    """Return the ninth over the first decile: one large galaxy is not a noise that varies."""
    if ratios.size == 0:
        return math.nan
    low, high = np.percentile(ratios, [10, 90])
    return float(high / low)


def _halves(middle: int) -> tuple[slice, slice]:
    return slice(None, middle), slice(middle, None)


def _sources(pixels: Pixels, box: Box, sky: BlankSky, fwhm: float) -> Table:
    """Detect the bright sources of a cut-out; positions are those of the whole image."""
    data = np.where(np.isfinite(pixels), pixels - sky.level, 0).astype(np.float32)
    bad = ~np.isfinite(pixels)
    table, segments = extract_segments(data, sky.rms, bad, thresh=_THRESH, minarea=_MINAREA)
    x, y = np.asarray(table["x"], np.float64), np.asarray(table["y"], np.float64)
    if len(table):
        x, y, _ = sep.winpos(data, x, y, fwhm / 2.3548, mask=bad)
    radius = np.full(len(table), 3.0 * fwhm)
    ids = np.arange(1, len(table) + 1)
    size = growth_radii(data, x, y, radius=radius, bad=bad, segments=segments, ids=ids)
    plateau = find_plateau(data, x, y, fwhm=fwhm, min_peak=_FULL_SNR * sky.rms, divisor=1.0)
    a, b = np.asarray(table["a"]), np.maximum(np.asarray(table["b"]), 1e-6)
    ny, nx = data.shape
    margin = 3.0 * fwhm
    clean = (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)
    clean &= (a < 1.4 * b) & ~has_neighbour(x, y, np.asarray(table["flux"]), reach=margin)
    clean[plateau.rows] = False
    error = sky.rms * math.sqrt(math.pi) * 1.5 * fwhm
    return Table(
        {
            "x": x + box.x0,
            "y": y + box.y0,
            "snr": np.asarray(table["flux"], np.float64) / error,
            "r50": size.r50,
            "clean": clean,
        },
        meta={"plateau": plateau.level + sky.level},
    )


def _fwhm(
    cuts: Sequence[tuple[Box, Pixels]], skies: Sequence[BlankSky], stars: Table, *, fwhm: float
) -> float:
    """Return the median width of the brightest stars at half of their interpolated peak."""
    stars = stars[np.argsort(-np.asarray(stars["snr"]), kind="stable")[:_STARS]]
    half = math.ceil(1.2 * fwhm)
    widths = []
    for row in stars:
        stamp = _stamp(cuts, skies, float(row["x"]), float(row["y"]), half)
        if stamp is not None:
            widths.append(_half_peak_width(stamp))
    return float(np.median(widths)) if len(widths) >= 3 else math.nan


def _half_peak_width(stamp: Floats) -> float:
    """Return the diameter of the area above half of the peak [pix]; a spline fills pixels in."""
    fine = ndimage.zoom(stamp, _FINE, order=3)
    labels, _ = ndimage.label(fine > 0.5 * fine.max())
    area = int((labels == labels[np.unravel_index(np.argmax(fine), fine.shape)]).sum())
    step = (stamp.shape[0] - 1) / (fine.shape[0] - 1)
    return float(2.0 * math.sqrt(area / math.pi) * step)


def _stamp(
    cuts: Sequence[tuple[Box, Pixels]], skies: Sequence[BlankSky], x: float, y: float, half: int
) -> Floats | None:
    inner = Box.around(x, y, half)
    for (box, pixels), sky in zip(cuts, skies, strict=True):
        if math.isfinite(sky.rms) and inner.clipped(box) == inner:
            part = pixels[inner.shifted(-box.x0, -box.y0).slices]
            whole: Bools = np.isfinite(part)
            return part.astype(np.float64) - sky.level if whole.all() else None
    return None


def _nothing(cuts: Sequence[tuple[Box, Pixels]]) -> SpotCheck:
    nan, none = math.nan, np.zeros(0)
    return SpotCheck(
        n_pixels=sum(int(np.isfinite(p).sum()) for _, p in cuts),
        finite=float(np.mean([np.isfinite(p).mean() for _, p in cuts])),
        level=nan,
        level_spread=nan,
        sky_rms=nan,
        noise_ratio=nan,
        noise_spread=nan,
        neighbour=nan,
        fwhm=nan,
        n_stars=0,
        x=none,
        y=none,
        bright_x=none,
        bright_y=none,
        peak=nan,
        plateau=math.inf,
        constant=_constant(cuts),
    )

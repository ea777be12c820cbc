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
    counts as flat from three times that (and 7 pixels) on; compact galaxies stay below it.
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
        y0, x0 = max(0, iy - WINDOW), max(0, ix - WINDOW)
        cut = np.nan_to_num(image[y0 : iy + WINDOW + 1, x0 : ix + WINDOW + 1])
        labels, _ = ndimage.label(cut > FLAT * np.nanmax(core))
        label = labels[iy - y0, ix - x0]
        if label == 0:
            continue
        top = labels == label
        if top.sum() >= needed:
            rows.append(int(row))
            areas.append(int(top.sum()))
            levels.append(float(np.median(cut[top])))
    return SaturationPlateau(
        level=min(levels) / divisor if levels else float("inf"),
        rows=np.array(rows, dtype=np.int64),
        area=np.array(areas, dtype=np.int64),
    )


def saturated_pixels(image: Pixels, level: float) -> Bools:
    """Return the pixels at or above a level, grown by one pixel on each side."""
    if not np.isfinite(level):
        return np.zeros(image.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        full = image >= level
    return np.asarray(ndimage.binary_dilation(full, np.ones((3, 3), np.bool_)))

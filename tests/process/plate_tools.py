"""Scans of photographic plates as they come: margins, labels, clips, wedges, vignetting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from skyloom.geometry import Box


@dataclass(frozen=True)
class Scan:
    """Transmission [counts], and where the emulsion free of labels and margins is."""

    image: np.ndarray
    emulsion: Box


def scanned_plate(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] = (480, 520),
    margins: tuple[int, int, int, int] = (22, 31, 18, 40),
    margin_level: float = 62000.0,
    label: tuple[int, int] | None = (60, 120),
    wedge: int = 0,
    angle: float = 0.0,
    nebula: bool = False,
    vignetting: float = 0.25,
) -> Scan:
    """Return a scan; stars are dark, margins are of the scanner's bed, the label is paper.

    Parameters
    ----------
    rng : Generator
        Of grain and stars.
    shape : tuple of int
        ``(ny, nx)`` [pix].
    margins : four int
        Left, right, lower, upper [pix].
    margin_level : float
        Of the scanner's bed [counts].
    label : tuple of int, optional
        Height and width of a paper label in the upper left corner of the plate [pix].
    wedge : int
        Height of a step wedge at the lower side of the plate [pix].
    angle : float
        How far the plate is turned in the scanner [deg].
    nebula : bool
        Whether a large nebula is in the middle.
    vignetting : float
        How much lighter the corners are, as a part of the density.
    """
    ny, nx = shape
    left, right, lower, upper = margins
    y, x = np.mgrid[:ny, :nx].astype(float)
    r2 = ((x - nx / 2) ** 2 + (y - ny / 2) ** 2) / (nx / 2) ** 2
    density = 9000.0 * (1.0 - vignetting * r2 / 2)
    stars = np.zeros(shape)
    n = 300
    flux = 4e3 * (1.0 - rng.random(n)) ** (-1 / 1.2)
    stars[rng.integers(0, ny, n), rng.integers(0, nx, n)] = np.minimum(flux, 1e6)
    density += 20000.0 * (1.0 - np.exp(-ndimage.gaussian_filter(stars, 1.4) / 4000.0))
    if nebula:
        density += 9000.0 * np.exp(-((x - nx / 2) ** 2 + (y - ny / 2) ** 2) / (0.2 * nx) ** 2)
    plate = 40000.0 - density + rng.normal(0, 500.0, shape)
    if label is not None:
        h, w = label
        paper = plate[ny - upper - h : ny - upper, left : left + w]
        paper[...] = 57000.0 + rng.normal(0, 300.0, paper.shape)
        for k in range(3):  # handwriting
            row = 10 + 15 * k
            ink = rng.random((6, w - 20)) < 0.5
            paper[row : row + 6, 10:-10][ink] = 20000.0
    for k in range(8 if wedge else 0):
        step = slice(left + k * (nx - left - right) // 8, left + (k + 1) * (nx - left - right) // 8)
        plate[lower : lower + wedge, step] = 5000.0 + 6500.0 * k
    inside = np.zeros(shape, bool)
    inside[lower : ny - upper, left : nx - right] = True
    image = np.where(inside, plate, margin_level + rng.normal(0, 150.0, shape))
    if angle:
        image = ndimage.rotate(image, angle, reshape=False, order=1, cval=margin_level)
    top = ny - upper - (label[0] if label else 0)
    return Scan(np.clip(image, 0, 65535), Box(left, nx - right, lower + wedge, top))

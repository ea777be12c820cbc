"""How the noise of neighbouring pixels is correlated, measured over the whole field.

Each patch sums products of pixels in its base box; the sums of all patches are those of the field,
wherever patch borders run.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skyloom._types import Floats, Pixels
from skyloom.geometry import Box
from skyloom.scene import WHITE_NOISE_LIMIT, NoiseCorrelation, with_positive_power

__all__ = ["MAX_LAG", "field_correlations", "noise_sums"]

MAX_LAG = 5  # pix
BLANK = 0.1  # sigma of the sky: pixels with less light tell of the noise
CLIP = 4.0  # sigma: sources that the catalogue lacks are not noise
MIN_PIXELS = 20_000  # lags are then known to better than 0.01


def noise_sums(residual: Pixels, weight: Pixels, model: Pixels, inner: Box) -> Floats:
    """Sum products of pixels over all pairs whose first pixel lies in a box.

    Parameters
    ----------
    residual, weight, model : ndarray, shape (ny, nx)
        Residual, inverse variance, sum of all models.
    inner : Box
        The box, in pixels of these planes.

    Returns
    -------
    ndarray, shape (2, MAX_LAG + 1, 2 MAX_LAG + 1)
        Sums of ``n(p) n(p + d)`` and numbers of pairs, with n the residual over its noise, for lags
        dy = 0 ... and dx = -MAX_LAG ...; the entry dy = 0, dx = -1 holds the sum of n and the
        number of pixels (lags with dy = 0 and dx < 0 are those of -d).
    """
    root = np.sqrt(weight)
    noise = (residual * root).astype(np.float64)
    blank = (weight > 0) & (np.abs(model) * root < BLANK) & (np.abs(noise) < CLIP)
    noise[~blank] = 0.0
    count = blank.astype(np.float64)
    out = np.zeros((2, MAX_LAG + 1, 2 * MAX_LAG + 1))
    ny, nx = noise.shape
    here = inner.slices
    for dy in range(MAX_LAG + 1):
        for dx in range(-MAX_LAG if dy else 0, MAX_LAG + 1):
            there = inner.shifted(dx, dy).clipped(Box(0, nx, 0, ny))
            first = there.shifted(-dx, -dy).slices
            for plane, sums in zip((noise, count), out, strict=True):
                sums[dy, dx + MAX_LAG] = np.einsum("ij,ij->", plane[first], plane[there.slices])
    out[:, 0, MAX_LAG - 1] = noise[here].sum(), count[here].sum()
    return out


def field_correlations(parts: Iterable[Floats]) -> list[NoiseCorrelation | None]:
    """Return the noise correlation of every band, None where it is white or cannot be known.

    ``parts`` are the sums of patches, shape (B, 2, MAX_LAG + 1, 2 MAX_LAG + 1) each.
    """
    total = np.sum(list(parts), axis=0)
    result: list[NoiseCorrelation | None] = []
    for products, pairs in total:
        pixels = pairs[0, MAX_LAG - 1]
        if pixels < MIN_PIXELS:
            result.append(None)
            continue
        mean = products[0, MAX_LAG - 1] / pixels
        with np.errstate(invalid="ignore", divide="ignore"):
            half = np.where(pairs > 0, products / pairs, 0.0) - mean**2
        if not half[0, MAX_LAG] > 0.0:  # no noise at all: a part of the image is a constant
            result.append(None)
            continue
        rho = np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1))
        rho[MAX_LAG:] = half
        rho[MAX_LAG, :MAX_LAG] = half[0, :MAX_LAG:-1]
        rho[:MAX_LAG] = rho[:MAX_LAG:-1, ::-1]
        found = NoiseCorrelation(rho=with_positive_power(rho / half[0, MAX_LAG]))
        result.append(None if abs(found.neighbour) <= WHITE_NOISE_LIMIT else found)
    return result

"""Chi-square where it matters: inside the footprint of each source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Ints
from skyloom.geometry.box import Box

__all__ = ["footprint_chi2"]

Image = npt.NDArray[np.floating[Any]]


def footprint_chi2(
    data: Image,
    model: Image,
    sigma: Image,
    stamps: Iterable[tuple[Box, Image] | None],
    *,
    level: float = 1.0,
    min_pixels: int = 5,
) -> tuple[Floats, Ints]:
    """Mean chi-square of each source over the pixels that it dominates the noise of.

    Parameters
    ----------
    data, model, sigma : ndarray, shape (ny, nx)
        Image, model of the whole scene with its sky, and total noise of one band, in one unit.
        Pixels where any of them is not finite, or sigma is not positive, do not count.
    stamps : iterable of (Box, ndarray) or None
        For each source its PSF-convolved model alone and the pixels that it covers; None for a
        source without a fit.  A generator will do: stamps are used one by one.
    level : float
        A pixel belongs to the footprint where the source's model exceeds this [sigma].
    min_pixels : int
        Smaller footprints give NaN.

    Returns
    -------
    tuple of ndarray
        Mean of ``((data - model) / sigma)^2`` and number of footprint pixels, per source.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        chi2 = ((np.asarray(data, np.float64) - model) / sigma) ** 2
    good = np.isfinite(chi2) & np.isfinite(sigma) & (np.asarray(sigma) > 0)
    frame = Box.of_shape((chi2.shape[0], chi2.shape[1]))
    means, counts = [], []
    for entry in stamps:
        n, mean = 0, np.nan
        if entry is not None:
            box, stamp = entry
            inside = box.clipped(frame)
            own = stamp[inside.shifted(-box.x0, -box.y0).slices]
            footprint = good[inside.slices] & (own > level * sigma[inside.slices])
            n = int(footprint.sum())
            if n >= min_pixels:
                mean = float(chi2[inside.slices][footprint].mean())
        means.append(mean)
        counts.append(n)
    return np.array(means, dtype=np.float64), np.array(counts, dtype=np.int64)

"""The sky around single stars: the clipped median of an annulus of the cutout."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from skyloom._types import Bools, Floats, Pixels

from .cutouts import StarCutouts
from .models import stamp_radius

__all__ = [
    "AnnulusBackground",
    "LocalBackground",
    "annulus_background",
    "annulus_radii",
    "without_local_background",
]

_ROUNDS = 5  # of clipping


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalBackground:
    """The level of each star, 0 where its annulus has too few pixels."""

    level: Floats  # (n,), unit of the image
    is_measured: Bools

    def as_dict(self, rows: Bools | None = None) -> dict[str, Any]:
        """Return ``local_star_background`` of ``meta.json`` for some stars."""
        use = slice(None) if rows is None else rows
        level = self.level[use]
        return {
            "local_bkg_nstars": len(level),
            "local_bkg_ok_nstars": int(self.is_measured[use].sum()),
            "local_bkg_median": float(np.median(level)) if len(level) else None,
            "local_bkg_mean": float(np.mean(level)) if len(level) else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnulusBackground:
    """Level of the sky in a ring, and the pixels that tell it."""

    level: float  # unit of the image; 0 with too few pixels
    used: Bools  # (S, S)
    is_measured: bool


def annulus_radii(side: int, *, rin: float, rout: float) -> tuple[float, float]:
    """Return the radii [pix] of an annulus that fits into a stamp of ``side`` pixels."""
    largest = max(2.0, (side - 1) / 2.0 - 1.0)
    outer = min(max(rout, 2.0), largest)
    return min(max(rin, 0.0), max(0.0, outer - 1.0)), outer


def annulus_background(
    stamp: Pixels, good: Bools, *, rin: float, rout: float, clip_sigma: float, min_pixels: int
) -> AnnulusBackground:
    """Measure the median of a ring about the centre of a stamp, clipped.

    Parameters
    ----------
    stamp : ndarray, shape (S, S)
    good : ndarray of bool, shape (S, S)
        Usable pixels.
    rin, rout, clip_sigma, min_pixels
        As of `without_local_background`.
    """
    ring = _ring(stamp.shape[0], rin, rout) & good & np.isfinite(stamp)
    values = stamp[ring]
    # What clipping leaves is a part of the sorted values without a gap: its sums are differences.
    ranked = np.sort(values.astype(np.float64))
    if ranked.size < max(1, min_pixels):
        return AnnulusBackground(level=0.0, used=ring, is_measured=False)
    offset = ranked - ranked[ranked.size // 2]
    sums = np.concatenate([[0.0], np.cumsum(offset)])
    squares = np.concatenate([[0.0], np.cumsum(offset**2)])
    low, high = 0, ranked.size
    for _ in range(_ROUNDS):
        number = high - low
        if number < max(1, min_pixels):
            break
        mean = (sums[high] - sums[low]) / number
        power = (squares[high] - squares[low]) / number - mean**2
        limit = clip_sigma * math.sqrt(max(power, 0.0))
        median = _middle(ranked, low, high)
        # inside the old limits: the median moves
        first = max(low, int(np.searchsorted(ranked, median - limit, side="left")))
        last = min(high, int(np.searchsorted(ranked, median + limit, side="right")))
        if (first, last) == (low, high):
            break
        low, high = first, last
    if high > low:
        ring[ring] = (values >= ranked[low]) & (values <= ranked[high - 1])
    else:
        ring[:] = False
    if high - low < max(1, min_pixels):
        return AnnulusBackground(level=0.0, used=ring, is_measured=False)
    return AnnulusBackground(level=_middle(ranked, low, high), used=ring, is_measured=True)


@lru_cache(maxsize=8)
def _ring(side: int, rin: float, rout: float) -> Bools:
    """Return the pixels of an annulus."""
    inner, outer = annulus_radii(side, rin=rin, rout=rout)
    radius = stamp_radius(side)
    ring = np.asarray((radius >= inner) & (radius <= outer))
    ring.flags.writeable = False
    return ring


def _middle(ranked: Floats, low: int, high: int) -> float:
    """Return the median of a part of sorted values."""
    n = low + high
    return 0.5 * float(ranked[(n - 1) // 2] + ranked[n // 2])


def without_local_background(
    cutouts: StarCutouts, *, rin: float, rout: float, clip_sigma: float, min_pixels: int
) -> tuple[StarCutouts, LocalBackground]:
    """Subtract from each star the median of an annulus.

    Parameters
    ----------
    cutouts : StarCutouts
    rin, rout : float
        Radii of the annulus [pix], see `annulus_radii`.
    clip_sigma : float
        Pixels farther from the median are clipped, in five rounds at most.
    min_pixels : int
        With fewer pixels, before or after clipping, the level is 0.
    """
    found = [
        annulus_background(
            data, weight > 0, rin=rin, rout=rout, clip_sigma=clip_sigma, min_pixels=min_pixels
        )
        for data, weight in zip(cutouts.data, cutouts.weight, strict=True)
    ]
    level = np.array([f.level for f in found], dtype=np.float64)
    data = np.where(cutouts.weight > 0, cutouts.data - level[:, None, None], cutouts.data)
    return (
        replace(cutouts, data=data.astype(np.float32)),
        LocalBackground(
            level=level, is_measured=np.array([f.is_measured for f in found], dtype=np.bool_)
        ),
    )

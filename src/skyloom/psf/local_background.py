"""The sky around single stars: the clipped median of an annulus of the cutout."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    inner, outer = annulus_radii(stamp.shape[0], rin=rin, rout=rout)
    radius = stamp_radius(stamp.shape[0])
    ring = good & np.isfinite(stamp) & (radius >= inner) & (radius <= outer)
    values = stamp[ring]
    used = np.ones(values.size, np.bool_)
    for _ in range(_ROUNDS):
        if used.sum() < max(1, min_pixels):
            break
        some = values[used].astype(np.float64)
        kept = used & (np.abs(values - np.median(some)) <= clip_sigma * some.std())
        if kept.sum() == used.sum():
            break
        used = kept
    ring[ring] = used
    if used.sum() < max(1, min_pixels):
        return AnnulusBackground(level=0.0, used=ring, is_measured=False)
    return AnnulusBackground(level=float(np.median(values[used])), used=ring, is_measured=True)


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

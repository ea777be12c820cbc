"""The sky around single stars: the clipped median of an annulus of the cutout."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skyloom._types import Bools, Floats

from .cutouts import StarCutouts
from .models import stamp_radius

__all__ = ["LocalBackground", "annulus_radii", "without_local_background"]

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


def annulus_radii(side: int, *, rin: float, rout: float) -> tuple[float, float]:
    """Return the radii [pix] of an annulus that fits into a stamp of ``side`` pixels."""
    largest = max(2.0, (side - 1) / 2.0 - 1.0)
    outer = min(max(rout, 2.0), largest)
    return min(max(rin, 0.0), max(0.0, outer - 1.0)), outer


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
    inner, outer = annulus_radii(cutouts.side, rin=rin, rout=rout)
    radius = stamp_radius(cutouts.side)
    ring = (radius >= inner) & (radius <= outer)
    found = [
        _clipped_median(data[ring & (weight > 0)], clip_sigma, min_pixels)
        for data, weight in zip(cutouts.data, cutouts.weight, strict=True)
    ]
    measured = np.array([math.isfinite(v) for v in found], dtype=np.bool_)
    level = np.where(measured, found, 0.0)
    data = np.where(cutouts.weight > 0, cutouts.data - level[:, None, None], cutouts.data)
    return (
        replace(cutouts, data=data.astype(np.float32)),
        LocalBackground(level=level, is_measured=measured),
    )


def _clipped_median(values: Floats, clip_sigma: float, min_pixels: int) -> float:
    """Return the median after clipping; NaN when too few pixels are left."""
    values = np.asarray(values, dtype=np.float64)
    for _ in range(_ROUNDS):
        if len(values) < min_pixels:
            return math.nan
        middle, scatter = np.median(values), values.std()
        kept = np.abs(values - middle) <= clip_sigma * scatter
        if kept.all():
            break
        values = values[kept]
    return float(np.median(values)) if len(values) >= max(1, min_pixels) else math.nan

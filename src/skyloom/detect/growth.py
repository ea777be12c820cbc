"""Growth curves of many sources, with the pixels of their neighbours left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sep

from skyloom._types import Bools, Floats, Pixels

__all__ = ["GrowthRadii", "growth_radii"]

_STEPS = np.linspace(0.0, 1.0, 25)[1:] ** 1.5  # denser where the light is


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrowthRadii:
    """Radii [pix] that hold 20, 50 and 80 per cent of the light within the aperture."""

    r20: Floats
    r50: Floats
    r80: Floats

    @property
    def concentration(self) -> Floats:
        """``r80 / r20``."""
        return np.asarray(self.r80 / np.maximum(self.r20, 1e-3))


def growth_radii(
    data: Pixels, x: Floats, y: Floats, *, radius: Floats, bad: Bools, segments: Any, ids: Any
) -> GrowthRadii:
    """Measure radii that enclose parts of the light of sources.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Background-subtracted image.
    x, y, radius : ndarray, shape (n,)
        Centres and radii of the apertures that hold all light [pix].
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    segments : ndarray of int, shape (ny, nx)
        Which source a pixel belongs to.
    ids : ndarray of int, shape (n,)
        The numbers of these sources in it; pixels of others are left out.

    Returns
    -------
    GrowthRadii
        NaN where there is no light.
    """
    n = x.size
    if n == 0:
        return GrowthRadii(r20=np.zeros(0), r50=np.zeros(0), r80=np.zeros(0))
    rings = np.empty((n, _STEPS.size))
    inner = np.zeros(n)
    for k, step in enumerate(_STEPS):
        outer = step * radius
        # What is left out of a ring counts as the mean of the rest of the ring.
        flux, _, _ = sep.sum_circann(
            data, x, y, inner, outer, mask=bad, segmap=segments, seg_id=ids, subpix=5
        )
        rings[:, k] = np.nan_to_num(flux)
        inner = outer
    curve = np.cumsum(rings, axis=1)
    total = curve[:, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, curve / total, np.nan)
    return GrowthRadii(
        **{f"r{percent}": _crossing(share, 0.01 * percent) * radius for percent in (20, 50, 80)}
    )


def _crossing(share: Floats, level: float) -> Floats:
    """Return the relative radius at which each curve first reaches a level."""
    above = share >= level
    k = np.argmax(above, axis=1)
    rows = np.arange(len(share))
    high, low = share[rows, k], np.where(k > 0, share[rows, k - 1], 0.0)
    r_high, r_low = _STEPS[k], np.where(k > 0, _STEPS[k - 1], 0.0)
    # Light goes as the area inside a step.
    part = (level - low) / np.maximum(high - low, 1e-12)
    radius = np.sqrt(r_low**2 + part * (r_high**2 - r_low**2))
    return np.where(above.any(axis=1) & np.isfinite(share[:, -1]), radius, np.nan)

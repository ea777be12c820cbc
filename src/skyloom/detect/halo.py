"""The halo of a bright star: what its PSF does not know, in rings about it.

Measured on what is left of the image when all models are taken off.  In each ring the brightness
is a constant and two harmonics of the angle, found with outliers clipped: spikes and unlisted
sources are no halo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from skyloom._types import Bools, Floats, Ints

__all__ = ["N_TERMS", "HaloProfile", "halo_light", "halo_profile"]

RING: Final = 2.5  # pix, width of a ring
MIN_PIXELS: Final = 24  # of a ring
COVERED: Final = 0.7  # of a ring: with less, a constant is all that is fitted
CLIP: Final = 2.5  # sigma of the pixels
ROUNDS: Final = 5
SIGNIFICANT: Final = 5.0  # standard deviations of chi-square: below it there is no halo
SECTORS: Final = 8  # of a ring; light in fewer than half of them is a neighbour's
MEDIAN_ERROR: Final = 1.2  # of the median of so many means over that of their mean
N_TERMS: Final = 5  # 1, cos a, sin a, cos 2a, sin 2a


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HaloProfile:
    """Surface brightness of a halo in rings.

    ``radius`` [pix] of the middle of each ring, shape (k,); ``terms`` [units of the image], shape
    (k, 5), of 1, cos a, sin a, cos 2a, sin 2a, with a the angle from +x; ``error`` of the first.
    ``around`` is the median brightness of the sectors of each ring: what a star has on all sides,
    where a neighbour with a wrong model, or none, is on one.
    """

    radius: Floats
    terms: Floats
    error: Floats
    around: Floats

    @property
    def is_significant(self) -> bool:
        """True where the rings are brighter or darker all around than chance allows."""
        seen = np.isfinite(self.error)
        count = int(seen.sum())
        chi2 = float(((self.around[seen] / (MEDIAN_ERROR * self.error[seen])) ** 2).sum())
        return count > 0 and chi2 > count + SIGNIFICANT * np.sqrt(2.0 * count)


def halo_profile(
    residual: Floats,
    weight: Floats,
    use: Bools,
    *,
    dx: Floats,
    dy: Floats,
    inner: float,
    outer: float,
) -> HaloProfile:
    """Measure a halo in rings about a star.

    Parameters
    ----------
    residual, weight : ndarray, shape (ny, nx)
        What no model explains, and its inverse variance.
    use : ndarray of bool, shape (ny, nx)
        Pixels without light of other sources.
    dx, dy : ndarray, shape (ny, nx)
        Offset of each pixel from the star [pix].
    inner, outer : float
        Where the rings begin and end [pix].

    Returns
    -------
    HaloProfile
        0 with an infinite error in rings with too few pixels.
    """
    edges = np.arange(inner, max(outer, inner + RING) + 0.5 * RING, RING)
    count = len(edges) - 1
    distance = np.hypot(dx, dy)
    good = use & (weight > 0.0) & (distance >= edges[0]) & (distance < edges[-1])
    ring = np.clip(((distance[good] - inner) / RING).astype(np.int64), 0, count - 1)
    values, sigma = residual[good], weight[good] ** -0.5
    basis = _harmonics(dx[good], dy[good])
    order = np.argsort(ring, kind="stable")
    bounds = np.searchsorted(ring[order], np.arange(count + 1))
    sector = ((np.arctan2(dy[good], dx[good]) / (2.0 * np.pi) * SECTORS) % SECTORS).astype(np.int64)
    terms, error, around = np.zeros((count, N_TERMS)), np.full(count, np.inf), np.zeros(count)
    for k in range(count):
        own = order[bounds[k] : bounds[k + 1]]
        area = np.pi * (edges[k + 1] ** 2 - edges[k] ** 2)
        if len(own) >= MIN_PIXELS:
            number = N_TERMS if len(own) > COVERED * area else 1
            found, error[k], keep = _clipped_fit(values[own], sigma[own], basis[own, :number])
            terms[k, :number] = found
            around[k] = _median_of_sectors(values[own[keep]], sector[own[keep]])
    radius = 0.5 * (edges[1:] + edges[:-1])
    return HaloProfile(radius=radius, terms=terms, error=error, around=around)


def _median_of_sectors(values: Floats, sector: Ints) -> float:
    """Return the median of the means of the sectors of a ring."""
    count = np.bincount(sector, minlength=SECTORS)
    total = np.bincount(sector, values, minlength=SECTORS)
    return float(np.median(total[count > 0] / count[count > 0])) if count.any() else 0.0


def _harmonics(dx: Floats, dy: Floats) -> Floats:
    """Return 1, cos a, sin a, cos 2a, sin 2a in the last axis."""
    r = np.maximum(np.hypot(dx, dy), 1e-9)
    c, s = dx / r, dy / r
    return np.stack([np.ones_like(c), c, s, c * c - s * s, 2.0 * c * s], axis=-1)


def _clipped_fit(values: Floats, sigma: Floats, basis: Floats) -> tuple[Floats, float, Bools]:
    """Return coefficients without outliers on either side, the error of the first, who is in."""
    terms: Floats = np.zeros(basis.shape[1])
    terms[0] = np.median(values)
    keep = np.zeros(len(values), np.bool_)
    for _ in range(ROUNDS):
        again = np.abs(values - basis @ terms) < CLIP * sigma
        if again.sum() < MIN_PIXELS or (again == keep).all():
            break
        keep = again
        scaled = basis[keep] / sigma[keep, None]
        terms = np.asarray(
            np.linalg.lstsq(scaled, values[keep] / sigma[keep], rcond=None)[0], dtype=np.float64
        )
    used = sigma[keep] if keep.any() else sigma
    return terms, float(np.sum(used**-2.0)) ** -0.5, keep


def halo_light(dx: Floats, dy: Floats, radius: Floats, terms: Floats) -> Floats:
    """Return the brightness of a halo at offsets [pix] from its star.

    Linear between the middles of the rings, and to 0 within one ring at both ends.
    """
    step = radius[1] - radius[0] if len(radius) > 1 else RING
    knots = np.concatenate([[radius[0] - step], radius, [radius[-1] + step]])
    distance = np.hypot(dx, dy)
    total = np.zeros(np.broadcast(dx, dy).shape)
    basis = _harmonics(*np.broadcast_arrays(dx, dy))
    for k in range(N_TERMS):
        levels = np.concatenate([[0.0], terms[:, k], [0.0]])
        total += basis[..., k] * np.interp(distance, knots, levels, left=0.0, right=0.0)
    return total

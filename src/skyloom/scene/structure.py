"""Structure that smooth models leave in the residual of galaxies: arms, bars, rings, tails.

Noise does not know its neighbours two or three pixels away; spiral arms do.  The covariance of
residuals at that distance is therefore the square of what the model misses, free of noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from .models import unit_stamps
from .passes import ScenePass
from .state import SceneState

__all__ = ["ResidualStructure", "residual_structure"]

LAGS: Final = ((2, 1), (1, 2), (-1, 2), (-2, 1), (3, 0), (0, 3))
"""Steps x, y [pix]: beyond the correlation of resampled noise, within the width of a PSF."""

CORE: Final = 1.0  # FWHM: nearer to the centre, errors of the PSF count more than structure
OWN: Final = 0.5  # of the light of all models: elsewhere the residual may be a neighbour's


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualStructure:
    """What smooth models miss, arrays of shape (m, B).

    ``n_pairs`` of pixels that were compared; ``covariance`` of their residuals in units of the
    noise variance; ``fraction``: root of the covariance over that of the model, signed: which part
    of the surface brightness the structure is.  NaN without pairs.
    """

    n_pairs: Ints
    covariance: Floats
    fraction: Floats

    @property
    def significance(self) -> Floats:
        """``covariance`` over its standard error for white noise, ``1 / sqrt(n_pairs)``."""
        return np.asarray(self.covariance * np.sqrt(self.n_pairs))

    def joint(self) -> tuple[Floats, Floats, Floats]:
        """Return covariance, significance and fraction of all images together, shape (m,).

        The mean over all pairs, its significance, and the mean of the fractions, weighted by the
        significance that each would have if it were one.
        """
        n = self.n_pairs.sum(axis=1)
        total = np.nansum(self.covariance * self.n_pairs, axis=1)
        seen = n > 0
        mean = np.where(seen, total / np.maximum(n, 1), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = self.n_pairs * np.abs(self.covariance) / self.fraction**2
        weight = np.where(np.isfinite(weight), weight, 0.0)
        part = np.nansum(weight * np.nan_to_num(self.fraction), axis=1)
        norm = weight.sum(axis=1)
        fraction = np.where(norm > 0.0, part / np.where(norm > 0.0, norm, 1.0), np.nan)
        return mean, mean * np.sqrt(n), fraction


def residual_structure(
    scene: ScenePass,
    state: SceneState,
    rows: Ints,
    residual: Pixels,
    weight: Pixels,
    *,
    model: Pixels,
) -> ResidualStructure:
    """Measure how residuals within the footprints of some sources are correlated.

    Parameters
    ----------
    scene, state : ScenePass, SceneState
    rows : ndarray of int, shape (m,)
    residual, weight : ndarray of float32
        From `ScenePass.residual` at this state.
    model : ndarray of float32
        The sum of all models, flat like the residual.

    Notes
    -----
    The footprint of a source is where its own model exceeds one sigma of the sky and half of all
    light, outside one FWHM of its centre.  Pairs of pixels are those at `LAGS`.
    """
    n_images = scene.geometry.n_images
    pairs = np.zeros((len(rows), n_images), np.int64)
    covariance, fraction = (np.full((len(rows), n_images), np.nan) for _ in range(2))
    sides = scene.stamp_sides(state)
    nowhere = np.zeros((1, 2), np.int64)
    for k, row in enumerate(rows):
        members, theta = scene.members(
            np.array([row]), state.theta, sides, nowhere, offset=state.offset
        )
        values = unit_stamps(members, theta, np.ones((1, n_images), np.bool_), scene.tables)
        side = int(members.size[0])
        stamps = values.reshape(n_images, side, side)
        for b in range(n_images):
            flux = np.nan_to_num(state.flux[row, scene.geometry.key[b]])
            height, width = (int(n) for n in scene.geometry.shapes[b])
            start = int(scene.geometry.offsets[b])
            cut, inner = _overlap(members.origin[0, b], side, height, width)
            planes = [
                p[start : start + height * width].reshape(height, width)[cut].astype(np.float64)
                for p in (residual, weight, model)
            ]
            own = flux * stamps[b][inner].astype(np.float64)
            centre = members.pos[0, b] + theta[0, :2]
            y, x = np.ogrid[inner]
            far = np.hypot(x - centre[0], y - centre[1]) > CORE * scene.psf_fwhm
            use = far & (planes[1] > 0.0) & (own > scene.noise[b]) & (own > OWN * planes[2])
            found = _covariances(planes[0], planes[1], own, use)
            pairs[k, b], covariance[k, b], fraction[k, b] = found
    return ResidualStructure(n_pairs=pairs, covariance=covariance, fraction=fraction)


def _overlap(
    corner: Ints, side: int, height: int, width: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of an image that a stamp covers, and which part of the stamp that is."""
    image, stamp = [], []
    for low, size in ((int(corner[1]), height), (int(corner[0]), width)):
        first, last = max(0, low), max(0, min(size, low + side))
        first = min(first, last)
        image.append(slice(first, last))
        stamp.append(slice(first - low, last - low))
    return (image[0], image[1]), (stamp[0], stamp[1])


def _covariances(
    residual: Floats, weight: Floats, own: Floats, use: Bools
) -> tuple[int, float, float]:
    """Return the number of pairs, their covariance in units of the noise, the fraction."""
    scaled = np.where(use, residual * np.sqrt(weight), 0.0)
    plain, light = np.where(use, residual, 0.0), np.where(use, own, 0.0)
    count, noise_units, missed, shown = 0, 0.0, 0.0, 0.0
    for dx, dy in LAGS:
        a, b = _shifted(use.shape, dx, dy)
        count += int((use[a] & use[b]).sum())
        noise_units += float((scaled[a] * scaled[b]).sum())
        missed += float((plain[a] * plain[b]).sum())
        shown += float((light[a] * light[b] * use[a] * use[b]).sum())
    if count == 0 or shown <= 0.0:
        return count, np.nan, np.nan
    return count, noise_units / count, float(np.copysign(np.sqrt(abs(missed) / shown), missed))


def _shifted(shape: tuple[int, ...], dx: int, dy: int) -> tuple[tuple[slice, slice], ...]:
    """Return the two parts of an image that lie ``dx, dy`` apart."""
    ny, nx = shape
    rows = slice(0, max(0, ny - dy)), slice(min(dy, ny), ny)
    if dx >= 0:
        return (rows[0], slice(0, max(0, nx - dx))), (rows[1], slice(min(dx, nx), nx))
    return (rows[0], slice(min(-dx, nx), nx)), (rows[1], slice(0, max(0, nx + dx)))

"""How good a fit is, per source and image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats, Ints, Pixels

from ._records import Images
from ._stats_nb import MIN_PIXELS, footprint_statistics
from .models import unit_stamps
from .passes import ScenePass, SceneState

__all__ = ["SourceDiagnostics", "diagnose"]

CHUNK = 64  # sources whose stamps are in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDiagnostics:
    """Statistics per source and image, arrays of shape (m, B).

    ``chi2`` sum of squared residuals in units of the noise over the footprint, ``n_good`` its
    usable pixels, ``masked_fraction`` and ``core_masked_fraction`` the share of the profile
    (weighted by its square) and of the core that no usable pixel covers, ``sky_response`` change
    of the flux per unit of sky level, ``n_above`` pixels in which the model exceeds one sigma
    of the sky.
    """

    chi2: Floats
    n_good: Ints
    masked_fraction: Floats
    core_masked_fraction: Floats
    sky_response: Floats
    n_above: Ints

    @property
    def reduced_chi2(self) -> Floats:
        """Mean chi-square per footprint pixel; NaN without pixels."""
        return np.where(self.n_good > 0, self.chi2 / np.maximum(self.n_good, 1), np.nan)

    @property
    def has_footprint(self) -> Floats:
        """True where enough pixels stand above the noise for chi-square to mean the source."""
        return np.asarray(self.n_above >= MIN_PIXELS)


def diagnose(
    scene: ScenePass, state: SceneState, rows: Ints, residual: Pixels, weight: Pixels
) -> SourceDiagnostics:
    """Measure the residual around some sources.

    Parameters
    ----------
    scene, state : ScenePass, SceneState
    rows : ndarray of int, shape (m,)
    residual, weight : ndarray of float32
        From `ScenePass.residual` at this state.
    """
    geometry = scene.geometry
    sides = scene.stamp_sides(state)
    out = np.zeros((len(rows), geometry.n_images, 7))
    images = Images(residual, weight, geometry.offsets, geometry.shapes, geometry.key)
    bad = (weight <= 0.0).astype(np.uint8)
    nowhere = np.zeros((1, 2), np.int64)
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        members, theta = scene.members(chunk, state.theta, sides, nowhere, offset=state.offset)
        values = unit_stamps(
            members, theta, np.ones((len(chunk), geometry.n_images), np.bool_), scene.tables
        )
        flux = np.nan_to_num(state.flux[chunk])
        found = out[start : start + CHUNK]
        footprint_statistics(members, values, flux, images, bad, scene.noise, found)
    information = np.zeros((len(rows), len(geometry.flux_keys)))
    for b, key in enumerate(geometry.key):
        information[:, key] += out[:, b, 5]
    information = information[:, geometry.key]
    response = np.full_like(information, np.nan)
    np.divide(out[..., 4], information, out=response, where=information > 0)
    return SourceDiagnostics(
        chi2=out[..., 0],
        n_good=out[..., 1].astype(np.int64),
        masked_fraction=out[..., 2],
        core_masked_fraction=out[..., 3],
        sky_response=response,
        n_above=out[..., 6].astype(np.int64),
    )

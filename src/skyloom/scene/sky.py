"""Constant sky levels, fitted with the sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skyloom._types import Floats, Pixels

from .images import SceneImage
from .passes import ScenePass
from .state import SceneState

__all__ = ["SkyLevels"]


class SkyLevels:
    """Constant sky levels shared by images with the same key."""

    def __init__(self, images: Sequence[SceneImage], scene: ScenePass) -> None:
        self._scene = scene
        self._keys = [im.sky_key for im in images]
        self.level = {k: 0.0 for k in self._keys if k is not None}
        self.error = dict(self.level)

    @property
    def of_images(self) -> Floats:
        """Level of every image; 0 where none is fitted."""
        return np.array([0.0 if k is None else self.level[k] for k in self._keys])

    def update(self, state: SceneState, residual: Pixels, weight: Pixels) -> None:
        """Move every level to its optimum.

        With the sources free to follow, the information on a level is what its pixels hold less
        what the sources absorb.
        """
        sums = np.zeros((len(self._keys), 2))
        spans = self._scene.spans()

        def add_up(b: int) -> None:
            start, area = spans[b]
            w = weight[start : start + area].astype(np.float64)
            sums[b] = w.sum(), (w * residual[start : start + area]).sum()

        self._scene.in_threads(add_up, [b for b, k in enumerate(self._keys) if k is not None])
        for number, key in enumerate(self.level):
            total, weighted = -float(state.sky_absorbed[:, number].sum()), 0.0
            for image_key, (information, residue) in zip(self._keys, sums.tolist(), strict=True):
                if image_key == key:
                    total += information
                    weighted += residue
            if total > 0.0:
                self.level[key] += weighted / total
                self.error[key] = total**-0.5

    def add_errors(self, flux_cov: Floats, state: SceneState) -> None:
        """Add the variance that uncertain sky levels give to the fluxes."""
        for number, error in enumerate(self.error.values()):
            shift = state.sky_response[:, :, number] * error
            flux_cov += shift[:, :, None] * shift[:, None, :]

    def add_pair_errors(self, state: SceneState) -> None:
        """Add what uncertain sky levels give to the covariance of neighbours' fluxes."""
        has = np.flatnonzero(state.partner >= 0)
        other = state.partner[has]
        for number, error in enumerate(self.error.values()):
            shift = state.sky_response[:, :, number] * error
            state.pair_cov[has] += shift[has] * shift[other]

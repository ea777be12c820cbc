"""What bright stars do to single sources, as flags."""

from __future__ import annotations

from typing import Final

import numpy as np

from skyloom._types import Bools, Ints
from skyloom.images import MaskBit
from skyloom.scene import SceneState, SourceType

from .fit import PatchScene

__all__ = ["on_spikes"]

LARGEST: Final = 20.0  # pix


def on_spikes(patch: PatchScene, state: SceneState, local: Ints) -> Bools:
    """Tell which sources lost pixels to spikes, within their half-light radius or half a FWHM."""
    out = np.zeros(len(local), np.bool_)
    spike = np.bitwise_or.reduce(patch.mask, axis=0) & np.uint8(MaskBit.SPIKE) > 0
    if not spike.any():
        return out
    ny, nx = spike.shape
    star = patch.sources.kind[local] == SourceType.STAR
    size = np.where(star, 0.0, np.minimum(np.exp(state.theta[local, 2]), LARGEST))
    reach = np.maximum(size, 0.5 * patch.scene.psf_fwhm)
    x, y = state.theta[local, 0] - patch.box.x0, state.theta[local, 1] - patch.box.y0
    for k in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        x0, x1 = max(0, int(x[k] - reach[k])), min(nx, int(x[k] + reach[k]) + 2)
        y0, y1 = max(0, int(y[k] - reach[k])), min(ny, int(y[k] + reach[k]) + 2)
        if x0 < x1 and y0 < y1:
            dy, dx = np.ogrid[y0:y1, x0:x1]
            near = (dx - x[k]) ** 2 + (dy - y[k]) ** 2 <= reach[k] ** 2
            out[k] = bool((spike[y0:y1, x0:x1] & near).any())
    return out

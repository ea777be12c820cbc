"""Images of one source that lie apart in different bands: registration and proper motion."""

from __future__ import annotations

import numpy as np

from skyloom._types import Floats, Ints

from .options import FitOptions
from .sources import Sources
from .state import SceneState

__all__ = ["shift_bands"]


def shift_bands(
    sources: Sources,
    options: FitOptions,
    state: SceneState,
    rows: Ints,
    *,
    slope: Floats,
    curvature: Floats,
) -> None:
    """Move the image of bright sources in each band by one Newton step towards its optimum.

    The others have the offset that is expected of them, ``state.offset_mean``.

    Parameters
    ----------
    sources, options, state : Sources, FitOptions, SceneState
        ``state.offset`` is changed.
    rows : ndarray of int, shape (m,)
    slope : ndarray, shape (m, F, 2)
        Gradient of -chi-square / 2 by a shift of the image along x and y [1 / pix].
    curvature : ndarray, shape (m, F, 3)
        Second derivatives xx, xy, yy of chi-square / 2 [1 / pix**2].
    """
    with np.errstate(invalid="ignore"):
        bright = state.flux[rows] > options.offset_snr * state.flux_err[rows]
    bright &= sources.free[rows, :1] & ~state.frozen[rows, None]
    bright &= ~sources.is_composite[rows, None]
    if not bright.any():
        state.offset[rows] = state.offset_mean[rows]
        return
    prior = options.prior_offset**-2.0
    expected = state.offset_mean[rows]
    before = state.offset[rows] - expected
    gx, gy = (slope[..., i] - prior * before[..., i] for i in (0, 1))
    hxx, hxy, hyy = (curvature[..., i] for i in (0, 1, 2))
    hxx, hyy = hxx + prior, hyy + prior
    det = hxx * hyy - hxy**2
    step = np.stack([(hyy * gx - hxy * gy) / det, (hxx * gy - hxy * gx) / det], axis=-1)
    limit = 3.0 * options.prior_offset
    after = np.clip(before + np.clip(step, -limit, limit), -limit, limit)
    after = np.where(bright[..., None], after, 0.0)
    # Beyond what is expected their weighted mean is zero: the joint position is that of all bands.
    weight = np.where(bright, hxx + hyy, 0.0)[..., None]
    total = weight.sum(axis=1, keepdims=True)
    mean = (weight * after).sum(axis=1, keepdims=True) / np.where(total > 0.0, total, 1.0)
    state.offset[rows] = expected + np.where(bright[..., None], after - mean, 0.0)

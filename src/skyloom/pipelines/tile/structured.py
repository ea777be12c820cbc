"""Galaxies whose structure no smooth model can follow: spirals, bars, rings, mergers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Ints
from skyloom.flags import FitFlag
from skyloom.scene import SceneState, SourceDiagnostics, SourceType, residual_structure

from .patch_scene import PatchScene
from .report_columns import Columns

__all__ = ["add_structure"]

MIN_SNR: Final = 50.0  # of all bands: fainter structure drowns
MIN_PIXELS: Final = 100  # of the footprint in some band
MIN_RADIUS: Final = 0.5  # FWHM, half-light radius: smaller galaxies show the PSF's errors
MIN_SIGNIFICANCE: Final = 6.0
MIN_COVARIANCE: Final = 0.1  # of the noise variance: less does not show
MIN_FRACTION: Final = 0.05  # of the surface brightness: errors of the PSF stay below

_ELSEWHERE: Final = (
    FitFlag.SATURATED
    | FitFlag.NEAR_SATURATED
    | FitFlag.HALO_FRAGMENT
    | FitFlag.NO_DATA
    | FitFlag.FAILED
    | FitFlag.FROZEN
)
"""Residuals of these have other reasons."""


def add_structure(
    fit: Columns,
    patch: PatchScene,
    state: SceneState,
    found: SourceDiagnostics,
    local: Ints,
    *,
    prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> None:
    """Add ``structure_{band}``, and STRUCTURED to ``fit_flags`` where it is significant.

    Parameters
    ----------
    fit : dict of ndarray
        Results so far, with ``fit_flags``; one row for each of ``local``.
    patch, state, found, local
        The patch, its final state, the diagnostics of the sources ``local``.
    prepared : tuple of ndarray
        Residual and weight of the final state, flat.
    """
    residual, weight = prepared
    flags = np.asarray(fit["fit_flags"])
    rows = np.flatnonzero(_is_candidate(patch, state, found, local, flags))
    structure = residual_structure(
        patch.scene, state, local[rows], residual, weight, model=patch.scene.model(residual)
    )
    covariance, significance, fraction = structure.joint()
    with np.errstate(invalid="ignore"):
        shows = (
            (significance > MIN_SIGNIFICANCE)
            & (covariance > MIN_COVARIANCE)
            & (fraction > MIN_FRACTION)
        )
    for b, band in enumerate(patch.bands):
        column = np.full(len(local), np.nan)
        column[rows] = structure.fraction[:, b]
        fit[f"structure_{band}"] = column
    bits = np.zeros(len(local), np.int64)
    bits[rows[shows]] = int(FitFlag.STRUCTURED)
    fit["fit_flags"] = flags | bits


def _is_candidate(
    patch: PatchScene, state: SceneState, found: SourceDiagnostics, local: Ints, flags: Ints
) -> Bools:
    """Tell which sources are large and bright enough to show structure."""
    theta = state.theta[local]
    large = np.exp(theta[:, 2]) > MIN_RADIUS * patch.scene.psf_fwhm
    galaxy = patch.sources.kind[local] != SourceType.STAR
    bright = np.nan_to_num(state.snr[local]) > MIN_SNR
    seen = (found.n_above >= MIN_PIXELS).any(axis=1)
    return np.asarray(
        galaxy & large & bright & seen & state.started[local] & ((flags & _ELSEWHERE) == 0)
    )

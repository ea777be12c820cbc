"""Aperture fluxes beside those of the fit, so that users can see whether both agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Ints
from skyloom.scene import NoiseCorrelation, SceneState, measure_apertures

from .patch_scene import PatchScene
from .report_columns import Columns

__all__ = ["add_apertures", "variance_factors"]


def add_apertures(
    fit: Columns,
    patch: PatchScene,
    state: SceneState,
    local: Ints,
    *,
    prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    radius: float,
    noise: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Add the aperture columns of every band.

    Parameters
    ----------
    fit : dict of ndarray
        Has ``FLUXERR_{band}_fit`` already.
    patch, state, local
        The scene, its state, and the sources of the table in it.
    prepared : tuple of ndarray
        What `ScenePass.residual` returned for this state.
    radius : float
        Of the apertures [FWHM of the band].
    noise : mapping
        ``rho`` and ``correlated`` of the bands, where they were measured.
    """
    pixels = radius * patch.fwhm
    x, y = state.theta[local, 0], state.theta[local, 1]
    found = measure_apertures(
        patch.scene,
        state,
        local,
        prepared,
        radius=pixels,
        sky_err=patch.sky.error_at(x, y),
        variance_factor=variance_factors(noise, pixels, patch.fwhm),
    )
    for b, band in enumerate(patch.bands):
        total_err = np.hypot(np.asarray(fit[f"FLUXERR_{band}_fit"]), found.difference_err[:, b])
        fit[f"APFLUX_{band}"] = found.flux[:, b]
        fit[f"APFLUXERR_{band}"] = total_err / found.correction[:, b]
        fit[f"apcorr_{band}"] = found.correction[:, b]
        fit[f"apmasked_{band}"] = found.masked[:, b]
        fit[f"appull_{band}"] = found.difference[:, b] / found.difference_err[:, b]


def variance_factors(
    noise: Mapping[str, npt.NDArray[Any]], radius: Floats, fwhm: Floats
) -> tuple[Floats, Floats]:
    """Return by what correlated noise widens the variance of apertures and of PSF-weighted sums."""
    aperture, psf = np.ones(len(radius)), np.ones(len(radius))
    if "rho" in noise:
        for b in np.flatnonzero(noise["correlated"]):
            half = int(np.ceil(radius[b])) + 1
            axis = np.arange(-half, half + 1)
            r2 = (axis[:, None] ** 2 + axis**2).astype(np.float64)
            correlation = NoiseCorrelation(rho=noise["rho"][b])
            aperture[b] = correlation.variance_factor((r2 <= radius[b] ** 2).astype(np.float64))
            psf[b] = correlation.variance_factor(np.exp(-4.0 * np.log(2.0) * r2 / fwhm[b] ** 2))
    return aperture, psf

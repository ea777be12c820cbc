"""How far the flux of a source can be told from its neighbours'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints

from .state import SceneState

__all__ = ["BlendQuality", "blend_quality"]

CLOSE = 0.5  # FWHM: closer pairs have a useful summed flux, not two


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendQuality:
    """What neighbours do to fluxes, one entry per source.

    Parameters
    ----------
    group_size : ndarray of int
        Sources in the blend group.
    neighbour : ndarray of int
        Row whose fluxes are most correlated with one's own, or -1; of a component of a composite
        the other component.
    flux_correlation : ndarray
        The largest absolute correlation with its fluxes, over all flux keys; 0 without neighbour.
    is_close : ndarray of bool
        The neighbour is another object nearer than half a FWHM: trust the sum, not the parts.
    pair_flux, pair_flux_err : ndarray, shape (n, F)
        Flux of the source and its neighbour together, and its standard error; NaN without one.
    """

    group_size: Ints
    neighbour: Ints
    flux_correlation: Floats
    is_close: Bools
    pair_flux: Floats
    pair_flux_err: Floats


def blend_quality(
    state: SceneState,
    group: Ints,
    *,
    fwhm: float,
    flux_cov: Floats | None = None,
    anchor: Ints | None = None,
) -> BlendQuality:
    """Return what is known of the blends of a scene.

    Parameters
    ----------
    state : SceneState
        After the last pass.
    group : ndarray of int, shape (n,)
        Blend group of each source.
    fwhm : float
        Of the widest PSF [pix].
    flux_cov : ndarray, shape (n, F, F), optional
        Final covariances, by default those of the state.
    anchor : ndarray of int, shape (n,), optional
        As in `Sources`; by default there are no composites.
    """
    cov = state.flux_cov if flux_cov is None else flux_cov
    variance = np.einsum("nbb->nb", cov)
    has = state.partner >= 0
    other = np.where(has, state.partner, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.abs(state.pair_cov) / np.sqrt(variance * variance[other])
        largest = np.max(np.where(np.isfinite(correlation), correlation, 0.0), axis=1, initial=0.0)
        total = variance + variance[other] + 2.0 * state.pair_cov
        error = np.sqrt(np.maximum(total, 0.0))
    distance = np.hypot(*(state.theta[:, :2] - state.theta[other, :2]).T)
    owner = np.arange(len(has)) if anchor is None else anchor
    close = has & (distance < CLOSE * fwhm) & (owner != owner[other])
    flux = state.total_flux
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    return BlendQuality(
        group_size=count[index],
        neighbour=np.where(has, state.partner, -1),
        flux_correlation=np.where(has, largest, 0.0),
        is_close=close,
        pair_flux=np.where(has[:, None], flux + flux[other], np.nan),
        pair_flux_err=np.where(has[:, None], error, np.nan),
    )

"""Position, flux and pedestal of each star, fitted with the present model of the PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from skyloom._types import Bools, Floats

from ._grid import Grid
from ._moffat_fit import moffat_stamps
from ._polar import PolarBasis
from ._starfit_nb import star_equations, stepped
from ._stars import StarState, StarStep
from .models import stamp_radius

__all__ = [
    "StarModel",
    "mask_asymmetric",
    "mask_deviant",
    "refine_stars",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StarModel:
    """The PSF at each star: an analytic profile plus a correction."""

    shape: Floats  # (n, 3) ln alpha, e1, e2
    beta: float
    basis: PolarBasis
    correction: Floats | None  # (n, B) coefficients of the polar functions; None for none


def refine_stars(
    data: Floats,
    weight: Floats,
    model: StarModel,
    state: StarState,
    grid: Grid,
    *,
    source_variance: float,
    model_error: float,
) -> StarStep:
    """Move all stars by one Gauss-Newton step in flux, pedestal, x and y."""
    n = data.shape[0]
    moffat, by_x, by_y = moffat_stamps(
        model.shape,
        beta=model.beta,
        x=state.dx,
        y=state.dy,
        centre=grid.centre,
        width=grid.width,
    )
    unit = moffat
    if model.correction is not None:
        # The derivatives of the correction are left out: they only steer the step.
        unit = moffat.copy()
        model.basis.apply(unit, model.correction, x=state.dx, y=state.dy, centre=grid.centre)
    light, residual, w = (np.empty_like(moffat) for _ in range(3))
    normal, right = np.empty((n, 4, 4)), np.empty((n, 4))
    star_equations(
        data,
        weight,
        unit,
        by_x,
        by_y,
        state.flux,
        state.pedestal,
        source_variance,
        model_error,
        light,
        residual,
        w,
        normal,
        right,
    )
    diagonal = np.einsum("nii->ni", normal)
    diagonal += 1e-9 * diagonal + 1e-30
    inverse = np.linalg.inv(normal)
    step: Floats = (inverse @ right[:, :, None])[:, :, 0]
    step[:, 2:] = np.clip(step[:, 2:], -0.3, 0.3)
    stepped(unit, by_x, by_y, state.flux, step, light, residual)
    after = StarState(
        flux=state.flux + step[:, 0],
        pedestal=state.pedestal + step[:, 1],
        dx=np.clip(state.dx + step[:, 2], -3.0, 3.0),
        dy=np.clip(state.dy + step[:, 3], -3.0, 3.0),
        flux_var=np.asarray(inverse[:, 0, 0], dtype=np.float64),
    )
    return StarStep(
        state=after,
        light=light,
        residual=residual,
        weight=w,
        moffat=moffat,
        unit=unit,
        by_x=by_x,
        by_y=by_y,
    )


def mask_asymmetric(data: Floats, weight: Floats, *, core: float) -> Floats:
    """Return weights without neighbours: pixels far above their mirror image about the centre.

    The light of a star is nearly the same on both sides, whatever the PSF, that of a neighbour
    is not; pixels inside ``core`` [pix] are left alone because the centre is not yet known.
    """
    mirror, mirror_weight = data[:, ::-1, ::-1], weight[:, ::-1, ::-1]
    noise2 = 1.0 / np.maximum(weight, 1e-30) + 1.0 / np.maximum(mirror_weight, 1e-30)
    reference = np.where(mirror_weight > 0, np.maximum(mirror, 0.0), 0.0)
    excess = data - 1.6 * reference
    high = (weight > 0) & (excess > 0) & (excess**2 > 16.0 * noise2)
    high &= stamp_radius(data.shape[-1])[None] > core
    return np.where(_grown(high), 0.0, weight)


def mask_deviant(step: StarStep, weight: Floats, grid: Grid, *, core: float) -> Bools:
    """Return the blocks outside the core that deviate by more than 5 sigma (up) or 7.5 (down).

    Blocks next to high ones are taken too: neighbours have skirts.  The light of the star counts
    as known to 2 % only, so that a model on its way does not mask the star itself.
    """
    chi2 = weight * step.residual**2 / (1.0 + weight * (0.02 * step.light) ** 2)
    outside = grid.radius[None] > core
    high = outside & (chi2 > 25.0) & (step.residual > 0)
    low = outside & (chi2 > 56.0) & (step.residual < 0)
    return _grown(high) | low


def _grown(mask: Bools) -> Bools:
    return np.asarray(maximum_filter(mask.view(np.uint8), size=(1, 3, 3)).view(bool))

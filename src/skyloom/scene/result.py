"""What a fit returns, and the flags that it can know."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.flags import FitFlag

from .blends import BlendQuality
from .diagnostics import SourceDiagnostics
from .passes import ScenePass
from .shape import EllipseShape
from .sources import has_parameter
from .state import SceneState

__all__ = ["SceneFit", "fit_flags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFit:
    """Result of `fit_scene`, one entry per source.

    Parameters
    ----------
    flux_keys, image_keys : list
        The flux keys, and that of each image.
    flux, flux_err : ndarray, shape (n, F)
        Total fluxes in units of the data and their marginal errors, by `flux_keys`.
    flux_cov : ndarray, shape (n, F, F)
        Covariance of the fluxes of each source, cross terms between bands included.
    x, y : ndarray
        Positions [pix].
    shape : EllipseShape
        Half-light ellipses (meaningless for stars).
    params, param_cov : ndarray, shapes (n, 6) and (n, 6, 6)
        The columns `PARAMETERS` and their marginal covariance.
    sky, sky_err : dict
        Fitted levels by sky key, and their standard errors.
    flags : ndarray of int
        `FitFlag` bits.
    residual : list of ndarray
        Data minus everything, per image.
    blends : BlendQuality
        How much the fluxes depend on neighbours.
    noise_correlation : list
        Of each image as it was used, None for white noise.
    """

    flux_keys: list[Hashable]
    image_keys: list[Hashable]
    flux: Floats
    flux_err: Floats
    flux_cov: Floats
    params: Floats
    param_cov: Floats
    shape: EllipseShape
    chi2: Floats
    diagnostics: SourceDiagnostics
    flags: Ints
    converged: Bools
    evaluations: Ints
    group: Ints
    sky: dict[Hashable, float]
    sky_err: dict[Hashable, float]
    residual: list[Pixels]
    blends: BlendQuality
    noise_correlation: list[Floats | None]

    @property
    def x(self) -> Floats:
        """Fitted x [pix]."""
        return np.asarray(self.params[:, 0])

    @property
    def y(self) -> Floats:
        """Fitted y [pix]."""
        return np.asarray(self.params[:, 1])

    def table(self) -> Table:
        """Return one row per source.

        Columns: ``x, y`` [pix] and errors; ``a`` half-light radius along the major axis [pix],
        ``ab``, ``theta`` [deg], ``n``; per flux key ``flux_*``, ``flux_err_*``, ``chi2_*`` (of its
        first image), ``fracflux_*`` (light of others under the source); ``group_size``,
        ``neighbour`` (row), ``flux_correlation``, ``fit_flags``, ``evaluations``.
        """
        table = Table({"x": self.x, "y": self.y})
        table["x_err"] = np.sqrt(self.param_cov[:, 0, 0])
        table["y_err"] = np.sqrt(self.param_cov[:, 1, 1])
        for name in ("a", "ab", "theta", "a_err", "ab_err", "theta_err"):
            table[name] = getattr(self.shape, name)
        table["n"] = self.params[:, 5]
        for b, key in enumerate(self.flux_keys):
            table[f"flux_{key}"] = self.flux[:, b]
            table[f"flux_err_{key}"] = self.flux_err[:, b]
            image = self.image_keys.index(key)
            table[f"chi2_{key}"] = self.chi2[:, image]
            table[f"fracflux_{key}"] = self.diagnostics.flux_fraction_others[:, image]
        table["group_size"] = self.blends.group_size
        table["neighbour"] = self.blends.neighbour
        table["flux_correlation"] = self.blends.flux_correlation
        table["fit_flags"] = self.flags
        table["evaluations"] = self.evaluations
        return table


def fit_flags(scene: ScenePass, state: SceneState, found: SourceDiagnostics, rows: Ints) -> Ints:
    """Return the `FitFlag` bits that a fit itself can know, shape (m,)."""
    no_data = np.isnan(state.flux[rows])
    theta = state.theta[rows]
    lower, upper = scene.sources.lower[rows], scene.sources.upper[rows]
    free = scene.sources.free[rows] & has_parameter(scene.sources.kind[rows])
    margin = 1e-9 + 1e-6 * np.abs(theta)
    at_bound = free & ((theta <= lower + margin) | (theta >= upper - margin))
    shape_bound = at_bound[:, 2:].any(axis=1) | (
        free[:, 3] & (np.hypot(theta[:, 3], theta[:, 4]) >= scene.options.max_ellipticity - 1e-6)
    )
    bits = [
        (FitFlag.NO_DATA, no_data.all(axis=1)),
        (FitFlag.NO_DATA_BAND, no_data.any(axis=1) & ~no_data.all(axis=1)),
        (FitFlag.NOT_CONVERGED, ~state.converged[rows] & ~no_data.all(axis=1)),
        (FitFlag.FAILED, np.isnan(state.theta_cov[rows]).any(axis=(1, 2))),
        (FitFlag.SINGULAR, state.singular[rows]),
        (FitFlag.BOUND_POSITION, at_bound[:, :2].any(axis=1)),
        (FitFlag.BOUND_SHAPE, shape_bound),
        (FitFlag.FROZEN, state.frozen[rows]),
        (FitFlag.MASKED_CORE, (found.core_masked_fraction > 0.0).any(axis=1)),
    ]
    flags = np.zeros(len(rows), np.int64)
    for bit, where in bits:
        flags |= np.where(where, int(bit), 0)
    return flags

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
from .sources import SourceType, has_parameter
from .state import SceneState

__all__ = ["ObjectTotals", "SceneFit", "fit_flags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTotals:
    """Fluxes of whole objects: the components of a composite added up.

    ``row`` (m,) of the first, or only, component of each object; ``flux, flux_err`` (m, F) total
    fluxes and their marginal errors; ``bulge_fraction, bulge_fraction_err`` (m, F) share of the
    second component, NaN for objects of one component.
    """

    row: Ints
    flux: Floats
    flux_err: Floats
    bulge_fraction: Floats
    bulge_fraction_err: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFit:
    """Result of `fit_scene`, one entry per source.

    Parameters
    ----------
    flux_keys, image_keys : list
        The flux keys, and that of each image.
    kind, anchor : ndarray of int
        As in `Sources`.
    flux, flux_err : ndarray, shape (n, F)
        Total fluxes in units of the data and their marginal errors, by `flux_keys`.
    flux_shift : ndarray, shape (n, F)
        What ``index_scatter`` and ``size_scatter`` of `FitOptions` have added to the fluxes of the
        models: ``model`` and ``residual`` are those of ``flux - flux_shift``.
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
        Data minus everything, sky included, per image; 0 in pixels that are not used.
    model : list of ndarray
        Sum of all sources, without sky, per image; 0 in pixels that are not used, where
        `render_scene` tells it.
    blends : BlendQuality
        How much the fluxes depend on neighbours.
    noise_correlation : list
        Of each image as it was used, None for white noise.
    """

    flux_keys: list[Hashable]
    image_keys: list[Hashable]
    kind: Ints
    anchor: Ints
    flux: Floats
    flux_err: Floats
    flux_shift: Floats
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
    model: list[Pixels]
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

        Columns: ``type``; ``x, y`` [pix] and errors; ``a`` half-light radius along the major axis
        [pix], ``ab``, ``theta`` [deg], ``n``; per flux key ``flux_*``, ``flux_err_*``, ``chi2_*``
        (of its first image), ``fracflux_*`` (light of others under the source); ``group_size``,
        ``neighbour`` (row), ``flux_correlation``, ``fit_flags``, ``evaluations``.
        `Sources.from_table` takes such a table; components of composites are then independent.
        """
        table = Table({"type": [SourceType(k).name for k in self.kind.tolist()]}, dtype=["U6"])
        table["x"], table["y"] = self.x, self.y
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

    def totals(self) -> ObjectTotals:
        """Return one entry per object: composites added up, all others as they are.

        Notes
        -----
        The error contains the covariance of the two components, which is large and negative where
        they look alike: the total is then known far better than its parts.
        """
        second = np.flatnonzero(self.anchor != np.arange(len(self.anchor)))
        first = self.anchor[second]
        flux, variance = self.flux.copy(), np.einsum("nbb->nb", self.flux_cov).copy()
        fraction, fraction_err = np.full_like(flux, np.nan), np.full_like(flux, np.nan)
        total, bulge, disc = self.blends.pair_flux[second], flux[second], flux[first]
        var_total = self.blends.pair_flux_err[second] ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            cov = 0.5 * (var_total - variance[first] - variance[second])
            spread = disc**2 * variance[second] + bulge**2 * variance[first]
            spread -= 2.0 * disc * bulge * cov
            fraction[first] = bulge / total
            fraction_err[first] = np.sqrt(np.maximum(spread, 0.0)) / total**2
        flux[first], variance[first] = total, var_total
        own = np.setdiff1d(np.arange(len(flux)), second)
        return ObjectTotals(
            row=own,
            flux=flux[own],
            flux_err=np.sqrt(variance[own]),
            bulge_fraction=fraction[own],
            bulge_fraction_err=fraction_err[own],
        )


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

"""Fit a scene: the one function that photometry, forced or free, comes down to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.flags import FitFlag

from .diagnostics import SourceDiagnostics, diagnose
from .groups import blend_groups
from .images import SceneImage
from .passes import FitOptions, ScenePass, SceneState
from .shape import EllipseShape, ellipse_from_parameters
from .sources import Sources, SourceType, has_parameter

__all__ = ["SceneFit", "fit_flags", "fit_scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFit:
    """Result of `fit_scene`, one entry per source.

    Parameters
    ----------
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
    """

    flux_keys: list[Hashable]
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

    @property
    def x(self) -> Floats:
        """Fitted x [pix]."""
        return np.asarray(self.params[:, 0])

    @property
    def y(self) -> Floats:
        """Fitted y [pix]."""
        return np.asarray(self.params[:, 1])


def fit_scene(
    images: Sequence[SceneImage], sources: Sources, options: FitOptions | None = None
) -> SceneFit:
    """Fit all sources of a scene to all its images.

    Parameters
    ----------
    images : sequence of SceneImage
    sources : Sources
        Start values, bounds and priors; see `Sources.create`.
    options : FitOptions, optional

    Returns
    -------
    SceneFit

    Raises
    ------
    ValueError
        If there is no image.

    Notes
    -----
    Fluxes are eliminated exactly (variable projection, Golub & Pereyra 1973), positions and shapes
    move by Levenberg-Marquardt; each blend group is solved on the residual of all others,
    in ``options.passes`` passes.  Sky levels are updated between passes, which converges because
    most pixels are empty, and their errors enter those of the fluxes.
    """
    if not images:
        msg = "a scene needs at least one image"
        raise ValueError(msg)
    options = options or FitOptions()
    scene = ScenePass(images, sources, options)
    radius = np.where(sources.kind == SourceType.STAR, 0.0, np.exp(sources.theta[:, 2]))
    partition = blend_groups(
        sources.theta[:, 0], sources.theta[:, 1], radius, psf_sigma=scene.psf_fwhm / 2.355
    )
    groups = partition.members()
    levels = _SkyLevels(images, scene)
    state = SceneState.start(sources, scene.n_flux)
    for number in range(options.passes + 1):
        state = scene.run(state, groups, sky=levels.of_images, linear=number == 0)
        levels.update(state)
    residual, weight = scene.residual(state, levels.of_images)
    rows = np.arange(len(sources))
    found = diagnose(scene, state, rows, residual, weight)
    flux_cov = state.flux_cov.copy()
    levels.add_errors(flux_cov, found)
    shape = ellipse_from_parameters(
        state.theta[:, 2], state.theta[:, 3], state.theta[:, 4], state.theta_cov[:, 2:5, 2:5]
    )
    return SceneFit(
        flux_keys=scene.geometry.flux_keys,
        flux=state.flux,
        flux_err=np.sqrt(np.einsum("nbb->nb", flux_cov)),
        flux_cov=flux_cov,
        params=state.theta,
        param_cov=state.theta_cov,
        shape=shape,
        chi2=found.reduced_chi2,
        diagnostics=found,
        flags=fit_flags(scene, state, found, rows),
        converged=state.converged,
        evaluations=state.evaluations,
        group=partition.group,
        sky=dict(levels.level),
        sky_err=dict(levels.error),
        residual=[
            residual[start : start + area].reshape(im.data.shape)
            for (start, area), im in zip(scene.spans(), images, strict=True)
        ],
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


class _SkyLevels:
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

    def update(self, state: SceneState) -> None:
        """Move every level to its optimum at this state of the sources."""
        if not self.level:
            return
        residual, weight = self._scene.residual(state, self.of_images)
        for key in self.level:
            total = weighted = 0.0
            for (start, area), image_key in zip(self._scene.spans(), self._keys, strict=True):
                if image_key == key:
                    w = weight[start : start + area].astype(np.float64)
                    total += float(w.sum())
                    weighted += float((w * residual[start : start + area]).sum())
            if total > 0.0:
                self.level[key] += weighted / total
                self.error[key] = total**-0.5

    def add_errors(self, flux_cov: Floats, found: SourceDiagnostics) -> None:
        """Add the variance that uncertain sky levels give to the fluxes."""
        key = self._scene.geometry.key
        for name, error in self.error.items():
            # All images with this level move together, and the fluxes of all bands with them.
            shift = np.zeros(flux_cov.shape[:2])
            for b, image_key in enumerate(self._keys):
                if image_key == name:
                    shift[:, key[b]] += np.nan_to_num(found.sky_response[:, b]) * error
            flux_cov += shift[:, :, None] * shift[:, None, :]

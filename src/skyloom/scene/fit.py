"""Fit a scene: the one function that photometry, forced or free, comes down to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.flags import FitFlag

from ._neighbours_nb import mark_touched
from ._solver_nb import TRUST
from .blends import blend_quality
from .checks import check_scene
from .diagnostics import diagnose
from .division import Division
from .groups import BlendGroups, blend_groups
from .images import SceneImage
from .options import FitOptions
from .passes import ScenePass
from .result import SceneFit, fit_flags
from .shape import ellipse_from_parameters
from .sky import SkyLevels
from .sources import Sources, SourceType
from .state import SceneState
from .uncertainty import final_errors, noise_of_images, noise_record

__all__ = ["ForcedPhotometry", "fit_scene", "forced_photometry"]

SETTLED_GROUP = 1.0  # of chi-square: its light in other groups changed by hundredths of a sigma
SETTLED_BLOCK = 0.005  # per source, where the other blocks of its group are closer
GROWN = 0.4  # of ln r: a source that grew by half reaches others
# While neighbours still move, chi-square need not be exact: looser tolerances of the first passes.
# What a pass then takes on trust, the next looks at, together with what the neighbours did.
EARLY_TOLERANCE = {1: 1000.0, 2: 300.0, 3: 10.0}


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
    BadTable, Mismatch, InputError
        If sources, shapes, weights or a PSF cannot be right; see `check_scene`.

    Notes
    -----
    Fluxes are eliminated exactly (variable projection, Golub & Pereyra 1973), positions and shapes
    move by Levenberg-Marquardt; each blend group is solved on the residual of all others.  Passes
    over the groups, at most ``options.passes``, go on until none changes.  Sky levels are updated
    between passes, by a Newton step that knows what the sources absorb, and their errors enter
    those of the fluxes.
    """
    options = options or FitOptions()
    scene = _scene(images, sources, options)
    levels = SkyLevels(images, scene)
    state, partition = _iterate(scene, levels, linear=False)
    residual, weight = scene.residual(state, levels.of_images)
    model = scene.model(residual, levels.of_images)
    noise: list[Floats | None] = [None] * len(images)
    if options.correlated_noise:
        noise = noise_of_images(scene, images, residual, weight, model)
        scene.correlation = noise_record(noise)
    state = final_errors(scene, state, partition, (residual, weight))
    rows = np.arange(len(sources))
    found = diagnose(scene, state, rows, residual, weight, model=model)
    flux_cov = state.flux_cov.copy()
    levels.add_errors(flux_cov, state)
    levels.add_pair_errors(state)
    blends = blend_quality(
        state, partition.group, fwhm=scene.psf_fwhm, flux_cov=flux_cov, anchor=sources.anchor
    )
    flags = fit_flags(scene, state, found, rows)
    theta, cov = state.theta, state.theta_cov
    return SceneFit(
        flux_keys=scene.geometry.flux_keys,
        image_keys=[im.flux_key for im in images],
        kind=sources.kind,
        anchor=sources.anchor,
        flux=state.total_flux,
        flux_shift=state.shift,
        flux_err=np.sqrt(np.einsum("nbb->nb", flux_cov)),
        flux_cov=flux_cov,
        params=theta,
        param_cov=cov,
        shape=ellipse_from_parameters(theta[:, 2], theta[:, 3], theta[:, 4], cov[:, 2:5, 2:5]),
        chi2=found.reduced_chi2,
        diagnostics=found,
        flags=flags | np.where(blends.is_close, int(FitFlag.CLOSE_PAIR), 0),
        converged=state.converged,
        evaluations=state.evaluations,
        group=partition.group,
        sky=dict(levels.level),
        sky_err=dict(levels.error),
        residual=_planes(scene, images, residual),
        model=_planes(scene, images, model),
        blends=blends,
        noise_correlation=noise,
    )


def _planes(scene: ScenePass, images: Sequence[SceneImage], flat: Pixels) -> list[Pixels]:
    """Return flat planes in the shapes of the images."""
    return [
        flat[start : start + area].reshape(im.data.shape)
        for (start, area), im in zip(scene.spans(), images, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedPhotometry:
    """Fluxes of sources whose positions and shapes are known.

    ``flux, flux_err`` (n, F) by ``flux_keys``: total fluxes in units of the data and their marginal
    errors, neighbours in the same blend group and sky free; NaN without data, infinite errors
    where two sources cannot be told apart.  ``singular`` (n,), ``group`` (n,), ``sky, sky_err``
    levels by sky key.
    """

    flux_keys: list[Hashable]
    flux: Floats
    flux_err: Floats
    singular: Bools
    group: Ints
    sky: dict[Hashable, float]
    sky_err: dict[Hashable, float]


def forced_photometry(
    images: Sequence[SceneImage], sources: Sources, options: FitOptions | None = None
) -> ForcedPhotometry:
    """Measure fluxes only, with all positions and shapes as given.

    Parameters and errors as of `fit_scene`; noise is taken as white unless an image states its
    ``noise_correlation``.  Several times faster than `fit_scene` with nothing free, because no
    diagnostics are made.
    """
    options = options or FitOptions()
    fixed = replace(sources, free=np.zeros_like(sources.free))
    scene = _scene(images, fixed, options)
    levels = SkyLevels(images, scene)
    state, partition = _iterate(scene, levels, linear=True)
    stated = [im.noise_correlation for im in images]
    if any(rho is not None for rho in stated):
        scene.correlation = noise_record(stated)
        prepared = scene.residual(state, levels.of_images)
        state = final_errors(scene, state, partition, prepared)
    levels.add_errors(state.flux_cov, state)
    return ForcedPhotometry(
        flux_keys=scene.geometry.flux_keys,
        flux=state.flux,
        flux_err=state.flux_err,
        singular=state.singular,
        group=partition.group,
        sky=dict(levels.level),
        sky_err=dict(levels.error),
    )


def _scene(images: Sequence[SceneImage], sources: Sources, options: FitOptions) -> ScenePass:
    """Return the scene made ready."""
    check_scene(images, sources)
    return ScenePass(images, sources, options)


def _groups(scene: ScenePass, theta: Floats) -> BlendGroups:
    """Return the blend groups of a scene."""
    sources = scene.sources
    return blend_groups(
        theta[:, 0],
        theta[:, 1],
        np.where(sources.kind == SourceType.STAR, 0.0, np.exp(theta[:, 2])),
        psf_sigma=scene.psf_fwhm / 2.355,
        anchor=sources.anchor,
    )


def _iterate(
    scene: ScenePass, levels: SkyLevels, *, linear: bool
) -> tuple[SceneState, BlendGroups]:
    """Return the state after passes over all groups, until none changes any more, and the groups.

    Sources that turn out much larger than their start values are grouped anew.
    """
    options = scene.options
    grouped = scene.sources.theta
    partition = _groups(scene, grouped)
    groups = partition.members()
    state = SceneState.start(scene.sources, scene.n_flux, len(scene.geometry.sky_keys))
    prepared, sides = None, None
    for number in range(options.passes + 1):
        hold = number > 2
        state = scene.resized(state, hold=hold, sides=sides)
        prepared = scene.residual(state, levels.of_images, reuse=prepared)
        if number > 0:
            before = levels.of_images
            levels.update(state, *prepared)
            scene.lower(prepared[0], levels.of_images - before)
        state = scene.run(
            state,
            groups,
            linear=linear or number == 0,
            prepared=prepared,
            tolerance=options.tolerance * EARLY_TOLERANCE.get(number, 1.0),
            hold=hold,
        )
        sides = None
        grown = (scene.sources.kind != SourceType.STAR) & (
            state.theta[:, 2] > grouped[:, 2] + GROWN
        )
        if grown.any():
            grouped = np.where(grown[:, None], state.theta, grouped)
            partition = _groups(scene, grouped)
            groups = partition.members()
        elif groups and number > (0 if linear else 1):
            seen = number not in EARLY_TOLERANCE
            moving = _unsettled(
                groups, state, partition, np.inf if seen else TRUST * options.tolerance
            )
            # A source that turned out brighter or larger than its stamp allows is fitted again.
            sides = scene.stamp_sides(state)
            outgrown = partition.group[sides > 1.1 * state.side]
            division = partition.members(other=number % 2 == 0)
            again = np.isin(division.number, np.concatenate([moving, outgrown]))
            groups = division.taken(np.flatnonzero(again))
        if not groups:
            break
    state.converged[groups.rows] = False
    return state, partition


def _unsettled(groups: Division, state: SceneState, partition: BlendGroups, limit: float) -> Ints:
    """Return groups, some often, that have not converged or whose surroundings moved just now.

    Groups that gained more than ``limit`` have not converged.

    A change of the objective by one is a change of the model by one sigma, all pixels together.
    What crosses to another group is at most a few hundredths of it; within a group that has
    several blocks it can be much.
    """
    near = np.zeros(len(state.side), np.bool_)
    number = np.full(len(state.side), -1)
    rows, size = groups.rows, groups.block_sizes
    number[rows] = np.repeat(np.arange(len(size)), size)
    near[rows] = ~state.converged[rows] | (state.gained[rows] > limit)
    is_moved = state.gained[rows[groups.block[:-1]]] > np.minimum(
        SETTLED_GROUP, SETTLED_BLOCK * size
    )
    moved = np.zeros(len(near), np.bool_)
    moved[rows] = np.repeat(is_moved, size)
    place = np.ascontiguousarray(state.theta[:, :2])
    far = moved & (state.gained > SETTLED_GROUP)
    mark_touched(
        np.argsort(place[:, 0]), place, state.side, moved, far, partition.group, number, near
    )
    return partition.group[near]

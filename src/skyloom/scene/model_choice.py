"""The model that each source of a scene deserves, found by fitting them all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints, Pixels

from .candidates import Candidates, box_sides, fit_best, fit_in_turn, images_by_key, stamp_sides_as
from .cells import cut_cells
from .choice import CANDIDATES, ChoiceRules, decide_types
from .fit import fit_scene
from .images import SceneImage
from .noise import NoiseCorrelation
from .options import FitOptions
from .passes import ScenePass
from .result import SceneFit
from .sources import Sources, SourceType
from .state import SceneState
from .transforms import STAMP_SIDES

__all__ = ["ModelChoice", "choose_models", "choose_models_of_state"]

PIXELS = 1 << 22  # of all boxes in memory at a time, every image counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model that each source deserves, see `choose_models`.

    Parameters
    ----------
    flux_keys : list
    kind : ndarray of int, shape (n,)
        `SourceType`, or `NO_SOURCE` where nothing is significant.
    reason : ndarray of int, shape (n,)
        `ChoiceReason`; where it is ``NOT_TRIED``, kind, fluxes and parameters are those of the
        joint fit: there are no data, or the galaxy is larger than any stamp.
    dchisq : ndarray, shape (n, 5)
        Improvement of chi-square over no source by star, rex, exp, dev, sersic; NaN: not tried.
    flux, flux_err : ndarray, shape (n, F)
        Fluxes of the chosen model, by `flux_keys`, and their errors with everybody else held; of
        the star where there is no source.
    params : ndarray, shape (n, 6)
        Its parameters, the columns `PARAMETERS`.
    is_oversized : ndarray of bool, shape (n,)
        The joint fit's galaxy is larger than any stamp, so that no other model was tried.
    """

    flux_keys: list[Hashable]
    kind: Ints
    reason: Ints
    dchisq: Floats
    flux: Floats
    flux_err: Floats
    params: Floats
    is_oversized: Bools

    def table(self) -> Table:
        """Return ``type_suggested``, ``type_reason`` and ``dchisq_*``, one row per source."""
        table = Table({"type_suggested": self.kind, "type_reason": self.reason})
        for column, kind in enumerate(CANDIDATES):
            table[f"dchisq_{SourceType(kind).name.lower()}"] = self.dchisq[:, column]
        return table


def choose_models(
    images: Sequence[SceneImage],
    sources: Sources,
    options: FitOptions | None = None,
    *,
    rules: ChoiceRules | None = None,
    fit: SceneFit | None = None,
) -> ModelChoice:
    """Find the simplest model that explains each source of a scene.

    Parameters
    ----------
    images : sequence of SceneImage
    sources : Sources
        Models that are good enough to take neighbours away.  Bounds, fixed positions and what is
        known of positions hold for all candidates; shapes and fluxes are free.
    options : FitOptions, optional
    rules : ChoiceRules, optional
    fit : SceneFit, optional
        What `fit_scene` returned for these images, sources and options; default: fitted here.

    Returns
    -------
    ModelChoice

    Raises
    ------
    ValueError
        If there is no image, or ``fit`` belongs to other sources or fluxes.

    Notes
    -----
    Each candidate is fitted to each source alone, to the data less the joint fit's sky and its
    models of all others, with the weights of the joint fit: the rules of `skyloom.scene.choice`
    compare the same pixels with the same noise.  Where the noise of pixels is correlated,
    ``dchisq`` is divided by the variance of a sum weighted by the PSF, relative to white noise.
    Fluxes and parameters are those of the fit alone: to publish, fit the scene again with the
    chosen models.
    """
    options = options or FitOptions()
    if fit is None:
        fit = fit_scene(images, sources, options)
    scene = ScenePass(images, sources, options)
    if fit.flux.shape != (len(sources), scene.n_flux):
        msg = f"fit with fluxes {fit.flux.shape}: ({len(sources)}, {scene.n_flux}) is needed"
        raise ValueError(msg)
    state = SceneState.start(sources, scene.n_flux, len(scene.geometry.sky_keys))
    state.theta, state.flux, state.flux_cov = fit.params, fit.flux - fit.flux_shift, fit.flux_cov
    state.started[:] = True
    state.side = scene.stamp_sides(state)
    sky = [0.0 if im.sky_key is None else fit.sky[im.sky_key] for im in images]
    factor = [
        1.0 if rho is None else NoiseCorrelation(rho=rho).variance_factor(_psf_profile(image))
        for image, rho in zip(images, fit.noise_correlation, strict=True)
    ]
    return choose_models_of_state(
        scene,
        state,
        np.arange(len(sources)),
        scene.residual(state, np.array(sky)),
        rules=rules,
        variance_factor=np.array(factor),
    )


def choose_models_of_state(
    scene: ScenePass,
    state: SceneState,
    rows: Ints,
    prepared: tuple[Pixels, Pixels],
    *,
    rules: ChoiceRules | None = None,
    variance_factor: Floats | None = None,
) -> ModelChoice:
    """Find the models of some sources of a scene, for those who run its passes themselves.

    Parameters
    ----------
    scene, state : ScenePass, SceneState
        After at least one pass.
    rows : ndarray of int, shape (m,)
    prepared : tuple of ndarray
        What `ScenePass.residual` returned for this state.
    rules : ChoiceRules, optional
    variance_factor : ndarray, shape (B,), optional
        Of PSF-sized profiles in each image, see `NoiseCorrelation.variance_factor`; default: 1.

    Returns
    -------
    ModelChoice
        One entry per row.
    """
    rules = rules or ChoiceRules()
    factor = np.ones(scene.geometry.n_images) if variance_factor is None else variance_factor
    found = Candidates.none(len(rows), scene.n_flux)
    known = np.isfinite(state.theta[rows]).all(axis=1)
    known &= (state.side[rows] > 0) & (state.side[rows] <= max(STAMP_SIDES))

    def contest(which: Ints, side: int) -> Candidates:
        cells = cut_cells(scene, state, rows[which], side, prepared)
        return fit_in_turn(cells, found.take(which), rules, factor)

    def finish(which: Ints, side: int) -> Candidates:
        cells = cut_cells(scene, state, rows[which], side, prepared)
        return fit_best(cells, found.take(which), rules)

    todo = np.flatnonzero(known)
    side = box_sides(scene, state, rows[todo])
    while len(todo):
        _in_portions(contest, found, todo, side, scene)
        # A larger stamp matters only to the model that wins.
        again = found.need[todo, found.best(rules)[todo]] > side
        again &= side < max(STAMP_SIDES)
        todo, side = todo[again], np.minimum(2 * side[again], max(STAMP_SIDES))
    best = found.best(rules)
    at = np.flatnonzero(found.side.any(axis=1))
    kind, theta = np.array(CANDIDATES)[best[at]], found.theta[at, best[at]]
    full = stamp_sides_as(scene, state, rows[at], kind, theta, is_exact=True)
    short = full > found.side[at, best[at]]
    side = np.maximum(full, state.side[rows[at]])[short]
    _in_portions(finish, found, at[short], side, scene)
    return _decision(found, scene, state, rows, rules=rules, variance_factor=factor)


def _in_portions(
    work: Callable[[Ints, int], Candidates],
    found: Candidates,
    which: Ints,
    side: Ints,
    scene: ScenePass,
) -> None:
    """Fit some sources in portions that fit into memory, one in each thread.

    ``side`` of the box of each [pix].
    """
    tasks: list[tuple[Ints, int]] = []
    for value in np.unique(side):
        same = which[side == value]
        count = max(1, PIXELS // (scene.geometry.n_images * int(value) ** 2))
        tasks += [(same[i : i + count], int(value)) for i in range(0, len(same), count)]
    with ThreadPoolExecutor(scene.options.threads) as pool:
        results = pool.map(lambda task: work(*task), tasks)
        for (portion, _), result in zip(tasks, results, strict=True):
            found.put(portion, result)


def _decision(
    found: Candidates,
    scene: ScenePass,
    state: SceneState,
    rows: Ints,
    *,
    rules: ChoiceRules,
    variance_factor: Floats,
) -> ModelChoice:
    """Choose by the rules; what was not tried stays as it was."""
    star = np.nan_to_num(found.flux[:, 0] / found.flux_err[:, 0])
    snr = np.sqrt((np.maximum(star, 0.0) ** 2).sum(axis=1))
    kind, reason = decide_types(found.dchisq, rules, snr=snr)
    tried = np.asarray(np.isfinite(found.dchisq).any(axis=1))
    at = np.arange(len(rows)), found.best(rules)
    shared = images_by_key(scene)
    wider = np.sqrt(variance_factor @ shared / shared.sum(axis=0))
    err = np.where(tried[:, None], found.flux_err[at] * wider, state.flux_err[rows])
    return ModelChoice(
        flux_keys=scene.geometry.flux_keys,
        kind=np.where(tried, kind, scene.sources.kind[rows]),
        reason=reason,
        dchisq=found.dchisq,
        flux=np.where(tried[:, None], found.flux[at], state.flux[rows]),
        flux_err=err,
        params=np.where(tried[:, None], found.theta[at], state.theta[rows]),
        is_oversized=np.asarray(state.side[rows] > max(STAMP_SIDES)),
    )


def _psf_profile(image: SceneImage) -> Floats:
    """Return the PSF in the middle of an image, at its pixels."""
    basis, step = np.asarray(image.psf.basis), image.psf.oversampling
    height, width = image.data.shape
    x, y = image.origin[0] + 0.5 * width, image.origin[1] + 0.5 * height
    stamp = np.tensordot(image.psf.coefficients(np.array([x]), np.array([y]))[0], basis, 1)
    first = (stamp.shape[-1] // 2) % step
    return np.asarray(stamp[first::step, first::step], dtype=np.float64)

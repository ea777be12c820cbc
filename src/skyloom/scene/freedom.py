"""Galaxies that are not quite what their laws say: what this does to their fluxes.

Exponential and de Vaucouleurs laws are two of many, and one size for all bands is an idealisation.
A galaxy with a bulge and a disc, fitted with one law, has biased fluxes, and nothing in the fit
tells.  Once the fit is done, the Sersic index, with a Gaussian prior about 1 or 4, and ln r of each
band, with one about the common ln r, count as nuisance parameters and are marginalised to first
order, together with all other parameters of the block: fluxes move by what the pixels say about
them, and errors contain what the pixels do not say.

Source: Hogg, Bovy & Lang 2010 (nuisance parameters); Golub & Pereyra 1973 (elimination); Haussler
et al. 2013 (sizes that change with wavelength).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from skyloom._types import Bools, Ints, Pixels

from .passes import ScenePass
from .sources import SourceType
from .state import SceneState

__all__ = ["loose_sources", "refine_loosely"]

INDEX = {SourceType.EXP: 1.0, SourceType.DEV: 4.0}


def loose_sources(scene: ScenePass, state: SceneState) -> Bools:
    """Tell who is not bound to its law, or not to one size, shape (n,)."""
    return np.asarray(_loose_index(scene, state) | _loose_size(scene, state))


def _loose_index(scene: ScenePass, state: SceneState) -> Bools:
    if scene.options.index_scatter == 0.0 or scene.options.profile != "exact":
        return np.zeros(len(scene.sources), np.bool_)
    return np.asarray(np.isin(scene.sources.kind, list(INDEX)) & _has_size(scene, state))


def _loose_size(scene: ScenePass, state: SceneState) -> Bools:
    if scene.options.size_scatter == 0.0 or scene.n_flux == 1:
        return np.zeros(len(scene.sources), np.bool_)
    return _has_size(scene, state)


def _has_size(scene: ScenePass, state: SceneState) -> Bools:
    """Tell who has a free size and is bright enough to show it.

    Components of composites have not: they are free in shape together.
    """
    sources = scene.sources
    is_part = sources.anchor != np.arange(len(sources))
    is_part[sources.anchor[is_part]] = True
    is_galaxy = sources.kind != SourceType.STAR
    is_bright = ~state.frozen & ~state.faint & state.started
    return np.asarray(is_galaxy & sources.free[:, 2] & is_bright & ~is_part)


def refine_loosely(
    scene: ScenePass,
    state: SceneState,
    blocks: Sequence[tuple[Ints, Ints]],
    prepared: tuple[Pixels, Pixels],
) -> SceneState:
    """Return the state with covariances anew, and ``shift``, for loose indices and sizes.

    Parameters as of `ScenePass.refine_errors`; positions, shapes and fluxes stay as they are.
    """
    sources, options = scene.sources, scene.options
    loose = _loose_index(scene, state)
    index = np.ones(len(sources))
    for kind, n in INDEX.items():
        index[sources.kind == kind] = n
    columns = {
        name: getattr(sources, name).copy() for name in ("kind", "free", "prior_mean", "prior_ivar")
    }
    seen = state.copy()
    freed = copy(scene)
    if loose.any():
        columns["kind"][loose] = SourceType.SERSIC
        columns["free"][loose, 5] = True
        columns["prior_mean"][loose, 5] = index[loose]
        columns["prior_ivar"][loose, 5] = (options.index_scatter * index[loose]) ** -2.0
        seen.theta[loose, 5] = index[loose]
    freed.sources = replace(sources, **columns)
    freed.loose = loose
    if (has_sizes := _loose_size(scene, state)).any():
        freed.size_ivar = np.where(has_sizes, options.size_scatter**-2.0, 0.0)
    after = freed.refine_errors(seen, blocks, prepared)
    after.theta = state.theta.copy()
    after.theta_cov[loose, 5, :] = 0.0
    after.theta_cov[loose, :, 5] = 0.0
    return after

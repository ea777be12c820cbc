"""Models that stray from their sources: found in a pass, and fitted again near the catalogue.

A faint source in the outskirts of a halo, on a stripe of the detector, or beside a source that the
catalogue lacks may be left by its model: the model grows over what is no source, and takes light of
the neighbours and of the sky with it.  Its group is fitted again on what the pass began with, the
model held near the catalogue.  Every pass tries anew, since halos and neighbours get better.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.scene import SceneState, Sources

from .halo_flags import is_overgrown, major_radii
from .patch_scene import PatchScene
from .start import held_near_catalogue

__all__ = ["STRAYED", "fitted_again", "strayed", "strayed_of_table"]

STRAYED: Final = "strayed"  # column of the state of a pass
MOVED: Final = 0.5  # FWHM from the catalogue: farther off a model explains something else
ROUNDS: Final = 3  # a neighbour that was free to grow into the place of a stray may stray as well


def strayed(patch: PatchScene, state: SceneState, local: Ints) -> Bools:
    """Tell which models left their sources: they moved, and grew far beyond the catalogue's.

    In the halo of a saturated star, where models cannot grow, to have moved is enough.
    """
    rows = patch.rows[local]
    x, y = patch.start.x[rows], patch.start.y[rows]
    away = np.hypot(state.theta[local, 0] - x, state.theta[local, 1] - y)
    fwhm = patch.scene.psf_fwhm
    large = is_overgrown(patch, state, local)
    near = np.asarray(patch.groups["near_saturated"])[rows]
    near &= major_radii(patch, state, local) > 0.0
    return np.asarray((away > MOVED * fwhm) & (large | near))


def fitted_again(
    patch: PatchScene,
    before: SceneState,
    after: SceneState,
    prepared: tuple[Pixels, Pixels],
    *,
    tolerance: float,
) -> tuple[SceneState, Bools]:
    """Fit groups with strayed models again, these held near the catalogue.

    Parameters
    ----------
    patch : PatchScene
        Its scene keeps the limits of the held models.
    before, after : SceneState
        As the pass found all sources, and as it left them.
    prepared : tuple of ndarray
        Residual and weight of ``before``.
    tolerance : float
        Of the pass.

    Returns
    -------
    after : SceneState
        With the groups that were fitted again.
    held : ndarray of bool, shape (n,)
        Sources of the scene whose models strayed.
    """
    groups = patch.own_groups()
    held = np.zeros(len(patch.rows), np.bool_)
    for _ in range(ROUNDS):
        rows = np.flatnonzero(~held)
        new = np.zeros_like(held)
        new[rows] = strayed(patch, after, rows)
        some = {g: b for g, b in groups.items() if any(new[block].any() for block in b)}
        if not some:
            break
        own = np.concatenate([block for blocks in some.values() for block in blocks])
        held[own] |= new[own]
        scene = copy(patch.scene)
        scene.sources = _held(patch.sources, np.flatnonzero(held), scene.psf_fwhm)
        start, residual = _returned(patch, scene.sources, before, held, prepared[0])
        again = scene.run(start, some, prepared=(residual, prepared[1]), tolerance=tolerance)
        after = after.copy()
        for name in after.__dataclass_fields__:
            getattr(after, name)[own] = getattr(again, name)[own]
        patch.scene = scene
    return after, held


def _held(sources: Sources, held: Ints, fwhm: float) -> Sources:
    """Return sources some of which stay near the catalogue."""
    out = held_near_catalogue(sources, held)
    lower, upper = out.lower.copy(), out.upper.copy()
    place: Floats = sources.theta[held, :2]
    lower[held, :2] = np.maximum(lower[held, :2], place - MOVED * fwhm)
    upper[held, :2] = np.minimum(upper[held, :2], place + MOVED * fwhm)
    return replace(out, lower=lower, upper=upper)


def _returned(
    patch: PatchScene, sources: Sources, before: SceneState, held: Bools, residual: Pixels
) -> tuple[SceneState, Pixels]:
    """Return state and residual with held models back at the catalogue if beyond their limits."""
    beyond = (before.theta < sources.lower) | (before.theta > sources.upper)
    rows = np.flatnonzero(held & beyond.any(axis=1))
    if len(rows) == 0:
        return before, residual
    start, residual = before.copy(), residual.copy()
    start.theta[rows] = sources.theta[rows]
    for b, plane in enumerate(patch.planes(residual)):
        for row in rows:
            old, new = (
                patch.scene.model_of(state, int(row), b, (0, 0), plane.shape)
                for state in (before, start)
            )
            np.add(plane, old - new, out=plane)
    return start, residual


def strayed_of_table(table: Table | None, rows: Ints) -> Bools:
    """Return which catalogue rows had strayed models in the pass that left this state."""
    out = np.zeros(len(rows), np.bool_)
    if table is None or len(table) == 0:
        return out
    known: npt.NDArray[Any] = np.asarray(table["row"])
    at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    have = known[at] == rows
    out[have] = np.asarray(table[STRAYED])[at[have]]
    return out

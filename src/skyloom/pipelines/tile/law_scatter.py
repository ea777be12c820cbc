"""How far the galaxies of a tile are from their laws, measured on its own bright galaxies.

With ``skyloom.galaxy_index_scatter: auto`` patches collect before the last pass what the pixels say
about the Sersic index of each bright galaxy; together they tell what indices are on average and by
how much they scatter, and the last pass counts with that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Pixels
from skyloom.scene import (
    LAWS,
    SceneState,
    estimate_band_spread,
    estimate_law_spread,
    law_departures,
)

from .config import TileConfig
from .passes import FIRST_FREE, last_pass
from .patch_scene import PatchScene

__all__ = ["measured_scatter", "measures_scatter", "patch_departures"]

log = logging.getLogger(__name__)


def measures_scatter(config: TileConfig, number: int) -> bool:
    """Tell whether departures are collected after a pass: before the last, of fitted shapes."""
    is_asked = config.skyloom.galaxy_index_scatter == "auto" and config.skyloom.profile == "exact"
    return is_asked and number == last_pass(config) - 1 and number >= FIRST_FREE - 1


def patch_departures(
    patch: PatchScene, state: SceneState, prepared: tuple[Pixels, Pixels]
) -> Floats:
    """Return `skyloom.scene.law_departures` of the sources that a patch fits.

    Parameters
    ----------
    patch : PatchScene
    state : SceneState
        All sources after the pass.
    prepared : tuple of ndarray
        What `PatchScene.residual` returned for it.

    Returns
    -------
    ndarray, shape (n, 5 + 6 B)
        Catalogue row, law, as `SourceType`, then the columns of that; only those with information.
    """
    blocks = [block for parts in patch.own_groups().values() for block in parts]
    seen = state.copy()
    seen.side = patch.scene.stamp_sides(state)
    seen.faint = (state.snr < patch.scene.options.prior_snr) & state.started
    kind, before = patch.sources.kind, np.asarray(patch.groups["kind"])[patch.rows]
    found = law_departures(patch.scene, seen, blocks, prepared, laws=before)
    law = np.where(np.isin(kind, LAWS), kind, before)
    known = np.flatnonzero(found.any(axis=1))
    return np.column_stack([patch.rows[known], law[known], found[known]])


def measured_scatter(
    parts: Sequence[Floats], noise: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return mean and scatter of `LAWS`, and of single bands; nothing where none was asked.

    Parameters
    ----------
    parts : sequence of ndarray, shape (n, 5 + 6 B)
        From `patch_departures`.
    noise : mapping
        ``rho`` and ``correlated`` of the bands, where they were measured.
    """
    if not parts:
        return {}
    found = np.concatenate(parts)
    found = found[np.argsort(found[:, 0], kind="stable")]
    factor, spread = _variance_factor(noise), []
    for kind in LAWS:
        own = found[found[:, 1] == kind, 2:5]
        spread.append(estimate_law_spread(own, variance_factor=factor))
        log.info(
            "%d %s galaxies are off by %+.3f in ln n and scatter by %.3f",
            len(own), kind.name, *spread[-1],
        )  # fmt: skip
    mean, scatter = np.array(spread).T
    by_band, of_band = estimate_band_spread(found[:, 2:], variance_factor=factor)
    log.info(
        "%d galaxies scatter from band to band by %.3f in ln r and ln n; means: %s",
        len(found), of_band, ", ".join(f"{r:+.3f} {n:+.3f}" for r, n in by_band),
    )  # fmt: skip
    return {
        "law_mean": mean,
        "law_scatter": scatter,
        "band_mean": by_band,
        "band_scatter": np.array(of_band),
    }


def _variance_factor(noise: Mapping[str, npt.NDArray[Any]]) -> float:
    """Return by what correlated noise widens the variance of smooth sums, mean of the bands.

    Sums over all lags are those of the largest galaxies: for smaller ones this is careful.
    """
    if "rho" not in noise:
        return 1.0
    total = noise["rho"].sum(axis=(1, 2))
    return float(np.mean(np.where(noise["correlated"], total, 1.0)))

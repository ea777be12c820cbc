"""The state of a scene as a table, so that passes can be exchanged on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Floats, Ints
from skyloom.catalogs import plain_table
from skyloom.scene import PARAMETERS, SceneState, Sources

__all__ = [
    "STILL",
    "restarted_table",
    "state_from_table",
    "state_to_table",
    "still_table",
    "with_still",
]

# Which covariances are kept: position, shape, index; those between them are not needed later.
_COVARIANCES = (
    *((0, 0), (0, 1), (1, 1)),
    *((2, 2), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4), (5, 5)),
)
ROUNDING = 1e-9  # pix: an offset that is zero but for rounding is none of the source's own
_COUNTS = ("evaluations", "iterations")
STILL = "still/"  # of the columns of a state before anything moved
_FLAGS = ("converged", "singular", "frozen", "started")


def state_to_table(state: SceneState, local: Ints, known: Ints, bands: Sequence[str]) -> Table:
    """Return some sources of a state as a table.

    Parameters
    ----------
    state : SceneState
    local : ndarray of int
        Which sources of the state.
    known : ndarray of int
        Catalogue rows of all sources of the state.
    bands : sequence of str
        Names of the fluxes.
    """
    columns: dict[str, npt.NDArray[Any]] = {"row": np.asarray(known[local], dtype=np.int64)}
    for c, name in enumerate(PARAMETERS):
        columns[name] = state.theta[local, c]
    for i, j in _COVARIANCES:
        columns[f"cov_{PARAMETERS[i]}_{PARAMETERS[j]}"] = state.theta_cov[local, i, j]
    for b, band in enumerate(bands):
        columns[f"flux_{band}"] = state.flux[local, b]
        columns[f"shift_{band}"] = state.shift[local, b]
        columns[f"variance_{band}"] = state.flux_cov[local, b, b]
        own = state.offset[local, b] - state.offset_mean[local, b]
        own[np.abs(own) < ROUNDING] = 0.0
        columns[f"dx_{band}"], columns[f"dy_{band}"] = np.ascontiguousarray(own.T)
        columns[f"sky_response_{band}"] = state.sky_response[local, b, b]
        columns[f"sky_absorbed_{band}"] = state.sky_absorbed[local, b]
    for name in (*_COUNTS, *_FLAGS, "last_decrease"):
        columns[name] = getattr(state, name)[local]
    partner = state.partner[local]
    columns["partner"] = np.where(partner >= 0, known[partner], -1)
    for b, band in enumerate(bands):
        columns[f"pair_cov_{band}"] = state.pair_cov[local, b]
    return plain_table(columns)


def state_from_table(
    table: Table | None, rows: Ints, sources: Sources, bands: Sequence[str]
) -> SceneState:
    """Return the state of the sources in ``rows``; where there is no table or row, the start."""
    state = SceneState.start(sources, len(bands), len(bands))
    if table is None or len(table) == 0:
        return state
    known = np.asarray(table["row"])
    place = np.searchsorted(known, rows)
    place = np.minimum(place, len(known) - 1)
    have = np.flatnonzero(known[place] == rows)
    place = place[have]

    def column(name: str) -> npt.NDArray[Any]:
        return np.asarray(table[name])[place]

    for c, name in enumerate(PARAMETERS):
        state.theta[have, c] = column(name)
    for i, j in _COVARIANCES:
        state.theta_cov[have, i, j] = column(f"cov_{PARAMETERS[i]}_{PARAMETERS[j]}")
        state.theta_cov[have, j, i] = state.theta_cov[have, i, j]
    for b, band in enumerate(bands):
        state.flux[have, b] = column(f"flux_{band}")
        state.shift[have, b] = column(f"shift_{band}")
        state.flux_cov[have, b, b] = column(f"variance_{band}")
        state.offset[have, b, 0] = column(f"dx_{band}")
        state.offset[have, b, 1] = column(f"dy_{band}")
        state.sky_response[have, b, b] = column(f"sky_response_{band}")
        state.sky_absorbed[have, b] = column(f"sky_absorbed_{band}")
    for name in (*_COUNTS, *_FLAGS, "last_decrease"):
        getattr(state, name)[have] = column(name)
    partner = column("partner").astype(np.int64)
    at = np.minimum(np.searchsorted(rows, partner), len(rows) - 1)
    state.partner[have] = np.where((partner >= 0) & (rows[at] == partner), at, -1)
    for b, band in enumerate(bands):
        state.pair_cov[have, b] = column(f"pair_cov_{band}")
    return state


def with_still(moved: Table, still: Table) -> Table:
    """Return the state of a pass beside what it was before positions and shapes were free."""
    for name in still.colnames:
        if name != "row":
            moved[STILL + name] = still[name]
    return moved


def still_table(table: Table) -> Table:
    """Return the state before positions and shapes were free; the state if they never were."""
    own = {
        n.removeprefix(STILL): np.asarray(table[n]) for n in table.colnames if n.startswith(STILL)
    }
    return plain_table({"row": np.asarray(table["row"]), **own}) if own else table


def restarted_table(table: Table, circles: Floats) -> Table:
    """Return the state with the sources in some circles as they were before they moved.

    ``circles`` (m, 3): x, y, radius [pix].  A state that nothing moved in stays as it is.
    """
    still = still_table(table)
    if still is table or len(circles) == 0:
        return table
    x, y = (np.asarray(still[name]) for name in PARAMETERS[:2])
    inside = np.zeros(len(table), np.bool_)
    for cx, cy, radius in circles:
        inside |= np.hypot(x - cx, y - cy) < radius
    columns = {}
    for name in still.colnames:
        columns[name] = np.where(inside, np.asarray(still[name]), np.asarray(table[name]))
    return plain_table(columns)

"""What a fit has to know of sources whose type was changed: where it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from astropy.table import Table

from skyloom._types import Ints
from skyloom.scene import PARAMETERS, SceneState

from .start import START_RADIUS, StartValues

__all__ = ["newly_retyped", "retyped_kinds", "retyped_start", "retyped_state"]


def _changed(types: Table) -> Table:
    return types[np.asarray(types["kind"]) != np.asarray(types["kind_before"])]


def newly_retyped(types: Table | None, number: int) -> Table | None:
    """Return the rows whose type was changed after a pass."""
    return None if types is None else types[np.asarray(types["changed_after"]) == number]


def retyped_kinds(kind: Ints, types: Table) -> Ints:
    """Return the models of all catalogue rows, those that were changed among them."""
    changed = _changed(types)
    after = kind.copy()
    after[np.asarray(changed["row"])] = changed["kind"]
    return after


def retyped_start(start: StartValues, types: Table) -> StartValues:
    """Return start values with the shapes found for new types.

    What the catalogue knows of the shape belongs to its own type and is no prior any more.
    """
    changed = _changed(types)
    rows = np.asarray(changed["row"])
    values = {name: getattr(start, name).copy() for name in ("log_r", "g1", "g2", "n")}
    for name, array in values.items():
        array[rows] = changed[name]
    values["log_r"] = np.clip(values["log_r"], *np.log(START_RADIUS))
    ivar = start.prior_ivar.copy()
    ivar[rows, 2:] = 0.0
    return replace(start, **values, prior_ivar=ivar)


def retyped_state(state: SceneState, types: Table, rows: Ints, bands: Sequence[str]) -> None:
    """Put parameters and fluxes of the new models into a state of the sources ``rows``."""
    changed = _changed(types)
    changed = changed[np.isin(np.asarray(changed["row"]), rows)]
    at = np.searchsorted(rows, np.asarray(changed["row"]))
    if len(at) == 0:
        return
    for c, name in enumerate(PARAMETERS):
        state.theta[at, c] = changed[name]
    for b, band in enumerate(bands):
        state.flux[at, b] = changed[f"flux_{band}"]

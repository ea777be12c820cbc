"""Which pass of the fit reads what of the passes before."""

from __future__ import annotations

from skyloom.butler import DataId

from .config import TileConfig

__all__ = [
    "FIRST_FREE",
    "LAST_HALOS",
    "TYPES_PASSES",
    "is_unstaged",
    "last_halos",
    "last_pass",
    "locate_state",
    "locate_types",
]

TYPES_PASSES = (1, 2)  # types are chosen after them: positions and shapes have been free
FIRST_FREE = 2  # pass whose start has been fitted with free shapes
LAST_HALOS = 1  # pass after which halos of bright stars are measured for the last time


def locate_types(field: str, unit: DataId, *, after: bool = False) -> DataId:
    """Return the pass after which the types of a pass were last chosen; -1 for none.

    With ``after`` those count that were chosen after this pass.
    """
    if field != "types":
        return unit
    done = [p for p in TYPES_PASSES if p < int(unit["pass"]) + after]
    return unit.replace({"pass": max(done, default=-1)})


def is_unstaged(config: TileConfig, number: int) -> bool:
    """Return whether a pass solves the fluxes, and then frees positions and shapes at once.

    Sky and halos are measured on the first of these: shapes that were free while the light of
    others was in the pixels have taken some of it.
    """
    return number == 0 and not config.patch_run.enable_staged_fit


def last_pass(config: TileConfig) -> int:
    """Return the number of the last pass."""
    return int(config.skyloom.fit_passes)


def last_halos(config: TileConfig) -> int:
    """Return the number of the pass after which halos are measured for the last time."""
    return min(LAST_HALOS, last_pass(config) - 1)


def locate_state(field: str, unit: DataId) -> DataId:
    """Return where a pass finds what was chosen and measured before it.

    Types by `locate_types`; halos of bright stars are those of the pass before, or earlier.
    """
    if field == "halos":
        return unit.replace({"pass": min(int(unit["pass"]) - 1, LAST_HALOS)})
    return locate_types(field, unit)

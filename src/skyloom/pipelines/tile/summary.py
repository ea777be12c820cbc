"""``run_summary.csv``: what became of every patch; holds times, so no two are alike."""

from __future__ import annotations

import logging

import numpy as np
from astropy.table import Table

from skyloom.butler import Butler
from skyloom.catalogs import text_array
from skyloom.errors import Unwritable
from skyloom.flow import Pipeline, RunResult, UnitRecord

__all__ = ["patch_summary", "write_run_summary"]

log = logging.getLogger(__name__)

_STATUS = {"done": ("ok", 0), "skipped": ("skipped", 0)}  # anything else has failed


def write_run_summary(result: RunResult, pipeline: Pipeline, butler: Butler) -> None:
    """Write the state of every patch, if the run had fits; a full disk only warns."""
    table = patch_summary(result, pipeline, butler)
    if table is None:
        return
    try:
        butler.put(table, "run_summary", overwrite=True)
    except (Unwritable, OSError) as error:
        log.warning("run_summary.csv: %s", error)


def patch_summary(result: RunResult, pipeline: Pipeline, butler: Butler) -> Table | None:
    """Return patch, status, returncode, seconds and log of every patch of a run.

    A patch is ``skipped`` where all its units were up to date; its seconds are those of this run.
    """
    stages = {s.name for s in pipeline.stages if "patch" in s.dimensions}
    stages -= {s.name for s in pipeline.stages if s.name.startswith("plot-")}
    records: dict[str, list[UnitRecord]] = {}
    for record in result.units:
        if record.stage in stages and "patch" in record.unit:
            records.setdefault(str(record.unit["patch"]), []).append(record)
    if not records:
        return None
    states = [_state([r.state for r in found]) for found in records.values()]
    return Table(
        {
            "patch": text_array(list(records)),
            "status": text_array([status for status, _ in states]),
            "returncode": np.array([code for _, code in states], dtype=np.int64),
            "sec": np.array([sum(r.wall for r in found) for found in records.values()]),
            "runner_log": text_array([str(butler.path("patch_log", patch=p)) for p in records]),
        }
    )


def _state(states: list[str]) -> tuple[str, int]:
    for state in states:
        if state not in _STATUS:
            return "fail", 1
    return _STATUS["done" if "done" in states else "skipped"]

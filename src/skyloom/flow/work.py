"""How a run does its work: what is no part of any key, because no product depends on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .limits import Limit

__all__ = ["Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Limits, files that do not stay, data that stay in memory, and the workers' Python.

    Parameters
    ----------
    limits : sequence of Limit
        How many tasks of some stages run at the same time.
    transient : collection of str
        Dataset types whose files are removed as soon as all stages of a run that read them are
        complete, if there are such stages.  They are made again when somebody needs them.
    kept : collection of str
        Dataset types that a process reads once and keeps in memory until the run ends.
    python : Path, optional
        Interpreter of worker processes, see `find_python`; default the one that is running.
    """

    limits: Sequence[Limit] = ()
    transient: Collection[str] = ()
    kept: Collection[str] = ()
    python: Path | None = None

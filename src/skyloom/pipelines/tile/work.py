"""How the work of a run is done: processes, threads, what stays on disk and in memory.

None of this changes a result, so that none of these settings is part of a key, but for the
compression of files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .config import TileConfig

if TYPE_CHECKING:
    from skyloom.flow import Limit, Pipeline, Work
    from skyloom.flow.runner import ExecutorName

__all__ = [
    "STACK_KEY",
    "THREADS_KEY",
    "WorkPlan",
    "fit_threads",
    "is_refitted",
    "stack_threads",
    "work_plan",
    "worker_count",
    "workers_python",
]

log = logging.getLogger(__name__)

PYTHON_KEY: Final = "patch_run.python_exe"
THREADS_KEY: Final = "patch_run.threads_per_process"
STACK_KEY: Final = "performance.white_stack_workers"
_STACKING: Final = 4  # threads, by default: each holds 120 MB, and the disk is not faster for more
_PAYLOAD: Final = ("payload",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlan:
    """What `skyloom.flow.run_pipeline` is told besides the pipeline itself."""

    executor: ExecutorName
    workers: int
    work: Work


def work_plan(
    config: TileConfig,
    pipeline: Pipeline,
    *,
    workers: int | None = None,
    executor: ExecutorName | None = None,
    python: Path | None = None,
) -> WorkPlan:
    """Return how a run does its work; what is None comes from the configuration.

    Parameters
    ----------
    config : TileConfig
        A loaded configuration.
    pipeline : Pipeline
        Its stages.
    workers, executor
        As the user asked for them on the command line.
    python : Path, optional
        Another interpreter than the one that is running; it needs a process.
    """
    from skyloom.flow import Work  # noqa: PLC0415 - imports arrays

    number = worker_count(config, workers)
    by_default: ExecutorName = "processes" if number > 1 or python is not None else "serial"
    chosen = executor or config.skyloom.executor or by_default
    if chosen == "serial" and python is not None:
        log.warning(
            "%s = %s is not used: the serial executor has no processes of its own; set "
            "skyloom.executor: processes",
            PYTHON_KEY,
            python,
        )
    inputs = config.patch_inputs
    return WorkPlan(
        executor=chosen,
        workers=number,
        work=Work(
            limits=list(_limits(config, pipeline, number if chosen == "processes" else 1)),
            transient=() if inputs.save_patch_inputs else _PAYLOAD,
            kept=_PAYLOAD if inputs.keep_payloads_in_memory else (),
            python=python,
        ),
    )


def _limits(config: TileConfig, pipeline: Pipeline, workers: int) -> Iterator[Limit]:
    """Yield how many units of the stages may be at work at the same time."""
    from skyloom.flow import Limit, available_cpus  # noqa: PLC0415 - imports arrays

    frames, epsf = config.performance.frame_prep_workers, config.epsf
    numbers: list[tuple[tuple[str, ...], int | str]] = [
        (("masks", "noise"), frames),
        (("epsf",), epsf.max_workers if epsf.parallel_bands else 1),
        (("payloads",), config.patch_inputs.max_workers),
    ]
    threads, cpus = fit_threads(config), available_cpus()
    if threads > 1:
        fits = tuple(s.name for s in pipeline.stages if f"-{THREADS_KEY}" in s.config_keys)
        at_once = max(1, cpus // threads)
        numbers.append((fits, at_once))
        if workers * threads > cpus:
            log.warning(
                "%s = %d: %d workers with %d threads each are more than the %d CPUs, so that "
                "patches are fitted %d at a time; keep max_workers * threads_per_process <= CPUs",
                THREADS_KEY,
                config.patch_run.threads_per_process,
                workers,
                threads,
                cpus,
                at_once,
            )
    known = {stage.name for stage in pipeline.stages}
    for names, most in numbers:
        present = [name for name in names if name in known]
        if isinstance(most, int) and present:
            yield Limit(stages=present, tasks=max(1, most))


def worker_count(config: TileConfig, workers: int | None = None) -> int:
    """Return the number of worker processes: given, ours, or the original's, capped at the CPUs."""
    from skyloom.flow import available_cpus  # noqa: PLC0415 - imports arrays

    wanted = workers or config.skyloom.workers or config.patch_run.max_workers
    return max(1, min(wanted, available_cpus()))


def fit_threads(config: TileConfig) -> int:
    """Return the number of threads of a fit, capped at the CPUs."""
    from skyloom.flow import available_cpus  # noqa: PLC0415 - imports arrays

    return max(1, min(config.patch_run.threads_per_process, available_cpus()))


def stack_threads(config: TileConfig, strips: int) -> int:
    """Return the number of threads that stack strips of the white image."""
    from skyloom.flow import available_cpus  # noqa: PLC0415 - imports arrays

    wanted = config.performance.white_stack_workers
    most = min(strips, available_cpus())
    return max(1, min(_STACKING if wanted == "auto" else wanted, most))


def workers_python(config: TileConfig) -> Path | None:
    """Return the interpreter of the worker processes; None for the one that is running.

    Raises
    ------
    WrongValue
        If it cannot be used.
    """
    from skyloom.flow import find_python  # noqa: PLC0415 - imports arrays

    return find_python(config.patch_run.python_exe, base=config.directory, key=PYTHON_KEY)


def is_refitted(config: TileConfig, verb: str) -> bool:
    """Tell whether a verb fits all patches again, whatever was done before."""
    return not config.patch_run.resume and verb in {"run", "run-patches"}

"""Running a pipeline: plan, skip what is up to date, run the rest, keep the ledger."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from skyloom.butler import Butler, DataId, Value
from skyloom.errors import DataDamaged, Unprocessable, UserMistake, WrongValue

from .datasets import Blocked, Datasets
from .executors import Executor, SerialExecutor
from .interrupts import Interrupts
from .ledger import Ledger
from .limits import Limited
from .lock import WorkDirLock
from .pipeline import Pipeline
from .plan import PlannedUnit, plan_stage
from .pool import ProcessPool
from .progress import Watcher, WatcherName, make_watcher
from .result import RunResult, Seconds, State, UnitRecord
from .stage import Stage
from .task import Record, Task, forget_kept
from .threads import available_cpus
from .transient import absent_inputs, remove_files
from .work import Work

__all__ = ["ExecutorName", "run_pipeline"]

log = logging.getLogger(__name__)

ExecutorName: TypeAlias = Literal["serial", "processes"]
AnyStage: TypeAlias = Stage[Any, Any, Any]

FOLDER: Final = "skyloom"  # of ledger and lock, below the work directory
_TICK: Final = 1.0  # s between looks at the progress


def run_pipeline(
    pipeline: Pipeline,
    butler: Butler,
    *,
    dimensions: Mapping[str, Sequence[Value]] | None = None,
    targets: Collection[str] | None = None,
    executor: ExecutorName = "processes",
    workers: int | None = None,
    force: bool | Collection[str] = (),
    progress: WatcherName | Watcher | None = None,
    warm_up: Callable[[], object] | None = None,
    work: Work | None = None,
) -> RunResult:
    """Bring the products of a pipeline up to date.

    A unit whose key was done before, and whose files are intact, is skipped.  Stages run as soon as
    those that they read from are complete; independent ones share the workers.

    Parameters
    ----------
    pipeline : Pipeline
    butler : Butler
        Writeable; its root is the work directory.
    dimensions : mapping, optional
        Values of the dimensions that are known from the start, in their order (the bands).
    targets : collection of str, optional
        Stages to bring up to date, with all that they need; default all.
    executor : {"processes", "serial"}
        Worker processes, or this process; the products are the same.
    workers : int, optional
        Number of processes; default, and at most, the CPUs.
    force : bool or collection of str
        Stages that are run again in any case; True for all.
    progress : {"auto", "bars", "heartbeat", "quiet"} or Watcher, optional
        Who watches; default nobody.
    warm_up : callable, optional
        Module-level function that each worker calls once (compiles kernels).
    work : Work, optional
        Limits, files that do not stay, data that stay in memory, interpreter of the workers.

    Returns
    -------
    RunResult
        Its ``exit_status`` is 1 if a unit failed.

    Raises
    ------
    UserMistake
        From a stage, or because a file of the user's is absent (`MissingFile`), another run is at
        work in the directory (`Busy`), or the directory is not writeable (`Unwritable`).
    KeyboardInterrupt
        After the workers were stopped; the ledger knows what was done.
    """
    work = work or Work()
    stages = pipeline.select(targets)
    pipeline.check_names(() if isinstance(force, bool) else force)
    pipeline.check_names(name for limit in work.limits for name in limit.stages)
    home = butler.root / FOLDER
    about = {"executor": executor, "workers": workers, "targets": sorted(targets or ())}
    with ExitStack() as stack:
        lock = WorkDirLock(home / "lock")
        runs_in = _executor(
            executor, butler, stages, lock, workers=workers, warm_up=warm_up, work=work
        )
        stack.enter_context(lock)
        interrupts = stack.enter_context(Interrupts())
        ledger = stack.enter_context(closing(Ledger(home / "ledger.sqlite", root=butler.root)))
        watcher = stack.enter_context(closing(make_watcher(progress)))
        stack.enter_context(closing(runs_in))
        stack.callback(forget_kept)
        run = _Run(
            pipeline=pipeline,
            stages=stages,
            butler=butler,
            ledger=ledger,
            executor=runs_in,
            watcher=watcher,
            dimensions=dimensions or {},
            force=force,
            datasets=Datasets(butler, ledger.file_digests),
            interrupts=interrupts,
            work=work,
        )
        with _entered(ledger, about):
            result = run.complete()
            ledger.finish_run(result.exit_status)
    return result


def _executor(
    name: str,
    butler: Butler,
    stages: Sequence[AnyStage],
    lock: WorkDirLock,
    *,
    workers: int | None,
    warm_up: Callable[[], object] | None,
    work: Work,
) -> Executor:
    by_name = {stage.name: stage for stage in stages}
    if name == "serial":
        return Limited(SerialExecutor(butler, by_name), work.limits)
    if name != "processes":
        raise WrongValue(f"executor {name!r} does not exist; choose serial or processes")
    cpus = available_cpus()
    pool = ProcessPool(
        butler,
        by_name,
        workers=min(workers or cpus, cpus),
        warm_up=warm_up,
        lock=lock,
        python=work.python,
    )
    return Limited(pool, work.limits)


@contextmanager
def _entered(ledger: Ledger, about: Mapping[str, Any]) -> Iterator[None]:
    """Note in the ledger how a run that raises has ended."""
    ledger.start_run(about)
    try:
        yield
    except (UserMistake, KeyboardInterrupt) as error:
        ledger.finish_run(2 if isinstance(error, UserMistake) else 130)
        raise


@dataclass(slots=True, kw_only=True)
class _StageState:
    """A stage at work."""

    stage: AnyStage
    started: float
    planned: list[PlannedUnit] = field(default_factory=list)
    records: dict[DataId, UnitRecord] = field(default_factory=dict)
    outputs: dict[DataId, Sequence[Any]] = field(default_factory=dict)
    earlier: dict[DataId, Sequence[Any]] = field(default_factory=dict)  # outputs made again
    ended: float = 0.0

    @property
    def is_complete(self) -> bool:
        return len(self.records) == len(self.planned)

    def makers_of(self, paths: Collection[Path]) -> list[PlannedUnit]:
        """Return the units that made some files in an earlier run, to be run again."""
        return [
            replace(planned, reuse=None)
            for planned in self.planned
            if self.records[planned.unit].state == "skipped"
            and any(output.path in paths for output in self.outputs[planned.unit])
        ]


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call of `run_pipeline`."""

    pipeline: Pipeline
    stages: Sequence[AnyStage]
    butler: Butler
    ledger: Ledger
    executor: Executor
    watcher: Watcher
    dimensions: Mapping[str, Sequence[Value]]
    force: bool | Collection[str]
    datasets: Datasets
    interrupts: Interrupts
    work: Work
    states: dict[str, _StageState] = field(default_factory=dict)
    complete_stages: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)  # transient types
    is_disk_full: bool = False

    def complete(self) -> RunResult:
        """Run all there is to run."""
        start = time.perf_counter()
        self.datasets.check_external(self.pipeline.externals(self.stages))
        try:
            self._loop()
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            log.error("%s: %s; free space and run again", self.ledger.path, error)  # noqa: TRY400
            self._give_up()
        wall = time.perf_counter() - start
        log.info("all stages took %.1f s", wall)
        return self._result(wall)

    def _loop(self) -> None:
        while len(self.complete_stages) < len(self.stages):
            self.interrupts.check()
            self._plan_ready()
            if self.executor.pending:
                record = self.executor.wait(_TICK)
                self.watcher.tick()
                if record is not None:
                    self._take(record)
            self._close_stages()

    def _give_up(self) -> None:
        """Count all that has not ended as stopped: there is no space to note anything."""
        self.is_disk_full = True
        for state in self.states.values():
            for planned in state.planned:
                if planned.unit not in state.records:
                    self._settle(state, planned.unit, "stopped", error="the disk is full")

    def _plan_ready(self) -> None:
        """Plan the stages all of whose producers are complete."""
        for stage in self.stages:
            if stage.name not in self.states:
                needs = set(self.pipeline.producers(stage))
                if needs <= self.complete_stages:
                    self._plan(stage)

    def _plan(self, stage: AnyStage) -> None:
        state = self.states[stage.name] = _StageState(stage=stage, started=time.perf_counter())
        force = self.force if isinstance(self.force, bool) else stage.name in self.force
        try:
            state.planned = list(
                plan_stage(
                    stage,
                    datasets=self.datasets,
                    butler=self.butler,
                    ledger=self.ledger,
                    dimensions=self.dimensions,
                    force=force,
                    transient=self.work.transient,
                )
            )
        except (Blocked, DataDamaged, Unprocessable) as gap:
            if isinstance(gap, DataDamaged) and isinstance(path := gap.facts.get("path"), Path):
                self.ledger.doubt(path)
            state.planned = [PlannedUnit(unit=stage.fixed, blocked=str(gap))]
        todo = [unit for unit in state.planned if unit.reuse is None and unit.blocked is None]
        absent = absent_inputs(todo, self.work.transient)
        if absent and self._make_again(absent):
            del self.states[stage.name]  # it is planned again when they are there
            return
        for unit in state.planned:
            if unit.reuse is not None:
                self._settle(state, unit.unit, "skipped", outputs=unit.reuse)
            elif unit.blocked is not None:
                self._settle(state, unit.unit, "blocked", error=unit.blocked)
        self.watcher.planned(stage.name, len(state.planned), len(todo))
        if todo:
            reasons = dict.fromkeys(r for unit in todo for r in unit.reasons)
            why = "; ".join(list(reasons)[:3])
            log.info(
                "%s: %d of %d units to do (%s)", stage.name, len(todo), len(state.planned), why
            )
        self._submit(state, todo)

    def _make_again(self, paths: Collection[Path]) -> bool:
        """Run again what made some files that an earlier run removed; False if there is nothing."""
        found = False
        for name in [stage.name for stage in self.stages if stage.name in self.complete_stages]:
            state = self.states[name]
            again = state.makers_of(paths)
            if not again:
                continue
            found = True
            for planned in again:
                del state.records[planned.unit]
                state.earlier[planned.unit] = state.outputs[planned.unit]
            self.complete_stages.discard(name)
            self.watcher.planned(name, len(state.planned), len(again))
            log.info("%s: %d units again, for files that did not stay", name, len(again))
            self._submit(state, again)
        return found

    def _submit(self, state: _StageState, todo: Sequence[PlannedUnit]) -> None:
        if self.is_disk_full:
            for unit in todo:
                self._settle(state, unit.unit, "stopped", error="the disk is full")
            return
        name = state.stage.name
        with self.ledger.transaction():
            rows = [
                self.ledger.begin_unit(name, unit.unit, unit.key, parts=unit.parts) for unit in todo
            ]
        for unit, row in zip(todo, rows, strict=True):
            task = Task(
                stage=name,
                unit=unit.unit,
                row=row,
                bindings=unit.bindings,
                light=state.stage.light and len(todo) == 1,
                late=state.stage.late,
                again=unit.again,
                kept=frozenset(self.work.kept),
            )
            self.executor.submit(task)

    def _take(self, record: Record) -> None:
        """Enter what became of a task."""
        task = record.task
        state = self.states[task.stage]
        cost = (record.wall, record.cpu, record.peak)
        self.ledger.finish_unit(
            task.row,
            "failed" if record.fault else "done",
            outputs=record.outputs,
            cost=cost,
            error=record.error,
            traceback=record.traceback,
        )
        for path in record.damaged:
            self.ledger.doubt(path)
        self._settle(
            state,
            task.unit,
            "failed" if record.fault else "done",
            outputs=record.outputs,
            cost=cost,
            error=record.error,
        )
        self.watcher.finished(task.stage, failed=record.fault is not None)
        if record.mistake is not None:
            self._stop("the run was stopped")
            raise record.mistake
        if record.fault == "disk full":
            self.is_disk_full = True
            log.error("%s: %s", state.records[task.unit].label, record.error)
            self._stop("the disk is full")

    def _stop(self, why: str) -> None:
        """Forget what has not started."""
        for task in self.executor.cancel():
            self.ledger.finish_unit(task.row, "stopped", error=why)
            self._settle(self.states[task.stage], task.unit, "stopped", error=why)

    def _settle(
        self,
        state: _StageState,
        unit: DataId,
        what: State,
        *,
        outputs: Sequence[Any] = (),
        cost: tuple[float, float, int] = (0.0, 0.0, 0),
        error: str | None = None,
    ) -> None:
        wall, cpu, peak = cost
        state.outputs[unit] = outputs
        state.ended = time.perf_counter()
        state.records[unit] = UnitRecord(
            stage=state.stage.name,
            unit=unit,
            state=what,
            wall=wall,
            cpu=cpu,
            peak_bytes=peak,
            error=error,
        )

    def _close_stages(self) -> None:
        """Make the products of complete stages known, in the order of their units."""
        for name, state in self.states.items():
            if name in self.complete_stages or not state.is_complete:
                continue
            self.complete_stages.add(name)
            for planned in state.planned:
                record = state.records[planned.unit]
                if record.state in {"done", "skipped"}:
                    self.datasets.add(state.outputs[planned.unit])
                else:
                    self.datasets.drop(state.earlier.get(planned.unit, ()))
                    for dataset in state.stage.output_types.values():
                        self.datasets.lose(dataset.type, planned.unit)
            self._tell(state)
            self._clear_away()

    def _clear_away(self) -> None:
        """Remove transient files that no stage of this run will read any more."""
        for type_ in set(self.work.transient) - self.cleared:
            readers = [s for s in self.stages if type_ in {d.type for d in s.input_types.values()}]
            if not readers or not {s.name for s in readers} <= self.complete_stages:
                continue
            self.cleared.add(type_)
            states = [r.state for s in readers for r in self.states[s.name].records.values()]
            if set(states) <= {"done", "skipped"}:
                remove_files(self.datasets.handles(type_))
            else:
                log.info("%s: the files stay for the next run, since units failed", type_)

    def _tell(self, state: _StageState) -> None:
        tally: dict[str, int] = {}
        for record in state.records.values():
            tally[record.state] = tally.get(record.state, 0) + 1
        bad = {"failed", "blocked", "stopped"} & set(tally)
        text = ", ".join(f"{count} {what}" for what, count in sorted(tally.items())) or "no units"
        level = logging.WARNING if bad else logging.INFO if "done" in tally else logging.DEBUG
        log.log(level, "%s: %s in %.1f s", state.stage.name, text, state.ended - state.started)

    def _result(self, wall: float) -> RunResult:
        states = [self.states[s.name] for s in self.stages if s.name in self.states]
        return RunResult(
            units=[s.records[planned.unit] for s in states for planned in s.planned],
            seconds={
                s.stage.name: Seconds(
                    wall=max(0.0, s.ended - s.started),
                    cpu=sum(record.cpu for record in s.records.values()),
                )
                for s in states
            },
            wall=wall,
            is_disk_full=self.is_disk_full,
            made={type_: self.datasets.of(type_) for type_ in self._types()},
        )

    def _types(self) -> list[str]:
        return list(dict.fromkeys(d.type for s in self.stages for d in s.output_types.values()))

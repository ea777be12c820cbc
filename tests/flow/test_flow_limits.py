"""How many tasks run at the same time: a limit changes that and nothing else."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from flow_toys import BANDS, run_toys, toy_layout, tree, write_inputs
from typing_extensions import override

from skyloom.butler import DataId
from skyloom.errors import WrongValue
from skyloom.flow import Dataset, Dim, Executor, Limit, Stage, Upstream, Work
from skyloom.flow.limits import Limited
from skyloom.flow.task import Record, Task

CELLS = ("c0", "c1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockInputs:
    unit: Annotated[DataId, Dim()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOutputs:
    times: Annotated[list[float], Dataset("fit")]


class Clock(Stage[None, ClockInputs, ClockOutputs]):
    """Take a while, and tell when."""

    dimensions = ("band", "cell")

    @override
    def units(self, upstream: Upstream) -> Iterable[DataId]:
        return [DataId(band=b, cell=c) for b in upstream.values("band") for c in CELLS]

    @override
    def run(self, inputs: ClockInputs) -> ClockOutputs:
        start = time.monotonic()
        time.sleep(0.2)  # longer than a task takes to reach the other worker
        return ClockOutputs(times=[start, time.monotonic()])


def most_at_once(times: list[list[float]]) -> int:
    """Return how many intervals overlap at most."""
    events = sorted([(start, 1) for start, _ in times] + [(end, -1) for _, end in times])
    running, most = 0, 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most


@pytest.mark.parametrize("limit", [None, 1])
def test_a_stage_runs_so_many_tasks_at_the_same_time(
    tmp_path: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyloom.flow.runner.available_cpus", lambda: 2)
    write_inputs(tmp_path / "inputs")
    limits = [Limit(stages=["clock"], tasks=limit)] if limit else []
    stages: list[Stage[Any, Any, Any]] = [Clock(None)]
    result = run_toys(
        tmp_path / "work", stages=stages, executor="processes", workers=2, work=Work(limits=limits)
    )
    assert result.counts["clock"].done == len(BANDS) * len(CELLS)
    layout = toy_layout()
    files = [tmp_path / "work" / layout.place("fit", unit) for unit in result.datasets("fit")]
    times = [json.loads(file.read_text()) for file in files]
    assert most_at_once(times) == (limit or 2)


def test_a_limit_is_no_part_of_a_key_and_changes_no_byte(tmp_path: Path) -> None:
    write_inputs(tmp_path / "inputs")
    run_toys(tmp_path / "free")
    root = tmp_path / "limited"
    limits = [
        Limit(stages=["measure", "fit"], tasks=2),
        Limit(stages=["fit"], tasks=1),
    ]
    run_toys(root, executor="processes", workers=2, work=Work(limits=limits))
    assert tree(root) == tree(tmp_path / "free")
    again = run_toys(root, work=Work(limits=[Limit(stages=["fit"], tasks=3)]))
    assert not any(counts.done for counts in again.counts.values())


def test_a_limit_of_a_stage_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path / "inputs")
    with pytest.raises(WrongValue, match="no stage is called 'fits'; did you mean 'fit'"):
        run_toys(tmp_path / "work", work=Work(limits=[Limit(stages=["fits"], tasks=1)]))


class Everybody(Executor):
    """Runs nothing; tasks end when a test says so."""

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()

    @override
    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    @override
    def wait(self, timeout: float) -> Record | None:
        return Record(task=self.tasks.popleft()) if self.tasks else None

    @property
    @override
    def pending(self) -> int:
        return len(self.tasks)

    @override
    def cancel(self) -> list[Task]:
        tasks = list(self.tasks)
        self.tasks.clear()
        return tasks

    @override
    def close(self) -> None: ...


def task(stage: str, row: int, *, late: bool = False) -> Task:
    return Task(stage=stage, unit=DataId(), row=row, bindings={}, late=late)


def test_stages_of_one_limit_share_it_and_others_pass_by() -> None:
    inner = Everybody()
    executor = Limited(inner, [Limit(stages=["a", "b"], tasks=2), Limit(stages=["b"], tasks=1)])
    for row, stage in enumerate("bbaac"):
        executor.submit(task(stage, row))
    assert [t.row for t in inner.tasks] == [0, 2, 4]
    assert executor.pending == 5
    ended = []
    while executor.pending:
        record = executor.wait(0.0)
        assert record is not None
        ended.append(record.task.row)
        rows = [t.stage for t in inner.tasks]
        assert rows.count("a") + rows.count("b") <= 2
        assert rows.count("b") <= 1
    assert sorted(ended) == [0, 1, 2, 3, 4]


def test_cancelled_tasks_are_those_that_were_held_too_and_leave_room() -> None:
    inner = Everybody()
    executor = Limited(inner, [Limit(stages=["a"], tasks=1)])
    for row in range(3):
        executor.submit(task("a", row))
    assert sorted(t.row for t in executor.cancel()) == [0, 1, 2]
    assert executor.pending == 0
    executor.submit(task("a", 7))
    assert [t.row for t in inner.tasks] == [7]


def test_late_tasks_are_held_behind_the_others() -> None:
    inner = Everybody()
    executor = Limited(inner, [Limit(stages=["a"], tasks=1)])
    for row, late in enumerate((False, True, False)):
        executor.submit(task("a", row, late=late))
    order = []
    while (record := executor.wait(0.0)) is not None:
        order.append(record.task.row)
    assert order == [0, 2, 1]

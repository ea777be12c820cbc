"""Limits: how many tasks of some stages may run at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from typing_extensions import override

from .executors import Executor, enqueue
from .task import Record, Task

__all__ = ["Limit", "Limited"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so many tasks of some stages, taken together, run at the same time.

    It says how the work is done, not what comes out: it is no part of any key.
    """

    stages: Collection[str]  # names
    tasks: int  # at least 1


@final
class Limited(Executor):
    """Hands tasks on to another executor, those of limited stages only while there is room.

    Parameters
    ----------
    executor : Executor
        Runs them.
    limits : sequence of Limit
        A stage may stand in several; all of them hold.
    """

    def __init__(self, executor: Executor, limits: Sequence[Limit]) -> None:
        self._executor = executor
        self._limits = tuple(limits)
        self._handed_on = [0] * len(self._limits)
        self._held: dict[str, deque[Task]] = {}  # by stage

    @override
    def submit(self, task: Task) -> None:
        enqueue(self._held.setdefault(task.stage, deque()), task)
        self._hand_on()

    @override
    def wait(self, timeout: float) -> Record | None:
        record = self._executor.wait(timeout)
        if record is not None:
            self._count(record.task, -1)
            self._hand_on()
        return record

    @property
    @override
    def pending(self) -> int:
        return self._executor.pending + sum(map(len, self._held.values()))

    @override
    def cancel(self) -> list[Task]:
        tasks = self._executor.cancel()
        for task in tasks:
            self._count(task, -1)
        held = [task for queue in self._held.values() for task in queue]
        self._held.clear()
        return [*tasks, *held]

    @override
    def close(self) -> None:
        self._held.clear()
        self._executor.close()

    def _hand_on(self) -> None:
        for stage, queue in self._held.items():
            while queue and self._has_room(stage):
                task = queue.popleft()
                self._count(task, 1)
                self._executor.submit(task)

    def _has_room(self, stage: str) -> bool:
        pairs = zip(self._limits, self._handed_on, strict=True)
        return all(n < max(1, limit.tasks) for limit, n in pairs if stage in limit.stages)

    def _count(self, task: Task, change: int) -> None:
        for n, limit in enumerate(self._limits):
            if task.stage in limit.stages:
                self._handed_on[n] += change

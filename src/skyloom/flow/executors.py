"""Executors: where units run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol, final

from typing_extensions import override

from skyloom.butler import Butler

from .task import AnyStage, Record, Task, execute
from .threads import single_threaded

__all__ = ["Executor", "SerialExecutor", "enqueue"]


def enqueue(queue: deque[Task], task: Task) -> None:
    """Append a task to a queue; one that is not late goes before those that are."""
    if task.late or not queue or not queue[-1].late:
        queue.append(task)
    else:
        queue.insert(sum(not waiting.late for waiting in queue), task)


class Executor(Protocol):
    """Runs tasks in an order of its own and reports each exactly once."""

    def submit(self, task: Task) -> None:
        """Take a task."""
        ...

    def wait(self, timeout: float) -> Record | None:
        """Return what became of a task; None if nothing happened for ``timeout`` seconds."""
        ...

    @property
    def pending(self) -> int:
        """Number of tasks taken and not yet reported."""
        ...

    def cancel(self) -> list[Task]:
        """Forget the tasks that have not started and return them."""
        ...

    def close(self) -> None:
        """End at once; tasks that run are lost."""
        ...


@final
class SerialExecutor(Executor):
    """Runs one unit after another in this process, with one thread, as a worker does."""

    def __init__(self, butler: Butler, stages: Mapping[str, AnyStage]) -> None:
        self._butler = butler
        self._stages = stages
        self._queue: deque[Task] = deque()

    @override
    def submit(self, task: Task) -> None:
        enqueue(self._queue, task)

    @override
    def wait(self, timeout: float) -> Record | None:
        if not self._queue:
            return None
        task = self._queue.popleft()
        with single_threaded():
            return execute(self._stages[task.stage], self._butler, task)

    @property
    @override
    def pending(self) -> int:
        return len(self._queue)

    @override
    def cancel(self) -> list[Task]:
        tasks = list(self._queue)
        self._queue.clear()
        return tasks

    @override
    def close(self) -> None:
        self._queue.clear()

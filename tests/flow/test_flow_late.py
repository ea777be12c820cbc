"""Late stages (pictures) wait for work that others wait for."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from skyloom.butler import DataId
from skyloom.flow.executors import enqueue
from skyloom.flow.task import Task


def task(number: int, *, late: bool) -> Task:
    return Task(stage="s", unit=DataId(strip=number), row=number, bindings={}, late=late)


@given(st.lists(st.booleans(), max_size=12))
def test_late_tasks_come_last_and_order_is_kept_otherwise(kinds: list[bool]) -> None:
    tasks = [task(i, late=late) for i, late in enumerate(kinds)]
    queue: deque[Task] = deque()
    for one in tasks:
        enqueue(queue, one)
    assert list(queue) == sorted(tasks, key=lambda t: t.late)  # sorted is stable

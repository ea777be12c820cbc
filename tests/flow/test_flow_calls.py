"""Many small calls in worker processes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing

import pytest

from skyloom.flow import Lost, WorkerError, run_calls


class Toy:
    """Does what an item says."""

    def start(self):
        self.started = os.getpid()

    def run(self, item):
        if item == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "sleep":
            time.sleep(60)
        if item == "lambda":
            return lambda: None
        return item, self.started == os.getpid() != PARENT

    def unsent(self, answer, error):  # noqa: ARG002 - the interface
        return "unsent", type(error).__name__


class Broken(Toy):
    def start(self):
        raise OSError("no database")


PARENT = os.getpid()


def run(items, call=None, **options):
    found = list(run_calls(call or Toy(), iter(items), workers=2, **options))
    assert sorted(str(f.item) for f in found) == sorted(map(str, items))  # each once
    return {f.item: f for f in found}


def test_each_item_has_one_answer_from_a_prepared_worker():
    found = run(range(300))
    assert all(f.answer == (item, True) for item, f in found.items())
    assert all(f.attempts == 1 for f in found.values())


def test_no_items_need_no_workers():
    assert run([]) == {}


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_dead_worker_costs_its_item(attempts):
    found = run(["a", "die", *map(str, range(40))], attempts=attempts)
    assert found["die"].answer == Lost(how="signal 9")
    assert found["die"].attempts == attempts
    assert found["a"].answer == ("a", True)


def test_a_late_worker_is_killed(monkeypatch):
    monkeypatch.setattr("skyloom.flow.calls._GRACE", 0.2)
    found = run(["sleep", "a", "b", "c"], time_limit=0.2)
    assert found["sleep"].answer == Lost(how="signal 9", is_late=True)
    assert found["c"].answer == ("c", True)


def test_an_answer_that_cannot_be_sent():
    assert run(["lambda"])["lambda"].answer[0] == "unsent"


def test_a_worker_that_cannot_start_ends_the_run():
    with pytest.raises(WorkerError, match="no database"):
        run(["a"], Broken())


def test_closing_ends_the_workers():
    start = time.monotonic()
    with closing(run_calls(Toy(), iter(["a", "sleep", "sleep"]), workers=3)) as answers:
        assert next(answers).item == "a"
    assert time.monotonic() - start < 20  # others sleep for 60 s

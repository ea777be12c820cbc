"""Workers: what they share, how they end, and what a dead one costs."""

# ruff: noqa: ARG002, T201 - hooks

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from process_toys import Picklable, Toy

from skyloom.flow import WorkerError, calls
from skyloom.process import DataSpec, FileProcessor, procmain


def run(names, *argv, cls=Toy):
    return procmain(cls, DataSpec.from_list(names), argv)


def test_results_are_those_of_one_process():
    names = [f"{'x' * (n % 7)}{n}" for n in range(300)] + ["bad", "skip"]
    serial, parallel = run(names), run(names, "-j", "3")
    assert Counter(serial.results) == Counter(parallel.results)
    assert serial.counts == parallel.counts
    assert serial.results == [(n, len(n) ** 2) for n in names[:300]]


def test_identifiers_are_taken_as_they_are_needed():
    taken = []

    class Lazy(Toy):
        def iter_identifiers(self):
            for n in range(200):
                taken.append(n)
                yield f"n{n}"

        def handle_result(self, identifier, result):
            self.lead = max(getattr(self, "lead", 0), len(taken) - self.counts_seen())
            self.results.append(identifier)

        def counts_seen(self):
            return len(self.results)

    assert 1 < run([], "-j", "2", cls=Lazy).lead <= 2 * 4 + 1  # the queue holds 4 per worker


def test_state_changed_in_a_worker_is_lost_and_results_are_the_way():
    class Gather(FileProcessor):
        def _create_auxiliaries(self, data):
            self.inside, self.gathered = [], []

        def process(self, identifier):
            self.inside.append(identifier)
            return os.getpid()

        def handle_result(self, identifier, result):
            self.gathered.append((identifier, result))

    done = run(["a", "b"], "-j", "2", cls=Gather)
    assert done.inside == []
    assert sorted(name for name, _ in done.gathered) == ["a", "b"]
    assert all(pid != os.getpid() for _, pid in done.gathered)
    assert run(["a", "b"], cls=Gather).inside == ["a", "b"]


def test_init_worker_runs_once_in_each_process():
    class Opens(Toy):
        def _init_worker(self):
            self.opened = [*getattr(self, "opened", []), os.getpid()]

        def process(self, identifier):
            return self.opened == [os.getpid()]

    for jobs in "13":
        done = run([str(n) for n in range(20)], "-j", jobs, cls=Opens)
        assert all(result for _, result in done.results)


def test_a_failing_init_worker_ends_the_run():
    class Broken(Toy):
        def _init_worker(self):
            raise RuntimeError("no database")

    with pytest.raises(WorkerError, match="no database"):
        run(["a"], "-j", "2", cls=Broken)


def test_a_dead_worker_costs_its_file(capsys):
    names = [f"n{i}" for i in range(40)] + ["die1", "die2"] + [f"m{i}" for i in range(40)]
    done = run(names, "-j", "2")
    assert (done.counts.processed, done.counts.ignored) == (82, 2)
    assert sorted(name for name, _ in done.results) == sorted(n for n in names if "die" not in n)
    assert "Skipping source die1: (WorkerDied," in (err := capsys.readouterr().err)
    assert "its worker died (signal 9); if memory ran out, use fewer workers" in err


def test_bail_ends_workers_that_are_at_work():
    start = time.monotonic()
    with pytest.raises(SystemExit):
        run(["slow", "bad", "slow"], "-j", "3", "--bail")
    assert time.monotonic() - start < 20  # slow ones sleep for 60 s


def test_results_that_cannot_be_sent_fail():
    class Returns(Toy):
        def process(self, identifier):
            return lambda: None

    done = run(["a"], "-j", "2", cls=Returns)
    assert done.counts.ignored == 1

    class Unused(Returns):  # nobody asked for it
        handle_result = FileProcessor.handle_result

    assert run(["a"], "-j", "2", cls=Unused).counts.ignored == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_time_limit(capsys, jobs):
    done = run(["slow", "ok"], "-j", jobs, "--time-limit", "0.2")
    assert done.counts.reasons == {"TimeLimitExceeded": 1}
    assert done.results == [("ok", 4)]
    assert "slow: took longer than 0.2 s; raise --time-limit" in capsys.readouterr().err


def test_time_limit_for_code_that_does_not_listen(capsys, monkeypatch):
    class Deaf(Toy):
        def process(self, identifier):
            if identifier == "deaf":
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
                time.sleep(60)
            return super().process(identifier)

    monkeypatch.setattr(calls, "_GRACE", 0.2)
    done = run(["deaf", "ok", "ok2", "ok3"], "-j", "2", "--time-limit", "0.2", cls=Deaf)
    assert done.counts.reasons == {"TimeLimitExceeded": 1}
    assert len(done.results) == 3
    assert "did not stop; its worker was killed" in capsys.readouterr().err


class Flaky(FileProcessor):
    """Fails, or dies, as often as the file says."""

    def process(self, identifier):
        path = Path(identifier)
        left = int(path.read_text())
        if left:
            path.write_text(str(left - 1))
            if "die" in path.name:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("stale file handle")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_retries(tmp_path, jobs):
    path = tmp_path / "flaky"
    for failures, retries, ignored in [(2, "2", 0), (2, "1", 1), (1, "0", 1)]:
        path.write_text(str(failures))
        counts = run([path], "-j", jobs, "--retries", retries, cls=Flaky).counts
        assert (counts.processed, counts.ignored) == (1, ignored)


def test_a_dead_worker_is_tried_again_too(tmp_path):
    path = tmp_path / "die"
    path.write_text("2")
    assert run([path, path], "-j", "2", "--retries", "2", cls=Flaky).counts.ignored == 0


def test_spawned_workers():
    class_ = type("Spawned", (Picklable,), {"start_method": "spawn", "__module__": "process_toys"})
    sys.modules["process_toys"].Spawned = class_
    done = run(["a", "bb", "bad"], "-j", "2", cls=Picklable)
    assert sorted(done.results) == [("a", 1), ("bb", 2)]
    assert done.counts.ignored == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_when_the_parent_ends_so_do_workers(tmp_path, sign):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "from skyloom.process import DataSpec, FileProcessor, procmain\n"
        "class Slow(FileProcessor):\n"
        "    def process(self, identifier):\n"
        "        open(identifier, 'w').write(str(os.getpid()))\n"
        "        time.sleep(60)\n"
        "procmain(Slow, DataSpec.from_list(sys.argv.pop().split(',')))\n"
    )
    names = [str(tmp_path / n) for n in "ab"]
    process = subprocess.Popen(
        [sys.executable, str(script), "-j", "2", ",".join(names)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not all(Path(n).exists() and Path(n).read_text() for n in names):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(sign)
    process.wait(timeout=30)
    deadline = time.monotonic() + 10
    while any(_is_alive(int(Path(name).read_text())) for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _, err = process.communicate(timeout=30)
    if sign == signal.SIGINT:
        assert process.returncode == 130
        assert err == "interrupted\n"


def _is_alive(pid):
    """Whether a process runs; one that nobody has asked for its status is dead, too."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_bar_shows_the_counts(capsys):
    run(["a", "bad", "b"], "-j", "2", "--progress", "bar")
    err = capsys.readouterr().err
    assert "3 files" in err
    assert "1 failed" in err


def test_what_workers_print_is_seen(capfd):
    class Prints(Toy):
        def process(self, identifier):
            print(f"<{identifier}>")

    run(["a", "b"], "-j", "2", cls=Prints)
    out = capfd.readouterr().out
    assert "<a>" in out
    assert "<b>" in out

"""Worker processes: the same bytes, whatever happens to them."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import flow_toys
import pytest
from flow_toys import run_toys, tree, write_inputs

from skyloom.errors import MissingFile
from skyloom.flow import RunResult

FOLDER = str(Path(flow_toys.__file__).parent)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "inputs")
    return tmp_path / "work"


@pytest.fixture
def undisturbed(root: Path) -> dict[str, str]:
    """Return the products of a serial run in another directory."""
    other = root.with_name("undisturbed")
    assert run_toys(other).exit_status == 0
    return tree(other)


def in_processes(root: Path, config: dict[str, Any] | None = None, **options: Any) -> RunResult:
    return run_toys(root, config, executor="processes", **{"workers": 2, **options})


def start_run(root: Path, fault: dict[str, Any], *, workers: int) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own."""
    code = (
        f"import sys; sys.path[:0] = [{FOLDER!r}]; from flow_toys import main; main(*sys.argv[1:])"
    )
    arguments = [str(root), str(workers), json.dumps({"fault": fault})]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def holds(pid: int, path: Path) -> bool:
    return any(file.readlink() == path for file in Path(f"/proc/{pid}/fd").iterdir())


def children(pid: int) -> list[int]:
    """Return the child processes of a process (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def test_processes_give_the_bytes_of_a_serial_run(
    root: Path, undisturbed: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    environment = dict(os.environ)
    result = in_processes(root, warm_up=flow_toys.warn_once)
    assert result.exit_status == 0
    assert tree(root) == undisturbed
    messages = [record.getMessage() for record in caplog.records]
    assert "warm" in messages  # once per worker, before its first unit
    assert "fitting g c2" in messages  # logged in a worker, heard here
    assert "fitting g c2" in (root / "fits" / "g_c2.log").read_text()
    assert all(record.peak_bytes > 1e6 for record in result.units)
    assert dict(os.environ) == environment
    assert run_toys(root).counts["fit"].skipped == 12


def test_killed_worker_costs_one_retry_and_twice_killed_ones_their_unit(
    root: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    once, always = tmp_path / "once", tmp_path / "always"
    once.write_text("1")
    always.write_text("99")
    leftover = root / "fits" / ".u_c1.json.4711.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half a fi")
    fault = {"fit u c1": ["kill", str(once)], "fit g c2": ["kill", str(always)]}
    result = in_processes(root, {"fault": fault})
    assert once.read_text() == "0"
    assert not leftover.exists()
    assert result.counts["fit"].done == 11
    (failure,) = result.failures
    assert failure.stage == "fit"
    assert "died twice (signal 9)" in failure.message
    assert always.read_text() == "97"
    assert in_processes(root).exit_status == 0
    assert tree(root) == undisturbed


def test_killed_run_is_resumed_to_the_same_bytes(root: Path, undisturbed: dict[str, str]) -> None:
    process = start_run(root, {"fit g c2": ["sleep", 60], "fit g c1": ["sleep", 60]}, workers=2)
    wait_for(root / "fits" / "u_c0.json", process)
    workers = children(process.pid)
    assert workers
    # as long as one of them lives, nobody else gets the directory
    assert all(holds(worker, root / "skyloom" / "lock") for worker in workers)
    process.kill()
    process.wait()
    # what a worker leaves that is killed while it writes
    (root / "fits" / ".g_c2.json.4711.part").write_text("half a fi")
    result = run_toys(root)  # waits for the lock until the workers are gone
    assert not any(map(is_alive, workers))
    assert result.exit_status == 0
    assert result.counts["measure"].skipped == 3
    assert tree(root) == undisturbed


def test_interrupt_ends_workers_and_keeps_what_is_done(
    root: Path, undisturbed: dict[str, str]
) -> None:
    process = start_run(root, {"fit g c3": ["sleep", 60]}, workers=1)
    wait_for(root / "fits" / "u_c0.json", process)
    workers = children(process.pid)
    assert workers
    time.sleep(0.3)  # for the record of that unit to arrive
    for worker in workers:
        os.kill(worker, signal.SIGINT)  # a terminal may send it to all
    time.sleep(0.5)
    assert all(map(is_alive, workers))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == -signal.SIGINT  # Python's KeyboardInterrupt
    assert not any(map(is_alive, workers))
    with sqlite3.connect(root / "skyloom" / "ledger.sqlite") as db:
        assert db.execute("SELECT exit_status FROM runs").fetchall() == [(130,)]
    db.close()
    result = run_toys(root)
    assert result.counts["measure"].skipped == 3
    assert result.counts["fit"].skipped == 4
    assert tree(root) == undisturbed


def test_user_mistake_in_a_worker_arrives_with_its_facts(root: Path) -> None:
    with pytest.raises(MissingFile, match="nothing there") as caught:
        in_processes(root, {"fault": {"measure u": ["user"]}}, workers=1)
    assert caught.value.facts == {"path": "measure u"}


def test_light_stage_needs_no_worker(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_toys(root)
    (root / "total.json").unlink()
    monkeypatch.setattr("skyloom.flow.pool.ProcessPool._start", None)
    assert in_processes(root).counts["collect"].done == 1


UNGUARDED = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import flow_toys
result = flow_toys.run_toys(Path({root!r}), executor="processes", workers=1)
print(result.counts["fit"].done)
"""
IN_MAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import flow_toys
class Other(flow_toys.Measure):
    name = "measure"
if __name__ == "__main__":
    stages = [Other(flow_toys.CONFIG)]
    result = flow_toys.run_toys(
        Path({root!r}), executor="processes", workers=1, stages=stages, targets=None
    )
    print(result.counts["measure"].done, *(f.message for f in result.failures))
"""


@pytest.mark.parametrize(
    ("text", "in_file", "answer"),
    [(UNGUARDED, True, "12"), (IN_MAIN, True, "3"), (IN_MAIN, False, "3")],
    ids=["script without main guard", "stage in a script", "stage in a notebook"],
)
def test_processes_start_from_anywhere(
    root: Path, tmp_path: Path, text: str, in_file: bool, answer: str
) -> None:
    text = text.format(folder=FOLDER, root=str(root))
    script = tmp_path / "script.py"
    script.write_text(text)
    command = [sys.executable, *([str(script)] if in_file else ["-c", text])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == answer, done.stderr


def test_unguarded_script_with_its_own_stages_says_what_to_do(root: Path, tmp_path: Path) -> None:
    text = IN_MAIN.replace('if __name__ == "__main__":', "if True:")
    script = tmp_path / "script.py"
    script.write_text(text.format(folder=FOLDER, root=str(root)))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "__name__ == '__main__'" in done.stderr

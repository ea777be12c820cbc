"""What happens when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flow_toys import run_toys, tree, write_inputs

from skyloom.butler import DataId
from skyloom.errors import Busy, MissingFile, Unwritable
from skyloom.flow import Ledger, RunResult, WorkDirLock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "inputs")
    return tmp_path / "work"


def states(result: RunResult, stage: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for unit in result.units:
        if unit.stage == stage:
            found[unit.state] = found.get(unit.state, 0) + 1
    return found


def ledger_states(root: Path) -> dict[str, int]:
    with sqlite3.connect(root / "skyloom" / "ledger.sqlite") as db:
        rows = db.execute("SELECT state, COUNT(*) FROM units GROUP BY state").fetchall()
    db.close()
    return dict(rows)


@pytest.mark.parametrize("kind", ["bug", "data"])
def test_failed_unit_blocks_what_needs_it_and_nothing_else(root: Path, kind: str) -> None:
    result = run_toys(root, {"fault": {"measure g": [kind]}})
    assert states(result, "measure") == {"done": 2, "failed": 1}
    # how many cells g would have had is not known: they count as one unit
    assert states(result, "fit") == {"done": 8, "blocked": 1}
    assert states(result, "collect") == {"done": 1}  # tolerant
    assert states(result, "strict") == {"blocked": 1}
    assert result.exit_status == 1
    (failure,) = result.failures
    assert (failure.stage, failure.unit) == ("measure", DataId(band="g"))
    assert str(failure) == (
        "measure(band=g): measure g: no stars"
        if kind == "data"
        else "measure(band=g): ZeroDivisionError: one over zero"
    )


def test_strict_stage_is_blocked_by_one_failed_fit_and_tolerant_one_is_not(root: Path) -> None:
    result = run_toys(root, {"fault": {"fit g c2": ["data"]}})
    assert states(result, "fit") == {"done": 11, "failed": 1}
    assert states(result, "strict") == {"blocked": 1}
    assert states(result, "collect") == {"done": 1}
    total = json.loads((root / "total.json").read_text())
    assert len(total["fits"]) == 11
    assert not (root / "strict.json").exists()


def test_repaired_unit_is_redone_with_what_gathered_it(root: Path) -> None:
    run_toys(root, {"fault": {"fit g c2": ["data"]}})
    result = run_toys(root)
    assert states(result, "fit") == {"done": 1, "skipped": 11}
    assert states(result, "collect") == {"done": 1}
    undisturbed = root.with_name("undisturbed")
    run_toys(undisturbed)
    assert tree(root) == tree(undisturbed)


def test_failure_keeps_its_traceback_and_cost_in_the_ledger(root: Path) -> None:
    run_toys(root, {"fault": {"fit g c2": ["bug"]}})
    with sqlite3.connect(root / "skyloom" / "ledger.sqlite") as db:
        ((error, trace, wall, peak),) = db.execute(
            "SELECT error, traceback, wall, peak FROM units WHERE state = 'failed'"
        ).fetchall()
    db.close()
    assert error == "ZeroDivisionError: one over zero"
    assert "misbehave" in trace
    assert wall > 0
    assert peak > 1e6  # byte; a Python process is larger


def test_user_mistake_stops_the_run(root: Path) -> None:
    with pytest.raises(MissingFile, match="nothing there"):
        run_toys(root, {"fault": {"measure u": ["user"]}})
    assert not (root / "levels").exists()
    assert ledger_states(root) == {"failed": 1, "stopped": 2}
    assert run_toys(root).exit_status == 0


def test_full_disk_stops_the_run_with_status_1(root: Path) -> None:
    result = run_toys(root, {"fault": {"measure g": ["full"]}})
    assert result.is_disk_full
    assert result.exit_status == 1
    assert states(result, "measure") == {"done": 1, "failed": 1, "stopped": 1}
    assert states(result, "fit") == {"stopped": 4, "blocked": 2}  # cells of u; g and r
    assert "No space left" in result.failures[0].message
    assert run_toys(root).exit_status == 0


def test_full_disk_while_writing_leaves_no_part_of_a_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, text: str, **_: Any) -> None:
        Path.write_bytes(path, text[:3].encode())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write)
        result = run_toys(root)
    assert result.is_disk_full
    assert tree(root) == {}
    assert run_toys(root).exit_status == 0


def test_full_disk_of_the_ledger_stops_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish_unit", full)
        patch.setattr(Ledger, "finish_run", lambda *_: None)
        result = run_toys(root)
    assert result.exit_status == 1
    assert run_toys(root).exit_status == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory_is_a_mistake_of_the_user(root: Path) -> None:
    root.mkdir(mode=0o500)
    with pytest.raises(Unwritable, match="change the permissions"):
        run_toys(root)


def test_file_in_the_place_of_a_directory_is_a_mistake_of_the_user(root: Path) -> None:
    root.mkdir()
    (root / "levels").write_text("in the way")
    with pytest.raises(Unwritable, match=r"levels/u\.json"):
        run_toys(root)


def test_damaged_ledger_is_moved_aside_and_all_is_redone(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_toys(root)
    before = tree(root)
    path = root / "skyloom" / "ledger.sqlite"
    path.write_bytes(b"no ledger" * 1000)
    result = run_toys(root)
    assert states(result, "fit") == {"done": 12}
    assert tree(root) == before
    assert len(list(path.parent.glob("ledger.sqlite.damaged-*"))) == 1
    assert "everything is redone" in caplog.text


def test_ledger_of_another_version_is_moved_aside(root: Path) -> None:
    run_toys(root)
    with sqlite3.connect(root / "skyloom" / "ledger.sqlite") as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    assert states(run_toys(root), "measure") == {"done": 3}


def test_truncated_ledger_is_moved_aside(root: Path) -> None:
    run_toys(root)
    path = root / "skyloom" / "ledger.sqlite"
    os.truncate(path, path.stat().st_size // 2)
    assert states(run_toys(root), "measure") == {"done": 3}


def test_second_run_in_one_directory_is_refused_and_names_the_first(root: Path) -> None:
    with (
        WorkDirLock(root / "skyloom" / "lock"),
        pytest.raises(Busy, match=f"process {os.getpid()} "),
    ):
        run_toys(root)
    assert run_toys(root).exit_status == 0


def test_lock_of_a_dead_process_does_not_count(root: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from skyloom.flow import WorkDirLock; "
        "WorkDirLock(Path(sys.argv[1])).__enter__(); os.kill(os.getpid(), 9)"
    )
    lock = root / "skyloom" / "lock"
    subprocess.run([sys.executable, "-c", code, str(lock)], check=False, timeout=60)
    assert "pid" in lock.read_text()
    assert run_toys(root).exit_status == 0


def test_network_file_systems_get_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("skyloom.flow.ledger.network_file_system", lambda _: "nfs4")
    ledger = Ledger(tmp_path / "skyloom" / "ledger.sqlite", root=tmp_path)
    ledger.close()
    assert "network file system (nfs4)" in caplog.text
    with sqlite3.connect(tmp_path / "skyloom" / "ledger.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    db.close()

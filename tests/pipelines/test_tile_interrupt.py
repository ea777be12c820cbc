"""Runs that are stopped: started again they give what an undisturbed run gives."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tile_stand_in

from skyloom.errors import Busy
from skyloom.flow import lock
from skyloom.pipelines.tile import run_tile

SCRIPT = Path(__file__).with_name("tile_stand_in.py")


def start(folder: Path, *options: str, sleep: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), "tile", "run", "--config", str(folder / "config.yaml")]
    return subprocess.Popen(
        [*command, "--quiet", *options],
        env={**os.environ, "TOY_SLEEP": str(sleep)},
        stderr=subprocess.PIPE,
        text=True,
    )


def fits_done(folder: Path) -> int:
    ledger = folder / "work" / "skyloom" / "ledger.sqlite"
    if not ledger.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5) as database:
            sql = "SELECT COUNT(*) FROM units WHERE stage = 'fit' AND state = 'done'"
            return int(database.execute(sql).fetchone()[0])
    except sqlite3.OperationalError:  # its tables are being made
        return 0


def wait_for_fits(folder: Path, process: subprocess.Popen[str], number: int) -> None:
    deadline = time.monotonic() + 60
    while fits_done(folder) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def products(work: Path) -> dict[str, bytes]:
    """All products; logs and copies of the configuration are none."""
    kinds = {".csv", ".json", ".parquet", ".fits", ".npy", ".npz", ".png"}
    paths = [p for p in sorted(work.rglob("*")) if p.suffix in kinds]
    # one holds times, the other the paths of the images, which are elsewhere in each test
    own = {"run_summary.csv", "frames.json"}
    return {p.relative_to(work).as_posix(): p.read_bytes() for p in paths if p.name not in own}


@pytest.fixture(scope="module")
def undisturbed(tile_original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = Path(shutil.copytree(tile_original, tmp_path_factory.mktemp("calm") / "tile"))
    with pytest.MonkeyPatch.context() as patch:
        tile_stand_in.install(patch)
        assert run_tile(folder / "config.yaml", executor="serial").exit_status == 0
    return products(folder / "work")


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_stopped_run_goes_on_where_it_stopped(
    small_tile: Path, undisturbed: dict[str, bytes], how: signal.Signals, status: int
) -> None:
    process = start(small_tile, "--executor", "serial", sleep=0.2)
    wait_for_fits(small_tile, process, 3)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    if status == 130:
        assert "interrupted; the same command goes on where it stopped" in said
    before = fits_done(small_tile)
    assert 3 <= before < 16
    with pytest.MonkeyPatch.context() as patch:
        tile_stand_in.install(patch)
        result = run_tile(small_tile / "config.yaml", executor="serial")
    assert result.exit_status == 0
    assert result.counts["fit"].skipped == before
    found = products(small_tile / "work")
    assert found.keys() == undisturbed.keys()
    assert [name for name in found if found[name] != undisturbed[name]] == []
    assert not list((small_tile / "work").rglob("*.tmp"))
    with sqlite3.connect(small_tile / "work" / "skyloom" / "ledger.sqlite") as database:
        rows = database.execute("SELECT exit_status FROM runs ORDER BY id").fetchall()
    assert rows == [(130 if status == 130 else None,), (0,)]


def test_a_killed_worker_costs_nothing_but_time(
    small_tile: Path, undisturbed: dict[str, bytes]
) -> None:
    process = start(small_tile, "--workers", "2", sleep=0.3)
    wait_for_fits(small_tile, process, 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        process.kill()
        pytest.skip("the system does not list the children of a process")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "its worker died" in said
    found = products(small_tile / "work")
    assert [name for name in found if found[name] != undisturbed[name]] == []


def test_two_runs_in_one_directory_are_refused(
    small_tile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile_stand_in.install(monkeypatch)
    monkeypatch.setattr(lock, "_PATIENCE", 0.1)
    with (
        lock.WorkDirLock(small_tile / "work" / "skyloom" / "lock"),
        pytest.raises(Busy, match=f"{os.getpid()}"),
    ):
        run_tile(small_tile / "config.yaml", executor="serial")

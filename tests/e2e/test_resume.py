"""The whole pipeline, stopped and started again, in one process and in many."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from run_tools import products

from skyloom.pipelines.tile import run_tile


def copy_of(folder: Path, tmp_path: Path) -> Path:
    """Copy a field to where the undisturbed one was: paths are part of some products."""
    target = tmp_path / "field"
    shutil.copytree(folder, target)
    return target


def comparable(work: Path) -> dict[str, str]:
    """Return the checksums of the products that do not name the folder of the run."""
    return {k: v for k, v in products(work).items() if k != "skyloom/frames.json"}


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "skyloom", "tile", "run", "--config"]
    return subprocess.Popen(
        [*command, str(folder / "config.yaml"), "--quiet", *options], start_new_session=True
    )


def wait_for(pattern: str, work: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not any(work.glob(pattern)):
        assert process.poll() is None, "the run ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(pid: int) -> list[int]:
    """Return the children of a process, by Linux's list."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if not listing.exists():
        pytest.skip("no /proc: the workers of a run cannot be found")
    return [int(p) for p in listing.read_text().split()]


def test_serial_and_processes_agree_byte_for_byte(undisturbed, small_field, tmp_path):
    folder = copy_of(small_field, tmp_path)
    result = run_tile(folder / "config.yaml", executor="processes", workers=2, progress="quiet")
    assert result.exit_status == 0
    assert comparable(folder / "work") == comparable(undisturbed / "work")


def test_run_that_was_killed_ends_like_an_undisturbed_one(undisturbed, small_field, tmp_path):
    folder = copy_of(small_field, tmp_path)
    process = start(folder, "--executor", "serial")
    wait_for("skyloom/scene/pass1/*.parquet", folder / "work", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "work" / "output_catalog.csv").exists()
    result = run_tile(folder / "config.yaml", executor="serial", progress="quiet")
    assert result.exit_status == 0
    assert result.counts["epsf"].skipped == 2
    assert comparable(folder / "work") == comparable(undisturbed / "work")


def test_killed_worker_costs_nothing_but_time(undisturbed, small_field, tmp_path):
    folder = copy_of(small_field, tmp_path)
    process = start(folder, "--executor", "processes", "--workers", "2")
    wait_for("skyloom/scene/pass0/*.parquet", folder / "work", process)
    victims = workers_of(process.pid)
    assert victims
    os.kill(victims[-1], signal.SIGKILL)
    assert process.wait(timeout=300) == 0
    assert comparable(folder / "work") == comparable(undisturbed / "work")


def test_second_run_does_nothing_and_is_quick(undisturbed):
    before = products(undisturbed / "work")
    begin = time.monotonic()
    process = start(undisturbed)
    assert process.wait(timeout=60) == 0
    assert time.monotonic() - begin < 5.0  # the promise; start-up of Python is most of it
    assert products(undisturbed / "work") == before


def test_changed_fit_key_redoes_fits_merge_and_zero_point_only(undisturbed, tmp_path):
    folder = copy_of(undisturbed, tmp_path)
    config = folder / "config.yaml"
    run_tile(config, executor="serial", progress="quiet")  # the folder moved: settle
    settings = yaml.safe_load(config.read_text())
    settings["patch_run"] = {"n_opt_iters": 3}
    config.write_text(yaml.safe_dump(settings))
    result = run_tile(config, executor="serial", progress="quiet")
    redone = {stage for stage, count in result.counts.items() if count.done}
    fits = {
        f"{kind}-{k}" for kind in ("fit", "scene", "sky-sums", "sky", "halos") for k in range(4)
    }
    assert redone >= {"fit-1", "report", "merge"}
    assert redone <= fits | {"report", "registration", "merge", "zero-point", "catalog"}

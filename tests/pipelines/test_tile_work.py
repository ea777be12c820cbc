"""Settings of how the work is done: each does what it says, and none changes a result."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from key_effects import Bench, Settings, nested

from skyloom import flow
from skyloom.butler import Handle
from skyloom.errors import WrongValue
from skyloom.flow import Limit, RunResult, Work
from skyloom.pipelines.tile import TileConfig, Verb, load, load_config, prepare_run, run_tile
from skyloom.pipelines.tile.check import check_tile
from skyloom.pipelines.tile.check_cost import tile_cost
from skyloom.pipelines.tile.patch_scene import PatchScene
from skyloom.pipelines.tile.pipeline import build_pipeline
from skyloom.pipelines.tile.work import fit_threads, stack_threads, work_plan

FITS = ("fit-0", "fit-1", "fit-2", "fit-3", "sky-sums-0", "halos-0", "report")


@pytest.fixture(scope="module")
def bench(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("work") / "tile")
    bench.run("run", {})  # what knows the paths of images is done again
    return bench


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("skyloom.flow", "skyloom.flow.runner"):
        monkeypatch.setattr(f"{module}.available_cpus", lambda: 4)


def config(settings: Settings) -> TileConfig:
    return TileConfig.model_validate(nested(settings))


def limits(settings: Settings, **options: Any) -> dict[str, int]:
    """Return the limit of each stage that has one."""
    settled = config({"skyloom.noise": "measured", **settings})
    plan = work_plan(settled, build_pipeline(settled), **options)
    found = [(name, limit.tasks) for limit in plan.work.limits for name in limit.stages]
    assert len(dict(found)) == len(found)
    return dict(found)


def run(bench: Bench, verb: Verb, settings: Settings, **options: Any) -> RunResult:
    """Run a verb of the tile with some settings, in this process unless told otherwise."""
    bench.write(settings)
    options = {"executor": "serial", "progress": "quiet", **options}
    return run_tile(bench.folder / "changed.yaml", verb, **options)


def done(result: RunResult) -> set[str]:
    return {stage for stage, counts in result.counts.items() if counts.done}


def payloads(bench: Bench) -> list[Path]:
    return sorted((bench.work / "patch_payloads").glob("*.npz"))


def results(bench: Bench) -> dict[str, str]:
    """Return the digests of all products but payloads and what tells times."""
    apart = ("patch_payloads/", "outputs/run_summary.csv")
    return {n: d for n, d in bench.products().items() if not n.startswith(apart)}


# --- how many at the same time


@pytest.mark.parametrize(
    ("settings", "stages", "most"),
    [
        ({"performance.frame_prep_workers": 3}, ("masks", "noise"), 3),
        ({"performance.frame_prep_workers": 0}, ("masks", "noise"), 1),
        ({"epsf.max_workers": 2}, ("epsf",), 2),
        ({"epsf.max_workers": 2, "epsf.parallel_bands": False}, ("epsf",), 1),
        ({"patch_inputs.max_workers": 5}, ("payloads",), 5),
        ({"patch_run.threads_per_process": 2}, FITS, 2),
        ({"patch_run.threads_per_process": 3}, FITS, 1),
        ({"patch_run.threads_per_process": 99}, FITS, 1),
    ],
)
@pytest.mark.usefixtures("four_cpus")
def test_a_number_of_workers_is_a_limit_of_its_stages(
    settings: Settings, stages: tuple[str, ...], most: int
) -> None:
    default = limits({})
    assert default == {"payloads": 16}
    found = limits(settings)
    assert {name: found.get(name) for name in stages} == dict.fromkeys(stages, most)
    assert {n: m for n, m in default.items() if n not in stages}.items() <= found.items()


@pytest.mark.usefixtures("four_cpus")
def test_the_run_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spy(*_: object, **options: Any) -> None:
        seen.update(options)
        raise StopIteration

    monkeypatch.setattr(flow, "run_pipeline", spy)
    with pytest.raises(StopIteration):
        run(bench, "run", {"epsf.max_workers": 1, "patch_run.max_workers": 3}, executor=None)
    assert (seen["executor"], seen["workers"]) == ("processes", 3)
    limits = [Limit(stages=["epsf"], tasks=1), Limit(stages=["payloads"], tasks=16)]
    assert seen["work"] == Work(limits=limits)


@pytest.mark.parametrize(
    ("wanted", "strips", "threads"),
    [("auto", 9, 4), ("auto", 2, 2), (3, 9, 3), (99, 9, 6), (99, 5, 5), (0, 9, 1)],
)
def test_threads_of_the_stack_are_clamped(
    monkeypatch: pytest.MonkeyPatch, wanted: object, strips: int, threads: int
) -> None:
    monkeypatch.setattr("skyloom.flow.available_cpus", lambda: 6)
    assert stack_threads(config({"performance.white_stack_workers": wanted}), strips) == threads


@pytest.mark.usefixtures("four_cpus")
def test_white_stack_workers_are_strips_at_work_at_the_same_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strips have at least 64 rows, so that the frame of 232 pixels has four."""
    monkeypatch.setattr(load, "_STRIP_PIXELS", 1)
    lock, now, most = threading.Lock(), Counter[str](), Counter[str]()
    original = load._planes

    def planes(*arguments: Any) -> Iterator[Any]:
        with lock:
            now["at work"] += 1
            most["at work"] = max(most["at work"], now["at work"])
        time.sleep(0.1)  # longer than a thread takes to start
        yield from original(*arguments)
        with lock:
            now["at work"] -= 1

    monkeypatch.setattr(load, "_planes", planes)
    before = results(bench)
    for number in (1, 3):
        most.clear()
        settings = {"performance.white_stack_workers": number}
        assert done(run(bench, "run", settings, force=["white"])) == {"white"}
        assert most["at work"] == number
        assert results(bench) == before


# --- threads of a fit


@pytest.mark.usefixtures("four_cpus")
def test_threads_per_process_are_those_of_a_fit_and_change_no_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    original = PatchScene.state

    def state(patch: PatchScene) -> Any:
        seen.add(patch.scene.in_threads.number)
        return original(patch)

    monkeypatch.setattr(PatchScene, "state", state)
    before = results(bench)
    result = run(bench, "run-patches", {"patch_run.threads_per_process": 3}, force=True)
    assert {"fit-0", "fit-2", "sky-sums-1", "report"} <= done(result)
    assert seen == {3}
    assert results(bench) == before


@pytest.mark.parametrize(("threads", "used"), [(-1, 1), (0, 1), (2, 2), (64, 4)])
@pytest.mark.usefixtures("four_cpus")
def test_threads_are_at_least_one_and_at_most_the_cpus(threads: int, used: int) -> None:
    assert fit_threads(config({"patch_run.threads_per_process": threads})) == used


@pytest.mark.parametrize(
    ("threads", "workers", "is_warned"), [(1, 4, False), (2, 2, False), (2, 3, True)]
)
@pytest.mark.usefixtures("four_cpus")
def test_too_many_workers_times_threads_are_warned_of(
    caplog: pytest.LogCaptureFixture, threads: int, workers: int, is_warned: bool
) -> None:
    limits({"patch_run.threads_per_process": threads}, workers=workers)
    words = "keep max_workers * threads_per_process <= CPUs"
    assert (words in caplog.text) == is_warned
    if is_warned:
        assert "3 workers with 2 threads each are more than the 4 CPUs" in caplog.text
        assert "patches are fitted 2 at a time" in caplog.text


# --- the interpreter of the workers


def test_another_python_exe_is_looked_for_before_any_work(bench: Bench) -> None:
    shutil.rmtree(bench.folder / "elsewhere", ignore_errors=True)
    with pytest.raises(WrongValue, match=r"patch_run.python_exe = './no-python' does not exist"):
        run(bench, "run", {"patch_run.python_exe": "./no-python", "outputs.work_dir": "elsewhere"})
    assert not (bench.folder / "elsewhere").exists()
    with pytest.raises(WrongValue, match=r"patch_run.python_exe = './no-python' does not exist"):
        check_tile(load_config(bench.folder / "changed.yaml"))


def test_python_exe_starts_the_workers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What `find_python` refuses, and that workers are what it returns, is tested with the flow."""
    file = bench.folder / "mypython"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    file.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(Path(flow.__file__).parents[2]))
    bench.write({"patch_run.python_exe": "./mypython", "patch_run.max_workers": 1})
    ready = prepare_run(load_config(bench.folder / "changed.yaml"))
    assert ready.python == file
    assert work_plan(ready.config, ready.pipeline).executor == "serial"
    assert work_plan(ready.config, ready.pipeline, python=file).executor == "processes"
    assert "python_exe" not in caplog.text
    work_plan(ready.config, ready.pipeline, python=file, executor="serial")
    assert "is not used: the serial executor has no processes of its own" in caplog.text


# --- what is done again, and what stays


def test_resume_false_fits_all_patches_again_and_changes_no_byte(bench: Bench) -> None:
    before = results(bench)
    assert done(run(bench, "run", {})) == set()
    settings = {"patch_run.resume": False}
    assert done(run(bench, "merge", settings)) <= {"catalog"}
    found = done(run(bench, "run", settings))
    assert {"fit-0", "scene-2", "sky-1", "halos-0", "report"} <= found
    assert not found & {"load", "masks", "white", "sources", "epsf", "groups", "payloads", "merge"}
    assert results(bench) == before
    assert done(run(bench, "run", {"patch_run.resume": True})) == set()


def test_payloads_go_when_they_are_read_and_come_back_for_a_fit(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before, files = results(bench), payloads(bench)
    assert files
    gone = {"patch_inputs.save_patch_inputs": False}
    assert done(run(bench, "run", gone)) == set()
    assert payloads(bench) == []
    assert done(run(bench, "run", gone)) == set()
    assert results(bench) == before
    changed = gone | {"patch_run.n_opt_iters": 2}
    assert {"payloads", "fit-0", "report"} <= done(run(bench, "run-patches", changed))
    assert payloads(bench) == []
    run(bench, "run", changed)
    without = results(bench)
    assert without != before
    assert done(run(bench, "run", {"patch_run.n_opt_iters": 2})) == {"payloads"}
    assert "fit-0" in done(run(bench, "run", {"patch_run.n_opt_iters": 2}, force=True))
    assert results(bench) == without
    run(bench, "run", gone)
    assert (results(bench), payloads(bench)) == (before, [])
    caplog.clear()
    assert "payloads" in done(run(bench, "build-patch-inputs", gone, force=True))
    assert payloads(bench) == files
    assert "stay only until 'run-patches' has read them" in caplog.text
    assert "payloads" not in done(run(bench, "run-patches", gone))
    assert payloads(bench) == []
    assert done(run(bench, "build-patch-inputs", {})) == {"payloads"}
    run(bench, "run", {})
    assert (results(bench), payloads(bench)) == (before, files)


def test_any_gzip_compresslevel_shrinks_payloads_and_changes_no_catalogue(bench: Bench) -> None:
    def size() -> int:
        return sum(file.stat().st_size for file in payloads(bench))

    def pixels() -> list[bytes]:
        found = []
        for file in payloads(bench):
            with np.load(file) as arrays:
                found += [arrays[name].tobytes() for name in ("image", "mask", "rows")]
        return found

    before, sizes, images = results(bench), [size()], pixels()
    for level in (1, 9):
        run(bench, "run", {"patch_inputs.gzip_compresslevel": level})
        sizes.append(size())
        assert pixels() == images
        assert results(bench) == before
    assert sizes[0] > 1.1 * sizes[1]  # noise: 4 bytes become 3
    assert sizes[1] > sizes[2]
    run(bench, "run", {})
    assert size() == sizes[0]


@pytest.mark.parametrize("keep", [True, False])
def test_payloads_in_memory_are_read_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    seen: Counter[Path] = Counter()
    original: Callable[[Handle[Any]], Any] = Handle.read

    def read(handle: Handle[Any]) -> Any:
        seen[handle.path] += handle.type == "payload"
        return original(handle)

    monkeypatch.setattr(Handle, "read", read)
    before = results(bench)
    settings = {"patch_inputs.keep_payloads_in_memory": keep}
    run(bench, "run-patches", settings, force=True)
    counts = {seen[file] for file in payloads(bench)}
    # fits of three passes, sums of the sky after two, the report
    assert counts == ({1} if keep else {6})
    assert results(bench) == before


def test_the_cost_of_payloads_in_memory_and_of_compression_is_told() -> None:
    def cost(settings: Settings) -> Any:
        tile = {"shape": (4000, 4000), "n_bands": 5, "n_sources": 3000, "workers": 2}
        return tile_cost(config(settings), **tile)  # type: ignore[arg-type]

    kept = cost({"patch_inputs.keep_payloads_in_memory": True})
    # in the worst case each worker sees every patch
    assert kept.ram - cost({}).ram == pytest.approx(2 * 5 * 4000**2 * 25, rel=0.01)
    packed = cost({"patch_inputs.gzip_compresslevel": 1})
    assert packed.disk < cost({}).disk
    assert packed.cpu > cost({}).cpu

"""Files that do not stay, and datasets that stay in memory."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from flow_toys import CONFIG, Measure, run_toys, tree, write_inputs
from typing_extensions import override

from skyloom.butler import Array, DataId, Handle
from skyloom.flow import Dataset, Dim, RunResult, Stage, Work
from skyloom.flow import task as task_module

GONE = Work(transient=["cut"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "inputs")
    return tmp_path / "work"


def done(result: RunResult) -> dict[str, int]:
    return {stage: counts.done for stage, counts in result.counts.items() if counts.done}


def cuts(root: Path) -> list[Path]:
    return sorted((root / "cuts").rglob("*.npy"))


def kept_tree(root: Path) -> dict[str, str]:
    return {name: digest for name, digest in tree(root).items() if not name.startswith("cuts")}


def test_files_go_when_those_who_read_them_are_done_and_nothing_is_done_again(root: Path) -> None:
    other = root.with_name("other")
    run_toys(other)
    assert done(run_toys(root, work=GONE)) == {
        "measure": 3, "fit": 12, "collect": 1, "strict": 1
    }  # fmt: skip
    assert cuts(root) == []
    assert kept_tree(root) == kept_tree(other)
    assert done(run_toys(root, work=GONE)) == {}


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_they_are_made_again_for_those_who_need_them(root: Path, executor: str) -> None:
    other = root.with_name("other")
    changed = {"fit": {"power": 3}}
    run_toys(other, changed)
    run_toys(root, work=GONE)
    result = run_toys(root, changed, work=GONE, executor=executor, workers=2)
    assert done(result) == {"measure": 3, "fit": 12, "collect": 1, "strict": 1}
    assert result.exit_status == 0
    assert cuts(root) == []
    assert kept_tree(root) == kept_tree(other)


def test_only_what_is_needed_is_made_again(root: Path) -> None:
    run_toys(root, work=GONE)
    (root / "fits" / "g_c2.json").unlink()
    assert done(run_toys(root, work=GONE)) == {"measure": 1, "fit": 1}


def test_who_wants_them_to_stay_gets_them_back_and_no_more(root: Path) -> None:
    run_toys(root, work=GONE)
    assert done(run_toys(root)) == {"measure": 3}
    assert len(cuts(root)) == 12


def test_they_stay_where_nobody_reads_them_and_where_units_failed(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run_toys(root, work=GONE, targets=["measure"])
    assert len(cuts(root)) == 12
    fault = {"fault": {"fit g c2": ["data"]}}
    assert run_toys(root, fault, work=GONE).exit_status == 1
    assert len(cuts(root)) == 12
    assert "the files stay for the next run" in caplog.text
    assert done(run_toys(root, work=GONE))["fit"] == 1
    assert cuts(root) == []
    assert "cut: 12 files removed" in caplog.text


def test_what_cannot_be_made_again_blocks_those_who_need_it(root: Path) -> None:
    run_toys(root, work=GONE)
    fault = {"fit": {"power": 3}, "fault": {"measure g": ["data"]}}
    result = run_toys(root, fault, work=GONE)
    assert result.counts["measure"].failed == 1
    assert result.counts["measure"].done == 2
    assert result.exit_status == 1
    assert not result.counts["fit"].failed  # those of g are blocked: none meets a missing file
    assert run_toys(root, {"fit": {"power": 3}}, work=GONE).exit_status == 0
    assert cuts(root) == []


@dataclass(frozen=True, slots=True, kw_only=True)
class LookInputs:
    number: Annotated[int, Dim("pass")]
    cut: Annotated[Array, Dataset("cut")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookOutputs:
    seen: Annotated[dict[str, float], Dataset("seen")]


class Look(Stage[None, LookInputs, LookOutputs]):
    """Look at a cut, and spoil it."""

    dimensions = ("pass", "band", "cell")

    @override
    def run(self, inputs: LookInputs) -> LookOutputs:
        total = float(inputs.cut.sum())
        inputs.cut[:] = np.nan
        return LookOutputs(seen={"sum": total})


@pytest.mark.parametrize(("kept", "reads"), [((), 3), (("cut",), 1)])
def test_what_is_kept_is_read_once_and_nobody_spoils_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, kept: tuple[str, ...], reads: int
) -> None:
    seen: Counter[Path] = Counter()

    def read(handle: Handle[Any]) -> Any:
        seen[handle.path] += handle.type == "cut"
        return original(handle)

    original = Handle.read
    monkeypatch.setattr(Handle, "read", read)
    stages = [Measure(CONFIG)]
    stages += [Look(None, name=f"look-{n}", fixed=DataId({"pass": n})) for n in range(3)]  # type: ignore[misc]
    result = run_toys(root, stages=stages, work=Work(kept=kept))
    assert result.exit_status == 0
    assert {n for path, n in seen.items() if path.suffix == ".npy"} == {reads}
    scenes = [tree(root)[f"seen/{n}/g_c1.json"] for n in range(3)]
    assert len(set(scenes)) == 1
    assert not task_module._KEPT  # the memory is free again

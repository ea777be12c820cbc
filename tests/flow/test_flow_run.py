"""Running, resuming, and what makes a unit run again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from astropy.table import MaskedColumn, Table
from flow_toys import (
    BANDS,
    CONFIG,
    Collect,
    Fit,
    Measure,
    Scene,
    run_toys,
    toy_layout,
    tree,
    write_inputs,
)

from skyloom.butler import DataId, Handle
from skyloom.butler.formats import write_dataset
from skyloom.errors import MissingFile, WrongValue
from skyloom.flow import RunResult, Stage, task
from skyloom.flow.task import Binding


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "inputs")
    return tmp_path / "work"


def done(result: RunResult) -> dict[str, int]:
    return {stage: counts.done for stage, counts in result.counts.items()}


NOTHING = {"measure": 0, "fit": 0, "collect": 0, "strict": 0}
ALL = {"measure": 3, "fit": 12, "collect": 1, "strict": 1}


def test_first_run_does_everything_and_second_nothing(root: Path) -> None:
    first = run_toys(root)
    assert done(first) == ALL
    assert first.exit_status == 0
    before = tree(root)
    second = run_toys(root)
    assert done(second) == NOTHING
    assert {s: c.skipped for s, c in second.counts.items()} == ALL
    assert tree(root) == before
    assert second.datasets("cut") == first.datasets("cut")


def test_gathered_datasets_stand_in_the_order_of_bands_and_cells(root: Path) -> None:
    result = run_toys(root)
    total = json.loads((root / "total.json").read_text())
    assert total["bands"] == list(BANDS)
    order = [tuple(row.split()[:2]) for row in total["fits"]]
    # the stage scatters its cells from last to first
    assert order == [(b, f"c{n}") for b in BANDS for n in (3, 2, 1, 0)]
    assert list(result.datasets("fit"))[:1] == [DataId(band="u", cell="c3")]


@pytest.mark.parametrize(
    ("config", "redone"),
    [
        ({"measure": {"gain": 3.0, "workers": 4}}, ALL),
        ({"fit": {"power": 3, "deep": {}}}, {"fit": 12, "collect": 1}),
        ({"measure": {"gain": 2.0, "workers": 1}}, {}),
        ({"fit": {"power": 2, "deep": {"damping": 9.0}}}, {}),
        ({"unused": 2}, {}),
        ({"fault": {"nobody": ["bug"]}}, {}),
    ],
    ids=["read by all", "read by fit", "minus key", "undeclared", "unused", "minus section"],
)
def test_only_declared_configuration_counts(
    root: Path, config: dict[str, Any], redone: dict[str, int]
) -> None:
    run_toys(root)
    # the strict stage counts the fits: their number stays, but their content is its input
    wanted = {**NOTHING, **redone} | ({"strict": 1} if redone else {})
    assert done(run_toys(root, config)) == wanted


def test_new_content_of_one_file_redoes_its_band_only(root: Path) -> None:
    run_toys(root)
    path = root.parent / "inputs" / "g.txt"
    path.write_text(path.read_text() + " 1.0")
    assert done(run_toys(root)) == {"measure": 1, "fit": 4, "collect": 1, "strict": 1}


def test_new_time_of_a_file_redoes_nothing(root: Path) -> None:
    run_toys(root)
    os.utime(root.parent / "inputs" / "g.txt")
    assert done(run_toys(root)) == NOTHING


def test_same_size_and_time_just_after_reading_is_not_trusted(root: Path) -> None:
    run_toys(root)
    path = root.parent / "inputs" / "g.txt"
    status, text = path.stat(), path.read_text()
    path.write_text("9" + text[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert done(run_toys(root))["measure"] == 1


def test_optional_input_that_appears_redoes_its_readers(root: Path) -> None:
    run_toys(root)
    hint = root.parent / "hint.json"
    hint.write_text('{"zero": 1.5}')
    again = run_toys(root, external={"hint": hint})
    assert done(again) == {"measure": 0, "fit": 12, "collect": 1, "strict": 1}


def test_new_version_redoes_the_stage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_toys(root)
    monkeypatch.setattr(Measure, "version", 2)
    # same bytes come out: what follows is still up to date
    assert done(run_toys(root)) == {**NOTHING, "measure": 3}


def test_forced_stage_runs_again_and_same_bytes_stop_there(root: Path) -> None:
    run_toys(root)
    assert done(run_toys(root, force={"fit"})) == {**NOTHING, "fit": 12}
    assert done(run_toys(root, force=True)) == ALL
    with pytest.raises(WrongValue, match="did you mean 'fit'"):
        run_toys(root, force={"fitt"})


def test_targets_bring_what_they_need(root: Path) -> None:
    result = run_toys(root, targets={"fit"})
    assert done(result) == {"measure": 3, "fit": 12}
    assert not (root / "total.json").exists()
    assert done(run_toys(root)) == {**NOTHING, "collect": 1, "strict": 1}


@pytest.mark.parametrize("product", ["levels/g.json", "cuts/g/c1.npy", "fits/g_c1.json"])
@pytest.mark.parametrize("damage", ["removed", "shorter", "same size"])
def test_damaged_product_is_made_again(root: Path, product: str, damage: str) -> None:
    run_toys(root)
    before = tree(root)
    path = root / product
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(
            content[:-1] if damage == "shorter" else bytes([content[0] ^ 1]) + content[1:]
        )
        os.utime(path, ns=(0, 0))
    result = run_toys(root)
    assert done(result) == {**NOTHING, ("fit" if "fits" in product else "measure"): 1}
    assert tree(root) == before


def test_touched_product_is_recognised_by_its_checksum(root: Path) -> None:
    run_toys(root)
    os.utime(root / "fits" / "g_c1.json", ns=(0, 0))
    assert done(run_toys(root)) == NOTHING


def test_unreadable_product_fails_its_reader_and_is_made_again_next_time(root: Path) -> None:
    run_toys(root)
    path = root / "levels" / "g.json"
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # damage that no time betrays
    result = run_toys(root, force={"collect"})
    assert [f.stage for f in result.failures] == ["collect"]
    assert done(run_toys(root)) == {**NOTHING, "measure": 1, "collect": 1}


def test_moved_directory_is_filled_again(root: Path) -> None:
    run_toys(root)
    elsewhere = root.parent / "elsewhere"
    assert done(run_toys(root, layout=toy_layout(fits_dir=str(elsewhere))))["fit"] == 12
    assert len(list(elsewhere.glob("*.json"))) == 12


def test_work_directory_may_move(root: Path) -> None:
    run_toys(root)
    moved = root.rename(root.parent / "moved")
    assert done(run_toys(moved)) == NOTHING


def test_fewer_bands_keep_what_is_done(root: Path) -> None:
    run_toys(root)
    assert done(run_toys(root, bands=("u", "r"))) == {**NOTHING, "collect": 1, "strict": 1}
    bands = json.loads((root / "total.json").read_text())["bands"]
    assert bands == ["u", "r"]


def test_passes_of_one_class_follow_each_other(root: Path) -> None:
    run_toys(root)
    passes = [Scene(None, name=f"pass {n}", fixed=DataId({"pass": n})) for n in (1, 2, 3)]
    result = run_toys(root, stages=[Measure(CONFIG), *passes])
    assert {s: c.done for s, c in result.counts.items()} == {
        "measure": 0,
        "pass 1": 4,
        "pass 2": 4,
        "pass 3": 4,
    }
    assert json.loads((root / "scene" / "3" / "c2.json").read_text()) == {"count": 6}


def test_units_of_a_later_pass_come_from_the_pass_before(root: Path) -> None:
    class Next(Scene):
        units_from = ()
        units = Stage.units

    passes = [Scene(None, name="one", fixed=DataId({"pass": 1}))]
    passes.append(Next(None, name="two", fixed=DataId({"pass": 2})))
    run_toys(root, stages=[Measure(CONFIG), *passes])
    assert [p.name for p in sorted((root / "scene" / "2").iterdir())] == [
        f"c{n}.json" for n in range(4)
    ]


def test_absent_file_stops_before_any_work(root: Path) -> None:
    (root.parent / "inputs" / "r.txt").unlink()
    with pytest.raises(MissingFile, match=r"raw\(band=r\)"):
        run_toys(root)
    assert not (root / "levels").exists()


def test_stage_runs_without_ledger_or_files() -> None:
    config = {"measure": {"gain": 1.0}, "fault": {}}
    stage = Measure(config)
    out = stage.run(stage.inputs_type(band="g", raw="1 2 3 4"))
    assert out.level == {"level": 3000.0}  # (1 + 2 + 3 + 4)**2 * (1 + 4 + 9 + 16)
    assert list(out.cuts) == ["c3", "c2", "c1", "c0"]


def test_second_run_of_hundreds_of_units_takes_well_below_a_second(root: Path) -> None:
    inputs = root.parent / "inputs"
    bands = [f"m{n}" for n in range(60)]
    for band in bands:
        (inputs / f"{band}.txt").write_text("1 2 3 4")
    stages = [Measure(CONFIG), Fit(CONFIG), Collect(CONFIG)]
    run_toys(root, bands=bands, stages=stages)
    start = time.perf_counter()
    result = run_toys(root, bands=bands, stages=stages)
    assert result.counts["fit"].skipped == 240
    assert time.perf_counter() - start < 1.0  # about 0.05 s on an idle machine


def test_units_that_share_a_table_cannot_change_it_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    written = write_dataset(Table({"x": [1.0, 2.0]}), path, "table")

    def bound() -> Binding:
        handle: Handle[Table] = Handle(
            type="rows", data_id=DataId(), path=path, digest=written.digest, format="table"
        )
        return Binding(handles={None: handle})

    first = bound().load()
    first["x"][0] = -1.0
    first["new"] = [0, 0]
    second = bound().load()
    assert second.colnames == ["x"]
    assert second["x"].tolist() == [1.0, 2.0]


def test_shared_tables_keep_what_they_say_of_their_columns(tmp_path: Path) -> None:
    table = Table({"x": [1.0, 2.0], "n": [3, 4], "s": ["a", "b"]}, meta={"k": [1]})
    table["x"].unit, table["n"].description = "pix", "how many"
    table["m"] = MaskedColumn([1, 2], mask=[True, False])
    path = tmp_path / "a.parquet"
    written = write_dataset(table, path, "table")
    handle: Handle[Table] = Handle(
        type="rows", data_id=DataId(), path=path, digest=written.digest, format="table"
    )
    for _ in range(2):
        found = Binding(handles={None: handle}).load()
        assert found.colnames == table.colnames
        assert [found[n].name for n in found.colnames] == table.colnames
        assert (str(found["x"].unit), found["n"].description) == ("pix", "how many")
        assert found["m"].mask.tolist() == [True, False]
        assert found["s"].tolist() == ["a", "b"]
        assert found.meta["k"] == [1]
        found.meta["k"].append(2)


def test_few_tables_are_kept(tmp_path: Path) -> None:
    for number in range(2 * task._MAX_TABLES):
        path = tmp_path / f"{number}.parquet"
        written = write_dataset(Table({"x": [number]}), path, "table")
        handle: Handle[Table] = Handle(
            type="rows", data_id=DataId(), path=path, digest=written.digest, format="table"
        )
        assert Binding(handles={None: handle}).load()["x"][0] == number
    assert len(task._TABLES) <= task._MAX_TABLES

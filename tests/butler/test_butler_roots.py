"""What a directory tells of its layout, and layouts of users."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path

import pytest
from butler_tools import survey

from skyloom.butler import Butler, DataId, Layout, remember_layout
from skyloom.cli.app import main
from skyloom.errors import (
    BadDataId,
    DataDamaged,
    DataNotFound,
    InputError,
    MissingFile,
    UnknownDatasetType,
)

ONE = {"visit": 1234, "ccd": 56, "pointing": 705, "filter": "HSC-I"}

POLICY = """
datasets:
  calexp:
    template: "%(pointing)05d/%(filter)s/corr/CORR-%(visit)07d-%(ccd)03d.fits"
    python: ExposureF
    storage: FitsStorage
    level: ccd
    colour: blue
  notes: {template: "notes/{visit:07d}_{seeing:.2f}.txt", storage: TextStorage}
"""


@pytest.mark.parametrize(
    ("file", "layout"),
    [
        ("skyloom/ledger.sqlite", "tile"),
        ("survey-ccds-1.kd.fits", "legacysurvey"),
        ("survey-bricks.fits.gz", "legacysurvey"),
        ("tractor/110/tractor-1102p240.fits", "legacysurvey"),
        ("_mapper", "hsc"),
        ("00705/HSC-I/corr/CORR-0001234-056.fits", "hsc"),
        ("deepCoadd-results/HSC-I/9812/1,2/meas-HSC-I-9812-1,2.fits", "hsc"),
    ],
)
def test_marks_tell_the_layout(file: str, layout: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert Butler(tmp_path).layout.name == layout


def test_calibrations_of_an_archive_have_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "CALIB").mkdir()
    butler = Butler(tmp_path)
    assert butler.path("bfKernel") == tmp_path / "CALIB/BFKERNEL/bfKernel.npy"


def test_registries_and_runs_say_which_layout_made_them(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(POLICY.replace("datasets:", "registry: true\ndatasets:"))
    with Butler(tmp_path / "a", own, writeable=True) as butler:
        butler.put("x", "notes", visit=1, seeing=0.65)
    with Butler(tmp_path / "a") as again:
        assert again.layout.source == own
        assert again.query("notes") == [DataId(visit=1, seeing=0.65)]
    own.unlink()
    with pytest.raises(MissingFile, match=r"mine.yaml: layout not found"):
        Butler(tmp_path / "a")
    remember_layout(tmp_path / "b", Layout.load("tile").bind(epsf_dir=tmp_path / "b" / "psfs"))
    found = Butler(tmp_path / "b")
    assert found.path("epsf", band="r", cell="r00_c00") == tmp_path / "b/psfs/r/r00_c00/epsf.npy"
    about = json.loads((tmp_path / "b/skyloom/layout.json").read_text())
    assert about["variables"]["epsf_dir"] == "psfs"  # the directory may move
    (tmp_path / "b/skyloom/layout.json").write_text("{")
    with pytest.raises(DataDamaged, match="delete it and run the pipeline again"):
        Butler(tmp_path / "b")


def test_a_rerun_has_the_layout_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "_mapper").write_text("lsst.obs.hsc.HscMapper")
    (tmp_path / "data" / "rerun" / "mine").mkdir(parents=True)
    assert Butler(tmp_path / "data" / "rerun" / "mine").layout.name == "hsc"


def test_a_guess_is_called_a_guess(tmp_path: Path) -> None:
    butler = Butler(tmp_path)
    with pytest.raises(UnknownDatasetType, match=r"Nothing in .* tells its layout"):
        butler.get("calexp", visit=1, ccd=2)
    with pytest.raises(UnknownDatasetType, match=r"Nothing in .* tells its layout"):
        butler.get("calexp_md", visit=1, ccd=2)
    with pytest.raises(UnknownDatasetType, match=r"no dataset type 'calexp'$"):
        Butler(tmp_path, "tile").get("calexp")


def test_policies_of_the_original_are_layouts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "butler.yaml"
    path.write_text(POLICY)
    with caplog.at_level(logging.WARNING):
        butler = Butler(tmp_path, writeable=True)  # butler.yaml is its own
    assert "dataset calexp: colour unknown, ignored" in caplog.text
    assert butler.layout["calexp"].format == "exposure"
    # keys and their types come from the templates
    kinds = {key: d.kind for key, d in butler.layout.dimensions.items()}
    assert kinds == {
        "pointing": "int", "filter": "str", "visit": "int", "ccd": "int", "seeing": "float",
    }  # fmt: skip
    butler.put("text", "notes", visit=7, seeing=0.65)
    assert (tmp_path / "notes" / "0000007_0.65.txt").read_text() == "text"
    assert butler.query("notes") == [DataId(visit=7, seeing=0.65)]


def test_layouts_may_extend_others_and_be_toml(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "extends: hsc\ndatasets:\n  shear: {format: table, template: 'shear/{tract}.parquet'}\n"
    )
    layout = Layout.load(tmp_path / "own.yaml")
    assert {"shear", "calexp", "deepCoadd"} <= set(layout.types)
    assert layout.registry
    (tmp_path / "own.toml").write_text(
        'extends = "own.yaml"\n[datasets.log2]\nformat = "text"\ntemplate = "log/{visit:d}.txt"\n'
    )
    assert {"log2", "shear", "src"} <= set(Layout.load(tmp_path / "own.toml").types)
    (tmp_path / "own.yaml").write_text("extends: own.yaml\ndatasets: {}\n")
    with pytest.raises(InputError, match="extends itself"):
        Layout.load(tmp_path / "own.yaml")


def test_marks_of_registries_of_layouts_in_memory_are_passed_over(tmp_path: Path) -> None:
    survey(tmp_path / "data").close()
    assert Butler(tmp_path / "data").layout.name == "tile"  # none that could be read again


def test_a_directory_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """Most often a slip in the path: not the fault of layout or data ID."""
    with pytest.raises(UnknownDatasetType, match=r"There is no directory .*nowhere"):
        Butler(tmp_path / "nowhere").get("calexp", visit=1, ccd=4)
    with pytest.raises(DataNotFound, match=r"no directory .*nowhere; give them, or correct the ro"):
        Butler(tmp_path / "nowhere", "hsc").get("calexp", visit=1, ccd=4)


def test_datasets_are_asked_for_by_rerun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Butler(tmp_path / "rerun" / "first", "hsc", writeable=True)
    for ccd in (4, 56):
        first.put({"n": ccd}, "processCcd_metadata", ONE, ccd=ccd)
    first.close()
    mine = Butler(tmp_path / "rerun" / "me" / "mine", "hsc", writeable=True, parent=first.root)
    mine.put({"n": 0}, "processCcd_metadata", ONE)
    name = "processCcd_metadata"
    assert mine.query(name, "run") == ["first", "me/mine"]
    assert mine.query(name, ["run", "ccd"]) == [("first", 4), ("first", 56), ("me/mine", 56)]
    assert mine.query(name, ["ccd", "run"], ccd=56) == [(56, "first"), (56, "me/mine")]
    assert mine.query(name, "ccd", run="first") == [4, 56]
    assert [dict(i)["ccd"] for i in mine.query(name, run="me/mine")] == [56]
    assert mine.query(name, "ccd") == [4, 56]  # without the run: what `get` finds
    assert mine.found(name, run="first", ccd=56)[0][1].is_relative_to(first.root)
    assert mine.found(name, ccd=56)[0][1].is_relative_to(mine.root)
    with pytest.raises(BadDataId, match="no run 'nosuch' here, only me/mine, first"):
        mine.query(name, run="nosuch")
    with pytest.raises(BadDataId, match="has no key 'run'"):
        mine.get(name, ONE, run="first")  # a data ID has no run: open that rerun
    with sqlite3.connect(mine.registry.path) as database:
        assert database.execute("SELECT type, run FROM datasets").fetchall() == [(name, "me/mine")]
    database.close()
    assert main(["butler", "find", str(mine.root), name, "run=first"]) == 0
    assert capsys.readouterr().out.count(str(first.root)) == 2
    for registry in (tmp_path / "rerun").rglob("registry.sqlite3*"):  # file names tell it too
        registry.unlink()
    again = Butler(mine.root, "hsc")
    assert again.query(name, ["run", "ccd"]) == [("first", 4), ("first", 56), ("me/mine", 56)]


def test_a_registry_without_the_run_is_gone_on_with(tmp_path: Path) -> None:
    """As this program made it before."""
    butler = Butler(tmp_path / "rerun" / "old", "hsc", writeable=True)
    butler.put({"n": 1}, "processCcd_metadata", ONE)
    butler.close()
    with sqlite3.connect(butler.registry.path) as database:
        database.execute("ALTER TABLE datasets DROP COLUMN run")
    database.close()
    butler.put({"n": 2}, "processCcd_metadata", ONE, ccd=4)
    assert butler.query("processCcd_metadata", ["run", "ccd"]) == [("old", 4), ("old", 56)]
    assert butler.verify() == []


def test_a_layout_may_have_a_key_called_run(tmp_path: Path) -> None:
    layout = Layout.from_mapping(
        {"registry": True, "datasets": {"x": {"format": "json", "template": "x/{run}.json"}}},
        name="runs",
    )
    butler = Butler(tmp_path, layout, writeable=True)
    butler.put(1, "x", run="a")
    assert butler.query("x", "run") == ["a"]
    assert butler.get("x", run="a") == 1

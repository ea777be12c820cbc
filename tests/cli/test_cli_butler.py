"""``skyloom butler``: the same answers as the butler gives, and honest exit statuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.table import Table

from skyloom.butler import Butler
from skyloom.cli import main

LAYOUT = {
    "registry": True,
    "datasets": {
        "stars": {"format": "table", "template": "stars/%(visit)07d-%(ccd)03d.parquet",
                  "doc": "stars of a CCD"},
        "notes": {"format": "json", "template": "notes/%(visit)07d.json", "doc": "what was noted"},
        "psf": {"format": "npz", "template": "psf/%(visit)07d.npz", "doc": "PSF of a visit"},
    },
}  # fmt: skip
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    (root / "butler.yaml").write_text(yaml.safe_dump(LAYOUT, sort_keys=False))
    with Butler(root, writeable=True) as butler:
        for visit in (1, 2):
            butler.put({"seeing": 0.5 * visit}, "notes", visit=visit)
            for ccd in (4, 56):
                stars = Table({"x": np.arange(ccd) / 2, "name": [f"s{n}" for n in range(ccd)]})
                butler.put(stars, "stars", visit=visit, ccd=ccd)
        butler.put({"stamp": np.eye(3)}, "psf", visit=1)
    return root


def asked(capsys: Capture, *args: object, status: int = 0) -> Any:
    """Run a command with --json and return its answer."""
    assert main([*map(str, ("butler", *args)), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_types_are_listed_with_their_counts(root: Path, capsys: Capture) -> None:
    assert main(["butler", "ls", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "layout butler",
        "stars        4  stars of a CCD",
        "notes        2  what was noted",
        "psf          1  PSF of a visit",
    ]
    assert asked(capsys, "ls", root)[1] == {
        "dataset_type": "notes", "count": 2, "doc": "what was noted",
    }  # fmt: skip


def test_a_guess_of_the_layout_is_called_so(tmp_path: Path, capsys: Capture) -> None:
    assert main(["butler", "ls", str(tmp_path)]) == 0
    assert "layout tile (assumed: nothing in" in capsys.readouterr().out


def test_datasets_are_found_and_shown(root: Path, capsys: Capture) -> None:
    found = asked(capsys, "find", root, "stars", "visit=2")
    assert [row["data_id"] for row in found] == [{"visit": 2, "ccd": 4}, {"visit": 2, "ccd": 56}]
    assert Path(found[0]["path"]).is_file()
    assert main(["butler", "find", str(root), "notes"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"visit=1  {root}/notes/0000001.json"
    assert asked(capsys, "find", root, "notes", "visit=9") == []
    assert asked(capsys, "get", root, "notes", "visit=2") == {"seeing": 1.0}
    assert asked(capsys, "get", root, "stars_len", "visit=2", "ccd=56") == 56
    assert asked(capsys, "get", root, "stars", "visit=1", "ccd=4")["name"] == [
        "s0",
        "s1",
        "s2",
        "s3",
    ]
    for name, words in {
        "notes": ['"seeing": 0.5'],
        "notes_filename": [str(root / "notes")],
        "stars ccd=56": ["x", "27.5", "s55"],
        "stars_schema ccd=4": ["x  float64", "name"],
        "psf": ["stamp: array of float64, shape (3, 3)"],
    }.items():
        assert main(["butler", "get", str(root), *name.split(), "visit=1"]) == 0
        text = capsys.readouterr().out
        assert [word for word in words if word not in text] == []
        assert text.endswith("\n")


def test_files_are_copied_out_but_over_nothing(root: Path, tmp_path: Path, capsys: Capture) -> None:
    args = ["butler", "get", str(root), "notes", "visit=1", "--out", str(tmp_path / "x.json")]
    assert main(args) == 0
    assert json.loads((tmp_path / "x.json").read_text()) == {"seeing": 0.5}
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err


def test_registries_are_kept_in_step(root: Path, capsys: Capture) -> None:
    assert asked(capsys, "verify", root, "--checksum") == []
    (root / "notes" / "0000001.json").unlink()
    new = root / "notes" / "0000007.json"
    shutil.copy(root / "notes" / "0000002.json", new)
    found = asked(capsys, "verify", root, status=1)
    assert {(d["what"], d["data_id"]["visit"]) for d in found} == {("missing", 1), ("unlisted", 7)}
    assert len(asked(capsys, "ingest", root, new)) == 1
    assert asked(capsys, "rebuild", root) == {"datasets": 7, "removed": 1, "left_out": []}
    assert main(["butler", "verify", str(root)]) == 0
    assert capsys.readouterr().out == "0 differences\n"


def test_the_ingest_list_is_a_line_for_each_dataset(root: Path, capsys: Capture) -> None:
    assert main(["butler", "export", str(root), "notes"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["data_id"] for line in lines] == [{"visit": 1}, {"visit": 2}]
    assert len(asked(capsys, "export", root)) == 7


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("find", "nots"), "did you mean 'notes'"),
        (("get", "notes", "visit=9"), "0000009.json does not exist"),
        (("get", "notes", "vist=1"), "did you mean 'visit'"),
        (("find", "notes", "keys=1"), "no key 'keys'"),
        (("get", "stars", "visit=1"), "ccd could be 4, 56; give ccd"),
        (("get", "notes", "1"), "is not KEY=VALUE"),
        (("ingest", "/none.json"), "no such file"),
        (("find", "notes", "--layout", "none"), "does not ship"),
    ],
)
def test_mistakes_have_status_2(
    args: tuple[str, ...], message: str, root: Path, capsys: Capture
) -> None:
    assert main(["butler", args[0], str(root), *args[1:]]) == 2
    assert message in capsys.readouterr().err


def test_a_work_directory_is_told_where_its_checksums_are(tmp_path: Path, capsys: Capture) -> None:
    assert main(["butler", "verify", str(tmp_path), "--layout", "tile"]) == 2
    assert "skyloom verify" in capsys.readouterr().err


def test_damage_has_status_1(root: Path, capsys: Capture) -> None:
    for path in root.glob("registry.sqlite3*"):
        path.unlink()
    (root / "registry.sqlite3").write_bytes(b"rubbish" * 1000)
    assert main(["butler", "find", str(root), "notes"]) == 1
    assert "skyloom butler rebuild" in capsys.readouterr().err
    assert asked(capsys, "rebuild", root)["datasets"] == 7


@pytest.mark.filterwarnings("default")  # those of the other package
def test_the_bridge_says_what_it_did(root: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("lsst.daf.butler", reason="lsst-daf-butler is not installed")
    assert main(["butler", "bridge", str(root), str(tmp_path / "repo"), "notes"]) == 2
    assert "visit 1: nothing tells its date and filter" in capsys.readouterr().err
    areas = tmp_path / "areas"
    (areas / "area").mkdir(parents=True)
    (areas / "area" / "9.json").write_text("[9]")
    (areas / "butler.yaml").write_text(
        "datasets:\n  area: {format: json, template: 'area/%(tract)d.json'}\n"
        "  shape: {format: json, template: 'shape/%(blob)d.json'}\n"
    )
    answer = asked(capsys, "bridge", areas, tmp_path / "repo")
    why = "LSST repositories have no dimension for blob"
    assert answer == {
        "datasets": 1,
        "known": 0,
        "collections": ["skyloom"],
        "left_out": {"shape": why},
    }
    back = tmp_path / "back"
    back.mkdir()
    layout = (areas / "butler.yaml").read_text()
    (back / "butler.yaml").write_text(f"registry: true\n{layout}")
    answer = asked(capsys, "adopt", back, tmp_path / "repo")
    assert answer == {"datasets": 1, "known": 0, "left_out": {}}
    assert asked(capsys, "get", back, "area", "tract=9") == [9]
    assert main(["butler", "adopt", str(back), str(tmp_path / "repo"), "--collections", "no"]) == 2
    assert "has no collection no; there are skyloom" in capsys.readouterr().err

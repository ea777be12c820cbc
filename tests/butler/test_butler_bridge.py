"""The bridge to lsst-daf-butler, on the real package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table
from butler_tools import CCDS, survey

from skyloom.butler import Butler, Layout, bridge_storage
from skyloom.butler.bridge import bridge, export
from skyloom.errors import InputError


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    with survey(tmp_path / "data") as opened:
        for ccd in CCDS:
            opened.put({"ccd": ccd}, "notes", visit=1, ccd=ccd)
            opened.put(Table({"x": [1.5] * ccd}), "stars", visit=3, ccd=ccd)
        yield opened


def test_the_ingest_list_names_type_data_id_and_path(butler: Butler) -> None:
    rows = list(export(butler, ["notes"]))
    assert rows[0] == {
        "dataset_type": "notes",
        "data_id": {"pointing": 705, "filter": "HSC-I", "visit": 1, "ccd": 4},
        "path": str(butler.path("notes", visit=1, ccd=4)),
    }
    assert len(list(export(butler))) == 6 + 2 + 2
    json.dumps(rows)


@pytest.fixture(scope="module")
def lsst() -> Any:
    return pytest.importorskip(
        "lsst.daf.butler", reason="lsst-daf-butler is not installed (pip install 'skyloom[lsst]')"
    )


@pytest.mark.filterwarnings("default")  # those of the other package
def test_datasets_come_back_through_the_lsst_butler(
    butler: Butler, tmp_path: Path, lsst: Any
) -> None:
    repository = tmp_path / "repo"
    done = bridge(butler, repository, ["notes", "stars", "raw"])
    assert (done.datasets, done.known, done.left_out) == (10, 0, {})
    theirs = lsst.Butler.from_config(str(repository), collections="skyloom")
    where = {"instrument": "HSC", "visit": 1, "detector": 56}
    assert theirs.get("notes", where) == {"ccd": 56}
    assert theirs.getURI("notes", where).ospath == str(butler.path("notes", visit=1, ccd=56))
    stars = theirs.get("stars", instrument="HSC", visit=3, detector=4)
    assert stars["x"].tolist() == [1.5] * 4
    raw = theirs.get("raw", instrument="HSC", visit=2, detector=4)
    assert raw.header["DATE-OBS"] == "2014-04-02T02:00:00"
    records = {r.id: r for r in theirs.registry.queryDimensionRecords("visit", instrument="HSC")}
    assert (records[3].physical_filter, records[3].day_obs) == ("HSC-R", 20140601)
    # again, with one more: only that is new
    butler.put({"ccd": 4}, "notes", visit=2, ccd=4)
    done = bridge(butler, repository, ["notes"])
    assert (done.datasets, done.known) == (1, 2)


@pytest.mark.filterwarnings("default")
def test_coadds_have_tracts_and_numbered_patches(tmp_path: Path, lsst: Any) -> None:
    butler = Butler(tmp_path / "rerun", "hsc", writeable=True)
    one = {"tract": 9, "patch": "2,1", "filter": "HSC-Y"}
    for visit in (7, 8):
        path = butler.path("deepCoadd_directWarp", {**one, "visit": visit})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    path = butler.path("deepCoadd_calexp", one)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert butler.rebuild().datasets == 3
    done = bridge(butler, tmp_path / "repo", ["deepCoadd_calexp"], skymap="rings")
    assert done.datasets == 1
    theirs = lsst.Butler.from_config(str(tmp_path / "repo"), collections="skyloom")
    uri = theirs.getURI("deepCoadd_calexp", skymap="rings", tract=9, patch=11, band="y")
    assert uri.ospath == str(path)
    with pytest.raises(InputError, match="visit 7: nothing tells its date"):
        bridge(butler, tmp_path / "repo", ["deepCoadd_directWarp"])


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("lsst")
def test_what_has_no_counterpart_is_said(tmp_path: Path) -> None:
    hsc = Butler(tmp_path / "rerun", "hsc")
    with pytest.raises(InputError, match=r"raw: cannot be bridged.*no dimension for nothing"):
        bridge(_with_key(tmp_path, "nothing"), tmp_path / "repo", ["raw"])
    with pytest.raises(InputError, match="bfKernel: cannot be bridged, it has no data ID"):
        bridge(hsc, tmp_path / "repo", ["bfKernel"])


@pytest.mark.filterwarnings("default")
def test_a_repository_of_somebody_else_is_told_by_one_line(
    butler: Butler, tmp_path: Path, lsst: Any
) -> None:
    repository = tmp_path / "other"
    lsst.Butler.makeRepo(str(repository))
    with pytest.raises(InputError, match="add to it the line 'includeConfigs: resource:") as error:
        bridge(butler, repository, ["notes"])
    line = str(error.value).split("'")[-2]
    config = repository / "butler.yaml"
    config.write_text(f"{config.read_text()}\n{line}\n")
    assert bridge(butler, repository, ["notes"]).datasets == 2
    theirs = lsst.Butler.from_config(str(repository), collections="skyloom")
    assert theirs.get("notes", instrument="HSC", visit=1, detector=4) == {"ccd": 4}


def test_the_file_of_storage_classes_is_what_is_made() -> None:
    """Make it anew when a format is added: `Path("...lsst.yaml").write_text(storage_yaml())`."""
    path = Path(bridge_storage.__file__).with_name("lsst.yaml")
    assert path.read_text(encoding="utf-8") == bridge_storage.storage_yaml()


def _with_key(tmp_path: Path, key: str) -> Butler:
    layout = {
        "registry": True,
        "datasets": {"raw": {"format": "json", "template": f"raw/%(visit)07d-%({key})s.json"}},
    }
    return Butler(tmp_path / key, Layout.from_mapping(layout, name="odd"), writeable=True)


def test_without_the_package_the_remedy_is_named(
    butler: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lsst.daf.butler", None)
    with pytest.raises(InputError, match=r"pip install 'skyloom\[lsst\]'"):
        bridge(butler, tmp_path / "repo")

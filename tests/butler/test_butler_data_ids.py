"""Data IDs: typed, completed, checked against what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from butler_tools import survey

from skyloom.butler import Butler, DataId, Layout
from skyloom.errors import AmbiguousDataId, BadDataId, DataNotFound, UnknownDatasetType

HSC = Layout.load("hsc")
ONE = {"visit": 1234, "ccd": 56, "pointing": 705, "filter": "HSC-I"}
COADD = {"tract": 9812, "patch": "1,2", "filter": "HSC-I"}


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    return survey(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "data_id", "path"),
    [
        ("raw", {**ONE, "field": "COSMOS", "dateObs": "2014-03-31"},
         "COSMOS/2014-03-31/00705/HSC-I/HSC-0001234-056.fits"),
        ("postISRCCD", ONE, "postISRCCD/v0001234-fHSC-I/c056.fits"),
        ("icExp", ONE, "00705/HSC-I/corr/ICEXP-0001234-056.fits"),
        ("calexp", ONE, "00705/HSC-I/corr/CORR-0001234-056.fits"),
        ("calexpBackground", ONE, "00705/HSC-I/corr/BKGD-0001234-056.fits"),
        ("src", ONE, "00705/HSC-I/output/SRC-0001234-056.fits"),
        ("icSrc", ONE, "00705/HSC-I/output/ICSRC-0001234-056.fits"),
        ("icMatch", ONE, "00705/HSC-I/output/MATCH-0001234-056.fits"),
        ("srcMatch", ONE, "00705/HSC-I/output/SRCMATCH-0001234-056.fits"),
        ("calibrated_src", {**ONE, "tract": 9}, "00705/HSC-I/output/0009/CALSRC-0001234-056.fits"),
        ("forced_src", {**ONE, "tract": 9}, "00705/HSC-I/tract9/FORCEDSRC-0001234-056.fits"),
        ("wcs", {**ONE, "tract": 9}, "00705/HSC-I/corr/0009/wcs-0001234-056.fits"),
        ("fcr", {**ONE, "tract": 9812}, "00705/HSC-I/corr/9812/fcr-0001234-056.fits"),
        ("calibrated_exp", {**ONE, "tract": 9}, "00705/HSC-I/corr/0009/CALEXP-0001234-056.fits"),
        ("mosaicCalib", {**ONE, "tract": 9}, "00705/HSC-I/output/CALIB-0001234-056-9.fits"),
        ("processCcd_metadata", ONE, "00705/HSC-I/processCcd_metadata/0001234-056.json"),
        ("ossThumb", ONE, "00705/HSC-I/thumbs/oss-0001234-056.png"),
        ("flattenedThumb", ONE, "00705/HSC-I/thumbs/flattened-0001234-056.png"),
        ("calexpThumb", ONE, "00705/HSC-I/thumbs/corr-0001234-056.png"),
        ("log", {"pointing": 705, "filter": "HSC-I"}, "00705/HSC-I/logs/run.log"),
        ("bias", {"calibDate": "2014-01-02", "ccd": 5},
         "BIAS/2014-01-02/NONE/BIAS-2014-01-02-005.fits"),
        ("dark", {"calibDate": "2014-01-02", "ccd": 5},
         "DARK/2014-01-02/NONE/DARK-2014-01-02-005.fits"),
        ("flat", {"calibDate": "2014-01-02", "ccd": 5, "filter": "HSC-Y"},
         "FLAT/2014-01-02/HSC-Y/FLAT-2014-01-02-HSC-Y-005.fits"),
        ("fringe", {"calibDate": "2014-01-02", "ccd": 5, "filter": "HSC-Y"},
         "FRINGE/2014-01-02/HSC-Y/FRINGE-2014-01-02-HSC-Y-005.fits"),
        ("deepCoadd", COADD, "deepCoadd/HSC-I/9812/1,2.fits"),
        ("deepCoadd_calexp", COADD, "deepCoadd-results/HSC-I/9812/1,2/calexp-HSC-I-9812-1,2.fits"),
        ("deepCoadd_directWarp", {**COADD, "visit": 7},
         "deepCoadd/HSC-I/9812/1,2/warp-HSC-I-9812-1,2-7.fits"),
        ("deepCoadd_psfMatchedWarp", {**COADD, "visit": 7},
         "deepCoadd/HSC-I/9812/1,2/psfMatchedWarp-HSC-I-9812-1,2-7.fits"),
        ("deepCoadd_psf", COADD, "deepCoadd-results/HSC-I/9812/1,2/calexp-HSC-I-9812-1,2.fits"),
        *((f"deepCoadd_{n}", COADD, f"deepCoadd-results/HSC-I/9812/1,2/{n}-HSC-I-9812-1,2.fits")
          for n in ("det", "meas", "src", "forced_src", "srcMatch")),
        ("deepCoadd_calexp_background", COADD,
         "deepCoadd-results/HSC-I/9812/1,2/det_bkgd-HSC-I-9812-1,2.fits"),
        ("deepCoadd_diff", COADD, "deepCoadd-diff/HSC-I/9812/diff-HSC-I-9812-1,2.fits"),
    ],
)  # fmt: skip
def test_files_of_a_rerun_stand_where_the_original_put_them(
    name: str, data_id: dict[str, Any], path: str, tmp_path: Path
) -> None:
    butler = Butler(tmp_path, "hsc")
    assert butler.get(f"{name}_filename", data_id) == str(tmp_path / path)
    assert isinstance(butler.get(f"{name}_filename", data_id), str)
    if HSC[name].template is not None:
        full = DataId(data_id).subset(HSC[name].dimensions)
        assert (name, full) in HSC.identify(tmp_path / path, root=tmp_path)


def test_every_type_has_a_sentence() -> None:
    for layout in ("hsc", "legacysurvey", "tile"):
        docs = Butler("nowhere", layout).dataset_types()
        assert all(docs.values()), [name for name, doc in docs.items() if not doc]


@pytest.mark.parametrize("visit", [1, "1", "0000001", np.int32(1), np.uint64(1)])
def test_numbers_come_in_many_forms(visit: Any, butler: Butler) -> None:
    given = {"visit": visit, "ccd": 56}
    assert butler.get("notes_filename", given).endswith("00705/HSC-I/notes/0000001-056.json")
    assert given == {"visit": visit, "ccd": 56}


@pytest.mark.parametrize("visit", [1.0, "1.0", "one", True, None, [1], -1, "-1", "", "\uff11"])
def test_what_is_no_number_is_refused(visit: Any, butler: Butler) -> None:
    with pytest.raises(BadDataId, match="visit"):
        butler.path("notes", visit=visit, ccd=56)


@pytest.mark.parametrize("value", ["../x", "a/b", "a..b", "/etc"])
def test_values_stay_in_their_directory(value: str, butler: Butler) -> None:
    with pytest.raises(BadDataId, match="filter"):
        butler.path("notes", visit=1, ccd=4, pointing=705, filter=value)


def test_unknown_keys_are_answered_with_the_known_ones(butler: Butler) -> None:
    with pytest.raises(BadDataId, match=r"no key 'vist'; did you mean 'visit'\? It has visit, ccd"):
        butler.get("notes", vist=1, ccd=4)
    with pytest.raises(UnknownDatasetType, match="did you mean 'notes'"):
        butler.get("nots", visit=1, ccd=4)
    with pytest.raises(UnknownDatasetType, match="did you mean 'deepCoadd_src'"):
        Butler(butler.root, "hsc").path("deepCoad_src", COADD)


def test_what_is_lacking_is_looked_up(butler: Butler) -> None:
    assert butler.data_id("notes", visit=3, ccd=4) == DataId(
        pointing=706, filter="HSC-R", visit=3, ccd=4
    )
    assert butler.data_id("notes", {"visit": 3, "ccd": 56}, ccd=4)["ccd"] == 4  # keywords win


def test_several_answers_are_listed(butler: Butler) -> None:
    with pytest.raises(AmbiguousDataId, match="ccd could be 4, 56; give ccd") as caught:
        butler.get("notes", visit=1)
    assert caught.value.missing == ("ccd",)
    with pytest.raises(AmbiguousDataId, match=r"visit could be 1, 2; give visit"):
        butler.get("notes", ccd=4, filter="HSC-I")
    with pytest.raises(BadDataId):  # the base class
        butler.exists("notes", visit=1)


def test_no_answer_says_where_it_was_looked_for(butler: Butler) -> None:
    with pytest.raises(
        DataNotFound, match=r"notes\(visit=9, ccd=4\): nothing tells pointing, filt"
    ):
        butler.get("notes", visit=9, ccd=4)
    assert not butler.exists("notes", visit=9, ccd=4)


def test_keys_too_many_are_checked(butler: Butler) -> None:
    butler.put([1], "notes", visit=1, ccd=4)
    assert butler.get("notes", visit=1, ccd=4, filter="HSC-I", taiObs=VISIT_1) == [1]
    with pytest.raises(BadDataId, match="visit=1, ccd=4 has filter=HSC-I, not filter=HSC-R"):
        butler.get("notes", visit=1, ccd=4, filter="HSC-R")
    with pytest.raises(BadDataId, match="has taiObs=2014-03-31"):
        butler.path("notes", visit=1, ccd=4, taiObs="2015-01-01")
    # complete, but wrong: said when the file is not there
    with pytest.raises(BadDataId, match="has pointing=705, not pointing=7"):
        butler.get("notes", visit=1, ccd=4, filter="HSC-I", pointing=7)


VISIT_1 = "2014-03-31T01:00:00"


def test_tracts_are_known_from_what_was_made(butler: Butler) -> None:
    with pytest.raises(DataNotFound, match="nothing tells tract"):
        butler.get("fcr", visit=1, ccd=4)
    butler.put({"x": 1}, "fcr", visit=1, ccd=4, tract=9)
    assert butler.get("fcr", visit=1, ccd=4) == {"x": 1}
    butler.put({"x": 2}, "fcr", visit=1, ccd=4, tract=10)
    with pytest.raises(AmbiguousDataId, match="tract could be 10, 9"):
        butler.get("fcr", visit=1, ccd=4)
    with pytest.raises(DataNotFound, match="tract"):  # what exists is no guess of what is meant
        butler.put({"x": 1}, "fcr", visit=1, ccd=56)


def test_calibrations_hold_for_some_time(butler: Butler) -> None:
    for date, start, end in (
        ("2014-01-01", "2013-12-01", "2014-03-31"),
        ("2014-04-01", "2014-04-01", "2014-05-01"),
        ("2014-04-03", "2014-04-01", "2014-05-01"),
    ):
        butler.put([date], "bias", ccd=4, calibDate=date, validStart=start, validEnd=end)
    assert butler.get("bias", visit=1, ccd=4) == ["2014-01-01"]  # the last day counts whole
    assert butler.get("bias", visit=2, ccd=4) == ["2014-04-01"]  # as near as the other: the first
    assert butler.get("bias", ccd=4, taiObs="2014-04-04T00:00:00") == ["2014-04-03"]
    assert butler.get("bias", ccd=4, calibDate="2014-04-03") == ["2014-04-03"]
    with pytest.raises(DataNotFound, match=r"none holds at 2014-06-01.*2014-01-01 \(2013-12-01 to"):
        butler.get("bias", visit=3, ccd=4)
    with pytest.raises(DataNotFound, match="none at all"):
        butler.get("bias", visit=1, ccd=56)
    with pytest.raises(DataNotFound, match="when the visit was taken"):
        butler.get("bias", visit=99, ccd=4)
    with pytest.raises(AmbiguousDataId, match="calibDate could be"):
        butler.get("bias", ccd=4)
    with pytest.raises(BadDataId, match="lacks validStart, validEnd"):
        butler.put([1], "bias", ccd=4, calibDate="2014-08-01")

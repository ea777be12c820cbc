"""Calibrations and components through lsst-daf-butler, and the way back; on the real package."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.butler import Butler
from skyloom.butler.bridge import bridge
from skyloom.butler.bridge_back import adopt
from skyloom.butler.bridge_calibs import spans
from skyloom.butler.lookup import _days, _holds
from skyloom.catalogs import Field, Schema, SourceCatalog
from skyloom.errors import DataNotFound, InputError, MissingComponent, ReadOnlyError
from skyloom.geometry import Box
from skyloom.images import BackgroundList, ExposureF, KernelPsf, PhotoCalib, measure_background

pytestmark = pytest.mark.filterwarnings("default")  # those of the other package
ONE = {"visit": 1234, "ccd": 56, "pointing": 705, "filter": "HSC-I"}
RAW = {**ONE, "field": "COSMOS", "dateObs": "2014-03-31"}
TIMES = {1234: "2014-03-31T10:00:00", 1236: "2014-04-08T23:59:00", 1238: "2014-04-20T01:00:00"}
BIASES = {"2014-03-30": ("2014-03-01", "2014-04-30"), "2014-04-15": ("2014-04-01", "2014-05-01")}
WHERE = {"instrument": "HSC", "detector": 56}


@pytest.fixture(scope="module")
def lsst() -> Any:
    return pytest.importorskip(
        "lsst.daf.butler", reason="lsst-daf-butler is not installed (pip install 'skyloom[lsst]')"
    )


def exposure(value: float = 1.0) -> Any:
    made = ExposureF(40, 30, xy0=(100, 200))
    made.image.array[:] = value + np.arange(40)
    made.mask.array[3, 4] |= made.mask.get_plane_bit_mask("CR")
    made.photo_calib = PhotoCalib.from_zeropoint(27.0)
    made.psf = KernelPsf(np.exp(-np.square(np.mgrid[-3:4, -3:4]).sum(axis=0) / 4.0)[None])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [20.0, 15.0], [-5e-5, 5e-5]
    made.wcs = wcs
    made.metadata["EXPTIME"] = 30.0
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with raw exposures and calibrations, and a rerun."""
    root = tmp_path / "HSC"
    with Butler(root, "hsc", writeable=True) as butler:
        for visit, time in TIMES.items():
            butler.put(exposure(), "raw", {**RAW, "visit": visit, "dateObs": time[:10]},
                       taiObs=time, expTime=30.0)  # fmt: skip
        for number, (date, (start, end)) in enumerate(BIASES.items()):
            when = {"calibDate": date, "validStart": start, "validEnd": end}
            butler.put(exposure(number), "bias", ccd=56, **when)
            butler.put(exposure(10 + number), "flat", ccd=56, filter="HSC-I", **when)
    with Butler(root / "rerun" / "mine", "hsc", writeable=True) as rerun:
        rerun.put(exposure(), "calexp", ONE)
        level = measure_background(exposure().masked_image, (2, 2))
        rerun.put(BackgroundList([level]), "calexpBackground", ONE)
        sources = SourceCatalog.empty(
            Schema([Field("id", "L"), Field("base_PsfFlux_flux", "D")]), 3
        )
        rerun.put(sources, "src", ONE)
        rerun.put({"seeing": 0.6}, "processCcd_metadata", ONE)
        rerun.put(exposure(5), "deepCoadd_calexp", tract=9, patch="2,1", filter="HSC-I")
    return root


# --- when calibrations hold


day = st.dates(datetime.date(2014, 1, 1), datetime.date(2014, 3, 1))


moments = st.datetimes(datetime.datetime(2014, 1, 1), datetime.datetime(2014, 3, 20))


@st.composite
def calibrations(draw: Any) -> list[dict[str, str]]:
    dates = draw(st.lists(day, min_size=1, max_size=5, unique=True))
    rows = []
    for date in dates:
        before, after = draw(st.integers(0, 30)), draw(st.integers(0, 30))
        start, end = (str(date + datetime.timedelta(n)) for n in (-before, after))
        if draw(st.booleans()):
            end += "T12:30:00"
        rows.append({"calibDate": str(date), "validStart": start, "validEnd": end})
    return rows


@settings(max_examples=150, deadline=None)
@given(
    rows=calibrations(),
    when=st.datetimes(datetime.datetime(2014, 1, 1), datetime.datetime(2014, 3, 20)),
)
def test_spans_say_what_our_rule_says(rows: list[dict[str, str]], when: datetime.datetime) -> None:
    time = when.isoformat(timespec="seconds")
    moment = datetime.datetime.fromisoformat(time)
    holding = [row for row in rows if _holds(row, time)]
    best = min(holding, key=lambda r: (_days(r["calibDate"], time), r["calibDate"]), default=None)
    found = [held for held in spans(rows) if held.start <= moment < held.stop]
    assert [rows[held.number] for held in found] == ([] if best is None else [best])


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="calibration of 2014-01-01: validStart = 'soon' is no"):
        spans([{"calibDate": "2014-01-01", "validStart": "soon", "validEnd": "2014-02-01"}])


# --- to there


def test_calibrations_are_those_of_the_visit(data: Path, tmp_path: Path, lsst: Any) -> None:
    butler = Butler(data, "hsc", writeable=True)
    repository = tmp_path / "repo"
    done = bridge(butler, repository, ["raw", "bias", "flat"])
    assert (done.datasets, done.known) == (3 + 2 + 2, 0)
    assert done.collections == ("skyloom", "skyloom/calib", "skyloom/all")
    theirs = lsst.Butler.from_config(str(repository), collections="skyloom/all")
    for visit in TIMES:
        ours = butler.get("bias", visit=visit, ccd=56)
        there = theirs.get("bias", visit=visit, **WHERE)
        np.testing.assert_array_equal(there.image.array, ours.image.array)
        flat = theirs.get("flat", visit=visit, **WHERE)
        np.testing.assert_array_equal(
            flat.image.array, butler.get("flat", visit=visit, ccd=56).image.array
        )
    # 2014-04-07 is the last day that is as near to the older of the two
    at = {t: lsst.Timespan(Time(t, scale="tai"), Time(f"{t[:18]}1", scale="tai"))
          for t in ("2014-04-07T23:59:50", "2014-04-08T00:00:00")}  # fmt: skip
    values = [theirs.get("bias", timespan=span, **WHERE).image.array[0, 0] for span in at.values()]
    assert values == [0.0, 1.0]
    records = theirs.registry.queryDimensionRecords("visit", instrument="HSC", visit=1234)
    (record,) = list(records)
    assert (record.exposure_time, record.target_name) == (30.0, "COSMOS")
    assert record.timespan.begin.tai.isot.startswith("2014-03-31T10:00:00.0")


def test_a_new_calibration_takes_its_part_of_the_time(
    data: Path, tmp_path: Path, lsst: Any
) -> None:
    butler = Butler(data, "hsc", writeable=True)
    bridge(butler, tmp_path / "repo", ["raw", "bias"])
    butler.put(exposure(7), "bias", ccd=56, calibDate="2014-04-09", validStart="2014-04-05",
               validEnd="2014-04-10")  # fmt: skip
    done = bridge(butler, tmp_path / "repo", ["raw", "bias"])
    assert (done.datasets, done.known) == (1, 5)
    theirs = lsst.Butler.from_config(str(tmp_path / "repo"), collections="skyloom/all")
    found = [theirs.get("bias", visit=v, **WHERE).image.array[0, 0] for v in TIMES]
    ours = [butler.get("bias", visit=v, ccd=56).image.array[0, 0] for v in TIMES]
    assert found == ours == [0.0, 7.0, 1.0]
    assert bridge(butler, tmp_path / "repo", ["bias"]).datasets == 0  # again, nothing new


@pytest.mark.usefixtures("lsst")
def test_a_calibration_without_times_is_said_so(tmp_path: Path) -> None:
    butler = Butler(tmp_path / "HSC", "hsc", writeable=True)
    path = butler.path("bias", calibDate="2014-03-30", ccd=56)
    path.parent.mkdir(parents=True)
    exposure().write(path)  # no registry: nothing tells
    with pytest.raises(InputError, match=r"BIAS-2014-03-30-056.fits: nothing tells when this bias"):
        bridge(butler, tmp_path / "repo", ["bias"])


def test_components_and_boxes_are_read_alone(data: Path, tmp_path: Path, lsst: Any) -> None:
    butler = Butler(data / "rerun" / "mine", "hsc")
    done = bridge(butler, tmp_path / "repo", instrument="Hyper")
    assert done.datasets == 5
    assert "bfKernel" in done.left_out
    theirs = lsst.Butler.from_config(str(tmp_path / "repo"), collections="skyloom")
    where = {"instrument": "Hyper", "visit": 1234, "detector": 56}
    whole = exposure()
    assert theirs.get("calexp.metadata", where)["EXPTIME"] == 30.0
    assert theirs.get("calexp.photoCalib", where).zeropoint == pytest.approx(27.0)
    np.testing.assert_allclose(theirs.get("calexp.psf", where).at(1.0, 1.0), whole.psf.at(1.0, 1.0))
    sky = theirs.get("calexp.wcs", where).pixel_to_sky(110.0, 220.0)
    np.testing.assert_allclose(sky, whole.wcs.pixel_to_sky(110.0, 220.0), atol=1e-9)
    for name in ("image", "mask", "variance"):
        found = theirs.get(f"calexp.{name}", where)
        np.testing.assert_array_equal(found.array, getattr(whole, name).array)
    part = theirs.get("calexp", where, parameters={"bbox": Box(110, 120, 205, 210)})
    assert (part.xy0, part.shape) == ((110, 205), (5, 10))
    assert theirs.get("src.rowcount", where) == 3
    assert [f.name for f in theirs.get("src.schema", where)] == ["id", "base_PsfFlux_flux"]
    assert theirs.get("calexpBackground.image", where).shape == (30, 40)
    coadd = {"skymap": "skymap", "tract": 9, "patch": 11, "band": "i"}
    assert theirs.get("deepCoadd_calexp.photoCalib", coadd).zeropoint == pytest.approx(27.0)


def test_a_component_that_is_not_there_is_said_so(data: Path, tmp_path: Path, lsst: Any) -> None:
    with Butler(data / "rerun" / "mine", "hsc", writeable=True) as butler:
        butler.put(ExposureF(4, 4), "icExp", ONE)
        bridge(butler, tmp_path / "repo", ["icExp"])
    theirs = lsst.Butler.from_config(str(tmp_path / "repo"), collections="skyloom")
    with pytest.raises(ValueError, match="Failure") as error:  # theirs, with ours as its cause
        theirs.get("icExp.wcs", visit=1234, **WHERE)
    assert isinstance(error.value.__cause__, MissingComponent)


# --- from there


@pytest.mark.usefixtures("lsst")
def test_a_repository_comes_back_as_it_went(data: Path, tmp_path: Path) -> None:
    first, rerun = Butler(data, "hsc", writeable=True), Butler(data / "rerun" / "mine", "hsc")
    repository = tmp_path / "repo"
    bridge(first, repository)
    bridge(rerun, repository)
    with Butler(tmp_path / "back", "hsc", writeable=True) as back:
        done = adopt(back, repository, collections="skyloom/all", pointing=705)
        assert (done.datasets, done.known, done.left_out) == (3 + 2 + 2 + 5, 0, {})
        assert back.verify(checksum=True) == []
        for name in ("calexp", "calexpBackground", "src", "processCcd_metadata"):
            ours, theirs = (Path(b.get(f"{name}_filename", visit=1234, ccd=56))
                            for b in (back, rerun))  # fmt: skip
            assert ours.read_bytes() == theirs.read_bytes()
            assert ours.relative_to(back.root) == theirs.relative_to(rerun.root)
        for visit in TIMES:  # their times became ours
            np.testing.assert_array_equal(
                back.get("bias", visit=visit, ccd=56).image.array,
                first.get("bias", visit=visit, ccd=56).image.array,
            )
        assert back.query("raw", ["visit", "taiObs"])[0] == (1234, TIMES[1234])
        coadd = back.get("deepCoadd_calexp", tract=9, patch="2,1", filter="HSC-I")
        assert coadd.image.array[0, 0] == 5.0
        again = adopt(back, repository, collections="skyloom/all", pointing=705)
        assert (again.datasets, again.known) == (0, 12)


@pytest.mark.usefixtures("lsst")
def test_links_share_the_file(data: Path, tmp_path: Path) -> None:
    rerun = Butler(data / "rerun" / "mine", "hsc")
    bridge(rerun, tmp_path / "repo", ["src"])
    back = Butler(tmp_path / "back", "hsc", writeable=True)
    adopt(back, tmp_path / "repo", ["src"], pointing=705, transfer="link")
    assert Path(back.get("src_filename", ONE)).samefile(rerun.get("src_filename", ONE))


def test_what_they_store_otherwise_is_read_and_written(
    data: Path, tmp_path: Path, lsst: Any
) -> None:
    rerun = Butler(data / "rerun" / "mine", "hsc")
    repository = tmp_path / "repo"
    bridge(rerun, repository, ["src"])  # its records are those of the visit
    theirs = lsst.Butler.from_config(str(repository), writeable=True, run="others")
    for name, storage, keys in (
        ("processCcd_metadata", "StructuredDataDict", ("instrument", "visit", "detector")),
        ("icSrc", "ArrowAstropy", ("instrument", "visit", "detector")),
        ("log", "StructuredDataDict", ("instrument", "visit")),
    ):
        theirs.registry.registerDatasetType(
            lsst.DatasetType(name, keys, storage, universe=theirs.dimensions)
        )
    theirs.put({"seeing": 0.7}, "processCcd_metadata", visit=1234, **WHERE)
    theirs.put(Table({"id": [1, 2]}), "icSrc", visit=1234, **WHERE)
    theirs.put({"a": 1}, "log", instrument="HSC", visit=1234)
    with Butler(tmp_path / "back", "hsc", writeable=True) as back:
        done = adopt(back, repository, collections="others", pointing=705)
        assert done.datasets == 1
        assert back.get("processCcd_metadata", ONE) == {"seeing": 0.7}
        assert done.left_out == {
            "icSrc": "Table, as it comes from there, is nothing for it here",
            "log": "dict, as it comes from there, is nothing for it here",
        }
        with pytest.raises(InputError, match="dataset log: cannot be taken over, dict"):
            adopt(back, repository, ["log"], collections="others", pointing=705)


def test_what_is_lacking_is_said(data: Path, tmp_path: Path, lsst: Any) -> None:
    rerun = Butler(data / "rerun" / "mine", "hsc")
    repository = tmp_path / "repo"
    bridge(rerun, repository)
    back = Butler(tmp_path / "back", "hsc", writeable=True)
    with pytest.raises(DataNotFound, match=r"calexp.*pointing.*given by name \(pointing=705\)"):
        adopt(back, repository, ["calexp"])
    with pytest.raises(InputError, match="no collection nosuch; there are skyloom"):
        adopt(back, repository, collections="nosuch")
    with pytest.raises(InputError, match="dataset fcr: the repository has no such type; it has"):
        adopt(back, repository, ["fcr"])
    with pytest.raises(InputError, match="is no repository of lsst-daf-butler"):
        adopt(back, tmp_path / "back")
    with pytest.raises(ReadOnlyError, match="open one with writeable=True"):
        adopt(Butler(tmp_path / "back", "hsc"), repository)
    assert not list((tmp_path / "back").rglob("*.fits"))
    theirs = lsst.Butler.from_config(str(repository), writeable=True, run="more")
    theirs.registry.insertDimensionData(
        "physical_filter", {"instrument": "HSC", "name": "HSC-I2", "band": "i"}
    )
    with pytest.raises(InputError, match="band i has the filters HSC-I, HSC-I2; say which"):
        adopt(back, repository, ["deepCoadd_calexp"])
    done = adopt(back, repository, ["deepCoadd_calexp"], filters={"i": "HSC-I2"})
    assert done.datasets == 1
    assert back.query("deepCoadd_calexp", "filter") == ["HSC-I2"]
    # a raw exposure needs more than its repository tells: nothing half done stays
    bridge(Butler(data, "hsc"), repository, ["raw"])
    with pytest.raises(DataNotFound, match="nothing tells"):
        adopt(back, repository, ["raw"])
    assert not list((tmp_path / "back").rglob("HSC-*.fits"))


def test_without_the_package_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lsst.daf.butler", None)
    with pytest.raises(InputError, match=r"pip install 'skyloom\[lsst\]'"):
        adopt(Butler(tmp_path, "hsc", writeable=True), tmp_path / "repo")

"""The layout of a Legacy Surveys directory, on real survey trees and outputs of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from skyloom.butler import Butler, DataId, Layout
from skyloom.catalogs import write_fits_table
from skyloom.errors import AmbiguousDataId, BadDataId, DataNotFound, Unwritable

LAYOUT = Layout.load("legacysurvey")


@pytest.fixture(scope="module")
def surveys(shared_data: Path) -> Path:
    folder = shared_data / "legacysurvey"
    if not folder.is_dir():
        pytest.skip(f"no survey data at {folder}")
    return folder


@pytest.mark.parametrize(
    ("name", "data_id", "path"),
    [
        ("tractor", {"brick": "1102p240"}, "tractor/110/tractor-1102p240.fits"),
        ("sha256sum", {"brick": "custom-346684p12791"},
         "tractor/cus/brick-custom-346684p12791.sha256sum"),
        ("coadd_image", {"brick": "1102p240", "band": "I-A-L427"},
         "coadd/110/1102p240/legacysurvey-1102p240-image-I-A-L427.fits.fz"),
        ("forced", {"camera": "decam", "expnum": 372546},
         "forced/decam/00372/forced-decam-372546.fits"),
    ],
)  # fmt: skip
def test_parts_of_values_name_directories(
    name: str, data_id: dict[str, str], path: str, tmp_path: Path
) -> None:
    assert LAYOUT.path(name, data_id, root=tmp_path) == tmp_path / path
    assert LAYOUT.identify(tmp_path / path, root=tmp_path) == [(name, DataId(data_id))]
    for right, other in (("/110/", "/111/"), ("/cus/", "/abc/"), ("/00372/", "/00373/")):
        path = path.replace(right, other)
    wrong = tmp_path / path
    assert LAYOUT.identify(wrong, root=tmp_path) == []


def test_cameras_with_one_ccd_need_no_name_of_it(tmp_path: Path) -> None:
    """An empty ccdname takes its dash along."""
    for name in ("psfex_single", "sky_single", "se"):
        for ccdname, end in (("", ""), ("N4", "-N4")):
            data_id = {"imgdir": "cam/CP", "base": "x-1_ooi_r", "ccdname": ccdname}
            path = LAYOUT.path(name, data_id, root=tmp_path)
            assert path.name.startswith(f"x-1_ooi_r{end}-{'se' if name == 'se' else ''}")
            assert LAYOUT.identify(path, root=tmp_path) == [(name, DataId(data_id))]
    ccds = Table({"camera": ["cam"], "expnum": [7], "ccdname": ["  "], "filter": ["r"],
                  "image_filename": ["cam/CP/x_ooi_r.fits"], "image_hdu": [0]})  # fmt: skip
    write_fits_table(ccds, tmp_path / "survey-ccds-1.fits.gz")
    for path in (
        "images/cam/CP/x_ooi_r.fits",
        "calib/psfex-single/cam/CP/x_ooi_r/x_ooi_r-psfex.fits",
    ):
        (tmp_path / path).parent.mkdir(parents=True)
    fits.PrimaryHDU(np.eye(3)).writeto(tmp_path / "images/cam/CP/x_ooi_r.fits")
    write_fits_table(Table({"psf": [1.5]}), tmp_path / path)
    butler = Butler(tmp_path)
    assert butler.query("image", ["expnum", "ccdname"]) == [(7, "")]
    for keys in ({"expnum": 7}, {"expnum": 7, "ccdname": ""}):
        assert butler.get("psfex", keys)["psf"][0] == 1.5
        (pixels,) = butler.get("image", keys).images.values()
        np.testing.assert_array_equal(pixels, np.eye(3))
    assert [ref.data_id["ccdname"] for ref in butler.data_ref(expnum=7).sub_items()] == [""]
    with pytest.raises(BadDataId, match="band = '' is empty"):
        LAYOUT.path("coadd_image", {"brick": "1102p240", "band": ""}, root=tmp_path)


def test_directories_of_images_may_be_deep_but_stay_below(tmp_path: Path) -> None:
    with pytest.raises(BadDataId, match="imgdir"):
        LAYOUT.path("psfex_merged", {"imgdir": "a/../..", "base": "x"}, root=tmp_path)
    with pytest.raises(BadDataId, match="imgdir"):
        LAYOUT.path("psfex_merged", {"imgdir": "/etc", "base": "x"}, root=tmp_path)


@pytest.mark.parametrize(
    ("case", "n"), [("testcase4", 1), ("testcase6", 6), ("testcase9", 3), ("mzlsbass2", 3)]
)
def test_every_ccd_of_a_survey_is_reached_by_exposure_and_name(
    case: str, n: int, surveys: Path
) -> None:
    butler = Butler(surveys / case)
    assert butler.layout.name == "legacysurvey"
    assert len(butler.query("survey_ccds")) == 1
    ccds = butler.query("image", ["expnum", "ccdname", "filter"])
    assert len(ccds) == n
    for expnum, ccdname, filter_ in ccds:
        one = butler.data_ref(expnum=expnum, ccdname=ccdname)
        image, weight, dq = (one.get(name) for name in ("image", "weight", "dq"))
        (pixels,), (weights,), (codes,) = (x.images.values() for x in (image, weight, dq))
        assert pixels.shape == weights.shape == codes.shape
        assert np.isfinite(pixels).all()
        assert image.header["EXTNAME"].strip() == ccdname
        assert len(one.get("psfex", filter=filter_)) >= 1
        assert [part.data_id["ccdname"] for part in butler.data_ref(expnum=expnum).sub_items()]
        assert one.exists("sky") == (case != "testcase4")  # it has none: to be made


def test_calibrations_are_looked_for_in_order(surveys: Path) -> None:
    butler = Butler(surveys / "mzlsbass2")
    one = butler.data_ref(expnum=78730103, ccdname="CCD4")  # has both forms
    assert "/calib/psfex/" in one.get("psfex_filename")
    assert "/calib/psfex-single/" in one.get("psfex_single_filename")
    assert "/calib/sky-single/" in one.get("sky_filename")
    assert butler.query("psfex_old") == butler.query("sky_old") == []
    assert one.get("se_len") == len(one.get("se"))
    with pytest.raises(DataNotFound, match="splinesky"):
        Butler(surveys / "testcase4").get("sky", expnum=630780, ccdname="N2")


def test_what_is_asked_wrongly_is_explained(surveys: Path) -> None:
    butler = Butler(surveys / "testcase6")
    with pytest.raises(AmbiguousDataId, match=r"shot could be .*; give"):
        butler.get("image", filter="g")
    with pytest.raises(BadDataId, match="expnum=802955, ccdname=S9 has filter=g, not filter=r"):
        butler.get("image", expnum=802955, ccdname="S9", filter="r")
    with pytest.raises(DataNotFound, match=r"nothing tells imgdir.*no such row in ccds; give them"):
        butler.get("image", expnum=1, ccdname="S9")
    with pytest.raises(DataNotFound, match=r"nothing tells brick; no file coadd/\*/\*/.* in /"):
        butler.get("maskbits")
    with pytest.raises(Unwritable, match="user's own"):
        Butler(butler.root, writeable=True).put(None, "weight", expnum=802955, ccdname="S9")


def test_images_of_many_ccds_are_read_one_hdu_at_a_time(surveys: Path) -> None:
    """Row and HDU belong together, whatever else the file holds."""
    butler = Butler(surveys / "testcase9")
    image = butler.get("image", expnum=372546, ccdname="N26")
    assert list(image.images) == ["N26"]
    header = butler.get("image_md", expnum=372546, ccdname="N26")
    assert header["EXTNAME"] == "N26"
    assert header["EXPNUM"] == 372546


@pytest.mark.parametrize("case", ["mzlsbass2", "testcase6", "testcase8", "testcase12"])
def test_every_file_that_the_original_wrote_has_its_name(case: str, surveys: Path) -> None:
    root = surveys / "peer_products" / case
    files = [path for path in root.rglob("*") if path.is_file()]
    names = {path: LAYOUT.identify(path, root=root) for path in files}
    assert [path for path, found in names.items() if len(found) != 1] == []
    butler = Butler(root)
    assert butler.layout.name == "legacysurvey"
    (brick,) = butler.query("tractor", "brick")
    rows = {row.path for row in butler.rows()}
    assert rows == set(files)
    catalogue = butler.get("tractor", brick=brick)
    assert len(catalogue) == butler.get("tractor_len", brick=brick)
    assert catalogue["brickname"][0] == brick
    for band in butler.query("coadd_image", "band", brick=brick):
        (pixels,) = butler.get("coadd_image", brick=brick, band=band).images.values()
        (model,) = butler.get("coadd_model", brick=brick, band=band).images.values()
        assert pixels.shape == model.shape


def test_outputs_beside_a_survey_find_its_inputs(surveys: Path, tmp_path: Path) -> None:
    butler = Butler(tmp_path / "out", writeable=True, parent=surveys / "testcase9")
    assert butler.layout.name == "legacysurvey"
    butler.put("sum", "sha256sum", brick="0091p035")
    again = Butler(tmp_path / "out")
    assert again.get("sha256sum", brick="0091p035") == "sum"
    assert again.exists("image", expnum=372546, ccdname="N26")
    assert not (tmp_path / "out" / "registry.sqlite3").exists()

"""The layout of a Legacy Surveys directory, on real survey trees and outputs of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from skyloom.butler import Butler, DataId, FitsImages, Layout
from skyloom.catalogs import write_fits_table
from skyloom.errors import (
    AmbiguousDataId,
    BadDataId,
    DataNotFound,
    MissingComponent,
    UnreadableFile,
    Unwritable,
)
from skyloom.geometry import Box
from skyloom.images import read_psfex, read_sky

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
        assert butler.get("psfex_table", keys)["psf"][0] == 1.5
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


def center(image: FitsImages) -> tuple[float, float]:
    (pixels,) = image.images.values()
    return (pixels.shape[1] - 1) / 2, (pixels.shape[0] - 1) / 2


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
        assert len(one.get("psfex_table", filter=filter_)) >= 1
        assert one.get("psfex").at(*center(image)).sum() == pytest.approx(1.0)
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


CASES = ("testcase4", "testcase6", "testcase8", "testcase9", "testcase12", "mzlsbass2")


@pytest.mark.parametrize("case", CASES)
def test_psf_models_are_those_of_the_survey(case: str, surveys: Path) -> None:
    """``psfnorm`` of the CCD tables is the root of the summed squares of the PSF at the centre."""
    butler = Butler(surveys / case)
    table = butler.get("survey_ccds")
    for row in table:
        ccd = {"expnum": int(row["expnum"]), "ccdname": str(row["ccdname"]).strip()}
        psf = butler.get("psfex", ccd)
        x, y = (float(row["width"]) - 1) / 2, (float(row["height"]) - 1) / 2
        norm = float(np.sqrt((psf.at(x, y) ** 2).sum()))
        assert norm == pytest.approx(row["psfnorm"], rel=1e-4)  # 5e-5, where the survey takes it
        assert np.array_equal(psf.at(x, y), butler.get("psfex", ccd).at(x, y))


def test_a_row_and_a_file_of_psfex_are_the_same_model(surveys: Path) -> None:
    butler = Butler(surveys / "mzlsbass2")
    ccd = {"expnum": 78730103, "ccdname": "CCD4"}
    merged, single = butler.get("psfex_merged", ccd), butler.get("psfex_single", ccd)
    for x, y in ((0.0, 0.0), (50.0, 100.0)):
        # polynomials with 12 digits in the header of PSFEx
        assert np.allclose(merged.at(x, y), single.at(x, y), rtol=0, atol=1e-9)


def stacked(path: Path, rows: list[dict[str, object]], arrays: dict[str, tuple[int, ...]]) -> None:
    """Write rows of models below each other, their arrays filled up to the largest."""
    columns = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in arrays:
            whole = np.zeros((len(rows), *arrays[name]), np.float32)
            for place, value in zip(whole, values, strict=True):
                place[tuple(slice(n) for n in np.shape(value))] = value
            dim = f"({','.join(str(n) for n in arrays[name][::-1])})" if whole.ndim > 2 else None
            form = "J" if name in {"xgrid", "ygrid"} else "E"
            columns.append(fits.Column(name, f"{whole[0].size}{form}", array=whole, dim=dim))
        else:
            form = {str: "8A", int: "K"}.get(type(values[0]), "D")
            columns.append(fits.Column(name, form, array=np.array(values)))
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)


def psf_row(ccdname: str, degree: int, side: int, width: float) -> dict[str, object]:
    at = np.arange(side) - side // 2
    base = np.exp(-0.5 * (at[:, None] ** 2 + at**2) / width**2)
    terms = [base * (1.0 if n == 0 else 0.1 * n) for n in range((degree + 1) * (degree + 2) // 2)]
    return {
        "psf_mask": np.stack(terms), "psfaxis1": side, "psfaxis2": side, "polnaxis": 2,
        "poldeg1": degree, "polgrp1": 1, "polgrp2": 1, "polzero1": 10.0, "polzero2": 20.0,
        "polscal1": 50.0, "polscal2": 60.0, "psf_samp": 1.0, "expnum": 7, "ccdname": ccdname,
    }  # fmt: skip


@pytest.fixture
def survey_of_two(tmp_path: Path) -> Path:
    """A survey with CCDs N1 and N2 of exposure 7, and N2 of exposure 8 in the same image file."""
    ccds = Table({"camera": ["cam"] * 3, "expnum": [7, 7, 8], "ccdname": ["N1", "N2", "N2"],
                  "filter": ["r"] * 3, "image_filename": ["cam/x_ooi_r.fits"] * 3,
                  "image_hdu": [1, 2, 3]})  # fmt: skip
    write_fits_table(ccds, tmp_path / "survey-ccds-1.fits.gz")
    (tmp_path / "images").mkdir()
    return tmp_path


def test_merged_models_are_cut_to_the_size_of_the_ccd(survey_of_two: Path) -> None:
    merged = survey_of_two / "calib/psfex/cam/x_ooi_r-psfex.fits"
    rows = [psf_row("N1", 1, 21, 2.0), psf_row("N2 ", 2, 31, 3.0)]
    stacked(merged, rows, {"psf_mask": (6, 31, 31)})
    butler = Butler(survey_of_two)
    for ccdname, side, width in (("N1", 21, 2.0), ("N2", 31, 3.0)):
        psf = butler.get("psfex", expnum=7, ccdname=ccdname)
        stamp = psf.at(33.0, 44.0)
        assert stamp.shape == (side, side)
        at = np.arange(side) - side // 2
        expected = np.exp(-0.5 * (at[:, None] ** 2 + at**2) / width**2)
        assert np.allclose(stamp, expected / expected.sum(), rtol=0, atol=1e-8)  # float32
    factors = psf.factors(np.array([60.0]), np.array([50.0]))[0]
    assert factors == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.5, 0.25])  # 1 u u2 v uv v2
    assert butler.get("psfex_len", expnum=7, ccdname="N1") == 2
    assert len(butler.get("psfex_table", expnum=7, ccdname="N1")) == 2


def test_a_file_without_the_ccd_is_passed_over(survey_of_two: Path) -> None:
    """The merged file has no row of exposure 8, the single one has: that is taken."""
    merged = survey_of_two / "calib/psfex/cam/x_ooi_r-psfex.fits"
    stacked(merged, [psf_row("N1", 1, 21, 2.0)] * 2, {"psf_mask": (3, 21, 21)})
    butler = Butler(survey_of_two)
    with pytest.raises(MissingComponent, match="0 of 2 rows are of expnum=8, ccdname=N2"):
        butler.get("psfex", expnum=8, ccdname="N2")
    with pytest.raises(MissingComponent, match="2 of 2 rows are of expnum=7, ccdname=N1"):
        butler.get("psfex", expnum=7, ccdname="N1")
    single = survey_of_two / "calib/psfex-single/cam/x_ooi_r/x_ooi_r-N2-psfex.fits"
    row = psf_row("N2", 1, 25, 2.5) | {"expnum": 8}
    stacked(single, [row], {"psf_mask": (3, 25, 25)})
    assert butler.get("psfex", expnum=8, ccdname="N2").at(0.0, 0.0).shape == (25, 25)


def sky_row(ccdname: str, width: int, height: int) -> dict[str, object]:
    x, y = 40.0 * np.arange(width) - 15.0, 30.0 * np.arange(height) - 12.0
    return {
        "gridw": width, "gridh": height, "gridvals": level(*np.meshgrid(x, y)),
        "xgrid": x, "ygrid": y, "x0": 5, "y0": 3, "order": 3, "skyclass": "x.Spline",
        "expnum": 7, "ccdname": ccdname,
    }  # fmt: skip


def level(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a sky that a bicubic spline follows exactly."""
    return 100.0 + 0.1 * x - 2e-3 * y + 1e-5 * x**3 - 2e-6 * x * y**2


def test_sky_levels_are_splines_through_their_grid(survey_of_two: Path) -> None:
    """Rows filled up with zeros; positions count from the corner x0, y0 of the CCD's image."""
    merged = survey_of_two / "calib/sky/cam/x_ooi_r-splinesky.fits"
    arrays = {"gridvals": (9, 8), "xgrid": (8,), "ygrid": (9,)}
    stacked(merged, [sky_row("N1", 6, 9), sky_row("N2", 8, 5)], arrays)
    butler = Butler(survey_of_two)
    for ccdname in ("N1", "N2"):
        sky = butler.get("sky", expnum=7, ccdname=ccdname)
        x, y = np.array([0.0, 33.0, 120.5]), np.array([77.0, 1.5, 40.0])
        # float32 values of the grid; their noise grows where the spline bends
        assert np.allclose(sky(x, y), level(x + 5, y + 3), rtol=0, atol=5e-5)
        image = sky.image(Box(10, 40, 20, 50))
        assert image.xy0 == (10, 20)
        assert image.array[5, 7] == pytest.approx(level(17.0 + 5, 25.0 + 3), rel=1e-6)


def test_real_sky_levels_are_below_their_images(surveys: Path) -> None:
    """The median of an image is its sky plus sources; of the emptiest ones, a percent."""
    butler = Butler(surveys / "mzlsbass2")
    for expnum, ccdname in butler.query("image", ["expnum", "ccdname"]):
        ccd = {"expnum": expnum, "ccdname": ccdname}
        (pixels,) = butler.get("image", ccd).images.values()
        sky = butler.get("sky", ccd).image(Box.of_shape(pixels.shape)).array
        row = butler.get("sky_table", ccd)[0]
        assert sky.std() < 0.01 * sky.mean()  # smooth
        assert 0.0 < np.median(pixels - sky) < 0.01 * np.median(sky)
        assert np.median(sky) == pytest.approx(row["sky_med"], rel=0.02)  # of the whole CCD


def test_a_constant_sky_of_a_header(surveys: Path) -> None:
    path = "mzlsbass3/calib/mosaic/splinesky/00074/00074931/decam-00074931-ccd3.fits"
    sky = read_sky(surveys / path)
    assert sky(3.0, 4.0) == pytest.approx(63.13747)
    assert np.all(sky.image(Box(0, 3, 0, 2)).array == np.float32(63.13747))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"poldeg1": 40}, "degree 40 is impossible"),
        ({"poldeg1": 3}, r"\(10, 21, 21\) are not in an array"),
        ({"psfaxis1": 0}, r"\(3, 21, 0\) are not in"),
        ({"polscal1": 0.0}, "polscal1 is zero"),
        ({"psf_samp": float("nan")}, "psf_samp = nan is not a number"),
        ({"polgrp2": 2}, "not in one group"),
    ],
)
def test_damaged_models(change: dict[str, object], match: str, tmp_path: Path) -> None:
    stacked(tmp_path / "p.fits", [psf_row("N1", 1, 21, 2.0) | change], {"psf_mask": (3, 21, 21)})
    with pytest.raises(UnreadableFile, match=match):
        read_psfex(tmp_path / "p.fits", expnum=7, ccdname="N1")
    grid = sky_row("N1", 6, 9) | {"gridw": 7}
    stacked(tmp_path / "s.fits", [grid], {"gridvals": (9, 6), "xgrid": (6,), "ygrid": (9,)})
    with pytest.raises(UnreadableFile, match="a grid of 7 x 9 is not in an array"):
        read_sky(tmp_path / "s.fits")


def test_the_sums_of_images_are_those_of_galsim(surveys: Path) -> None:
    """Another reader of PSFEx files; both before anything is resampled."""
    des = pytest.importorskip("galsim.des")
    galsim = pytest.importorskip("galsim")
    for name in ("psfex-decam-00392360-S31.fits", "decam-520206-S16-psfex.fits"):
        path = surveys.parent / "decam_psf" / name
        psf, other = read_psfex(path), des.DES_PSFEx(str(path))
        for x, y in ((1.0, 2.0), (700.5, 3000.25), (2040.0, 4090.0)):
            ours = np.tensordot(psf.factors(np.array([x]), np.array([y]))[0], psf.components, 1)
            theirs = other.getPSFArray(galsim.PositionD(x, y))
            assert np.allclose(ours, theirs, rtol=0, atol=1e-6 * theirs.max())  # float32 there


def test_damaged_files_raise_documented_errors_only(tmp_path: Path) -> None:
    stacked(tmp_path / "p.fits", [psf_row("N1", 1, 9, 2.0)] * 2, {"psf_mask": (3, 9, 9)})
    grid = {"gridvals": (9, 6), "xgrid": (6,), "ygrid": (9,)}
    stacked(tmp_path / "s.fits", [sky_row("N1", 6, 9)], grid)
    rng = np.random.default_rng(12)
    refused = 0
    for name, read in (("p.fits", read_psfex), ("s.fits", read_sky)):
        whole = (tmp_path / name).read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(2880, len(data), 4):
                data[at] = rng.integers(32, 127) if rng.random() < 0.8 else rng.integers(0, 256)
            size = rng.integers(2880, len(data)) if rng.random() < 0.2 else len(data)
            (tmp_path / "d.fits").write_bytes(bytes(data[:size]))
            try:
                model = read(tmp_path / "d.fits", expnum=7, ccdname="N1")
                model.at(3.0, 4.0) if read is read_psfex else model(3.0, 4.0)
            except (UnreadableFile, MissingComponent):
                refused += 1
    assert refused > 60  # two rows of the same CCD, unless damage made them differ

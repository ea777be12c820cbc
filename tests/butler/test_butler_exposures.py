"""Exposures and source catalogues through the butler, on real files of the HSC pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.butler import Butler, read_dataset, write_dataset
from skyloom.catalogs import SourceCatalog
from skyloom.errors import (
    BadDataId,
    ConflictError,
    DataNotFound,
    MissingComponent,
    OutsideImage,
    UnknownDatasetType,
    UnreadableFile,
    Unwritable,
)
from skyloom.geometry import Box
from skyloom.images import (
    BackgroundList,
    Exposure,
    ExposureF,
    ExposureI,
    FluxFitParams,
    Image,
    ImageF,
    KernelPsf,
    Mask,
    measure_background,
)

ONE = {"visit": 908120, "ccd": 56, "pointing": 705, "filter": "HSC-I"}
SHORT = {"visit": 908120, "ccd": 56}


@pytest.fixture(scope="module")
def afw(shared_data: Path) -> Path:
    folder = shared_data / "astrometry" / "afw"
    if not folder.is_dir():
        pytest.skip(f"no files of afw at {folder}")
    return folder


@pytest.fixture
def place(afw: Path) -> Callable[..., Path]:
    """Return ``place(butler, file, name, data_id)``, which copies a file to where it belongs."""

    def copy(butler: Butler, file: str, name: str, data_id: dict[str, object]) -> Path:
        path = Path(butler.get(f"{name}_filename", data_id))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(afw / file, path)
        return path

    return copy


@pytest.fixture
def rerun(place: Callable[..., Path], tmp_path: Path) -> Butler:
    """Return a rerun with one calexp and its sources, without a registry."""
    butler = Butler(tmp_path / "rerun", "hsc")
    place(butler, "HSC-0908120-056-small.fits", "calexp", ONE)
    place(butler, "sourceCatalog-hsc-v2.fits", "src", ONE)
    return butler


def test_a_rerun_is_read_by_visit_and_ccd_alone(rerun: Butler) -> None:
    butler = Butler(rerun.root)  # corr/CORR-*.fits tells the layout
    assert butler.layout.name == "hsc"
    exposure = butler.get("calexp", visit=908120, ccd=56)
    assert isinstance(exposure, Exposure)
    assert (exposure.xy0, exposure.shape) == ((100, 100), (200, 200))
    assert exposure.mask.get_mask_plane("NO_DATA") == 9  # of this file; other files have 8
    sources = butler.get("src", visit=908120, ccd=56)
    assert isinstance(sources, SourceCatalog)
    assert len(sources) == butler.get("src_len", SHORT) == 5
    assert [f.name for f in butler.get("src_schema", SHORT)] == [f.name for f in sources.schema]
    np.testing.assert_array_equal(sources.get("flux.psf"), sources.get("base_PsfFlux_flux"))
    assert butler.query("calexp", ["visit", "ccd"]) == [(908120, 56)]


def test_parts_are_read_without_the_rest(rerun: Butler) -> None:
    whole = rerun.get("calexp", SHORT)
    cards = rerun.get("calexp_md", SHORT)
    assert cards["FLUXMAG0"] == fits.getheader(rerun.get("calexp_filename", SHORT))["FLUXMAG0"]
    box = Box(110, 140, 120, 135)  # parent coordinates
    part = rerun.get("calexp_sub", SHORT, bbox=box)
    assert part.xy0 == (110, 120)
    np.testing.assert_array_equal(part.image.array, whole[box].image.array)
    assert isinstance(rerun.get("calexp_mask", SHORT), Mask)
    assert isinstance(rerun.get("calexp_image", SHORT), Image)
    np.testing.assert_array_equal(rerun.get("calexp_variance", SHORT).array, whole.variance.array)
    x, y = np.array([150.0]), np.array([180.0])
    np.testing.assert_allclose(
        rerun.get("calexp_wcs", SHORT).pixel_to_sky(x, y), whole.wcs.pixel_to_sky(x, y), rtol=1e-15
    )
    with pytest.raises(BadDataId, match="needs bbox="):
        rerun.get("calexp_sub", SHORT)
    with pytest.raises(BadDataId, match=r"calexp: bbox= cuts calexp_sub; get that"):
        rerun.get("calexp", SHORT, bbox=box)
    with pytest.raises(BadDataId, match="5 is no mapping of keys"):
        rerun.get("calexp", 5)
    with pytest.raises(OutsideImage):
        rerun.get("calexp_sub", SHORT, bbox=Box(0, 10, 0, 10))
    with pytest.raises(UnknownDatasetType, match="no part 'wcs'; there are src_filename, src_md"):
        rerun.get("src_wcs", SHORT)


def test_headers_come_from_a_file_whose_pixels_are_missing(rerun: Butler) -> None:
    path = Path(rerun.get("calexp_filename", SHORT))
    with fits.open(path) as hdus:
        start = hdus[1]._data_offset
    path.write_bytes(path.read_bytes()[: start + 100])
    assert rerun.get("calexp_md", SHORT)["FLUXMAG0"] == 0.0  # an uncalibrated file
    with pytest.raises(UnreadableFile, match=r"CORR-0908120-056\.fits"):
        rerun.get("calexp", SHORT)


def test_proper_names_win_over_suffixes(rerun: Butler, place: Callable[..., Path]) -> None:
    with pytest.raises(MissingComponent, match="psf"):
        rerun.get("psf", SHORT)  # this cut has none, but it is looked for in the calexp
    assert rerun.get("psf_filename", SHORT) == rerun.get("calexp_filename", SHORT)
    coadd = {"tract": 9812, "patch": "1,2", "filter": "HSC-I"}
    place(rerun, "exposure-version-2.fits", "deepCoadd_calexp", coadd)
    assert rerun.get("deepCoadd_psf_filename", coadd).endswith("calexp-HSC-I-9812-1,2.fits")
    place(rerun, "exposure-version-2.fits", "deepCoadd", coadd)
    assert rerun.get("deepCoadd_wcs", coadd) is not None  # a part, no dataset
    with pytest.raises(UnknownDatasetType, match="deepCoadd_fcr"):
        rerun.get("deepCoadd_fcr", coadd)


def test_a_psf_may_have_a_file_of_its_own(rerun: Butler, tmp_path: Path) -> None:
    """Old reruns have PSF files: an archive and no pixels."""
    y, x = np.mgrid[-9:10, -9:10]
    exposure = ExposureF(30, 20)
    exposure.psf = KernelPsf(np.exp(-(x**2 + y**2) / 8.0)[None])
    exposure.write(tmp_path / "whole.fits")
    path = Path(rerun.root / "00705/HSC-I/output/PSF-0908120-056.fits")
    with fits.open(tmp_path / "whole.fits") as hdus:
        fits.HDUList([fits.PrimaryHDU(), *hdus[4:]]).writeto(path)
    psf = rerun.get("psf", SHORT)  # before that of the calexp, which has none
    np.testing.assert_allclose(psf.at(0.0, 0.0), exposure.psf.at(0.0, 0.0), rtol=1e-12)
    assert rerun.get("psf_filename", SHORT) == str(path)
    butler = Butler(rerun.root, writeable=True)
    with pytest.raises(Unwritable, match=r"set exposure\.psf and put the exposure"):
        butler.put(psf, "psf", visit=908120, ccd=57)
    shutil.copy(Path(rerun.get("src_filename", SHORT)), path)  # an archive, of footprints
    with pytest.raises(MissingComponent, match="holds no PSF"):
        rerun.get("psf", SHORT)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UnreadableFile, match="PSF-0908120"):
        rerun.get("psf", SHORT)


def test_matches_are_catalogues(rerun: Butler) -> None:
    sources = rerun.get("src", SHORT)
    with Butler(rerun.root, writeable=True) as butler:
        butler.put(sources[:2], "srcMatch", SHORT)
        assert (
            butler.get("srcMatch", SHORT).get("flux.psf").tolist()
            == sources["flux.psf"][:2].tolist()
        )


def test_exposures_go_out_and_come_back(rerun: Butler, tmp_path: Path) -> None:
    exposure, sources = rerun.get("calexp", SHORT), rerun.get("src", SHORT)
    mine = Butler(tmp_path / "mine", "hsc", writeable=True, parent=rerun.root)
    mine.put(exposure, "calexp", ONE)
    mine.put(sources, "src", ONE)
    assert mine.get("calexp_filename", SHORT).startswith(str(mine.root))
    back = mine.get("calexp", SHORT)
    for plane in ("image", "mask", "variance"):
        ours, theirs = getattr(back, plane).array, getattr(exposure, plane).array
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
    assert mine.get("calexp_md", SHORT)["EXPTIME"] == rerun.get("calexp_md", SHORT)["EXPTIME"]
    assert len(mine.get("src", SHORT)) == 5
    with pytest.raises(ConflictError):
        mine.put(exposure, "calexp", ONE)
    with pytest.raises(TypeError, match="calexp: takes ExposureF, not SourceCatalog"):
        mine.put(sources, "calexp", ONE, overwrite=True)
    with pytest.raises(TypeError, match="calexp: takes ExposureF, not Exposure of int32"):
        mine.put(ExposureI(3, 2), "calexp", ONE, overwrite=True)
    with pytest.raises(TypeError, match="src: takes SourceCatalog, not ndarray"):
        mine.put(np.eye(2), "src", ONE, overwrite=True)
    assert mine.verify(checksum=True) == []


def test_the_mosaic_solution_replaces_wcs_and_zero_point(rerun: Butler, tmp_path: Path) -> None:
    calexp = rerun.get("calexp", SHORT)
    mine = Butler(tmp_path / "mine", "hsc", writeable=True, parent=rerun.root)
    ffp = FluxFitParams(order=0, is_chebyshev=False, centre=(0, 0), scale=(1, 1), rotation=0,
                        coefficients=(0.1,))  # fmt: skip
    cards = fits.Header({"FLUXMAG0": 10**10.8, **ffp.to_metadata()})
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0})
    header.update({"CRVAL2": 2.0, "CRPIX1": 1.0, "CRPIX2": 1.0, "CD1_1": -5e-5, "CD2_2": 5e-5})
    empty = ExposureI(3, 2)
    empty.metadata = cards
    mine.put(empty, "fcr", ONE, tract=9)
    mine.put(Exposure(empty.masked_image, wcs=WCS(header)), "wcs", ONE, tract=9)
    found = mine.get_calibrated(SHORT)
    np.testing.assert_array_equal(found.image.array, calexp.image.array)
    sky = found.wcs.pixel_to_sky(np.array([0.0]), np.array([0.0]))
    np.testing.assert_allclose(np.ravel(sky)[:2], [150.0, 2.0], atol=1e-9)  # deg, rounding
    # mag = 27 + 0.1 at one count: 2.5 log10(10**10.8) = 27
    magnitude = found.photo_calib.magnitude(1.0, 150.0, 150.0)
    assert magnitude == pytest.approx(27.1, abs=1e-4)  # 8.9 mag of 3630.78 Jy, rounded
    # off the reference point a pixel of a gnomonic projection has cos(angle)**3 of its area
    corrected = mine.get_calibrated(SHORT, jacobian=True).photo_calib.magnitude(1.0, 299.0, 299.0)
    angle = np.arctan(np.radians(5e-5 * np.hypot(299.0, 299.0)))
    more = corrected - found.photo_calib.magnitude(1.0, 299.0, 299.0)
    # 1e-8: areas are differences of positions over one pixel
    assert more == pytest.approx(-2.5 * np.log10(np.cos(angle) ** 3), abs=1e-8)  # 2.2e-7


def test_backgrounds_are_lists_with_an_image(rerun: Butler, tmp_path: Path) -> None:
    mine = Butler(tmp_path / "mine", "hsc", writeable=True, parent=rerun.root)
    one = measure_background(Image(np.full((30, 40), 5.0)), (3, 3))
    mine.put(BackgroundList([one, one]), "calexpBackground", SHORT)
    back = mine.get("calexpBackground", SHORT)
    assert isinstance(back, BackgroundList)
    np.testing.assert_array_equal(back.image().array, np.full((30, 40), 10.0))
    np.testing.assert_array_equal(
        mine.get("calexpBackground_image", SHORT).array, back.image().array
    )
    assert mine.get("calexpBackground_md", SHORT)["BKGD_WIDTH"] == 40
    with pytest.raises(TypeError, match="calexpBackground: takes BackgroundList, not Background"):
        mine.put(one, "calexpBackground", SHORT, overwrite=True)
    with pytest.raises(TypeError, match="a BackgroundList is expected, not Background"):
        write_dataset(one, tmp_path / "x.fits", "background")


def test_a_rerun_is_added_to_by_visit_and_ccd(rerun: Butler, tmp_path: Path) -> None:
    """Pointing and filter are those of what was made of the visit: there are no raw data."""
    exposure, sources = rerun.get("calexp", SHORT), rerun.get("src", SHORT)
    mine = Butler(tmp_path / "mine", "hsc", writeable=True, parent=rerun.root)
    mine.put(exposure, "calexp", SHORT)
    mine.put(sources, "icSrc", visit=908120, ccd=56)
    assert mine.get("icSrc_filename", SHORT).endswith("00705/HSC-I/output/ICSRC-0908120-056.fits")
    assert rerun.get("icExp_filename", SHORT).endswith("corr/ICEXP-0908120-056.fits")
    with pytest.raises(DataNotFound, match=r"icExp\(pointing=705.*ICEXP-0908120-056.fits does not"):
        rerun.get("icExp", SHORT)
    with pytest.raises(DataNotFound, match="nothing tells tract; of a dataset that will be"):
        mine.put(sources, "forced_src", SHORT)
    with pytest.raises(DataNotFound, match="nothing tells pointing, filter"):
        mine.put(sources, "src", visit=908121, ccd=56)
    for butler in (rerun, mine):
        with pytest.raises(BadDataId, match="ccd=56 has filter=HSC-I, not filter=HSC-G"):
            butler.get("calexp", SHORT, filter="HSC-G")
        with pytest.raises(BadDataId, match="ccd=56 has pointing=705, not pointing=7"):
            butler.get("calexp", ONE, pointing=7)


@pytest.mark.parametrize("kind", ["image", "whole numbers", "masked image", "exposure"])
def test_calibrations_are_exposures_whatever_the_file_holds(kind: str, tmp_path: Path) -> None:
    butler = Butler(tmp_path, "hsc", writeable=True)
    path = butler.path("bias", calibDate="2014-01-01", ccd=4)
    path.parent.mkdir(parents=True)
    pixels = np.arange(6, dtype=np.float32).reshape(2, 3)
    if kind == "image":
        fits.PrimaryHDU(pixels).writeto(path)
    elif kind == "whole numbers":
        fits.PrimaryHDU(pixels.astype(np.uint16)).writeto(path)
    elif kind == "masked image":
        Exposure(pixels).masked_image.write(path)
    else:
        Exposure(pixels).write(path)
    butler.ingest(path, validStart="2014-01-01", validEnd="2014-02-01")
    bias = butler.get("bias", ccd=4, taiObs="2014-01-20")
    assert ExposureF.matches(bias)
    np.testing.assert_array_equal(bias.image.array, pixels)
    assert not bias.mask.array.any()
    assert not bias.variance.array.any()
    assert butler.get("bias_sub", ccd=4, taiObs="2014-01-20", bbox=Box(1, 2, 0, 2)).shape == (2, 1)
    butler.put(bias, "bias", ccd=5, calibDate="2014-01-01", validStart="2014-01-01",
               validEnd="2014-02-01")  # fmt: skip
    assert butler.query("bias", "ccd") == [4, 5]


def test_a_flat_in_the_wrong_filter_is_a_mistake_in_the_data_id(tmp_path: Path) -> None:
    butler = Butler(tmp_path, "hsc", writeable=True)
    raw = {**ONE, "field": "COSMOS", "dateObs": "2014-03-31", "taiObs": "2014-03-31T10:00:00"}
    butler.put(ExposureF(3, 2), "raw", raw)
    with pytest.raises(DataNotFound, match="none holds at 2014-03-31"):
        butler.get("flat", SHORT)
    with pytest.raises(BadDataId, match="has filter=HSC-I, not filter=HSC-G"):
        butler.get("flat", SHORT, filter="HSC-G")


@pytest.mark.parametrize("name", ["exposure", "calibration", "source_catalog"])
def test_equal_content_is_equal_bytes(name: str, afw: Path, tmp_path: Path) -> None:
    file = "sourceCatalog-hsc-v2" if name == "source_catalog" else "HSC-0908120-056-small"
    obj = read_dataset(afw / f"{file}.fits", name)
    one = write_dataset(obj, tmp_path / "a.fits", name)
    other = write_dataset(obj, tmp_path / "b.fits", name)
    assert one.digest == other.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fits", "b.fits"]
    with pytest.raises(TypeError, match="expected, not ImageFactory"):
        write_dataset(ImageF, tmp_path / "a.fits", name)

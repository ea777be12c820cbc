"""Exposures in the FITS layout of afw: own files and real ones, whole, in parts, old and new."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from afw_tools import PLANES, cards, real, same_planes, sample, sky
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.errors import (
    MissingComponent,
    MissingFile,
    NotCalibrated,
    OutputExists,
    OutsideImage,
    UnreadableFile,
    Unwritable,
    WrongType,
)
from skyloom.geometry import Box
from skyloom.images import (
    COMPONENTS,
    DEFAULT_PLANES,
    Exposure,
    ExposureF,
    FilterLabel,
    Image,
    ImageL,
    ImageU,
    Mask,
    MaskedImage,
    PhotoCalib,
    read_component,
    read_metadata,
)

REAL = ("exposure-version-2.fits", "HSC-0908120-056-small.fits", "parent.fits")


@pytest.fixture
def written(tmp_path):
    """An exposure and the file that holds it."""
    exposure, path = sample(), tmp_path / "calexp.fits"
    exposure.write(path)
    return exposure, path


def test_everything_comes_back(written):
    exposure, path = written
    back = Exposure.read(path)
    assert same_planes(exposure, back)
    assert back.mask.planes == PLANES
    assert back.xy0 == (1000, -20)
    assert back.photo_calib.zeropoint == pytest.approx(27.0, abs=1e-12)  # rounding
    assert back.filter == FilterLabel(band="i", physical="HSC-I2")
    assert back.image.metadata["BUNIT"] == "adu"
    x, y = np.array([1000.0, 1049.0]), np.array([-20.0, 19.0])
    assert np.allclose(back.wcs.pixel_to_sky(x, y), exposure.wcs.pixel_to_sky(x, y), 0, 1e-11)


def test_metadata_keep_order_and_duplicates(written):
    exposure, path = written
    back = Exposure.read(path)
    expected = [c for c in cards(exposure.metadata) if not c.startswith("FLUXMAG0")]
    assert [c for c in cards(back.metadata) if not c.startswith("FLUXMAG0")] == expected
    assert [c.value for c in back.metadata.cards if c.keyword == "TWICE"] == [1, 2]
    assert back.metadata["long keyword of theirs"] == 1.5
    assert back.metadata["LONGTEXT"] == ("much " * 40).strip()
    # the calibration that was set wins over a stale keyword
    assert back.metadata["FLUXMAG0"] == pytest.approx(10**10.8)
    again = path.with_name("again.fits")
    back.write(again)
    assert cards(Exposure.read(again).metadata) == cards(back.metadata)


def test_the_file_is_valid_fits_in_the_layout(written):
    _, path = written
    with fits.open(path) as hdus:
        hdus.verify("exception")
        primary = hdus[0].header
        assert primary["EXPINFO_V"] == 2
        assert hdus[primary["AR_HDU"] - 1].header["EXTTYPE"] == "ARCHIVE_INDEX"
        assert [h.header["EXTTYPE"] for h in hdus[1:4]] == ["IMAGE", "MASK", "VARIANCE"]
        assert hdus[1].header["LTV1"] == -1000
        assert hdus[1].header["CRVAL2A"] == -20
        assert hdus[2].header["MP_VERY_LONG_NAME_OF_A_PLANE"] == 31
        # CRPIX of FITS counts from 1 and from the stored array
        assert WCS(hdus[1].header).wcs.crpix[0] == pytest.approx(41.0 - 1000)
        assert hdus[hdus[0].header["AR_HDU"] - 1].header["AR_NCAT"] == len(hdus) - 4


def test_compressed_planes_come_back_byte_for_byte(written, tmp_path):
    exposure, _ = written
    path = tmp_path / "packed.fits"
    exposure.write(path, is_compressed=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        assert [bool(h.header.get("ZIMAGE")) for h in hdus[1:4]] == [True] * 3
    back = Exposure.read(path)
    assert same_planes(exposure, back)
    assert back.mask.planes == PLANES
    box = Box(1010, 1020, -10, 5)
    assert same_planes(Exposure.read(path, box), exposure[box])
    assert read_metadata(path)["BUNIT"] == "adu"


@pytest.mark.parametrize(
    "box", [Box(1000, 1050, -20, 20), Box(1000, 1050, 0, 3), Box(1049, 1050, 19, 20)]
)
def test_a_box_is_the_same_part(written, box):
    exposure, path = written
    part = Exposure.read(path, box)
    assert same_planes(part, exposure[box])
    assert part.wcs.pixel_to_sky(1010, 5) == pytest.approx(
        exposure.wcs.pixel_to_sky(1010, 5), abs=1e-11
    )
    copied = path.with_name("part.fits")
    part.write(copied)
    again = Exposure.read(copied)
    assert again.box == box
    assert again.wcs.pixel_to_sky(1010, 5) == pytest.approx(
        exposure.wcs.pixel_to_sky(1010, 5), abs=1e-11
    )


def test_a_box_outside_names_file_and_hdu(written):
    _, path = written
    with pytest.raises(OutsideImage, match=r"calexp.fits\[1\].*x = 1000 to 1049 and y = -20 to 19"):
        Exposure.read(path, Box(0, 10, 0, 10))


def test_components_one_by_one(written):
    exposure, path = written
    assert read_component(path, "filter").band == "i"
    assert read_component(path, "mask").planes == PLANES
    assert read_component(path, "variance").array.tobytes() == exposure.variance.array.tobytes()
    assert read_component(path, "image").xy0 == exposure.xy0
    assert read_component(path, "photo_calib").zeropoint == pytest.approx(27.0)
    assert read_component(path, "metadata")["OBJECT"] == "M 31"
    with pytest.raises(MissingComponent, match="has no psf; exposures have image, mask"):
        read_component(path, "psf")
    with pytest.raises(MissingComponent, match="has no nonsense"):
        read_component(path, "nonsense")


def test_headers_of_a_file_without_its_pixels(written):
    exposure, path = written
    whole = path.read_bytes()
    with fits.open(path) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    path.write_bytes(whole[: start + 100])
    metadata = read_metadata(path)
    assert metadata["OBJECT"] == "M 31"
    assert metadata["NAXIS1"] == exposure.width
    assert [c.value for c in metadata.cards if c.keyword == "TWICE"] == [1, 2]
    with pytest.raises(UnreadableFile, match=r"calexp.fits\[1\].*truncated"):
        Exposure.read(path)


def test_parts_are_taken_out_and_put_in(written, tmp_path):
    _, path = written
    back = Exposure.read(path)
    back.photo_calib = None
    back.filter = FilterLabel(physical="HSC-Y")
    back.wcs = sky(1000, 0)
    back.write(tmp_path / "b.fits")
    again = Exposure.read(tmp_path / "b.fits")
    assert again.metadata["FLUXMAG0"] == 0.0
    with pytest.raises(NotCalibrated):
        _ = again.photo_calib
    assert again.filter == FilterLabel(physical="HSC-Y")
    assert again.wcs.pixel_to_sky(40, 10) == pytest.approx((150.0, 2.0), abs=1e-11)


def test_what_has_no_place_is_refused_before_writing(written):
    exposure, path = written
    before = path.read_bytes()
    exposure.psf = object()
    with pytest.raises(MissingComponent, match="psf cannot be written"):
        exposure.write(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_pixels_without_a_place_in_fits(tmp_path):
    with pytest.raises(WrongType, match="float16 have no place"):
        Image(np.zeros((2, 2), np.float16)).write(tmp_path / "i.fits")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(Unwritable, match="cannot be written"):
        sample().write(tmp_path / "no" / "such" / "directory.fits")


def test_mask_planes_of_elsewhere_do_not_leak(tmp_path):
    exposure = Exposure(np.zeros((2, 3), np.float32))
    exposure.metadata["MP_FOO"] = 3
    exposure.metadata["HIERARCH MP_SOMETHING_LONG"] = 4
    exposure.mask.metadata["MP_BAR"] = 5
    exposure.metadata["MPIXEL"] = 6  # another thing
    exposure.write(tmp_path / "e.fits")
    with fits.open(tmp_path / "e.fits") as hdus:
        assert hdus[0].header["MPIXEL"] == 6
        found = {key for hdu in hdus for key in hdu.header if key.startswith("MP_")}
    assert found == {f"MP_{name}" for name in exposure.mask.planes}


def test_images_masks_and_masked_images_by_themselves(tmp_path):
    for dtype in (
        np.uint8,
        np.uint16,
        np.int16,
        np.int32,
        np.uint32,
        np.int64,
        np.uint64,
        np.float64,
    ):
        values = np.array([[0, 1, 127], [3, 4, 100]]).astype(dtype)
        if np.issubdtype(values.dtype, np.integer):
            values[0, 0], values[0, 1] = np.iinfo(dtype).min, np.iinfo(dtype).max
        Image(values, xy0=(-3, 4)).write(tmp_path / "i.fits", overwrite=True)
        back = Image.read(tmp_path / "i.fits")
        assert back.array.dtype == dtype
        assert (back.array == values).all()
        assert back.xy0 == (-3, 4)
        with fits.open(tmp_path / "i.fits") as hdus:
            assert (hdus[1].data == values).all()
    with pytest.raises(OutputExists, match=r"i\.fits: exists already.*overwrite=True"):
        Image(values).write(tmp_path / "i.fits")
    assert (Image.read(tmp_path / "i.fits").array == values).all()  # nothing is lost
    for other in (Mask.zeros(3, 2), MaskedImage(values), Exposure(values)):
        with pytest.raises(OutputExists, match="exists already"):
            other.write(tmp_path / "i.fits")
        other.write(tmp_path / "i.fits", overwrite=True)
    assert ImageU.matches(ImageU(3, 2))
    assert ImageL.matches(ImageL(3, 2))
    mask = Mask(np.array([[1, 2]], np.int32), planes={"A": 0, "B": 1}, xy0=(5, 6))
    mask.write(tmp_path / "m.fits")
    back = Mask.read(tmp_path / "m.fits", Box(6, 7, 6, 7))
    assert back.planes == mask.planes
    assert back.array.tolist() == [[2]]
    image = MaskedImage(Image(np.ones((2, 3), np.float32), xy0=(1, 2)))
    image.write(tmp_path / "mi.fits")
    again = MaskedImage.read(tmp_path / "mi.fits")
    assert again.box == image.box
    assert again.mask.planes == dict(DEFAULT_PLANES)


def test_a_plain_image_is_an_exposure_with_empty_mask_and_variance(tmp_path):
    fits.PrimaryHDU(np.arange(6, dtype=np.float32).reshape(2, 3)).writeto(tmp_path / "bias.fits")
    exposure = Exposure.read(tmp_path / "bias.fits")
    assert exposure.image.array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not exposure.mask.array.any()
    assert not exposure.variance.array.any()
    assert exposure.wcs is None


def test_planes_without_names_go_by_position(tmp_path):
    planes = [np.full((2, 3), v, np.float32) for v in (1, 3)]
    mask = np.full((2, 3), 2, np.int32)
    hdus = [fits.PrimaryHDU(), *map(fits.ImageHDU, (planes[0], mask, planes[1]))]
    fits.HDUList(hdus).writeto(tmp_path / "p.fits")
    with pytest.warns(UserWarning, match=r"p.fits\[2\]: has no MP_ cards"):
        exposure = Exposure.read(tmp_path / "p.fits")
    assert exposure.image.array[0, 0] == 1
    assert exposure.variance.array[0, 0] == 3
    assert exposure.mask.is_set("SAT").all()
    assert len(exposure.mask.planes) == 7


def test_packed_files_are_read(written):
    exposure, path = written
    packed = path.with_name("calexp.fits.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert same_planes(Exposure.read(packed), exposure)
    packed.write_bytes(packed.read_bytes()[:-500])
    with pytest.raises(UnreadableFile, match="cannot be unpacked"):
        Exposure.read(packed)


def test_threads_read_the_same(written):
    exposure, path = written
    exposure.write(path.with_name("packed.fits"), is_compressed=True)
    paths = [path, path.with_name("packed.fits")] * 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(Exposure.read, paths))
        scales = list(pool.map(lambda e: e.wcs.pixel_scale(1000, 0), found))
    assert all(same_planes(exposure, each) for each in found)
    assert len(set(scales)) == 1


def test_files_that_are_no_exposures(tmp_path):
    with pytest.raises(MissingFile, match="no such file"):
        Exposure.read(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("not FITS at all " * 400)
    with pytest.raises(UnreadableFile, match="something else"):
        Exposure.read(tmp_path / "text.fits")
    (tmp_path / "empty.fits").write_bytes(b"")
    with pytest.raises(UnreadableFile, match="empty or not FITS"):
        Exposure.read(tmp_path / "empty.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    table.writeto(tmp_path / "table.fits")
    with pytest.raises(UnreadableFile, match="no HDU holds an image"):
        Exposure.read(tmp_path / "table.fits")
    assert read_metadata(tmp_path / "table.fits")["TTYPE1"] == "a"


def test_a_newer_layout_is_refused(written):
    _, path = written
    path.write_bytes(path.read_bytes().replace(b"EXPINFO_V = 2", b"EXPINFO_V = 9"))
    with pytest.raises(UnreadableFile, match="versions up to 2 are known"):
        Exposure.read(path)


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", "PLIO_1"])
def test_tiles_of_other_programs_are_read_as_astropy_reads_them(tmp_path, method):
    rng = np.random.default_rng(5)
    pixels = rng.normal(100, 5, (70, 90)).astype(np.float32)
    mask = rng.integers(0, 200, (70, 90)).astype(np.int32)
    packed = "RICE_1" if method == "PLIO_1" else method
    planes = [
        fits.CompImageHDU(pixels, name="IMAGE", compression_type=packed, tile_shape=(16, 32)),
        fits.CompImageHDU(mask, name="MASK", compression_type=method, tile_shape=(16, 32)),
        fits.CompImageHDU(pixels, name="VARIANCE", compression_type=packed),
    ]
    planes[0].header["LTV1"], planes[0].header["BUNIT"] = -10, "nJy"
    planes[1].header["MP_CR"] = 3
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "f.fits")
    exposure = Exposure.read(tmp_path / "f.fits")
    assert exposure.xy0 == (10, 0)
    assert cards(exposure.image.metadata) == [f"{'BUNIT   = ' + repr('nJy     '):80}"]
    assert exposure.mask.planes == {"CR": 3}
    assert (exposure.mask.array == mask).all()
    with fits.open(tmp_path / "f.fits") as hdus:
        assert (exposure.image.array == hdus[1].data).all()
    part = Exposure.read(tmp_path / "f.fits", Box(30, 60, 10, 40))
    assert same_planes(part, exposure[part.box])


@pytest.fixture
def hcompress(tmp_path):
    """Return pixels and the file that holds them in tiles of HCOMPRESS_1."""
    pixels = np.random.default_rng(5).normal(100, 5, (70, 90)).round().astype(np.int32)
    packed = fits.CompImageHDU(
        pixels, name="IMAGE", compression_type="HCOMPRESS_1", tile_shape=(35, 30)
    )
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "h.fits")
    return pixels, tmp_path / "h.fits"


def test_tiles_that_another_process_unpacks(hcompress):
    pixels, path = hcompress
    assert np.array_equal(read_component(path, "image").array, pixels)
    part = Exposure.read(path, Box(20, 50, 10, 40)).image
    assert part.array.dtype == np.int32
    assert np.array_equal(part.array, pixels[10:40, 20:50])


def test_damage_that_breaks_the_unpacking_breaks_nothing_else(hcompress):
    """Its library crashed on such files; here the other process ends, with a message."""
    _, path = hcompress
    with fits.open(path, disable_image_compression=True) as hdus:
        start, stop = hdus[1].fileinfo()["datLoc"], hdus[1].fileinfo()["datLoc"] + 2000
    rng = np.random.default_rng(7)
    whole = path.read_bytes()
    for _ in range(3):
        data = bytearray(whole)
        for at in rng.integers(start + 300, stop, 300):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        with pytest.raises(UnreadableFile, match=r"h.fits\[1\]: its tiles cannot be unpacked"):
            read_component(path, "image")


def test_an_unpacking_that_does_not_end_is_ended(hcompress, monkeypatch):
    monkeypatch.setattr("skyloom.images.afw.unpack._PATIENCE", 0.001)
    with pytest.raises(UnreadableFile, match="its tiles were not unpacked"):
        read_component(hcompress[1], "image")


def test_integer_maps_of_the_legacy_surveys(shared_data):
    """Theirs are HCOMPRESS_1."""
    path = shared_data / "legacysurvey/peer_products/mzlsbass2/coadd/177/1773p595"
    path = path / "legacysurvey-1773p595-maskbits.fits.fz"
    if not path.exists():
        pytest.skip(f"no {path}")
    with fits.open(path, disable_image_compression=True) as hdus:
        assert hdus[1].header["ZCMPTYPE"] == "HCOMPRESS_1"
    with fits.open(path) as hdus:
        expected = hdus[1].data
    found = read_component(path, "image")
    assert np.array_equal(found.array, expected)


# ---- real files


@pytest.mark.parametrize("name", REAL)
def test_real_planes_agree_with_astropy(shared_data, name):
    path = real(shared_data, name)
    exposure = Exposure.read(path)
    with fits.open(path) as hdus:
        first = 0 if hdus[0].data is not None else 1
        for plane, hdu in zip(("image", "mask", "variance"), hdus[first:], strict=False):
            expected = hdu.data.astype(hdu.data.dtype.newbyteorder("="))
            assert getattr(exposure, plane).array.tobytes() == expected.tobytes()
            assert getattr(exposure, plane).array.dtype == expected.dtype


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("name", REAL)
def test_real_files_come_back(shared_data, tmp_path, name, is_compressed):
    exposure = Exposure.read(real(shared_data, name))
    exposure.write(tmp_path / "copy.fits", is_compressed=is_compressed)
    back = Exposure.read(tmp_path / "copy.fits")
    assert same_planes(exposure, back)
    assert back.mask.planes == exposure.mask.planes
    for part in ("", "image", "mask", "variance"):
        holders = [getattr(e, part) if part else e for e in (exposure, back)]
        assert cards(holders[0].metadata) == cards(holders[1].metadata)
    if exposure.stored.archive is not None:
        assert back.stored.archive.to_bytes() == exposure.stored.archive.to_bytes()
    for component in COMPONENTS:
        if component != "photo_calib":
            is_none = [getattr(e, component) is None for e in (exposure, back)]
            assert is_none[0] == is_none[1]
    x, y = np.array([0.0, 5.0]), np.array([3.0, 9.0])
    assert np.array_equal(exposure.wcs.pixel_to_sky(x, y), back.wcs.pixel_to_sky(x, y))


def test_the_same_plane_has_other_bits_in_other_files(shared_data):
    old = Exposure.read(real(shared_data, REAL[1]))
    new = Exposure.read(real(shared_data, REAL[0]))
    assert old.mask.get_mask_plane("NO_DATA") == 9
    assert new.mask.get_mask_plane("NO_DATA") == 8
    assert old.mask.get_mask_plane("CROSSTALK") == 8
    assert old.mask.array.dtype == np.uint16
    part = old.mask[Box(100, 110, 100, 110)].copy()
    part.xy0 = (0, 0)
    part |= part.get_plane_bit_mask("CROSSTALK")
    new.mask.combine(part, conform=True)
    assert not new.mask.is_set("NO_DATA").any()
    assert new.mask.is_set("CROSSTALK").all()


def test_the_hsc_file(shared_data):
    exposure = Exposure.read(real(shared_data, REAL[1]))
    assert exposure.xy0 == (100, 100)
    assert exposure.filter is None  # the header says _unknown_
    with pytest.raises(NotCalibrated, match="FLUXMAG0 = 0"):
        _ = exposure.photo_calib
    with fits.open(real(shared_data, REAL[1])) as hdus:
        wcs = WCS(hdus[1].header)
    # The archived TanWcs and the header agree; pixel (120, 130) of the parent is (20, 30) here.
    ra, dec = wcs.all_pix2world(20.0, 30.0, 0)
    assert exposure.wcs.pixel_to_sky(120.0, 130.0) == pytest.approx(
        (float(ra), float(dec)), abs=1e-12
    )
    assert exposure.wcs.pixel_scale(200, 200) == pytest.approx(0.168, rel=0.02)


def test_the_current_layout(shared_data):
    exposure = Exposure.read(real(shared_data, REAL[0]))
    assert exposure.filter == FilterLabel(band="N656", physical="ha")
    assert exposure.photo_calib.mean == 1e6
    assert exposure.photo_calib.err == 2e4
    assert exposure.detector.name == "detector 1"
    assert [a.name for a in exposure.detector.amplifiers] == ["amp 1", "amp 2", "amp 3"]
    assert exposure.visit_info.exposure_time == 30.0
    assert exposure.visit_info.exposure_id == 12345
    assert exposure.wcs.is_fits_exact  # the header agrees with the archive
    x, y = np.meshgrid(np.linspace(-500, 500, 7), np.linspace(-500, 500, 7))
    archived = exposure.wcs.pixel_to_sky(x, y)
    header = exposure.wcs.to_astropy().all_pix2world(x, y, 0)
    # a gnomonic WCS is the same in both forms: rounding of header values with 15 digits
    assert np.allclose(archived, header, rtol=0, atol=1e-12 * 360)
    assert np.allclose(exposure.wcs.sky_to_pixel(*archived), (x, y), rtol=0, atol=1e-8)


def test_where_the_pixels_of_a_real_detector_are(shared_data):
    """Pixels of 0.02 mm from (-0.5, -0.5); radial polynomials of the optics and of the device."""
    frames = Exposure.read(real(shared_data, REAL[0])).detector.frames
    assert frames.systems == ("ActualPixels", "FocalPlane", "Pixels", "TanPixels")
    x, y = np.array([0.0, 3.0, 9.0]), np.array([7.0, 4.0, 9.0])
    mm = 0.02 * (x + 0.5), 0.02 * (y + 0.5)
    assert np.allclose(frames.transform(x, y), mm, rtol=0, atol=1e-15)
    assert np.allclose(frames.transform(*mm, "FocalPlane", "Pixels"), (x, y), rtol=0, atol=1e-13)
    # 10313.24 r + 9539.747 r**3, times 0.00484813681 = 1000 arcsec, from (-0.5, -0.5)
    r2 = mm[0] ** 2 + mm[1] ** 2
    factor = np.radians(1000 / 3600) * (10313.240312354817 + 9539.7472889282071 * r2)
    expected = mm[0] * factor - 0.5, mm[1] * factor - 0.5
    found = frames.transform(x, y, end="TanPixels")
    assert np.allclose(found, expected, rtol=0, atol=1e-12)
    assert np.allclose(frames.transform(*found, "TanPixels", "Pixels"), (x, y), rtol=0, atol=1e-9)
    device = 0.95 + 0.01 * np.hypot(x, y)
    found = frames.transform(x, y, end="ActualPixels")
    assert np.allclose(found, (x * device, y * device), rtol=0, atol=1e-14)
    both = frames.transform(*found, "ActualPixels", "FocalPlane")
    assert np.allclose(both, mm, rtol=0, atol=1e-12)
    with pytest.raises(MissingComponent, match="nothing joins Pixels and FieldAngle"):
        frames.transform(1.0, 2.0, end="FieldAngle")


def test_a_wcs_that_is_not_known_is_taken_from_the_header(shared_data, tmp_path, caplog):
    data = real(shared_data, REAL[0]).read_bytes()
    (tmp_path / "f.fits").write_bytes(data.replace(b"Begin WinMap", b"Begin SlaMap"))
    exposure = Exposure.read(tmp_path / "f.fits")
    known = Exposure.read(real(shared_data, REAL[0]))
    assert exposure.wcs.pixel_to_sky(3, 4) == pytest.approx(known.wcs.pixel_to_sky(3, 4), abs=1e-9)
    assert exposure.wcs.is_fits_exact
    assert (
        "f.fits: the archived SkyWcs is not known (mappings of the kind SlaMap are" in caplog.text
    )


def test_our_tables_have_the_columns_of_a_real_file(shared_data, tmp_path):
    """Names, formats and order, flags among the others: afw lays its records out by them."""
    exposure = ExposureF(20, 10)
    exposure.wcs = sky()
    exposure.photo_calib = PhotoCalib(mean=3.0, err=0.1)
    exposure.filter = FilterLabel(band="i", physical="HSC-I2")
    exposure.write(tmp_path / "e.fits")

    def columns(path):
        found = {}
        with fits.open(path) as hdus:
            for hdu in hdus[4:]:
                cards = [c for c in hdu.header.cards if c.keyword[:5] in {"TTYPE", "TFLAG"}]
                forms = [hdu.header[k] for k in hdu.header if k.startswith("TFORM")]
                forms = [form.partition("(")[0] for form in forms]  # length of the longest text
                classes = [hdu.header[k] for k in hdu.header if k.startswith("TCCLS")]
                name = hdu.header.get("AR_NAME", "index")
                found[name] = ([(c.keyword, c.value) for c in cards], forms, classes)
        return found

    ours, theirs = columns(tmp_path / "e.fits"), columns(real(shared_data, REAL[0]))
    assert set(ours) == {"index", "SkyWcs", "PhotoCalib", "ChebyshevBoundedField", "FilterLabel"}
    for name, found in ours.items():
        assert found == theirs[name], name


def test_texts_that_are_too_long_are_not_cut(tmp_path):
    exposure = ExposureF(20, 10)
    exposure.filter = FilterLabel(physical="x" * 33)
    with pytest.raises(MissingComponent, match="column 'physical' holds 32 letters"):
        exposure.write(tmp_path / "e.fits")


def test_an_old_photo_calib_counts_in_maggies(shared_data, tmp_path):
    exposure = Exposure.read(real(shared_data, REAL[0]))
    data = exposure.stored.archive.sources[2].data  # version is the last of its row
    whole = real(shared_data, REAL[0]).read_bytes()
    (tmp_path / "f.fits").write_bytes(whole.replace(data, data[:-1] + b"\0"))
    found = read_component(tmp_path / "f.fits", "photo_calib")
    assert found.mean == pytest.approx(1e6 * 3.6307805477e12, rel=1e-9)
    (tmp_path / "g.fits").write_bytes(whole.replace(data, data[:-1] + b"\2"))
    with pytest.raises(MissingComponent, match="version 2 is newer than those that are known"):
        read_component(tmp_path / "g.fits", "photo_calib")


def test_a_new_calibration_of_a_real_file(shared_data, tmp_path):
    exposure = Exposure.read(real(shared_data, REAL[1]))
    exposure.photo_calib = PhotoCalib.from_zeropoint(30.0)
    exposure.write(tmp_path / "c.fits")
    back = Exposure.read(tmp_path / "c.fits")
    assert back.photo_calib.zeropoint == pytest.approx(30.0)
    assert back.metadata["FLUXMAG0"] == pytest.approx(1e12)
    assert back.wcs.pixel_to_sky(3, 4) == exposure.wcs.pixel_to_sky(3, 4)


def test_what_is_not_understood_is_rewritten_unchanged(shared_data, tmp_path):
    exposure = Exposure.read(real(shared_data, REAL[0]))
    before = exposure.stored.archive
    exposure.filter = FilterLabel(band="r")
    exposure.write(tmp_path / "c.fits")
    after = Exposure.read(tmp_path / "c.fits")
    tables = [source.to_bytes() for source in before.sources[1:]]  # all but the index
    assert [s.to_bytes() for s in after.stored.archive.sources[1 : len(tables) + 1]] == tables
    opaque = [id_ for id_ in before.entries if before.class_of(id_).startswith("Transform")]
    assert len(opaque) == 4
    for id_ in opaque:
        assert after.stored.archive.class_of(id_) == before.class_of(id_)
    assert after.filter == FilterLabel(band="r")
    assert after.detector == exposure.detector
    assert after.photo_calib.mean == 1e6


def test_a_wcs_that_cannot_be_a_card_is_refused(written):
    exposure, path = written
    from skyloom.images import SkyWcs  # noqa: PLC0415

    exposure.wcs = SkyWcs(exposure.wcs.projection)
    with pytest.raises(MissingComponent, match="neither a FITS form nor one in the archive"):
        exposure.write(path)

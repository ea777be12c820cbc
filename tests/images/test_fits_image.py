from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits

from skyloom.errors import BadHeader, MissingFile, UnreadableFile
from skyloom.geometry import Box
from skyloom.images import FitsImage

WCS_CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 10.0,
    "CRPIX2": 12.0,
    "CDELT1": -1e-4,
    "CDELT2": 1e-4,
}


def header(**cards):
    out = fits.Header()
    for name, value in {**WCS_CARDS, **cards}.items():
        out[name] = value
    return out


@pytest.fixture
def pixels():
    return np.random.default_rng(1).normal(100, 5, size=(40, 60)).astype(np.float32)


def write(path, kind, data):
    if kind == "primary":
        hdus = [fits.PrimaryHDU(data, header())]
    elif kind == "extension":
        table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
        hdus = [fits.PrimaryHDU(), table, fits.ImageHDU(data, header(), name="SCI")]
    elif kind == "compressed":
        compressed = fits.CompImageHDU(
            data, header(), compression_type="GZIP_2", quantize_level=0, tile_shape=(10, 17)
        )
        hdus = [fits.PrimaryHDU(), compressed]
    elif kind == "integer":
        hdus = [fits.PrimaryHDU(np.round(data).astype(np.uint16), header())]
    elif kind == "double":
        hdus = [fits.PrimaryHDU(data.astype(np.float64), header())]
    fits.HDUList(hdus).writeto(path)
    return path


KINDS = ["primary", "extension", "compressed", "integer", "double"]


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_box_equals_the_slice_of_the_whole(tmp_path, pixels, kind, name):
    image = FitsImage.open(write(tmp_path / name, kind, pixels))
    truth = np.round(pixels) if kind == "integer" else pixels
    assert image.shape == (40, 60)
    whole = image.read()
    assert whole.dtype == np.dtype("=f4")
    assert whole.flags.c_contiguous
    assert np.array_equal(whole, truth)
    for box in (Box(3, 20, 5, 6), Box(0, 60, 0, 40), Box(59, 60, 39, 40), Box(0, 60, 7, 30)):
        assert np.array_equal(image.read(box), truth[box.slices])


def test_the_hdu_with_the_pixels_is_found(tmp_path, pixels):
    found = {k: FitsImage.open(write(tmp_path / k, k, pixels)).hdu for k in KINDS}
    assert found == {"primary": 0, "extension": 2, "compressed": 1, "integer": 0, "double": 0}


def test_blank_integers_become_nan(tmp_path):
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(np.array([[1, 2], [-99, 4]], dtype=np.int16), header(BLANK=-99))
    hdu.writeto(path)
    assert np.isnan(FitsImage.open(path).read()).tolist() == [[False, False], [True, False]]


def test_threads_read_what_one_reader_reads(tmp_path, pixels):
    image = FitsImage.open(write(tmp_path / "a.fits", "compressed", pixels))
    boxes = [Box(i % 50, i % 50 + 9, i % 30, i % 30 + 8) for i in range(60)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(image.read, boxes))
    assert all(np.array_equal(p, pixels[b.slices]) for p, b in zip(parts, boxes, strict=True))


def test_reading_a_box_does_not_touch_the_rest(tmp_path, pixels):
    path = write(tmp_path / "a.fits", "primary", pixels)
    image = FitsImage.open(path)
    with path.open("r+b") as file:  # the lower rows are lost after opening
        file.truncate(2880 + 20 * 60 * 4)
    assert np.array_equal(image.read(Box(5, 30, 2, 20)), pixels[2:20, 5:30])
    with pytest.raises(UnreadableFile, match=r"a\.fits\[0\]"):
        image.read(Box(0, 60, 20, 40))


def test_keywords_come_from_the_pixels_then_from_the_primary(tmp_path, pixels):
    first = fits.PrimaryHDU(header=header(FILTER="from primary", EGAIN=2.0, SKYSIG=1.0))
    second = fits.ImageHDU(pixels, header(FILTER="r", SKYSIG=fits.card.UNDEFINED))
    fits.HDUList([first, second]).writeto(tmp_path / "a.fits")
    image = FitsImage.open(tmp_path / "a.fits")
    assert (image.keyword("FILTER"), image.number("EGAIN")) == ("r", 2.0)
    assert image.number("SKYSIG") == 1.0  # undefined counts as absent
    assert image.keyword("NOPE") is None
    assert np.isnan(image.number("FILTER"))


def test_a_box_outside_the_image_is_a_mistake(tmp_path, pixels):
    image = FitsImage.open(write(tmp_path / "a.fits", "primary", pixels))
    for box in (Box(-1, 5, 0, 5), Box(0, 61, 0, 5), Box(5, 5, 0, 5)):
        with pytest.raises(ValueError, match="is not inside"):
            image.read(box)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; correct the path") as caught:
        FitsImage.open(tmp_path / "none.fits")
    assert isinstance(caught.value, MissingFile)


@pytest.mark.parametrize(
    "content", [b"", b"ID,RA,DEC\n1,2,3\n", b"SIMPLE  =", bytes(range(256)) * 30]
)
def test_what_is_not_fits_is_named(tmp_path, content):
    (tmp_path / "bad.fits").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"bad\.fits.*(cannot be read|no HDU)"):
        FitsImage.open(tmp_path / "bad.fits")


def test_a_directory_is_no_image(tmp_path):
    with pytest.raises(UnreadableFile):
        FitsImage.open(tmp_path)


@pytest.mark.parametrize("kind", ["primary", "extension", "compressed", "double"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_recognised_at_opening_or_reading(tmp_path, pixels, kind, keep):
    big = np.tile(pixels, (6, 4))
    path = write(tmp_path / "cut.fits", kind, big)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UnreadableFile, match=r"cut\.fits"):
        FitsImage.open(path).read()


def test_a_truncated_gzip_file(tmp_path, pixels):
    path = write(tmp_path / "cut.fits.gz", "primary", pixels)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(UnreadableFile, match=r"cut\.fits\.gz"):
        FitsImage.open(path).read()


def test_damaged_compressed_tiles_do_not_pass(tmp_path, pixels):
    path = write(tmp_path / "bad.fits", "compressed", pixels)
    data = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    data[start + 400 : start + 3000] = b"\xff" * 2600
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"bad\.fits\[1\]"):
        FitsImage.open(path).read()


@pytest.mark.parametrize("shape", [(20,), (2, 10, 10)])
def test_images_need_two_axes(tmp_path, shape):
    fits.PrimaryHDU(np.zeros(shape, np.float32)).writeto(tmp_path / "a.fits")
    with pytest.raises(UnreadableFile, match=r"a\.fits\[0\].*two"):
        FitsImage.open(tmp_path / "a.fits")


def test_a_file_of_tables_has_no_pixels(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    with pytest.raises(UnreadableFile, match="no HDU holds an image"):
        FitsImage.open(tmp_path / "a.fits")


def test_wcs_of_either_header_and_of_none(tmp_path, pixels):
    for name, first, second in (("a", header(), None), ("b", None, header())):
        hdus = [fits.PrimaryHDU(header=first), fits.ImageHDU(pixels, second)]
        fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
        assert FitsImage.open(tmp_path / f"{name}.fits").wcs().wcs.crpix[0] == 10.0
    fits.PrimaryHDU(pixels).writeto(tmp_path / "c.fits")
    with pytest.raises(BadHeader, match=r"Missing WCS in .*c\.fits\[0\]"):
        FitsImage.open(tmp_path / "c.fits").wcs()


def test_a_real_compressed_tile(shared_data):
    image = FitsImage.open(shared_data / "kids_viking_tile" / "kids_viking_r.fits.fz")
    assert (image.hdu, image.shape, image.keyword("FILTER")) == (1, (1600, 1600), "r")
    box = Box(700, 900, 300, 420)
    assert np.array_equal(image.read(box), image.read()[box.slices])


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_is_the_same_by_whole_rows_or_by_parts_of_rows(tmp_path, pixels, kind, monkeypatch):
    image = FitsImage.open(write(tmp_path / "a.fits", kind, pixels))
    box = Box(7, 31, 5, 38)
    rows = image.read(box)
    monkeypatch.setattr("skyloom.images.fits._ROWS_AT_ONCE", 0)
    np.testing.assert_array_equal(image.read(box), rows)

"""Reduced rows of FITS images: sizes, values, kinds of files, faults."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skyloom.errors import MissingFile, UnreadableFile
from skyloom.process.previews import (
    block_mean_rows,
    iter_scaled_rows,
    jpeg_from_array,
    read_keywords,
    read_scaled,
    rows,
    scale_factor,
)

OPEN = fits.open


def block_means(image: np.ndarray, factor: int) -> np.ndarray:
    """The readable twin: means of the finite pixels of each complete block."""
    ny, nx = (n // factor for n in image.shape)
    blocks = image[: ny * factor, : nx * factor].astype(float)
    blocks = blocks.reshape(ny, factor, nx, factor).swapaxes(1, 2).reshape(ny, nx, factor**2)
    good = np.isfinite(blocks)
    with np.errstate(invalid="ignore"):
        return np.where(good, blocks, 0.0).sum(-1) / good.sum(-1)


@pytest.fixture
def image(rng):
    return rng.normal(100.0, 5.0, (70, 93)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.mark.parametrize(
    ("size", "factor", "reduced"), [(1000, 6, 166), (200, 2, 100), (199, 1, 199)]
)
def test_sizes_of_the_specification(tmp_path, size, factor, reduced):
    assert scale_factor((size, size), 200) == factor
    fits.writeto(tmp_path / "a.fits", np.zeros((size, size), np.uint8))
    rows = list(iter_scaled_rows(tmp_path / "a.fits", dest_size=200))
    assert len(rows) == reduced
    assert rows[0].shape == (reduced,)
    assert rows[0].dtype == np.float32


def test_the_longer_axis_decides_and_a_strip_keeps_a_row():
    assert scale_factor((100, 1000), 200) == 6
    assert scale_factor((3, 1000), 200) == 3


def test_a_factor_wins_over_a_size(tmp_path, image):
    fits.writeto(tmp_path / "a.fits", image)
    assert read_scaled(tmp_path / "a.fits", 10, 93).shape == (7, 9)


@pytest.mark.parametrize("wrong", [{}, {"factor": 0}, {"dest_size": 0}])
def test_a_senseless_size_is_refused_before_the_file_is_opened(wrong):
    with pytest.raises(ValueError, match=r"factor|dest_size"):
        iter_scaled_rows("none.fits", **wrong)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    factor=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_means_are_those_of_the_finite_pixels(shape, factor, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape).astype(np.float32)
    image[rng.random(shape) < 0.3] = rng.choice([np.nan, np.inf, -np.inf])
    left = iter(image)
    rows = list(
        block_mean_rows(
            lambda n: np.array([next(left) for _ in range(n)]), shape=shape, factor=factor
        )
    )
    # float32 of a double sum
    want = block_means(image, factor)
    assert_allclose(np.array(rows).reshape(want.shape), want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]
)
def test_number_types(tmp_path, rng, dtype):
    image = rng.integers(0, 120, (33, 47)).astype(dtype)
    fits.writeto(tmp_path / "a.fits", image)
    assert_allclose(read_scaled(tmp_path / "a.fits", 4), block_means(image, 4), rtol=1e-6)


def test_scaled_integers_with_undefined_pixels(tmp_path, rng):
    stored = rng.integers(-500, 500, (30, 40)).astype(np.int16)
    stored[0:4, 0:4] = stored[7, 9] = -999
    header = fits.Header({"BSCALE": 0.25, "BZERO": 10.0, "BLANK": -999})
    hdu = fits.PrimaryHDU(stored)
    hdu.header.update(header)
    hdu.writeto(tmp_path / "a.fits")
    want = np.where(stored == -999, np.nan, stored * 0.25 + 10.0)
    got = read_scaled(tmp_path / "a.fits", 4)
    assert_allclose(got, block_means(want, 4), rtol=1e-6)
    assert np.isnan(got[0, 0])


@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_packed_files(tmp_path, image, packer):
    fits.writeto(tmp_path / "a.fits", image)
    (tmp_path / "b.fits").write_bytes(packer.compress((tmp_path / "a.fits").read_bytes()))
    assert_array_equal(read_scaled(tmp_path / "b.fits", 5), read_scaled(tmp_path / "a.fits", 5))


@pytest.mark.parametrize("tile", [None, (16, 20), (70, 93)])
@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_compressed_images(tmp_path, rng, tile, kind):
    if kind == "HCOMPRESS_1" and tile is None:
        tile = (35, 93)  # it needs more than one row
    image = rng.integers(0, 9000, (70, 93)).astype(np.int16)
    hdu = fits.CompImageHDU(image, compression_type=kind, tile_shape=tile)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    got = read_scaled(tmp_path / "a.fits.fz", 6)  # ext 0 falls through
    assert_allclose(got, block_means(image, 6), rtol=1e-6)
    assert_array_equal(got, read_scaled(tmp_path / "a.fits.fz", 6, ext=1))


def test_compressed_images_apply_zero_and_blank(tmp_path, rng):
    image = rng.integers(0, 60000, (64, 64)).astype(np.uint16)
    floats = rng.normal(0, 10, (64, 64)).astype(np.float32)
    floats[10:20, 30:50] = np.nan
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(image, name="U"),
            fits.CompImageHDU(floats, name="F", quantize_level=64)]  # fmt: skip
    fits.HDUList(hdus).writeto(tmp_path / "a.fits.fz")
    signed = image.astype(np.int16)
    blank = fits.CompImageHDU(signed, fits.Header({"BLANK": int(signed[9, 9])}))
    fits.HDUList([fits.PrimaryHDU(), blank]).writeto(tmp_path / "blank.fits.fz")
    want = np.where(signed == signed[9, 9], np.nan, signed)
    # float32 of a double sum of values that may cancel
    assert_allclose(read_scaled(tmp_path / "blank.fits.fz", 4), block_means(want, 4), rtol=1e-6)
    packed = gzip.compress((tmp_path / "a.fits.fz").read_bytes())
    (tmp_path / "b.fits.fz.gz").write_bytes(packed)
    for file in (tmp_path / "a.fits.fz", tmp_path / "b.fits.fz.gz", BytesIO(packed)):
        assert_allclose(read_scaled(file, 4, ext="u"), block_means(image, 4), rtol=1e-6)
        if isinstance(file, BytesIO):
            file.seek(0)
        # quantised to 1/64 of the noise
        assert_allclose(read_scaled(file, 4, ext="F"), block_means(floats, 4), atol=10 / 64)


def test_extensions_names_cubes_and_streams(tmp_path, rng):
    cube = rng.normal(size=(2, 3, 20, 30)).astype(np.float32)
    hdus = [
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(5.0))]),
        fits.ImageHDU(cube[0, 0], name="SCI"),
        fits.ImageHDU(cube, name="CUBE"),
        fits.CompImageHDU(cube, name="PACKED", compression_type="GZIP_1", quantize_level=0),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    first = block_means(cube[0, 0], 5)
    for ext in (0, 2, "sci"):
        assert_allclose(read_scaled(tmp_path / "a.fits", 5, ext=ext), first, rtol=1e-5)
    for ext in ("CUBE", "PACKED"):
        got = read_scaled(tmp_path / "a.fits", 5, ext=ext, plane=4)
        # float32 of a double sum of values about 0
        assert_allclose(got, block_means(cube[1, 1], 5), rtol=1e-5, atol=1e-7)
    stream = BytesIO((tmp_path / "a.fits").read_bytes())
    assert_allclose(read_scaled(stream, 5), first, rtol=1e-5)


@pytest.mark.parametrize(
    ("ext", "message"),
    [(9, "no HDU 9"), ("NONE", "no HDU 'NONE'"), (1, r"a.fits\[1\]: this HDU holds no image"),
     ("LINE", "has 1 axis")],
)  # fmt: skip
def test_what_is_no_image_is_named(tmp_path, ext, message):
    hdus = [
        fits.PrimaryHDU(np.zeros((9, 9), np.uint8)),
        fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(5.0))]),
        fits.ImageHDU(np.zeros(9, np.uint8), name="LINE"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    with pytest.raises(UnreadableFile, match=message):
        read_scaled(tmp_path / "a.fits", 2, ext=ext)


def test_damaged_files_say_where(tmp_path, image):
    path = tmp_path / "a.fits"
    with pytest.raises(MissingFile, match=r"a.fits: no such file"):
        read_scaled(path, 2)
    fits.writeto(path, image)
    whole = path.read_bytes()
    path.write_bytes(whole[: 2880 + 4 * 93 * 31 + 7])
    with pytest.raises(UnreadableFile, match=r"a.fits\[0\]: .* in row 31 of 70; copy it again"):
        read_scaled(path, 2)
    path.write_bytes(gzip.compress(whole)[:9000])
    with pytest.raises(UnreadableFile, match="truncated or damaged in row"):
        read_scaled(path, 2)
    for rubbish in (b"", b"GIF89a..", whole[:100], whole[:2000]):
        path.write_bytes(rubbish)
        with pytest.raises(UnreadableFile, match=r"a\.fits"):
            read_scaled(path, 2)
    fits.writeto(path, image, overwrite=True)
    with pytest.raises(UnreadableFile, match="smaller than one block"):
        read_scaled(path, 71)
    with pytest.raises(UnreadableFile, match="no plane 1; planes are 0 to 0"):
        read_scaled(path, 7, plane=1)


def test_headers_of_old_plates(tmp_path, image):
    """Letters beyond ASCII and cards that cannot be parsed do not matter; scales do."""
    path = tmp_path / "a.fits"
    header = fits.Header({"OBSERVER": "Bohme", "PLATENUM": "12", "FOCUS": 3.5})
    fits.writeto(path, image, header)
    raw = path.read_bytes().replace(b"'Bohme", b"'B\xf6hme")
    raw = raw.replace(b"FOCUS   =                  3.5", b"FOCUS   = 3.5 mm, by eye      ")
    path.write_bytes(raw)
    assert_allclose(read_scaled(path, 5), block_means(image, 5), rtol=1e-6)
    found = read_keywords(path, ["OBSERVER", "PLATENUM", "FOCUS"])
    assert found == {"OBSERVER": "B?hme", "PLATENUM": "12", "FOCUS": None}
    path.write_bytes(raw.replace(b"PLATENUM= '12      '", b"BSCALE  = 'one     '"))
    with pytest.raises(UnreadableFile, match=r"a.fits\[0\]: BSCALE is not a number; correct"):
        read_scaled(path, 5)


def test_a_damaged_compressed_tile_is_named(tmp_path, rng):
    image = rng.integers(0, 9000, (70, 93)).astype(np.int16)
    hdu = fits.CompImageHDU(image, compression_type="GZIP_1")
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    raw = bytearray(path.read_bytes())
    raw[-9000:-3000] = b"\x55" * 6000
    path.write_bytes(raw)
    with pytest.raises(UnreadableFile, match=r"a.fits.fz\[1\]: rows from \d+ on cannot be"):
        read_scaled(path, 2)


_HUGE = """
import sys
from pathlib import Path
from skyloom.process.previews import read_scaled
reduced = read_scaled(sys.argv[1], dest_size=500)
status = Path("/proc/self/status").read_text().split()
print(*reduced.shape, float(reduced[7, 7]), status[status.index("VmHWM:") + 1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_image(tmp_path):
    """12 000 x 12 000 float32, 576 MB and mostly holes on the disk: below 150 MB."""
    path = tmp_path / "huge.fits"
    header = fits.PrimaryHDU().header
    header.update({"BITPIX": -32, "NAXIS": 2})
    header.insert("NAXIS", ("NAXIS1", 12000), after=True)
    header.insert("NAXIS1", ("NAXIS2", 12000), after=True)
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        start = file.tell()
        file.seek(start + 4 * 12000 * (7 * 25 + 3) + 4 * (7 * 25 + 3))
        file.write(np.array(625.0, ">f4").tobytes())
        file.truncate(start + 4 * 12000**2 + 2880 - 4 * 12000**2 % 2880)
    run = [sys.executable, "-c", _HUGE, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    ny, nx, value, peak = done.stdout.split()
    assert (int(ny), int(nx), float(value)) == (480, 480, 1.0)  # 625 over a block of 25 x 25
    assert int(peak) < 150_000  # kB; Python, numpy and astropy.io.fits alone take 80 000


def test_a_strip_has_a_picture(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.arange(3000.0).reshape(3, 1000))
    assert jpeg_from_array(read_scaled(tmp_path / "a.fits", dest_size=200))[:2] == b"\xff\xd8"


def test_a_compressed_file_is_mapped_anew_now_and_then(tmp_path, rng, monkeypatch):
    image = rng.integers(0, 9000, (500, 40)).astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(tmp_path / "a.fits.fz")
    opened = []
    monkeypatch.setattr(rows.fits, "open", lambda *a, **k: (opened.append(a), OPEN(*a, **k))[1])
    monkeypatch.setattr(rows, "_MAPPED", (tmp_path / "a.fits.fz").stat().st_size // 4)
    got = read_scaled(tmp_path / "a.fits.fz", 7)
    assert_allclose(got, block_means(image, 7), rtol=1e-6)
    assert len(opened) == 4  # bands of 64 rows, two of them per mapping

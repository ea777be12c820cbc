"""Weight, rms and mask maps of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skyloom.errors import InputError
from skyloom.geometry import Box
from skyloom.images import (
    Frame,
    MapFile,
    MaskBit,
    PixelMaps,
    check_maps,
    pixels_and_mask,
    read_pixels,
)

SHAPE = (6, 8)
BOX = Box(1, 7, 1, 5)  # of the image, the working frame


def write(path: Path, data: np.ndarray, *, compressed: bool = False) -> MapFile:
    if compressed:
        packed = fits.CompImageHDU(data, name="MAP", compression_type="GZIP_1", quantize_level=0)
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
        return MapFile(path=path, hdu="map")
    fits.PrimaryHDU(data).writeto(path)
    return MapFile(path=path)


def frame(path: Path, maps: PixelMaps, *, saturation: float = np.inf) -> Frame:
    return Frame(
        band="r",
        path=path,
        hdu=0,
        shape=SHAPE,
        box=BOX,
        zp_auto=25.0,
        scale=1.0,
        sky_sigma_adu=np.nan,
        gain=1.0,
        saturation_adu=saturation,
        pixel_scale=0.4,
        fwhm_pix=None,
        maps=maps,
    )


@pytest.mark.parametrize(
    ("text", "path", "hdu"),
    [
        ("w.fits", "w.fits", None),
        ("a/w.fits[1]", "a/w.fits", 1),
        ("w.fits[WHT]", "w.fits", "WHT"),
        ("w[2].fits", "w[2].fits", None),
        ("w[2].fits[ 3 ]", "w[2].fits", 3),
        ("[WHT]", "[WHT]", None),
    ],
)
def test_a_map_is_a_file_and_perhaps_an_hdu(text: str, path: str, hdu: int | str | None) -> None:
    found = MapFile.parse(text)
    assert (found.path, found.hdu) == (Path(path), hdu)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["weight", "rms"])
def test_noise_is_the_rms_or_the_root_of_the_variance(
    tmp_path: Path, kind: str, compressed: bool
) -> None:
    sigma = np.linspace(1, 4, 48).reshape(SHAPE).astype(np.float32)
    values = sigma if kind == "rms" else sigma**-2
    values[2, 3], values[2, 4], values[2, 5] = 0.0, np.nan, -1.0
    file = write(tmp_path / "m.fits", values, compressed=compressed)
    maps = PixelMaps(weight=file if kind == "weight" else None, rms=file if kind == "rms" else None)
    found = maps.sigma(BOX)
    none = np.zeros(SHAPE, bool)
    none[2, 3:6] = True
    assert np.isinf(found[none[BOX.slices]]).all()
    expected = sigma[BOX.slices][~none[BOX.slices]]
    assert found[~none[BOX.slices]] == pytest.approx(expected, rel=1e-6)  # single precision
    bits = maps.bits(BOX)
    assert bits is not None
    assert ((bits == MaskBit.NO_WEIGHT) == none[BOX.slices]).all()
    assert maps.is_absolute


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.float32])
def test_pixels_that_are_not_zero_in_the_mask_are_bad(tmp_path: Path, dtype: type) -> None:
    values = np.zeros(SHAPE, dtype)
    values[1, 2], values[3, 4] = 1, 64
    maps = PixelMaps(mask=write(tmp_path / "m.fits", values))
    bits = maps.bits(BOX)
    assert bits is not None
    assert ((bits == MaskBit.MASKED) == (values[BOX.slices] != 0)).all()


def test_only_the_chosen_bits_mean_bad(tmp_path: Path) -> None:
    """A bit that single precision would lose counts too."""
    values = np.zeros(SHAPE, np.int32)
    values[1, 1], values[1, 2], values[1, 3] = 1, 2, (1 << 28) + 1
    file = write(tmp_path / "m.fits", values)
    row = PixelMaps(mask=file, mask_bits=2 + (1 << 28)).bits(BOX)
    assert row is not None
    assert (row[0] > 0).tolist() == [False, True, True, False, False, False]


def test_pixels_without_use_are_read_as_nan_and_their_mask_says_why(tmp_path: Path) -> None:
    data = np.ones(SHAPE, np.float32)
    data[2, 2], data[2, 3], data[2, 4] = np.nan, 50.0, 50.0
    mask, weight = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.float32)
    mask[2, 3], mask[3, 3], weight[4, 3] = 1, 1, 0
    write(tmp_path / "image.fits", data)
    maps = PixelMaps(
        mask=write(tmp_path / "m.fits", mask), weight=write(tmp_path / "w.fits", weight)
    )
    pixels, found = pixels_and_mask(frame(tmp_path / "image.fits", maps, saturation=40.0))
    full = np.zeros(SHAPE, np.uint8)
    full[2, 2], full[3, 3], full[4, 3] = MaskBit.NONFINITE, MaskBit.MASKED, MaskBit.NO_WEIGHT
    full[2, 3], full[2, 4] = MaskBit.MASKED | MaskBit.SATURATED, MaskBit.SATURATED
    assert np.array_equal(found, full[BOX.slices])
    useless = (full & ~np.uint8(MaskBit.SATURATED)) > 0
    assert np.array_equal(np.isnan(pixels), useless[BOX.slices])
    part = Box(1, 4, 0, 3)
    again = read_pixels(frame(tmp_path / "image.fits", maps), part)
    assert np.array_equal(again, pixels[part.slices], equal_nan=True)


def test_maps_of_a_smaller_image_have_no_weight_beyond_it(tmp_path: Path) -> None:
    """The frame has one row and two columns more than the image and its maps."""
    sigma, mask = np.full(SHAPE, 2.0, np.float32), np.zeros(SHAPE, np.uint8)
    mask[1, 2] = 1
    maps = PixelMaps(rms=write(tmp_path / "s.fits", sigma), mask=write(tmp_path / "m.fits", mask))
    wide = Box(0, SHAPE[1] + 2, 0, SHAPE[0] + 1)
    inside = np.zeros(wide.shape, bool)
    inside[: SHAPE[0], : SHAPE[1]] = True
    assert (np.isfinite(maps.sigma(wide)) == inside).all()
    bits = maps.bits(wide)
    assert bits is not None
    assert ((bits == MaskBit.NO_WEIGHT) == ~inside).all()
    assert np.argwhere(bits == MaskBit.MASKED).tolist() == [[1, 2]]
    assert check_maps(maps, shape=SHAPE, box=wide, keys={"rms": "r", "mask": "m"}) == []


def test_a_frame_keeps_its_maps_as_plain_values(tmp_path: Path) -> None:
    maps = PixelMaps(
        weight=MapFile(path=tmp_path / "w.fits", hdu="WHT"),
        mask=MapFile(path=tmp_path / "m.fits", hdu=2),
        is_relative=True,
        mask_bits=5,
    )
    whole = frame(tmp_path / "image.fits", maps)
    assert Frame.from_dict(whole.as_dict()).maps == maps
    assert "maps" not in frame(tmp_path / "image.fits", PixelMaps()).as_dict()


ONES = np.ones(SHAPE, np.float32)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("weight", None, r"key: .*m.fits: no such file"),
        ("rms", np.ones((6, 9), np.float32), r"key: .*m.fits\[0\] has 9 x 6 pixels.* 8 x 6"),
        ("rms", np.ones((2, 6, 8), np.float32), "key: .*two non-empty axes"),
        ("rms", -ONES, r"key: .*\[0\] has no finite value above zero inside the working frame"),
        ("weight", np.nan * ONES, "key: .* has no finite value above zero"),
        ("weight", 0 * ONES, "key: .* has no finite value above zero"),
        ("mask", ONES.astype(np.int16), "key: .* marks every pixel as bad"),
        ("mask_bits", ONES, "key: .* holds float32 and has no bits; remove mask_bits"),
        ("mask_bits", np.ones(SHAPE, np.uint8), "it has no bits as high as mask_bits = 256"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(
    tmp_path: Path, kind: str, values: np.ndarray | None, words: str
) -> None:
    path = tmp_path / "m.fits"
    if values is not None:
        write(path, values)
    kind, bits = ("mask", 256) if kind == "mask_bits" else (kind, None)
    maps = PixelMaps(**{kind: MapFile(path=path)}, mask_bits=bits)
    (problem,) = check_maps(maps, shape=SHAPE, box=BOX, keys={kind: "key"})
    with pytest.raises(InputError, match=words):
        raise problem


def test_one_usable_pixel_in_the_working_frame_is_enough(tmp_path: Path) -> None:
    for x, count in ((0, 1), (1, 0)):  # outside and inside of the working frame
        values = np.zeros(SHAPE, np.float32)
        values[1, x] = 1.0
        maps = PixelMaps(rms=write(tmp_path / f"{x}.fits", values))
        assert len(check_maps(maps, shape=SHAPE, box=BOX, keys={"rms": "key"})) == count

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
from astropy.io import fits

from skyloom.errors import BadHeader, ConfigError, InputError, Mismatch
from skyloom.geometry import Box, WcsTolerance
from skyloom.images import (
    Frame,
    HeaderOverride,
    MaskBit,
    frame_wcs,
    nonfinite_and_saturated,
    pixels_and_mask,
    read_frame,
    read_frames,
    read_pixels,
    scaled_pixels,
)

CARDS = {
    "FILTER": "m400",
    "ZP_AUTO": 24.5,
    "SKYSIG": 2.0,
    "EGAIN": 1.6,
    "SATURATE": 4000.0,
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 10.0,
    "CRPIX2": 12.0,
    "CDELT1": -0.5 / 3600,
    "CDELT2": 0.5 / 3600,
}


def image(path, *, without=(), data=None, **cards):
    data = np.arange(30 * 40, dtype=np.float32).reshape(30, 40) if data is None else data
    hdu = fits.PrimaryHDU(data)
    for name, value in {**CARDS, **cards}.items():
        if name not in without:
            hdu.header[name] = value
    hdu.writeto(path)
    return path


def test_scale_and_saturation_of_the_specification(tmp_path):
    frame = read_frame(image(tmp_path / "a.fits"), zp_ref=25.0)
    assert frame.scale == pytest.approx(1.5848931924611136, rel=1e-15)  # rounding
    assert frame.saturation_adu == pytest.approx(3076.923, abs=5e-4)  # digits given
    assert frame.sky_sigma == pytest.approx(2.0 * frame.scale, rel=1e-15)
    assert (frame.band, frame.hdu, frame.shape) == ("m400", 0, (30, 40))
    assert frame.box == Box(0, 40, 0, 30)


def test_source_variance_is_poisson_in_electrons(tmp_path):
    frame = read_frame(image(tmp_path / "a.fits"), zp_ref=25.0)
    electrons, rng = 5000.0, np.random.default_rng(2)
    scaled = rng.poisson(electrons, 200_000) / frame.gain * frame.scale
    expected = frame.source_variance_per_count * scaled.mean()
    # 3 standard errors of a variance from 200 000 draws: 1 %
    assert scaled.var() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("cards", "fwhm"),
    [
        ({"PEEING": 3.2, "SEEING": 9.0}, 3.2),
        ({"SEEING": 1.5}, 3.0),
        ({"PEEING": -1.0, "SEEING": 1.5}, 3.0),
        ({}, None),
        ({"SEEING": "bad"}, None),
    ],
)
def test_fwhm_in_pixels(tmp_path, cards, fwhm):
    found = read_frame(image(tmp_path / "a.fits", **cards), zp_ref=25.0).fwhm_pix
    assert found == (None if fwhm is None else pytest.approx(fwhm, rel=1e-9))


@pytest.mark.parametrize(
    "cards", [{"without": ("SATURATE",)}, {"SATURATE": "n/a"}, {"SATURATE": 0}]
)
def test_missing_saturation_warns_and_is_infinite(tmp_path, cards, caplog):
    with caplog.at_level(logging.WARNING):
        frame = read_frame(image(tmp_path / "a.fits", **cards), zp_ref=25.0)
    assert frame.saturation_adu == math.inf
    assert "SATURATE missing in" in caplog.text
    assert "using inf" in caplog.text


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"without": ("FILTER",)}, "Missing FILTER in"),
        ({"FILTER": "   "}, "Empty FILTER in"),
        ({"FILTER": "a/b"}, "Bad FILTER in"),
        ({"FILTER": ".."}, "Bad FILTER in"),
        ({"without": ("ZP_AUTO",)}, "Missing ZP_AUTO in"),
        ({"ZP_AUTO": "x"}, "Bad ZP_AUTO in"),
        ({"without": ("SKYSIG",)}, "Missing SKYSIG in"),
        ({"SKYSIG": 0.0}, "Bad/Missing SKYSIG in"),
        ({"SKYSIG": "nan"}, "Bad/Missing SKYSIG in"),
        ({"without": ("EGAIN",)}, r"Bad/Missing EGAIN \(e-/ADU\) in"),
        ({"EGAIN": -1.0}, r"Bad/Missing EGAIN \(e-/ADU\) in"),
        ({"without": ("CTYPE1", "CTYPE2")}, "Missing WCS in"),
    ],
)
def test_header_faults_name_keyword_file_and_remedy(tmp_path, cards, message):
    path = image(tmp_path / "a.fits", **cards)
    with pytest.raises(RuntimeError, match=message + r" .*a\.fits\[0\].*; ") as caught:
        read_frame(path, zp_ref=25.0)
    assert isinstance(caught.value, BadHeader)


def test_all_faults_of_all_images_come_in_one_message(tmp_path):
    paths = [
        image(tmp_path / "a.fits", without=("FILTER", "EGAIN")),
        tmp_path / "none.fits",
        image(tmp_path / "c.fits", without=("SKYSIG",)),
    ]
    with pytest.raises(RuntimeError) as caught:
        read_frames(paths, zp_ref=25.0)
    for words in ("FILTER", "EGAIN", "none.fits: no such file", "Missing SKYSIG"):
        assert words in str(caught.value)
    assert isinstance(caught.value, InputError)
    assert len(caught.value.problems) == 3


def test_frames_keep_the_order_of_the_list(tmp_path):
    paths = [image(tmp_path / f"{b}.fits", FILTER=b) for b in ("z", "a", "m")]
    frames = read_frames(paths, zp_ref=25.0, tolerance=WcsTolerance())
    assert [f.band for f in frames] == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"FILTER": "m400"}, r"'m400' stands in both .*a\.fits and .*b\.fits"),
        ({"data": np.zeros((31, 40), np.float32)}, "Image shape mismatch: .*40 x 31.*40 x 30"),
        ({"CRVAL1": 150.001}, "WCS mismatch with reference: .*CRVAL"),
    ],
)
def test_images_that_do_not_belong_together(tmp_path, cards, message):
    first = image(tmp_path / "a.fits")
    second = image(tmp_path / "b.fits", **{"FILTER": "r", **cards})
    with pytest.raises(Mismatch, match=message):
        read_frames([first, second], zp_ref=25.0, tolerance=WcsTolerance())


def test_the_wcs_check_can_be_switched_off(tmp_path):
    paths = [image(tmp_path / "a.fits"), image(tmp_path / "b.fits", FILTER="r", CRVAL1=150.001)]
    assert len(read_frames(paths, zp_ref=25.0, tolerance=None)) == 2


def test_working_coordinates_start_at_the_crop(tmp_path):
    frame = read_frame(image(tmp_path / "a.fits"), zp_ref=25.0, margin=5)
    whole = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    assert frame.working_shape == (20, 30)
    assert np.array_equal(read_pixels(frame), whole[5:25, 5:35])
    assert np.array_equal(read_pixels(frame, Box(2, 6, 1, 4)), whole[6:9, 7:11])
    assert frame_wcs(frame).wcs.crpix.tolist() == [5.0, 7.0]
    with pytest.raises(ConfigError, match="Invalid crop region"):
        read_frame(tmp_path / "a.fits", zp_ref=25.0, margin=15)


@pytest.mark.parametrize("without", [(), ("SATURATE",)])
def test_a_frame_survives_json(tmp_path, without):
    path = image(tmp_path / "a.fits", without=without)
    frame = read_frame(path, zp_ref=25.0, margin=3)
    assert Frame.from_dict(json.loads(json.dumps(frame.as_dict(), allow_nan=False))) == frame


def test_mask_bits_of_raw_pixels(tmp_path):
    frame = read_frame(image(tmp_path / "a.fits"), zp_ref=25.0)
    raw = np.array([[1.0, np.nan, np.inf], [3076.0, 3077.0, -np.inf]], np.float32)
    expected = [[0, MaskBit.NONFINITE, MaskBit.NONFINITE], [0, MaskBit.SATURATED, 1]]
    mask = nonfinite_and_saturated(raw, frame)
    assert mask.dtype == np.uint8
    assert mask.tolist() == expected
    scaled = scaled_pixels(raw, frame)
    assert scaled.dtype == np.float32
    # 1e-6: single precision
    assert scaled[0, 0] == pytest.approx(1.5848932, rel=1e-6)


def test_the_nine_bands_of_the_real_tile(shared_data):
    tile = shared_data / "kids_viking_tile"
    paths = [tile / line for line in (tile / "image_list.txt").read_text().split("\n")[1:] if line]
    frames = read_frames(paths, zp_ref=30.0, margin=40, tolerance=WcsTolerance())
    assert [f.band for f in frames] == ["u", "g", "r", "i", "Z", "Y", "J", "H", "Ks"]
    assert frames[2].fwhm_pix == pytest.approx(0.765 / 0.2, rel=1e-6)  # header digits
    assert frames[2].sky_sigma == pytest.approx(4.33789)


@pytest.mark.parametrize("no_data", [None, 7.0])
def test_beyond_a_smaller_image_there_is_no_data(tmp_path, no_data):
    data = np.random.default_rng(3).normal(100.0, 1.0, (30, 40)).astype(np.float32)
    data[10:16, 5:12] = 7.0
    padded = np.full((34, 45), np.nan, np.float32)
    padded[:30, :40] = data
    paths = [
        image(tmp_path / "a.fits", data=data),
        image(tmp_path / "b.fits", data=np.ones((34, 33), np.float32), FILTER="b"),
        image(tmp_path / "c.fits", data=np.ones((29, 45), np.float32), FILTER="c"),
    ]
    by_hand = image(tmp_path / "p.fits", data=padded)
    override = HeaderOverride(no_data=no_data)
    frames = read_frames(
        paths,
        zp_ref=25.0,
        margin=2,
        tolerance=WcsTolerance(),
        same_shape=False,
        overrides={paths[0]: override},
    )
    expected = read_frame(by_hand, zp_ref=25.0, margin=2, override=override)
    assert {f.shape for f in frames} == {(34, 45)}
    assert {f.box for f in frames} == {expected.box}
    for box in (None, Box(0, 41, 0, 30), Box(30, 41, 3, 9), Box(39, 41, 0, 30), Box(3, 9, 4, 20)):
        np.testing.assert_array_equal(read_pixels(frames[0], box), read_pixels(expected, box))
    ours, theirs = pixels_and_mask(frames[0]), pixels_and_mask(expected)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])
    again = Frame.from_dict(json.loads(json.dumps(frames[0].as_dict(), allow_nan=False)))
    assert again == frames[0]


def test_images_of_one_shape_are_the_same_frames_whether_they_must_be_or_not(tmp_path):
    paths = [image(tmp_path / f"{b}.fits", FILTER=b) for b in ("z", "a")]
    strict, loose = (
        read_frames(paths, zp_ref=25.0, margin=4, same_shape=same) for same in (True, False)
    )
    assert strict == loose

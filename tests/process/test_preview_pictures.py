"""Stretches, composites, spectra, and the bytes of pictures."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from astropy.visualization import ZScaleInterval, make_lupton_rgb
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from skyloom.errors import Mismatch, Unprocessable, WrongValue
from skyloom.process.previews import (
    STRETCHES,
    PictureStyle,
    color_jpeg_from_arrays,
    draw_image,
    draw_spectrum,
    gamma_shades,
    jpeg_from_array,
    lupton_shades,
    picture_bytes,
    stretched,
)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data))).astype(int)


@pytest.fixture
def sky(rng):
    image = rng.normal(1000.0, 10.0, (120, 160))
    image[60, 80] += 40000.0
    image[20:24, 100:104] += 80.0
    return image


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def test_a_jpeg_runs_from_minimum_to_maximum_with_gamma():
    ramp = np.repeat(np.repeat([[0.0, 1.0], [16.0, 256.0]], 16, 0), 16, 1)
    shown = pixels(jpeg_from_array(ramp - 7.0))
    # Row 0 lies at the bottom; (1 / 256)**(1/4) = 1/4, (16 / 256)**(1/4) = 1/2; JPEG: 2 levels.
    for (y, x), shade in {(24, 8): 0, (24, 24): 63, (8, 8): 127, (8, 24): 255}.items():
        assert abs(shown[y, x] - shade) <= 2
    linear = pixels(jpeg_from_array(ramp, gamma=1.0))
    assert abs(linear[8, 8] - 15) <= 2


def test_undefined_pixels_are_black_and_do_not_move_the_range():
    image = np.full((16, 16), 3.0)
    image[:, 8:] = 5.0
    image[:8, :4], image[:8, 12:] = np.nan, np.inf
    shades = gamma_shades(image)
    assert_array_equal(np.unique(shades[np.isfinite(shades)]), [0.0, 1.0])
    shown = pixels(picture_bytes(shades, "png"))
    assert (shown[8:, :4] == 0).all()
    assert (shown[8:, 12:] == 0).all()
    assert (shown[:8, 8:] == 255).all()


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
@pytest.mark.parametrize("stretch", sorted(STRETCHES))
def test_a_constant_image_is_black(value, stretch):
    image = np.full((20, 30), value)
    assert not pixels(jpeg_from_array(image)).any()
    assert not pixels(draw_image(image, PictureStyle(stretch=stretch))).any()


def test_colour_channels_are_scaled_each_by_itself():
    ramp = np.repeat(np.linspace(0, 1, 64)[None], 64, 0)
    shown = pixels(color_jpeg_from_arrays(ramp, 50 * ramp + 3, 1e-4 * ramp, gamma=1.0))
    assert shown.shape == (64, 64, 3)
    assert np.ptp(shown, axis=2).max() <= 3  # grey, within the rounding of JPEG
    with pytest.raises(Mismatch, match=r"shapes \(64, 64\), \(64, 63\)"):
        color_jpeg_from_arrays(ramp, ramp[:, 1:], ramp)


@pytest.mark.parametrize("stretch", sorted(STRETCHES))
def test_stretches_are_monotonic_and_do_not_see_units(sky, stretch):
    shades = stretched(sky, stretch)
    assert shades.min() == 0.0
    assert shades.max() == 1.0
    order = np.argsort(sky.ravel())
    assert (np.diff(shades.ravel()[order]) >= 0).all()
    # rounding: the sky is 100 sigma high
    assert_allclose(stretched(0.01 * sky - 3.0, stretch), shades, atol=1e-6)


def test_sky_and_stars_are_both_seen(sky):
    """The star is 4000 sigma high; the patch of 8 sigma must stay between sky and white."""
    for stretch, low, high in (("asinh", 0.3, 0.95), ("zscale", 0.9, 1.0)):
        shades = stretched(sky, stretch)
        assert low <= shades[22, 102] <= high
        assert 0.1 < np.median(shades) < 0.6
        assert shades.std() > 0.02
    assert stretched(sky, "minmax")[22, 102] < 0.01


def test_zscale_is_that_of_astropy(sky):
    low, high = ZScaleInterval().get_limits(sky)
    assert_allclose(stretched(sky, "zscale"), np.clip((sky - low) / (high - low), 0, 1))


def test_lupton_agrees_with_astropy(rng):
    r, g, b = rng.exponential(1.0, (3, 40, 50)) ** 3
    mine = lupton_shades(r, g, b, minimum=0.1, scales=(1, 1, 1), stretch=0.7, q=6.0)
    theirs = make_lupton_rgb(r, g, b, minimum=0.1, stretch=0.7, Q=6.0)
    # theirs is truncated to 8 bits
    assert np.abs(np.floor(mine * 255) - theirs).max() <= 1


def test_lupton_keeps_the_colour_of_what_is_bright(rng):
    """Three sources of one colour, 10 to 10 000 sigma: hue alike; noise has no colour."""
    noise = rng.normal(0, 1.0, (3, 60, 60)) + np.array([50.0, 20.0, 90.0])[:, None, None]
    for k, peak in enumerate((60.0, 900.0, 30000.0)):
        noise[:, 10 + 15 * k : 16 + 15 * k, 30:36] += (
            peak * np.array([4.0, 2.0, 1.0])[:, None, None]
        )
    shades = lupton_shades(*noise, scales=(1, 1, 1))
    for k in range(3):
        source = shades[10 + 15 * k : 16 + 15 * k, 30:36].mean(axis=(0, 1))
        # noise of 36 pixels of 60 sigma and more, and the sky of 1 sigma in its median
        assert_allclose(source / source[0], [1.0, 0.5, 0.25], atol=0.03)
    assert 0.0 <= shades.min() <= shades.max() <= 1.0
    white = lupton_shades(*noise)
    source = white[40:46, 30:36].mean(axis=(0, 1))
    assert_allclose(source / source[0], 1.0, atol=0.03)  # balanced
    noise[1, 5, 5] = np.nan
    assert np.isnan(lupton_shades(*noise)[5, 5]).all()


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_formats(sky, kind):
    data = draw_image(sky, PictureStyle(picture_format=kind))
    assert Image.open(BytesIO(data)).format == kind.upper()
    assert data == draw_image(sky, PictureStyle(picture_format=kind))
    want = np.floor(255 * stretched(sky)[::-1])
    assert (
        np.abs(pixels(data).reshape(120, 160, -1)[..., 0] - want).mean() < 6
    )  # noise is what JPEG and WebP keep worst


def test_wishes_that_do_not_exist_are_refused():
    with pytest.raises(WrongValue, match="stretch = 'log' is unknown; it is one of asinh, gamma"):
        PictureStyle(stretch="log")
    with pytest.raises(WrongValue, match="format = 'gif' is unknown; it is one of jpeg, png, webp"):
        PictureStyle(picture_format="gif")
    with pytest.raises(WrongValue, match="size = 0 must be at least 1"):
        PictureStyle(size=0)
    with pytest.raises(Unprocessable, match="a picture of 17000 x 1 pixels cannot be a webp"):
        picture_bytes(np.zeros((1, 17000)), "webp")


def test_negatives_and_white_sky(sky):
    plain = pixels(draw_image(sky, PictureStyle(picture_format="png")))
    plate = pixels(draw_image(-sky, PictureStyle(picture_format="png", is_negative=True)))
    assert_array_equal(plate, plain)
    paper = pixels(draw_image(sky, PictureStyle(picture_format="png", white_sky=True)))
    assert np.abs(paper + plain - 255).max() <= 1  # truncated twice


def test_a_spectrum_is_small_and_has_eight_greys():
    x = np.linspace(4000, 9000, 3000)
    picture = Image.open(BytesIO(draw_spectrum(x, 1.0 + np.sin(x / 300) ** 2)))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (200, 100), "P")
    grey = np.asarray(picture.convert("L"))
    assert len(np.unique(grey)) <= 8
    assert grey[0].min() == grey[:, 0].min() == 255  # no frame, no ticks
    assert (grey < 128).any(axis=0)[12:-12].all()  # one line from left to right


def test_spectra_are_sorted_and_drawn_as_asked(rng):
    x = rng.permutation(np.arange(200.0))
    up = 10.0 ** (x / 50)
    line = pixels(draw_spectrum(x, up))
    rows = [np.flatnonzero(line[:, c] < 4).mean() for c in range(15, 185)]
    # On the logarithmic axis it is straight, from lower left to upper right.
    assert_allclose(np.diff(rows), -90 / 180, atol=0.8)  # half of the line's width
    assert_allclose(np.polyfit(np.arange(170), rows, 1)[0], -0.5, rtol=0.02)
    linear = pixels(draw_spectrum(x, up, is_linear=True))
    assert np.flatnonzero(linear[:, 100] < 4).mean() > 80  # still low in the middle
    dots = pixels(draw_spectrum(np.arange(5.0), np.ones(5), is_connected=False))
    assert (dots < 4).any(axis=0).sum() < 20


def test_fluxes_that_are_not_positive_are_left_out_of_a_logarithmic_axis():
    x, flux = np.arange(6.0), np.array([-1.0, 0.0, 1.0, 10.0, np.nan, 5.0])
    assert draw_spectrum(x, flux) == draw_spectrum(x[[2, 3, 5]], flux[[2, 3, 5]])
    assert draw_spectrum(x, flux, is_linear=True) != draw_spectrum(x, flux)
    with pytest.raises(Unprocessable, match="no positive flux; draw it linear_fluxes"):
        draw_spectrum(x, -np.ones(6))
    with pytest.raises(Unprocessable, match="none of 0 points"):
        draw_spectrum(x[:0], flux[:0])

from __future__ import annotations

import numpy as np
import pytest

from skyloom.detect import bright_mask, inside_mask


def field(stars, shape=(150, 160), seed=3):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.random.default_rng(seed).normal(0, 1, shape)
    for px, py, peak in stars:
        image += peak * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / 4)
    return image.astype(np.float32), np.ones(shape, np.float32)


STARS = [(40.0, 50.0, 500.0), (110.0, 90.0, 300.0)]


def test_only_the_unlisted_star_is_masked():
    white, sigma = field(STARS)
    found = bright_mask(white, sigma, x=np.array([41.0, np.nan]), y=np.array([51.5, 5.0]))
    assert found.mask[90, 110]
    assert not found.mask[50, 40]
    assert np.count_nonzero(found.detections["is_matched"]) == 1
    assert found.mask.dtype == bool


@pytest.mark.parametrize(("offset", "matched"), [(2.9, True), (3.1, False)])
def test_the_match_radius(offset, matched):
    white, sigma = field(STARS[:1])
    found = bright_mask(white, sigma, x=np.array([40.0 + offset]), y=np.array([50.0]))
    assert found.detections["is_matched"].tolist() == [matched]
    assert found.mask.any() is np.bool_(not matched)


def test_the_ellipse_has_the_stated_axes():
    white, sigma = field(STARS[:1])
    nobody = np.zeros(0)
    for scale, least, expected in ((3.0, 0.0, None), (0.1, 6.0, 6.0)):
        found = bright_mask(
            white,
            sigma,
            x=nobody,
            y=nobody,
            ellipse_scale=scale,
            min_radius_pix=least,
            dilate_pix=0,
        )
        a, b = found.detections["a"][0], found.detections["b"][0]
        area = np.pi * (expected**2 if expected else scale**2 * a * b)
        # a circle of radius 6 drawn on pixels: within 6 %
        assert found.mask.sum() == pytest.approx(area, rel=0.06)


def test_dilation_is_by_a_square():
    white, sigma = field(STARS[:1])
    nobody = np.zeros(0)
    plain = bright_mask(white, sigma, x=nobody, y=nobody, dilate_pix=0).mask
    grown = bright_mask(white, sigma, x=nobody, y=nobody, dilate_pix=2).mask
    expected = np.zeros_like(plain)
    for y, x in np.argwhere(plain):
        expected[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
    assert np.array_equal(grown, expected)


def test_pixels_that_no_band_sees_do_not_detect():
    white, sigma = field(STARS)
    white[:, 80:], sigma[:, 80:] = np.nan, np.inf
    found = bright_mask(white, sigma, x=np.zeros(0), y=np.zeros(0))
    assert len(found.detections) == 1
    assert not found.mask[90, 110]


def test_an_empty_sky():
    white, sigma = field([])
    found = bright_mask(white, sigma, x=np.array([5.0]), y=np.array([5.0]))
    assert not found.mask.any()
    assert len(found.detections) == 0


def test_a_mask_at_the_border_stays_inside():
    white, sigma = field([(0.0, 0.0, 500.0), (159.0, 149.0, 500.0)])
    found = bright_mask(white, sigma, x=np.zeros(0), y=np.zeros(0), ellipse_scale=8)
    assert found.mask[0, 0]
    assert found.mask[149, 159]


def test_positions_inside_a_mask_are_rounded():
    mask = np.zeros((10, 12), bool)
    mask[4, 7] = True
    x = np.array([7.0, 7.49, 6.51, 7.6, np.nan, -50.0, 1e9])
    assert inside_mask(x, np.full(7, 4.2), mask).tolist() == [True, True, True] + [False] * 4

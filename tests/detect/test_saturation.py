"""Saturated stars without a keyword: flat tops tell, peaks do not."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.detect.saturation import find_plateau, saturated_pixels

X, Y = np.array([30.0, 70.0, np.nan, 500.0]), np.array([30.0, 60.0, 5.0, 5.0])


def image(ceiling: float) -> np.ndarray:
    """Two Gaussian stars of FWHM 4 pixels, the first ten times too bright for the ceiling."""
    y, x = np.mgrid[:100, :100]
    stars = np.zeros((100, 100))
    for x0, y0, peak in ((30, 30, 1e5), (70, 60, 5e3)):
        stars += peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 1.7**2)
    return np.minimum(stars, ceiling).astype(np.float32)


def test_flat_top_gives_the_level():
    found = find_plateau(image(1e4), X, Y, fwhm=4.0, min_peak=100.0, divisor=1.25)
    assert found.rows.tolist() == [0]
    assert found.level == pytest.approx(8e3)  # ceiling over divisor, exact in this image


def test_unsaturated_peaks_are_not_flat():
    found = find_plateau(image(np.inf), X, Y, fwhm=4.0, min_peak=100.0)
    assert len(found.rows) == 0
    assert found.level == np.inf
    assert not saturated_pixels(image(np.inf), found.level).any()


def test_mask_grows_by_one_pixel():
    data = np.zeros((9, 9), np.float32)
    data[4, 4], data[0, 8] = 10.0, np.nan
    mask = saturated_pixels(data, 5.0)
    assert mask.sum() == 9
    assert mask[3:6, 3:6].all()


@pytest.mark.parametrize("radius", [4.0, 12.0, 24.0])  # pix, scale of the disc
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_large_galaxies_far_above_the_noise_are_not_flat(radius, noise):
    y, x = np.mgrid[:121, :121]
    r = np.hypot(x - 60.3, y - 59.8)
    data = 1e4 * np.exp(-np.hypot(r, 2.0) / radius)  # its centre smoothed by a PSF
    data += noise * np.random.default_rng(1).standard_normal(data.shape)
    top = (data > 0.9 * data.max()).sum()
    assert radius < 12 or top > 16  # as many pixels as a saturated star of FWHM 4 has
    found = find_plateau(data.astype(np.float32), np.array([60.0]), np.array([60.0]), fwhm=4.0,
                         min_peak=100.0)  # fmt: skip
    assert found.level == np.inf


def test_a_position_beside_a_brighter_star_tells_what_that_is():
    data = image(np.inf)
    data[56:65, 62:68] = np.maximum(data[56:65, 62:68], 700.0)  # a shelf on its flank
    x, y = np.array([64.0]), np.array([60.0])
    assert find_plateau(data, x, y, fwhm=4.0, min_peak=100.0).level == np.inf
    found = find_plateau(np.minimum(data, 2e3), x, y, fwhm=4.0, min_peak=100.0, divisor=1.25)
    assert found.level == pytest.approx(1.6e3)

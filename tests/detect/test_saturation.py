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

"""Regions of one value are told from noise and from saturated stars."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.detect.no_data import constant_pixels


@pytest.fixture
def sky() -> np.ndarray:
    """Noise in whole numbers of rms 2: a fifth of the pixels is zero."""
    return np.rint(np.random.default_rng(7).normal(0.0, 2.0, (1000, 203))).astype(np.float32)


def test_noise_is_no_region(sky):
    assert constant_pixels(sky) is None


@pytest.mark.parametrize("value", [0.0, -9999.0, 1e-30])
@pytest.mark.parametrize("level", [0.0, 500.0])
def test_the_value_off_the_edge_is_found(sky, value, level):
    sky += level
    sky[:, :40] = value
    sky[500, 100] = np.nan
    found = constant_pixels(sky)
    assert found is not None
    assert found.value == np.float32(value)
    assert found.n_pixels == 1000 * 40
    assert found.share == pytest.approx(40 / 203)


def test_flat_tops_are_data(sky):
    sky[400:440, 40:80] = 6e4
    assert constant_pixels(sky) is None
    sky[:, :16] = 0.0
    found = constant_pixels(sky)
    assert found is not None
    assert found.value == 0.0


def test_small_images_and_images_of_nan(sky):
    assert constant_pixels(sky[:7, :7]) is None
    assert constant_pixels(np.full_like(sky, np.nan)) is None
    assert constant_pixels(np.zeros((16, 8), np.float32)) is None  # two blocks: a hot column

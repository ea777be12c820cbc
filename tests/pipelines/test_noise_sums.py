"""The noise correlation of a field from the sums of its patches."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import convolve

from skyloom.geometry import Box
from skyloom.pipelines.tile.noise_sums import MAX_LAG, field_correlations, noise_sums

SHAPE = (300, 320)
KERNEL = np.array([[0.0, 0.2, 0.0], [0.1, 1.0, 0.3], [0.0, 0.0, 0.0]])


def correlated(seed: int) -> np.ndarray:
    noise = convolve(np.random.default_rng(seed).normal(size=SHAPE), KERNEL, mode="wrap")
    return (noise / np.sqrt((KERNEL**2).sum())).astype(np.float32)


def expected() -> np.ndarray:
    """Return the autocorrelation of the kernel on the grid of lags."""
    rho = np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1))
    for (y, x), a in np.ndenumerate(KERNEL):
        for (v, u), b in np.ndenumerate(KERNEL):
            rho[MAX_LAG + y - v, MAX_LAG + x - u] += a * b
    return rho / rho[MAX_LAG, MAX_LAG]


def whole(residual: np.ndarray, weight: np.ndarray, model: np.ndarray) -> np.ndarray:
    return noise_sums(residual, weight, model, Box(0, SHAPE[1], 0, SHAPE[0]))


def test_lags_are_those_of_the_kernel_that_made_the_noise() -> None:
    ones, zero = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    found = field_correlations([whole(correlated(1), ones, zero)[None]])[0]
    assert found is not None
    # 96 000 pixels: 0.0032 times sqrt(sum rho**2) = 1.1; five of these, 121 lags
    assert np.abs(found.rho - expected()).max() < 0.018


def test_patches_sum_to_the_field() -> None:
    ones, zero = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    noise = correlated(2)
    parts = [
        noise_sums(noise, ones, zero, Box(x, x + 160, y, y + 100))
        for x in (0, 160)
        for y in (0, 100, 200)
    ]
    # double-precision sums of 96 000 terms in another order
    assert_allclose(np.sum(parts, axis=0), whole(noise, ones, zero), rtol=1e-9, atol=1e-7)


def test_pixels_with_light_or_without_weight_do_not_count() -> None:
    ones, zero = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    noise, weight, model = correlated(3), ones.copy(), zero.copy()
    noise[50:60], weight[50:60] = 1e3, 0.0
    noise[100:110], model[100:110] = 3.0, 20.0
    assert whole(noise, weight, model)[1, 0, MAX_LAG] == (SHAPE[0] - 20) * SHAPE[1] - np.sum(
        np.abs(np.delete(noise, np.r_[50:60, 100:110], axis=0)) >= 4.0
    )
    found = field_correlations([whole(noise, weight, model)[None]])[0]
    assert found is not None
    assert np.abs(found.rho - expected()).max() < 0.02  # as above, 7 % fewer pixels


@pytest.mark.parametrize("pixels", [SHAPE, (100, 100)])
def test_white_noise_and_too_few_pixels_mean_none(pixels: tuple[int, int]) -> None:
    noise = np.random.default_rng(4).normal(size=pixels).astype(np.float32)
    ones, zero = np.ones(pixels, np.float32), np.zeros(pixels, np.float32)
    sums = noise_sums(noise, ones, zero, Box(0, pixels[1], 0, pixels[0]))
    assert field_correlations([sums[None]]) == [None]


def test_without_any_noise_there_is_no_correlation() -> None:
    ones, zero = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    parts = np.stack([whole(zero, ones, zero), whole(correlated(5), ones, zero)])[None]
    first, second = field_correlations(parts)
    assert first is None
    assert second is not None

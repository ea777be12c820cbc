"""Trends, cells and steps of residuals against closed forms and sampling theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats

from skyloom.sim import border_step, field_flatness

SHAPE = (800, 1000)


def stars(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, SHAPE[1] - 1, n), rng.uniform(0, SHAPE[0] - 1, n), rng


def test_a_tilt_is_found_with_its_closed_form():
    x, y, _ = stars(400)
    found = field_flatness(x, y, 8.0 * x / (SHAPE[1] - 1), shape=SHAPE)
    # a ramp of height h has an rms of h / sqrt(12); the grid of 33 points makes it 3 % larger
    assert found.trend == pytest.approx(8.0 / np.sqrt(12), rel=0.035)
    assert found.trend_noise < 1e-9
    assert found.cells[:, 3].mean() - found.cells[:, 0].mean() == pytest.approx(6.0, abs=0.3)


def test_noise_alone_is_no_trend():
    trends, noises, cells = [], [], []
    for seed in range(40):
        x, y, rng = stars(300, seed)
        found = field_flatness(x, y, rng.normal(0, 5.0, 300), shape=SHAPE)
        trends.append(found.trend**2)
        noises.append(found.trend_noise)
        cells.append(found.cells / found.cell_errors)
    # ten terms, 300 stars: sigma sqrt(10 / 300) within the larger errors at the edges
    assert np.mean(noises) == pytest.approx(5.0 * np.sqrt(10 / 300), rel=0.2)
    assert np.sqrt(np.mean(trends)) < np.mean(noises)
    # 640 cells of some 19 of 300 stars; the mean of all takes 1 / 32 off
    assert np.std(cells) == pytest.approx(0.97, abs=0.09)


def test_a_star_with_an_unknown_neighbour_does_not_count():
    x, y, rng = stars(300)
    residual = rng.normal(0, 2.0, 300)
    residual[::30] -= 300.0
    found = field_flatness(x, y, residual, shape=SHAPE)
    assert found.n <= 290
    assert abs(found.largest[0]) < 4 * found.largest[1]


@given(step=floats(-20, 20), slope=floats(-0.05, 0.05))
def test_a_step_is_told_from_a_slope(step, slope):
    x, _, _ = stars(400)
    found = border_step(x, slope * x + step * (x > 500), at=500.0, reach=150.0)
    assert found.step == pytest.approx(step, abs=1e-6)


def test_a_step_is_measured_beside_a_star_that_is_off_by_a_magnitude():
    x, _, rng = stars(60)
    residual = rng.normal(0, 1.0, 60) + 3.0 * (x > 500)
    near = np.argsort(np.abs(x - 510.0))
    residual[near[:2]] += (-1000.0, 2500.0)
    found = border_step(x, residual, at=500.0, reach=350.0)
    assert found.error < 0.7  # 40 stars of unit scatter
    assert found.step == pytest.approx(3.0, abs=3 * found.error)


def test_the_error_of_a_step_is_its_scatter():
    pulls = []
    for seed in range(200):
        x, _, rng = stars(150, seed)
        found = border_step(x, rng.normal(0, 3.0, 150), at=400.0, reach=300.0)
        pulls.append(found.step / found.error)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.17)  # three standard errors of 200
    assert abs(np.mean(pulls)) < 0.21


def test_too_few_stars_are_no_field():
    x, y, _ = stars(15)
    with pytest.raises(ValueError, match="15 stars cannot tell a trend of 10 terms"):
        field_flatness(x, y, x, shape=SHAPE)
    assert np.isnan(border_step(x, x, at=-5.0, reach=100.0).step)

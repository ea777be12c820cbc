"""The sky that is left: measured by cell, whatever the patches, continuous everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.geometry import Box
from skyloom.pipelines.tile.groups import saturation_reach
from skyloom.pipelines.tile.sky import SkyField, sky_sums

SHAPE = (512, 768)


def sums_of(residual, boxes):
    weight = np.ones_like(residual)
    return [sky_sums(residual[b.slices], weight[b.slices], b, SHAPE)[None] for b in boxes]


def test_division_into_patches_does_not_matter():
    residual = np.random.default_rng(3).normal(0.3, 1.0, SHAPE).astype(np.float32)
    whole = sums_of(residual, [Box.of_shape(SHAPE)])
    parts = sums_of(residual, [Box(0, 300, 0, 512), Box(300, 768, 0, 111), Box(300, 768, 111, 512)])
    one = SkyField.zero(1, SHAPE).updated(whole)
    many = SkyField.zero(1, SHAPE).updated(parts)
    np.testing.assert_allclose(one.level, many.level, rtol=1e-12)  # order of sums


def test_level_and_error_are_those_of_the_mean():
    residual = np.full(SHAPE, 0.5, np.float32)
    field = SkyField.zero(1, SHAPE).updated(sums_of(residual, [Box.of_shape(SHAPE)]))
    np.testing.assert_allclose(field.level, 0.5, rtol=1e-12)
    np.testing.assert_allclose(field.error, 1 / 256, rtol=1e-12)  # a cell of 256 x 256 pixels
    np.testing.assert_allclose(field.surface(0, Box(100, 200, 50, 60)), 0.5, rtol=1e-6)


def test_bright_residuals_are_not_sky():
    residual = np.zeros(SHAPE, np.float32)
    residual[100:140, 100:140] = 50.0
    field = SkyField.zero(1, SHAPE).updated(sums_of(residual, [Box.of_shape(SHAPE)]))
    assert np.abs(field.level).max() == 0.0


def test_surface_is_continuous():
    level = np.random.default_rng(5).normal(size=(1, 2, 3))
    field = SkyField(level=level, error=np.zeros_like(level), shape=SHAPE)
    surface = field.surface(0, Box.of_shape(SHAPE))
    # bilinear between centres 256 px apart: a step is at most the largest difference over 256
    assert np.abs(np.diff(surface, axis=1)).max() <= np.ptp(level) / 256 + 1e-6


def test_arrays_round_trip():
    field = SkyField.zero(2, SHAPE).updated([np.ones((2, 3, 2, 3)) * 1e5])
    again = SkyField.from_arrays(field.to_arrays())
    np.testing.assert_array_equal(again.level, field.level)
    assert again.shape == field.shape


@pytest.mark.parametrize(("distance", "near"), [(74.0, True), (76.0, False)])
def test_reach_of_a_saturated_star_grows_with_its_area(distance, near):
    blobs = np.array([[100.0, 100.0, 100.0]])  # 25 + 5 sqrt(100) = 75 px
    x = np.array([100.0 + distance, np.nan])
    assert saturation_reach(x, np.full(2, 100.0), blobs).tolist() == [near, False]

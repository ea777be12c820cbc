"""The sky that is left: measured by cell, whatever the patches, continuous everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from skyloom.geometry import Box
from skyloom.pipelines.tile.groups import saturation_reach
from skyloom.pipelines.tile.sky import SkyField, absorbed_sums, sky_sums

SHAPE = (512, 768)


def sums_of(residual, boxes):
    weight = np.ones_like(residual)
    return [sky_sums(residual[b.slices], weight[b.slices], b, SHAPE)[None] for b in boxes]


def splines(at, cells):
    """Return the quadratic splines of cells of unit length, by scipy."""
    at = np.minimum(at, cells - 1e-12)  # the last knot belongs to the last cell
    return BSpline.design_matrix(at, np.arange(-2.0, cells + 3.0), 2).toarray()


def test_division_into_patches_does_not_matter():
    residual = np.random.default_rng(3).normal(0.3, 1.0, SHAPE).astype(np.float32)
    whole = sums_of(residual, [Box.of_shape(SHAPE)])
    parts = sums_of(residual, [Box(0, 300, 0, 512), Box(300, 768, 0, 111), Box(300, 768, 111, 512)])
    one = SkyField.zero(1, SHAPE).updated(whole)
    many = SkyField.zero(1, SHAPE).updated(parts)
    np.testing.assert_allclose(one.level, many.level, rtol=1e-12)  # order of sums


def test_a_constant_level_is_found_with_its_error():
    residual = np.full(SHAPE, 0.5, np.float32)
    field = SkyField.zero(1, SHAPE).updated(sums_of(residual, [Box.of_shape(SHAPE)]))
    np.testing.assert_allclose(field.level, 0.5, rtol=1e-3)  # the ties hold it by 1e-5 or so
    np.testing.assert_allclose(field.surface(0, Box(100, 200, 50, 60)), 0.5, rtol=1e-3)
    # An inner node alone has (2/3)^2 of the pixels of a cell; its neighbours take some of that.
    assert 1 / 256 < field.error[0, 1, 1] < 3 / 256


def test_the_step_is_that_of_least_squares():
    rng = np.random.default_rng(8)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    residual = (0.3 * x / 767 - 0.2 * y / 511 + rng.normal(size=SHAPE)).astype(np.float32)
    weight = np.where(rng.uniform(size=SHAPE) < 0.1, 0.0, 1.0 + (x > 300)).astype(np.float32)
    sums = sky_sums(residual, weight, Box.of_shape(SHAPE), SHAPE)[None]
    got = SkyField.zero(1, SHAPE).updated([sums])
    w = np.where(residual**2 * weight < 9.0, weight, 0.0).astype(np.float64)
    spline_y, spline_x = splines(np.arange(512) * 2 / 511, 2), splines(np.arange(768) * 3 / 767, 3)
    basis = np.einsum("yi,xj->yxij", spline_y, spline_x).reshape(-1, 20)
    normal = basis.T @ (w.reshape(-1, 1) * basis)
    expected = np.linalg.solve(normal, basis.T @ (w * residual).ravel()).reshape(4, 5)
    sigma = np.sqrt(np.diag(np.linalg.inv(normal))).reshape(4, 5)
    # The ties, 1e-7 of a cell's information, are a hundredth of an error.
    assert np.abs((got.level[0] - expected) / sigma).max() < 0.02
    corners = np.kron(splines(np.arange(3.0), 2), splines(np.arange(4.0), 3))
    at_corners = np.sqrt(np.einsum("ij,jk,ik->i", corners, np.linalg.inv(normal), corners))
    np.testing.assert_allclose(got.error[0].ravel(), at_corners, rtol=1e-3)


def test_gradients_are_followed_to_the_edges():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    plane = (0.4 * x / 767 + 0.3 * y / 511).astype(np.float32)
    field = SkyField.zero(1, SHAPE).updated(sums_of(plane, [Box.of_shape(SHAPE)]))
    assert np.abs(field.surface(0, Box.of_shape(SHAPE)) - plane).max() < 1e-3  # ties


def test_a_sky_that_bends_is_followed():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    bent = (1.5 * (x / 383.5 - 1) ** 2 - 0.8 * (x / 767) * (y / 511)).astype(np.float32)
    field = SkyField.zero(1, SHAPE).updated(sums_of(bent, [Box.of_shape(SHAPE)]))
    # quadratic: exact but for ties; a bilinear field of these cells is 0.17 off
    assert np.abs(field.surface(0, Box.of_shape(SHAPE)) - bent).max() < 1e-3
    here = np.array([100.0, 700.0]), np.array([40.0, 500.0])
    expected = bent[here[1].astype(int), here[0].astype(int)]
    np.testing.assert_allclose(field.level_at(*here)[:, 0], expected, atol=1e-3)


def test_nodes_without_data_follow_the_others():
    residual = np.full(SHAPE, 0.5, np.float32)
    weight = np.ones(SHAPE, np.float32)
    weight[:, 500:] = 0.0
    sums = sky_sums(residual, weight, Box.of_shape(SHAPE), SHAPE)[None]
    field = SkyField.zero(1, SHAPE)
    for _ in range(3):  # as many passes as a run has
        sums = sky_sums(residual - field.surface(0, Box.of_shape(SHAPE)), weight,
                        Box.of_shape(SHAPE), SHAPE)[None]  # fmt: skip
        field = field.updated([sums])
    np.testing.assert_allclose(field.level, 0.5, atol=1e-3)
    assert field.error[0, 1, 3] > 10 * field.error[0, 1, 0]


def test_what_sources_absorb_makes_steps_and_errors_larger():
    residual = np.full(SHAPE, 0.2, np.float32)  # half of 0.4, as fluxes took the other half
    sums = sums_of(residual, [Box.of_shape(SHAPE)])
    cells = np.stack(np.meshgrid([128.0, 384.0], [128.0, 384.0, 640.0], indexing="ij"))
    y, x = cells.reshape(2, -1)
    taken = absorbed_sums(np.full((6, 1), 0.5 * 256**2), x, y, SHAPE)
    plain = SkyField.zero(1, SHAPE).updated(sums)
    field = SkyField.zero(1, SHAPE).updated([np.concatenate([s, taken], axis=1) for s in sums])
    np.testing.assert_allclose(field.level, 0.4, rtol=1e-3)  # ties
    np.testing.assert_allclose(field.error, np.sqrt(2.0) * plain.error, rtol=1e-3)  # ties


def test_bright_residuals_are_not_sky():
    residual = np.zeros(SHAPE, np.float32)
    residual[100:140, 100:140] = 50.0
    field = SkyField.zero(1, SHAPE).updated(sums_of(residual, [Box.of_shape(SHAPE)]))
    assert np.abs(field.level).max() == 0.0


def test_surface_and_its_slope_are_continuous():
    level = np.random.default_rng(5).normal(size=(1, 4, 5))
    field = SkyField(level=level, error=np.zeros((1, 3, 4)), shape=SHAPE)
    surface = field.surface(0, Box.of_shape(SHAPE)).astype(np.float64)
    # knots at least 255.5 px apart: the steepest step, and the strongest bend, there can be
    assert np.abs(np.diff(surface, axis=1)).max() <= np.ptp(level) / 255.5 + 1e-6
    assert np.abs(np.diff(surface, 2, axis=1)).max() <= 2 * np.ptp(level) / 255.5**2 + 1e-6


def test_arrays_round_trip():
    field = SkyField.zero(2, SHAPE).updated(
        [np.stack([sky_sums(np.ones(SHAPE), np.ones(SHAPE), Box.of_shape(SHAPE), SHAPE)] * 2)]
    )
    again = SkyField.from_arrays(field.to_arrays())
    np.testing.assert_array_equal(again.level, field.level)
    assert again.shape == field.shape


@pytest.mark.parametrize(("distance", "near"), [(74.0, True), (76.0, False)])
def test_reach_of_a_saturated_star_grows_with_its_area(distance, near):
    blobs = np.array([[100.0, 100.0, 100.0]])  # 25 + 5 sqrt(100) = 75 px
    x = np.array([100.0 + distance, np.nan])
    assert saturation_reach(x, np.full(2, 100.0), blobs).tolist() == [near, False]

"""Ellipses of the catalogue and parameters of the engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skyloom.scene import ellipse_from_parameters, parameters_from_ellipse


def convert(r: np.ndarray, g1: np.ndarray, g2: np.ndarray, cov: np.ndarray | None = None):
    r, g1, g2 = np.atleast_1d(r, g1, g2)
    cov = np.zeros((len(r), 3, 3)) if cov is None else cov
    return ellipse_from_parameters(np.log(r), g1, g2, cov)


@given(
    a=st.floats(0.01, 100.0), ab=st.floats(0.05, 0.999), theta=st.floats(-90.0, 89.99)
)  # fmt: skip
def test_conversions_round_trip(a: float, ab: float, theta: float) -> None:
    r, g1, g2 = parameters_from_ellipse(a, ab, theta)
    back = convert(r, g1, g2)
    assert back.a[0] == pytest.approx(a, rel=1e-10)  # rounding
    assert back.ab[0] == pytest.approx(ab, rel=1e-10)
    turn = (back.theta[0] - theta + 90.0) % 180.0 - 90.0
    assert turn == pytest.approx(0.0, abs=1e-9)
    assert -90.0 <= back.theta[0] < 90.0


def test_the_major_axis_lies_where_the_angle_says() -> None:
    a, ab, theta = 3.0, 0.5, 30.0
    r, g1, g2 = parameters_from_ellipse(a, ab, theta)
    g = g1**2 + g2**2
    s = r**2 / (1 - g) * np.array([[1 + g + 2 * g1, 2 * g2], [2 * g2, 1 + g - 2 * g1]])
    values, vectors = np.linalg.eigh(s)
    assert_allclose(np.sqrt(values), [a * ab, a], rtol=1e-12)
    major = vectors[:, 1]
    assert np.degrees(np.arctan2(major[1], major[0])) % 180 == pytest.approx(theta, abs=1e-9)


def test_the_angle_stays_in_its_range() -> None:
    shape = convert(np.full(2, 2.0), np.array([-0.3, -0.3]), np.array([0.0, -0.0]))
    assert np.all((shape.theta >= -90.0) & (shape.theta < 90.0))
    assert np.abs(shape.theta).tolist() == [90.0, 90.0]


def test_errors_agree_with_monte_carlo() -> None:
    rng = np.random.default_rng(4)
    centre = np.array([np.log(2.0), 0.3, -0.15])
    root = np.array([[0.03, 0.0, 0.0], [0.006, 0.012, 0.0], [-0.004, 0.005, 0.01]])
    cov = root @ root.T
    draws = centre + rng.normal(size=(20000, 3)) @ root.T
    cloud = convert(np.exp(draws[:, 0]), draws[:, 1], draws[:, 2])
    shape = convert(np.exp(centre[:1]), centre[1:2], centre[2:], cov[None])
    # 20000 draws: 0.5 %; curvature of the map over one sigma: about 1 %.
    assert shape.a_err[0] == pytest.approx(cloud.a.std(), rel=0.02)
    assert shape.ab_err[0] == pytest.approx(cloud.ab.std(), rel=0.02)
    assert shape.theta_err[0] == pytest.approx(cloud.theta.std(), rel=0.02)


def test_round_shapes_have_the_error_of_the_radius_and_no_angle() -> None:
    cov = np.diag([0.04, 0.01, 0.01])[None]
    shape = convert(np.array([2.0]), np.array([0.0]), np.array([0.0]), cov)
    assert shape.a[0] == pytest.approx(2.0)
    assert shape.a_err[0] == pytest.approx(2.0 * 0.2)
    assert shape.theta_err[0] == 90.0
    assert shape.ab_err[0] == pytest.approx(2.0 * 0.1)


def test_an_uncertain_angle_is_at_most_a_right_angle_off() -> None:
    cov = np.diag([0.04, 1.0, 1.0])[None]
    shape = convert(np.array([2.0]), np.array([0.01]), np.array([0.0]), cov)
    assert shape.theta_err[0] == 90.0

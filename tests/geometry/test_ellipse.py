"""Moments and axes of ellipses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats

from skyloom.geometry import Axes, Quadrupole


@pytest.mark.parametrize(
    ("moments", "axes"),
    [
        ((4.0, 1.0, 0.0), (2.0, 1.0, 0.0)),
        ((2.5, 2.5, 1.5), (2.0, 1.0, np.pi / 4)),
        ((1.0, 4.0, 0.0), (2.0, 1.0, np.pi / 2)),
        ((9.0, 9.0, 0.0), (3.0, 3.0, 0.0)),
        ((4.0, 0.0, 0.0), (2.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_closed_forms(moments, axes):
    found = Quadrupole(*moments).axes()
    assert (found.a, found.b, found.theta) == pytest.approx(axes, abs=1e-15)
    back = Axes(*axes).quadrupole()
    assert (back.ixx, back.iyy, back.ixy) == pytest.approx(moments, abs=1e-15)


def test_radii():
    q = Quadrupole(4.0, 1.0, 0.0)
    assert q.determinant_radius == pytest.approx(np.sqrt(2))
    assert q.trace_radius == pytest.approx(np.sqrt(2.5))
    assert q.axes().determinant_radius == pytest.approx(np.sqrt(2))
    assert q.axes().trace_radius == pytest.approx(np.sqrt(2.5))


@given(a=floats(0.1, 1e3), ratio=floats(1e-4, 1.0), theta=floats(-1.5, 1.5))
def test_there_and_back(a, ratio, theta):
    moments = Axes(a, a * ratio, theta).quadrupole()
    again = moments.axes().quadrupole()
    for name in ("ixx", "iyy", "ixy"):
        # float64 of the moments themselves, relative to the largest
        assert getattr(again, name) == pytest.approx(getattr(moments, name), abs=1e-13 * a**2)


def test_no_ellipse_is_nan_in_arrays_and_refused_by_normalize():
    q = Quadrupole(np.array([4.0, 1.0, -4.0, np.nan]), np.array([1.0, 1.0, -1.0, 1.0]),
                   np.array([0.0, 2.0, 0.0, 0.0]))  # fmt: skip
    axes = q.axes()
    assert axes.a == pytest.approx([2, np.nan, np.nan, np.nan], nan_ok=True)
    assert np.isnan(axes.theta).tolist() == [False, True, True, True]
    assert np.isnan(q.determinant_radius).tolist() == [False, True, True, True]
    assert np.isnan(q.trace_radius).tolist() == [False, True, True, True]
    assert q[:1].normalize() == q[:1]
    with pytest.raises(ValueError, match=r"= \(1, 1, 2\) are those of no ellipse"):
        q.normalize()
    with pytest.raises(ValueError, match="no ellipse"):
        Quadrupole(1.0, 1.0, 2.0).normalize()
    assert len(axes[1:]) == 3

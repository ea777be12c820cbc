"""Angles: units, arithmetic, wrapping."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units
from hypothesis import given
from hypothesis.strategies import floats

from skyloom.geometry import ANGLE_UNITS, Angle

turns = floats(-1e6, 1e6, allow_nan=False)


def test_units():
    angle = Angle(30.0, "deg")
    assert angle.as_radians() == pytest.approx(np.pi / 6, rel=1e-15)
    assert angle.as_hours() == pytest.approx(2.0, rel=1e-15)
    assert angle.as_arcminutes() == pytest.approx(1800.0, rel=1e-15)
    assert angle.as_arcseconds() == pytest.approx(108000.0, rel=1e-15)
    assert angle.to_astropy().deg == pytest.approx(30.0, rel=1e-15)
    assert Angle(2, units.hourangle).as_degrees() == pytest.approx(30.0, rel=1e-15)


@pytest.mark.parametrize("unit", [*ANGLE_UNITS, units.deg, "uas"])
def test_a_unit_is_that_of_astropy(unit):
    name = "hourangle" if unit == "hour" else unit
    expected = (1.5 * units.Unit(name)).to_value(units.rad)
    assert Angle(1.5, unit).radians == pytest.approx(expected, rel=1e-15)


def test_arithmetic():
    a, b = Angle(90, "deg"), Angle([30.0, 60.0], "deg")
    assert (a + b).as_degrees() == pytest.approx([120, 150])
    assert (a - b).as_degrees() == pytest.approx([60, 30])
    assert (-b).as_degrees() == pytest.approx([-30, -60])
    assert (2 * a).as_degrees() == pytest.approx(180)
    assert (np.array([1.0, 2.0]) * a).as_degrees() == pytest.approx([90, 180])
    assert a / b == pytest.approx([3, 1.5])
    assert (a / 3).as_degrees() == pytest.approx(30)
    assert abs(Angle(-1.0)) == Angle(1.0)
    assert (b < a).all()
    assert a > Angle(1, "deg")
    assert float(Angle(0.5)) == 0.5
    assert len(b) == 2
    assert b[1].as_degrees() == pytest.approx(60)


def test_an_angle_is_not_a_number():
    with pytest.raises(TypeError):
        Angle(1.0) + 1.0  # type: ignore[operator]
    with pytest.raises(TypeError):
        Angle(1.0) * Angle(1.0)  # type: ignore[operator]
    assert Angle(1.0) != 1.0
    with pytest.raises(ValueError, match="'kg' is no unit of angle; use one of rad, deg"):
        Angle(1.0, "kg")


@given(value=turns)
def test_wrapping_keeps_the_direction(value):
    full, near = Angle(value).wrapped(), Angle(value).wrapped_near_zero()
    assert 0 <= full.radians < 2 * np.pi
    assert -np.pi <= near.radians < np.pi
    # rounding of 1e6 rad: 1e-10
    assert np.cos(full.radians - value) == pytest.approx(1.0, abs=1e-9)
    assert np.cos(near.radians - value) == pytest.approx(1.0, abs=1e-9)


def test_wrapping_at_the_ends():
    assert Angle(-1e-20).wrapped().radians == 0.0  # mod rounds it to 2 pi
    assert Angle(np.pi).wrapped_near_zero().radians == -np.pi
    assert Angle(359, "deg").separation(Angle(1, "deg")).as_degrees() == pytest.approx(-2.0)
    near = Angle(1, "deg").wrapped_near(Angle(359, "deg"))
    assert near.as_degrees() == pytest.approx(361.0)

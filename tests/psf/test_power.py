"""Powers and logarithms of rows against the library's functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skyloom.psf._power_nb import log1p_row, make_power_room, powers

RHO = np.concatenate([[0.0, 1e-300, 1e-17, 1e-9], np.geomspace(1e-6, 1e12, 60)])


@pytest.mark.parametrize("exponent", [-1.1, -2.5, -4.765, -25.0, 0.0, 1.5])
def test_powers_are_those_of_the_library(exponent):
    room, out = make_power_room(len(RHO)), np.empty(len(RHO))
    powers(RHO, exponent, room, out)
    expected = np.exp(np.longdouble(exponent) * np.log1p(RHO.astype(np.longdouble)))
    # A few units in the last place of the logarithm, which the exponent multiplies.
    bound = 6e-16 * (1.0 + abs(exponent) * (1.0 + np.log1p(RHO)))
    assert (np.abs(out / expected - 1.0) < bound).all()


def test_logarithms_are_those_of_the_library():
    room = make_power_room(len(RHO))
    log1p_row(RHO, room)
    # Absolute: 1 + rho is rounded before its logarithm is taken.
    assert_allclose(room.log, np.log1p(RHO), rtol=6e-16, atol=3e-16)


@given(st.integers(1, 70), st.floats(0.0, 1e6), st.floats(-30.0, -1.0))
def test_an_element_does_not_depend_on_the_length_of_its_row(length, rho, exponent):
    alone, row = np.empty(1), np.empty(length)
    powers(np.array([rho]), exponent, make_power_room(1), alone)
    powers(np.full(length, rho), exponent, make_power_room(length), row)
    assert_allclose(row, alone[0], rtol=1e-15)  # fused or not


def test_what_would_vanish_is_tiny_but_positive():
    room, out = make_power_room(1), np.empty(1)
    powers(np.array([1e12]), -40.0, room, out)
    assert 0.0 < out[0] < 1e-290

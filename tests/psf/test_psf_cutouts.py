"""Cutting stars out of images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import WrongValue
from skyloom.psf import StarCutouts, cut_stars


@given(x=st.floats(-20, 120), y=st.floats(-20, 90))
@settings(max_examples=40, deadline=None)
def test_pixels_keep_their_place(x, y):
    ny, nx = 70, 100
    image = np.arange(ny * nx, dtype=np.float32).reshape(ny, nx)
    cut = cut_stars(image, np.ones_like(image), np.array([x]), np.array([y]), side=11)
    used = np.argwhere(cut.weight[0] > 0)
    for j, i in used:
        assert cut.data[0, j, i] == image[cut.y0[0] + j, cut.x0[0] + i]
    columns = np.arange(cut.x0[0], cut.x0[0] + 11)
    rows = np.arange(cut.y0[0], cut.y0[0] + 11)
    inside = ((columns >= 0) & (columns < nx)).sum() * ((rows >= 0) & (rows < ny)).sum()
    assert len(used) == inside
    assert abs(cut.x0[0] + 5 - x) <= 0.5
    assert abs(cut.y0[0] + 5 - y) <= 0.5


def test_what_is_not_finite_gets_no_weight():
    image = np.ones((30, 30), np.float32)
    weight = np.ones_like(image)
    image[15, 15], weight[14, 14], weight[13, 13] = np.nan, np.inf, -1
    cut = cut_stars(image, weight, np.array([15.0]), np.array([15.0]), side=11)
    assert np.isfinite(cut.data).all()
    assert (cut.weight[0, [5, 4, 3], [5, 4, 3]] == 0).all()
    assert (cut.weight > 0).sum() == 121 - 3


def test_rows_choose_stars():
    image = np.zeros((40, 40), np.float32)
    x = np.array([10.0, 20.0, 30.0])
    cut = cut_stars(image, image + 1, x, x, side=5)
    assert len(cut) == 3
    np.testing.assert_array_equal(cut.rows(np.array([2, 0])).x, [30, 10])


@pytest.mark.parametrize(("x", "side"), [(5.0, 10), (5.0, 0), (np.nan, 11)])
def test_impossible_requests_are_refused(x, side):
    image = np.zeros((20, 20), np.float32)
    with pytest.raises(WrongValue, match=r"cutout_size|drop the row"):
        cut_stars(image, image, np.array([x]), np.array([5.0]), side=side)


def test_arrays_that_do_not_belong_together_are_refused():
    stamp, one = np.zeros((1, 5, 5), np.float32), np.zeros(1)
    with pytest.raises(WrongValue, match="use cut_stars"):
        StarCutouts(
            data=stamp,
            weight=stamp[:, :4],
            x=one,
            y=one,
            x0=one.astype(int),
            y0=one.astype(int),
        )

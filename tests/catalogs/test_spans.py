"""Span sets against masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers
from scipy import ndimage

from skyloom.catalogs import SpanSet
from skyloom.errors import BadTable
from skyloom.geometry import Box

masks = arrays(bool, (7, 9))
XY0 = (100, -3)
BOX = Box.of_shape((7, 9)).shifted(*XY0)


@given(mask=masks)
def test_mask_and_spans_are_the_same_pixels(mask):
    spans = SpanSet.from_mask(mask, xy0=XY0)
    assert spans.area == mask.sum()
    assert np.array_equal(spans.mask(BOX), mask)
    x, y = spans.pixels()
    assert mask[y - XY0[1], x - XY0[0]].all()
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == mask.sum()
    ys, xs = np.mgrid[-5:6, 98:112]
    expected = np.zeros(ys.shape, bool)
    expected[2:9, 2:11] = mask
    assert np.array_equal(spans.contains(xs, ys), expected)
    assert spans.mask().sum() == mask.sum()


@given(a=masks, b=masks)
def test_algebra_of_sets(a, b):
    p, q = SpanSet.from_mask(a, xy0=XY0), SpanSet.from_mask(b, xy0=XY0)
    assert np.array_equal(p.union(q).mask(BOX), a | b)
    assert np.array_equal(p.intersection(q).mask(BOX), a & b)
    assert np.array_equal(p.difference(q).mask(BOX), a & ~b)
    assert (p == q) == np.array_equal(a, b)


@given(mask=masks, radius=floats(0, 3))
def test_dilation_and_erosion_are_those_of_scipy(mask, radius):
    ys, xs = np.mgrid[-3:4, -3:4]
    disc = xs**2 + ys**2 <= radius**2
    spans = SpanSet.from_mask(mask)
    padded = np.pad(mask, 5)
    box = Box.of_shape(mask.shape).grown(5)
    dilated = ndimage.binary_dilation(padded, disc)
    assert np.array_equal(spans.dilated(radius).mask(box), dilated)
    assert np.array_equal(spans.eroded(radius).mask(box), ndimage.binary_erosion(padded, disc))


@given(mask=masks, dx=integers(-4, 4), dy=integers(-4, 4))
def test_moved_and_clipped(mask, dx, dy):
    spans = SpanSet.from_mask(mask, xy0=XY0)
    moved = spans.shifted(dx, dy)
    assert np.array_equal(moved.mask(BOX.shifted(dx, dy)), mask)
    kept = moved.clipped(BOX)
    assert np.array_equal(kept.mask(BOX), moved.mask(BOX))
    assert kept.area == moved.mask(BOX).sum()


def test_normalization_joins_and_keeps_pixels_once():
    spans = SpanSet([[6, 1, 2], [5, 4, 9], [5, 0, 3], [5, 2, 5], [5, 11, 12]])
    assert spans.normalized().spans.tolist() == [[5, 0, 9], [5, 11, 12], [6, 1, 2]]
    assert spans.area == 6 + 4 + 4 + 2 + 2  # as stored
    assert spans.pixels()[1][0] == 6  # in the order of the file


def test_closed_forms():
    assert SpanSet.circle(1).area == 5
    assert SpanSet.circle(2, x=7, y=9).box == Box(5, 10, 7, 12)
    assert SpanSet.from_box(Box(2, 5, 1, 3)).spans.tolist() == [[1, 2, 4], [2, 2, 4]]
    assert SpanSet().area == 0
    assert SpanSet().box.is_empty
    assert not SpanSet()
    assert SpanSet().contains(1, 1) is False
    assert SpanSet.circle(3).contains(np.nan, 0) is False
    assert SpanSet.circle(3).contains(2.4, 2.4) is True  # rounds to (2, 2)
    assert SpanSet.circle(3).contains(3.0, 3.0) is False
    assert not SpanSet([[0, 1, 1]]).spans.flags.writeable


def test_parts_that_touch_at_corners_belong_together():
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[4, 5:8] = True
    first, second = SpanSet.from_mask(mask, xy0=(10, 20)).split()
    assert first.spans.tolist() == [[20, 10, 10], [21, 11, 11]]
    assert second.spans.tolist() == [[24, 15, 17]]
    assert SpanSet().split() == []


def test_damaged_spans():
    with pytest.raises(BadTable, match="span 1 of row y = 3 starts at x0 = 9 and ends before, at"):
        SpanSet([[2, 1, 1], [3, 9, 7]])
    with pytest.raises(BadTable, match="too large; it is damaged"):
        SpanSet([[0, 0, 0], [2**30, 0, 5]]).mask()

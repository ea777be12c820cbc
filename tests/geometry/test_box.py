from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.strategies import builds, integers, just

from skyloom.geometry import Box

edges, sides = integers(-50, 50), integers(0, 60)


@given(builds(Box, edges, edges, edges, edges), builds(Box, just(0), sides, just(0), sides))
def test_clipping_to_a_frame_keeps_exactly_the_common_pixels(box, frame):
    y, x = np.mgrid[-60:70, -60:70].astype(float)
    both = box.contains(x, y) & frame.contains(x, y)
    assert np.array_equal(box.clipped(frame).contains(x, y), both)


def test_half_open_edges_and_nan():
    box = Box(0, 10, 0, 5)
    x = np.array([0.0, 9.999, 10.0, np.nan, -0.001])
    assert box.contains(x, np.ones(5)).tolist() == [True, True, False, False, False]
    assert box.shape == (5, 10)
    assert np.zeros((20, 20))[box.slices].shape == box.shape


def test_box_around_a_pixel_has_it_in_the_middle():
    assert Box.around(10.4, 7.6, 3) == Box(7, 14, 5, 12)
    assert Box(0, 2, 0, 2).union(Box(5, 6, 1, 3)) == Box(0, 6, 0, 3)
    assert Box(3, 3, 0, 4).is_empty
    assert Box(1, 3, 2, 4).grown(1).shifted(10, 20) == Box(10, 14, 21, 25)

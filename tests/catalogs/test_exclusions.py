from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis.strategies import floats, integers

from skyloom.catalogs import excluded_reason, near_saturated, with_exclusions


def brute_force(x, y, mask, radius):
    """Look at every offset of the disk, as the rule is written."""
    ny, nx = mask.shape
    reach = int(radius)
    near = []
    for px, py in zip(np.rint(x), np.rint(y), strict=True):
        hit = False
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                ix, iy = int(px) + dx, int(py) + dy
                if dx**2 + dy**2 <= radius**2 and 0 <= ix < nx and 0 <= iy < ny:
                    hit |= bool(mask[iy, ix])
        near.append(hit)
    return np.array(near)


@given(seed=integers(0, 999), radius=floats(0, 6), n_saturated=integers(0, 4))
def test_near_saturated_equals_a_look_at_every_pixel(seed, radius, n_saturated):
    rng = np.random.default_rng(seed)
    mask = np.zeros((20, 25), dtype=bool)
    mask[rng.integers(0, 20, n_saturated), rng.integers(0, 25, n_saturated)] = True
    x, y = rng.uniform(-5, 30, 12), rng.uniform(-5, 25, 12)
    x[:3] = [4.5, 5.5, 6.5]  # rounding half to even
    found = near_saturated(x, y, [mask], radius=radius)
    assert np.array_equal(found, brute_force(x, y, mask, radius))


def test_the_edge_of_the_disk_is_inside():
    mask = np.zeros((60, 60), dtype=bool)
    mask[30, 30] = True
    x = np.array([50.0, 51.0, 42.0, 43.0, 50.4])
    y = np.array([30.0, 30.0, 46.0, 46.0, 30.0])
    assert near_saturated(x, y, [mask], radius=20.0).tolist() == [True, False, True, False, True]


def test_any_and_all_bands_and_nan():
    one = np.zeros((10, 10), dtype=bool)
    one[5, 5] = True
    none = np.zeros_like(one)
    x, y = np.array([5.0, np.nan]), np.array([5.0, 5.0])
    assert near_saturated(x, y, [none, one], radius=2).tolist() == [True, False]
    both = near_saturated(x, y, [one, none], radius=2, require_all_bands=True)
    assert both.tolist() == [False, False]
    both = near_saturated(x, y, iter([one, one]), radius=2, require_all_bands=True)
    assert both.tolist() == [True, False]
    assert not near_saturated(x, y, [], radius=2).any()


def test_flags_and_reasons():
    crop, saturation = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    table = Table({"ID": list("abcd"), "excluded_any": ["x"] * 4})
    flagged = with_exclusions(table, crop=crop, saturation=saturation)
    assert flagged["excluded_any"].tolist() == [True, True, True, False]
    assert flagged["excluded_crop"].dtype == bool
    assert table.colnames == ["ID", "excluded_any"]
    expected = ["crop+saturation", "crop", "saturation", ""]
    assert excluded_reason(crop, saturation).tolist() == expected


@pytest.mark.parametrize("n", [0, 1])
def test_small_catalogues(n):
    mask = np.ones((4, 4), dtype=bool)
    assert near_saturated(np.zeros(n), np.zeros(n), [mask], radius=1).tolist() == [True] * n

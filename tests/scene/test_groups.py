"""Blend groups and their blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skyloom.scene import BlendGroups, blend_groups
from skyloom.scene._neighbours_nb import mark_touched
from skyloom.scene.groups import _overlaps

seeds = st.integers(0, 2**32 - 1)


def field(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 120, (2, n))
    return x, y, np.where(rng.random(n) < 0.4, 0.0, rng.uniform(0.5, 4.0, n))


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == k).tolist()) for k in np.unique(label)}


def test_distant_sources_stand_alone() -> None:
    x = np.array([0.0, 50.0, 100.0])
    found = blend_groups(x, np.zeros(3), np.zeros(3), psf_sigma=1.5)
    assert_array_equal(found.group, [0, 1, 2])
    assert_array_equal(found.block, [0, 1, 2])


def test_neighbours_are_one_group_named_after_its_lowest_row() -> None:
    x = np.array([80.0, 0.0, 3.0, 83.0, 6.0])
    found = blend_groups(x, np.zeros(5), np.zeros(5), psf_sigma=1.5)
    assert_array_equal(found.group, [0, 1, 1, 0, 1])


def test_the_overlap_of_two_gaussians_decides() -> None:
    sigma, coupling = 1.5, 0.005
    edge = np.sqrt(4 * sigma**2 * np.log(1 / coupling))
    for distance, joined in ((edge - 1e-6, True), (edge + 1e-6, False)):
        found = blend_groups(
            np.array([0.0, distance]),
            np.zeros(2),
            np.zeros(2),
            psf_sigma=sigma,
            coupling=coupling,
            touch=1.0,
        )
        assert bool(found.group[1] == 0) is joined


def test_a_large_galaxy_reaches_far() -> None:
    x = np.array([0.0, 18.0])
    near = blend_groups(x, np.zeros(2), np.array([8.0, 0.0]), psf_sigma=1.5)
    far = blend_groups(x, np.zeros(2), np.array([1.0, 0.0]), psf_sigma=1.5)
    assert near.group[1] == 0
    assert far.group[1] == 1


def test_rows_without_position_stand_alone() -> None:
    x = np.array([5.0, np.nan, 6.0, np.nan])
    y = np.array([5.0, 5.0, np.nan, np.nan])
    found = blend_groups(x, y, np.array([0.0, 1.0, np.nan, np.nan]), psf_sigma=1.5)
    assert_array_equal(found.group, np.arange(4))


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_pairs_are_all_that_overlap(seed: int) -> None:
    x, y, radius = field(seed)
    sigma2 = 1.5**2 + (0.85 * radius) ** 2
    total = sigma2[:, None] + sigma2
    distance2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    value = 2.0 * np.sqrt(sigma2[:, None] * sigma2) / total * np.exp(-0.5 * distance2 / total)
    i, j, found = _overlaps(x, y, sigma2, np.arange(len(x)), 1e-6)
    assert_array_equal(np.column_stack([i, j]), np.argwhere(np.triu(value > 1e-6, 1)))
    assert_array_equal(found, value[i, j])


def test_empty_and_single_fields() -> None:
    none = blend_groups(np.zeros(0), np.zeros(0), np.zeros(0), psf_sigma=1.5)
    assert none.members() == {}
    one = blend_groups(np.zeros(1), np.zeros(1), np.zeros(1), psf_sigma=1.5)
    assert [rows.tolist() for blocks in one.members().values() for rows in blocks] == [[0]]


def test_members_lists_every_row_once_in_order() -> None:
    labels = BlendGroups(group=np.array([0, 1, 0, 1, 0]), block=np.array([0, 1, 2, 1, 0]))
    found = {g: [rows.tolist() for rows in blocks] for g, blocks in labels.members().items()}
    assert found == {0: [[0, 4], [2]], 1: [[1, 3]]}


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_blocks_are_bounded_parts_of_groups(seed: int) -> None:
    x, y, radius = field(seed)
    found = blend_groups(x, y, radius, psf_sigma=1.5, block_size=4)
    rows = [r for blocks in found.members().values() for r in blocks]
    assert max(len(r) for r in rows) <= 4
    assert sorted(np.concatenate(rows).tolist()) == list(range(60))
    for r in rows:
        assert len(set(found.group[r].tolist())) == 1
        assert found.block[r[0]] == r[0]  # named after the lowest row
    for g in np.unique(found.group):
        assert np.flatnonzero(found.group == g)[0] == g


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_groups_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    x, y, radius = field(seed)
    order = np.random.default_rng(seed + 1).permutation(len(x))
    here = blend_groups(x, y, radius, psf_sigma=1.5)
    there = blend_groups(x[order], y[order], radius[order], psf_sigma=1.5)
    back = np.argsort(order)
    assert partition(here.group) == partition(there.group[back])
    assert partition(here.block) == partition(there.block[back])


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_a_looser_coupling_only_joins(seed: int) -> None:
    x, y, radius = field(seed)
    fine = blend_groups(x, y, radius, psf_sigma=1.5, coupling=0.05)
    coarse = blend_groups(x, y, radius, psf_sigma=1.5, coupling=0.001)
    for part in partition(fine.group):
        assert len({int(coarse.group[r]) for r in part}) == 1


@given(seeds)
@settings(max_examples=50)
def test_who_is_touched_is_what_a_search_of_all_pairs_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    place = rng.uniform(0.0, 300.0, (n, 2))
    side = rng.choice([32, 64, 128, 272], n)
    moved = rng.random(n) < 0.3
    far = moved & (rng.random(n) < 0.5)
    group, block = rng.integers(0, 6, n), rng.integers(0, 9, n)
    near = np.zeros(n, np.bool_)
    mark_touched(np.argsort(place[:, 0]), place, side, moved, far, group, block, near)
    apart = np.abs(place[:, None] - place[None]).max(axis=2)
    overlap = apart < 0.5 * (side[:, None] + side[None])
    is_other = group[:, None] != group[None]
    counts = np.where(is_other, far[:, None], moved[:, None] & (block[:, None] != block[None]))
    assert_array_equal(near, (overlap & counts).any(axis=0))

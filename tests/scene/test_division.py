"""Groups of blocks of rows in flat arrays, and how they are dealt out to threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skyloom.scene.division import Division
from skyloom.scene.groups import BlendGroups
from skyloom.scene.threads import deal_out

seeds = st.integers(0, 2**32 - 1)


def random_labels(seed: int) -> BlendGroups:
    """Return 40 rows in groups and blocks, both named after their lowest rows."""
    rng = np.random.default_rng(seed)

    def lowest(labels: np.ndarray) -> np.ndarray:
        _, first, index = np.unique(labels, return_index=True, return_inverse=True)
        return first[index]

    group = lowest(rng.integers(0, 15, 40))
    return BlendGroups(group=group, block=lowest(group * 100 + rng.integers(0, 3, 40)))


def as_lists(division: Division) -> dict[int, list[list[int]]]:
    return {g: [rows.tolist() for rows in blocks] for g, blocks in division.items()}


@given(seed=seeds)
def test_labels_and_mappings_give_the_same(seed):
    labels = random_labels(seed)
    expected: dict[int, list[list[int]]] = {}
    for g in np.unique(labels.group):
        blocks = np.unique(labels.block[labels.group == g])
        expected[int(g)] = [np.flatnonzero(labels.block == b).tolist() for b in blocks]
    found = labels.members()
    assert as_lists(found) == expected
    again = Division.of({g: [np.array(b) for b in blocks] for g, blocks in expected.items()})
    for name in ("number", "rows", "block", "group"):
        assert_array_equal(getattr(again, name), getattr(found, name))
    assert Division.of(found) is found


@given(seed=seeds, order=st.permutations(range(5)))
def test_some_groups_in_any_order(seed, order):
    division = random_labels(seed).members()
    everything = as_lists(division)
    places = np.array([o for o in order if o < len(division)], dtype=np.int64)
    taken = division.taken(places)
    assert as_lists(taken) == {n: everything[n] for n in division.number[places].tolist()}
    assert list(taken) == division.number[places].tolist()
    begin, end = len(division) // 3, len(division) // 3 + 2
    part = division.part(begin, end)
    assert as_lists(part) == {n: everything[n] for n in division.number[begin:end].tolist()}
    assert part.block[0] == part.group[0] == 0


@given(seed=seeds)
def test_the_brightest_block_comes_first(seed):
    division = random_labels(seed).members()
    snr = np.random.default_rng(seed).permutation(40).astype(float)
    found = as_lists(division.brightest_first(snr))
    for number, blocks in as_lists(division).items():
        assert found[number] == sorted(blocks, key=lambda b: -snr[b].max())


def test_nothing_to_solve():
    nothing = Division.of({})
    assert len(nothing) == len(nothing.rows) == 0
    assert nothing.brightest_first(np.zeros(0)) is nothing
    assert deal_out(nothing, np.zeros(0, np.int64), 2) == []
    with pytest.raises(KeyError):
        nothing[3]


@given(seed=seeds, threads=st.integers(1, 4))
def test_portions_hold_every_group_once(seed, threads):
    division = random_labels(seed).members()
    side = np.random.default_rng(seed).choice([32, 64, 256], 40)
    portions = deal_out(division, side, threads)
    everything = {n: blocks for portion in portions for n, blocks in as_lists(portion).items()}
    assert everything == as_lists(division)
    assert sum(map(len, portions)) == len(division)
    assert all(len(portion) for portion in portions)
    if threads > 1:  # whoever begins late must not begin with the most work
        work = [(side[p.rows].astype(float) ** 2).sum() for p in portions]
        assert len(portions) >= min(threads, len(division))
        assert max(work) == pytest.approx(max(work[: threads + 1]))

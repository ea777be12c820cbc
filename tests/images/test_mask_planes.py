"""Masks: planes go by name, bits are unsigned, views share memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import Mismatch, TooManyMaskPlanes, UnknownMaskPlane, WrongType
from skyloom.geometry import Box
from skyloom.images import DEFAULT_PLANES, Mask


def test_a_new_mask_has_the_nine_default_planes():
    mask = Mask.zeros(4, 3)
    assert mask.array.shape == (3, 4)
    assert mask.array.dtype == np.int32
    assert mask.planes == dict(DEFAULT_PLANES)
    assert [mask.planes[n] for n in ("BAD", "SAT", "NO_DATA")] == [0, 1, 8]


def test_each_mask_has_planes_of_its_own():
    one, two = Mask.zeros(2, 2), Mask.zeros(2, 2)
    one.add_mask_plane("MINE")
    assert "MINE" not in two.planes
    assert "MINE" not in DEFAULT_PLANES


def test_a_plane_gets_the_lowest_unused_bit():
    mask = Mask(np.zeros((2, 2), np.int32), planes={"A": 0, "B": 2})
    assert mask.add_mask_plane("C") == 1
    assert mask.add_mask_plane("D") == 3
    assert mask.add_mask_plane("C") == 1  # known already


@pytest.mark.parametrize(("dtype", "limit"), [(np.int32, 32), (np.uint16, 16)])
def test_no_bit_is_left(dtype, limit):
    planes = {f"P{i}": i for i in range(limit)}
    mask = Mask(np.zeros((1, 1), dtype), planes=planes)
    with pytest.raises(TooManyMaskPlanes, match=f"has {limit}") as caught:
        mask.add_mask_plane("ONE_MORE")
    assert caught.value.limit == limit


def test_bit_31_is_the_sign():
    mask = Mask(np.zeros((1, 2), np.int32), planes={"TOP": 31})
    assert mask.get_plane_bit_mask("TOP") == 2**31
    mask |= mask.get_plane_bit_mask("TOP")
    assert mask.array.tolist() == [[-(2**31)] * 2]
    assert mask.is_set("TOP").all()
    mask.clear_mask_plane(31)
    assert not mask.array.any()


def test_sat_and_saturated_are_the_same():
    assert Mask.zeros(1, 1).get_mask_plane("SATURATED") == 1
    assert Mask.zeros(1, 1).get_mask_plane("INTERPOLATED") == 2
    old = Mask(np.zeros((1, 1), np.int32), planes={"SATURATED": 5})
    assert old.get_mask_plane("SAT") == 5
    assert old.add_mask_plane("SAT") == 5
    assert old.planes == {"SATURATED": 5}  # the name that it had


def test_an_unknown_plane_is_answered_with_the_known_ones():
    with pytest.raises(UnknownMaskPlane, match="BAD, SAT, INTRP") as caught:
        Mask.zeros(1, 1).get_plane_bit_mask(["BAD", "CLOUD"])
    assert isinstance(caught.value, KeyError)
    assert caught.value.plane == "CLOUD"


def test_pixels_become_zero_or_the_bit_value():
    mask = Mask(np.array([[0, 8, 9]], np.int32))
    only = mask.copy()
    only &= only.get_plane_bit_mask("CR")
    assert only.array.tolist() == [[0, 8, 8]]
    assert mask.array.tolist() == [[0, 8, 9]]
    assert mask.is_set(["BAD", "CR"]).tolist() == [[False, True, True]]


def test_masks_with_other_bits_are_not_combined_silently():
    one = Mask(np.array([[1]], np.int32), planes={"A": 0, "B": 1})
    two = Mask(np.array([[1]], np.int32), planes={"B": 0, "C": 1})
    with pytest.raises(Mismatch, match="A: 0 and none, B: 1 and 0"):
        one |= two
    one.combine(two, conform=True)
    assert one.array.tolist() == [[0b11]]
    assert one.planes == {"A": 0, "B": 1, "C": 2}
    assert two.planes == {"B": 0, "C": 1}  # as it was
    assert two.array.tolist() == [[1]]


def test_masks_of_other_shapes_are_not_combined():
    one = Mask.zeros(2, 2)
    with pytest.raises(Mismatch, match="2 x 2 and 3 x 2"):
        one |= Mask.zeros(3, 2)


def test_operations_with_masks_and_numbers():
    one = Mask(np.array([[0b0110]], np.int32))
    one ^= Mask(np.array([[0b0011]], np.int32))
    assert one.array.item() == 0b0101
    one &= 0b0100
    one |= 0b1000
    assert one.array.item() == 0b1100


def test_a_16_bit_mask_is_conformed_to_a_wide_one():
    wide = Mask(np.zeros((1, 1), np.int32), planes={"A": 20})
    old = Mask(np.array([[4]], np.uint16), planes={"A": 2})
    wide.combine(old, conform=True)
    assert wide.array.item() == 1 << 20


def test_a_plane_is_removed():
    mask = Mask(np.array([[0b1010]], np.int32))
    mask.remove_and_clear_mask_plane("SATURATED")
    assert mask.array.item() == 0b1000
    assert "SAT" not in mask.planes


names = st.permutations(["A", "B", "C", "D", "E"])
bits = st.lists(st.integers(0, 31), min_size=5, max_size=5, unique=True)


@settings(deadline=None)  # other work may hold the machine up
@given(old=bits, new=bits, seed=st.integers(0, 2**16))
def test_conforming_keeps_what_is_set(old, new, seed):
    names = "ABCDE"
    pixels = np.random.default_rng(seed).integers(0, 32, (3, 4))
    array = np.zeros((3, 4), np.uint32)
    for i, bit in enumerate(old):
        array |= ((pixels >> i & 1) << bit).astype(np.uint32)
    mask = Mask(array.view(np.int32), planes=dict(zip(names, old, strict=True)))
    before = {name: mask.is_set(name).copy() for name in names}
    mask.conform_mask_planes(dict(zip(names, new, strict=True)))
    assert mask.planes == dict(zip(names, new, strict=True))
    assert all((mask.is_set(name) == before[name]).all() for name in names)
    assert int(sum(1 << b for b in new)) | int(np.bitwise_or.reduce(mask.bits.ravel())) == sum(
        1 << b for b in new
    )  # no bit is left behind


def test_conforming_moves_planes_that_are_in_the_way():
    mask = Mask(np.array([[0b10]], np.int32), planes={"X": 0, "Y": 1})
    mask.conform_mask_planes({"Z": 1})
    assert mask.planes["Z"] == 1
    assert mask.is_set("Y").all()
    assert not mask.is_set(["X", "Z"]).any()


def test_a_box_of_a_mask_shares_memory_and_planes():
    mask = Mask.zeros(6, 5, xy0=(10, 20), planes={"A": 3})
    part = mask[Box(12, 14, 21, 24)]
    assert part.xy0 == (12, 21)
    assert part.planes == {"A": 3}
    part |= 8
    assert mask.array.sum() == 6 * 8
    assert mask.array[1, 2] == 8


def test_a_mask_holds_integers():
    with pytest.raises(WrongType, match="not float64"):
        Mask(np.zeros((2, 2)))
    with pytest.raises(TooManyMaskPlanes, match="has 16 bits"):
        Mask(np.zeros((2, 2), np.uint16), planes={"A": 16})

"""Transforms of PSFs: kept once, found again, the same whoever asks first."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.psf import MoffatPsf
from skyloom.scene import PsfBank, PsfTransforms


@pytest.fixture
def transforms() -> PsfTransforms:
    return PsfTransforms(MoffatPsf(fwhm_pix=3.5, beta=3.0))


def in_turn(work, tasks) -> None:
    for task in tasks:
        work(task)


def test_a_bank_keeps_the_only_copy_and_finds_it_again(transforms: PsfTransforms) -> None:
    expected = {side: transforms.basis(side).ravel().copy() for side in (32, 64)}
    bank = PsfBank([transforms])
    start = {side: bank.offset(0, side, 1) for side in expected}
    for side, values in expected.items():
        assert not transforms.is_known(side, 1)
        np.testing.assert_array_equal(bank.flat[start[side] :][: values.size], values)
        assert bank.offset(0, side, 1) == start[side]
    assert bank.flat.size == sum(values.size for values in expected.values())


def test_what_a_bank_has_is_not_computed_ahead(transforms: PsfTransforms) -> None:
    bank = PsfBank([transforms])
    bank.offset(0, 32, 1)
    bank.prepare([(0, 32, 1), (0, 64, 1)], in_turn)
    assert not transforms.is_known(32, 1)
    assert transforms.is_known(64, 1)


def test_another_bank_gets_the_same_transforms(transforms: PsfTransforms) -> None:
    banks = [PsfBank([transforms]) for _ in range(2)]
    for bank in banks:
        bank.offset(0, 32, 1)
    np.testing.assert_array_equal(banks[0].flat, banks[1].flat)

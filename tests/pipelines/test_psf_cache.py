"""PSFs that a worker keeps: equal ones share their transforms, whoever made them."""

from __future__ import annotations

import numpy as np

from skyloom.pipelines.tile.psf_cache import bank_of, with_transforms
from skyloom.psf import FieldPsf


def gaussian(sigma: float) -> FieldPsf:
    axis = np.arange(-10, 11)
    stamp = np.exp(-0.5 * (axis[:, None] ** 2 + axis[None, :] ** 2) / sigma**2)
    return FieldPsf(
        basis=(stamp / stamp.sum())[None].astype(np.float32),
        polynomial=np.ones((1, 1)),
        shape=(50, 50),
        fwhm=2.355 * sigma,
    )


def test_equal_fallbacks_share_transforms_and_bank() -> None:
    pairs = [with_transforms(gaussian(2.0)) for _ in range(3)]
    assert len({id(transforms) for _, transforms in pairs}) == 1
    assert bank_of(pairs[0][1], pairs[1][1]) is bank_of(pairs[2][1], pairs[0][1])


def test_other_fallbacks_have_their_own() -> None:
    one, other = with_transforms(gaussian(2.0)), with_transforms(gaussian(2.1))
    assert one[1] is not other[1]
    assert one[0].fwhm != other[0].fwhm

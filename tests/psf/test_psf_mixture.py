"""PSFs as sums of Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import WrongValue
from skyloom.psf import (
    FieldPsf,
    GaussianMixture,
    MoffatPsf,
    fit_gaussian_mixture,
    mixture_field,
)


def one(*, xx: float, yy: float, xy: float, x: float = 0.0, y: float = 0.0) -> GaussianMixture:
    return GaussianMixture(
        weight=np.ones(1), mean=np.array([[x, y]]), covariance=np.array([[[xx, xy], [xy, yy]]])
    )


@settings(max_examples=20, deadline=None)
@given(
    xx=st.floats(1.5, 8.0),
    yy=st.floats(1.5, 8.0),
    tilt=st.floats(-0.6, 0.6),
    x=st.floats(-0.5, 0.5),
)
def test_a_gaussian_is_recovered(xx: float, yy: float, tilt: float, x: float) -> None:
    xy = tilt * np.sqrt(xx * yy)
    truth = one(xx=xx, yy=yy, xy=xy, x=x)
    found = fit_gaussian_mixture(truth.stamp(41), 1)
    # the light beyond the stamp of 7 sigma and the sum for the integral: below 1e-6
    assert found.covariance[0] == pytest.approx(truth.covariance[0], abs=1e-4)
    assert found.mean[0] == pytest.approx([x, 0.0], abs=1e-5)


def test_two_gaussians_are_told_apart() -> None:
    narrow, wide = one(xx=2.0, yy=2.5, xy=0.3), one(xx=16.0, yy=14.0, xy=-1.0)
    stamp = 0.7 * narrow.stamp(61) + 0.3 * wide.stamp(61)
    found = fit_gaussian_mixture(stamp, 2, steps=2000)
    order = np.argsort(found.covariance[:, 0, 0])
    assert found.weight[order] == pytest.approx([0.7, 0.3], abs=0.01)  # slow: EM is first order
    assert found.covariance[order[0]] == pytest.approx(narrow.covariance[0], abs=0.05)


def test_more_gaussians_fit_a_moffat_better() -> None:
    stamp = MoffatPsf(fwhm_pix=4.0, beta=3.0, radius=30.0).basis[0].astype(float)
    worst = []
    for n in (1, 2, 4):
        model = fit_gaussian_mixture(stamp, n).stamp(61)
        worst.append(np.abs(model * stamp.sum() / model.sum() - stamp).max() / stamp.max())
    assert worst[0] > worst[1] > worst[2]
    assert worst[2] < 0.02  # four Gaussians for wings of slope 3: a per cent of the peak


def test_stamps_without_light_and_zero_gaussians_are_refused() -> None:
    for stamp, n in ((np.zeros((5, 5)), 2), (np.ones((5, 5)), 0), (np.full((5, 5), np.nan), 1)):
        with pytest.raises(WrongValue, match="gaussian_mixture_n"):
            fit_gaussian_mixture(stamp, n)


def moffat_field(*, varying: bool) -> FieldPsf:
    narrow, wide = (MoffatPsf(fwhm_pix=f, radius=20.0).basis[0] for f in (3.5, 4.5))
    middle, slope = 0.5 * (narrow + wide), 0.5 * (wide - narrow)
    coefficients = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # the second grows along x
    if not varying:
        return FieldPsf(basis=middle[None], polynomial=np.ones((1, 1)), shape=(90, 100), fwhm=4.0)
    basis = np.stack([middle, slope])
    return FieldPsf(basis=basis, polynomial=coefficients, shape=(90, 100), fwhm=4.0)


@pytest.mark.parametrize("varying", [False, True])
def test_a_field_of_mixtures_follows_the_field_and_keeps_its_light(varying: bool) -> None:
    psf = moffat_field(varying=varying)
    found = mixture_field(psf, 4)
    for x in (15.0, 50.0, 85.0):
        was, now = psf.stamp_at(x, 40.0), found.stamp_at(x, 40.0)
        assert now.sum() == pytest.approx(was.sum(), rel=2e-4)  # joined between nodes
        assert np.abs(now - was).max() < 0.02 * was.max()  # as above
    assert found.fwhm == pytest.approx(psf.fwhm, rel=0.05)
    if varying:
        widths = [found.stamp_at(x, 40.0).max() for x in (15.0, 85.0)]
        assert widths[0] > 1.2 * widths[1]  # FWHM 3.65 and 4.35: 1.42 in area


def test_mixtures_are_the_same_every_time() -> None:
    one_, two = (mixture_field(moffat_field(varying=True), 3) for _ in range(2))
    assert np.array_equal(one_.basis, two.basis)

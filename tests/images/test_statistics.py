"""Statistics of pixels, and adaptive moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.errors import UnknownMaskPlane
from skyloom.images import (
    Exposure,
    Image,
    KernelPsf,
    MaskedImage,
    PsfexPsf,
    adaptive_moments,
    pixel_statistics,
    psf_moments,
)


def gaussian(ixx, iyy, ixy, x=30.0, y=30.0):
    dy, dx = np.indices((61, 61)) - np.array([y, x])[:, None, None]
    det = ixx * iyy - ixy**2
    return np.exp(-0.5 * (iyy * dx**2 - 2 * ixy * dx * dy + ixx * dy**2) / det)


def test_numbers_of_a_few_pixels():
    found = pixel_statistics(Image([[1.0, 2.0, 3.0], [4.0, np.nan, np.inf]]))
    assert (found.n, found.sum, found.mean, found.median) == (4, 10.0, 2.5, 2.5)
    assert (found.minimum, found.maximum, found.quartiles) == (1.0, 4.0, (1.75, 3.25))
    assert found.iqr == 1.5
    assert found.stdev == pytest.approx(np.sqrt(5.0 / 3.0))
    assert found.mean_err == pytest.approx(np.sqrt(5.0 / 12.0))
    assert found.mean_square == 7.5


def test_bad_pixels_are_left_out_by_name():
    image = MaskedImage(np.array([[1.0, 2.0], [3.0, 1e6]], np.float32))
    image.mask.array[1, 1] = image.mask.get_plane_bit_mask("SAT")
    image.mask.array[0, 0] = image.mask.get_plane_bit_mask("CR")
    assert pixel_statistics(image).maximum == 1e6
    assert pixel_statistics(image, bad="SATURATED").n == 3
    assert pixel_statistics(Exposure(image), bad=("SAT", "CR")).mean == 2.5
    with pytest.raises(UnknownMaskPlane, match="SATT"):
        pixel_statistics(image, bad="SATT")
    with pytest.raises(ValueError, match="no mask with SAT; give a MaskedImage"):
        pixel_statistics(image.image, bad="SAT")


def test_clipping_finds_the_sky_under_stars():
    rng = np.random.default_rng(5)
    values = rng.normal(100.0, 5.0, (300, 300))
    values[::20, ::20] += 2000.0
    found = pixel_statistics(Image(values))
    assert found.mean > 104.0
    # 3 sigma of the mean of 9e4 pixels is 0.05; clipping at 3 sigma takes 1.3 % of the width
    assert found.mean_clipped == pytest.approx(100.0, abs=0.06)
    assert found.stdev_clipped == pytest.approx(5.0 * 0.987, rel=0.01)
    assert values.size - 225 - found.n_clipped == pytest.approx(0.0027 * values.size, rel=0.3)
    assert pixel_statistics(Image(values), max_iterations=0).mean_clipped == found.mean


def test_of_nothing_nothing_is_known():
    found = pixel_statistics(Image(np.full((2, 2), np.nan)))
    assert (found.n, found.n_clipped, found.sum) == (0, 0, 0.0)
    assert np.isnan(
        [found.mean, found.median, found.stdev, found.mean_clipped, found.mean_err]
    ).all()
    assert np.isnan(pixel_statistics(Image([[3.0]])).stdev)


@given(
    a=st.floats(1.6, 5.0), ratio=st.floats(0.5, 1.0), theta=st.floats(0.0, np.pi),
    shift=st.floats(-0.5, 0.5), scale=st.floats(1e-3, 1e6),
)  # fmt: skip
def test_moments_of_a_gaussian_are_its_own(a, ratio, theta, shift, scale):
    cos, sin, b = np.cos(theta), np.sin(theta), a * max(ratio, 1.6 / a)
    ixx, iyy = (a * cos) ** 2 + (b * sin) ** 2, (a * sin) ** 2 + (b * cos) ** 2
    ixy = (a * a - b * b) * sin * cos
    image = scale * gaussian(ixx, iyy, ixy, 30.0 + shift, 30.0 - shift)
    found = adaptive_moments(image, x=30.0, y=30.0)
    # 1e-5: sums for integrals, of a weighted width of 1.6 / sqrt(2) pixels
    assert (found.ixx, found.iyy, found.ixy) == pytest.approx((ixx, iyy, ixy), abs=1e-5 * a * a)


def test_what_is_no_star_has_no_moments():
    for image in (np.zeros((9, 9)), np.full((9, 9), np.nan), -gaussian(4.0, 4.0, 0.0)):
        assert np.isnan(adaptive_moments(image, x=4.0, y=4.0).ixx)


def test_moments_of_psfs():
    images = np.stack([gaussian(4.0, 4.0, 0.0), gaussian(9.0, 9.0, 0.0)])
    psf = KernelPsf(images, [1.0, lambda x, _: x / 1000.0])
    assert psf_moments(psf, 0.0, 5.0).determinant_radius == pytest.approx(2.0, rel=1e-6)
    assert 2.0 < psf_moments(psf, 1000.0, 5.0).determinant_radius < 3.0
    step = 0.5  # pix: the model has the star at twice the sampling
    model = PsfexPsf(gaussian(16.0, 16.0, 0.0)[None], step=step, group=(0, 0), degree=(0,),
                     offset=(0.0, 0.0), scale=(1.0, 1.0))  # fmt: skip
    # 1e-4: the wings of the Lanczos kernel
    assert psf_moments(model, 3.0, 4.0).determinant_radius == pytest.approx(2.0, rel=1e-4)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers

from skyloom.coadd import row_strips, white_stack, white_strip
from skyloom.geometry import Box


def planes(seed=0, shape=(23, 17), n=3):
    rng = np.random.default_rng(seed)
    out = [rng.normal(10, 3, size=shape).astype(np.float32) for _ in range(n)]
    for plane in out:
        plane[rng.random(shape) < 0.2] = np.nan
    return out


def test_two_bands_of_the_specification():
    bands = [np.full((2, 2), 10, np.float32), np.full((2, 2), 20, np.float32)]
    white = white_strip(bands, sky_sigma=[1.0, 2.0])
    assert white.image == pytest.approx(12.0, rel=1e-6)  # single precision
    assert white.sigma == pytest.approx(0.894427, rel=1e-6)
    assert white.image.dtype == white.sigma.dtype == np.float32


def test_nan_in_one_band_leaves_the_others():
    one, two = np.full((3, 3), 10, np.float32), np.full((3, 3), 20, np.float32)
    one[1, 1] = np.nan
    two[0, 0] = np.inf
    one[2, 2] = two[2, 2] = np.nan
    white = white_strip([one, two], sky_sigma=[1.0, 2.0])
    assert (white.image[1, 1], white.sigma[1, 1]) == (20.0, 2.0)
    assert (white.image[0, 0], white.sigma[0, 0]) == (10.0, 1.0)
    assert np.isnan(white.image[2, 2])
    assert white.sigma[2, 2] == np.inf
    assert np.isnan(white.image).sum() == 1


@given(rows=integers(1, 30), seed=integers(0, 50))
def test_strips_give_the_whole_at_once(rows, seed):
    bands, sigma = planes(seed), [1.0, 2.5, 0.7]
    shape = bands[0].shape
    strips = ((box, (b[box.slices] for b in bands)) for box in row_strips(shape, rows))
    stacked = white_stack(strips, sky_sigma=sigma, shape=shape)
    whole = white_strip(bands, sky_sigma=sigma)
    assert np.array_equal(stacked.image, whole.image, equal_nan=True)
    assert np.array_equal(stacked.sigma, whole.sigma)


def test_strips_in_threads_give_the_same_bytes_and_the_same_errors():
    bands, sigma, shape = planes(), [1.0, 2.5, 0.7], (23, 17)

    def strips():
        return [(box, [b[box.slices] for b in bands]) for box in row_strips(shape, 4)]

    one, three = (white_stack(strips(), sky_sigma=sigma, shape=shape, threads=n) for n in (1, 3))
    assert one.image.tobytes() == three.image.tobytes()
    assert one.sigma.tobytes() == three.sigma.tobytes()
    with pytest.raises(ValueError, match="shorter"):
        white_stack(strips(), sky_sigma=sigma[:2], shape=shape, threads=3)


def test_the_stack_is_the_weighted_mean_of_numpy():
    bands, sigma = planes(), np.array([1.0, 2.5, 0.7])
    cube = np.ma.masked_invalid(np.array(bands, dtype=float))
    mean, weight = np.ma.average(
        cube, axis=0, weights=sigma[:, None, None] ** -2 + 0 * cube, returned=True
    )
    white = white_strip(bands, sky_sigma=sigma)
    # 1e-6: the result is single precision
    assert np.allclose(white.image, mean.filled(np.nan), rtol=1e-6, equal_nan=True)
    with np.errstate(divide="ignore"):
        assert np.allclose(white.sigma, np.asarray(weight.filled(0)) ** -0.5, rtol=1e-6)


def test_noise_of_the_stack_is_what_its_sigma_says():
    rng = np.random.default_rng(5)
    sigma = [1.0, 2.0, 3.0]
    bands = [rng.normal(0, s, (200, 200)).astype(np.float32) for s in sigma]
    white = white_strip(bands, sky_sigma=sigma)
    # 3 standard errors of a standard deviation from 40 000 pixels: 1.1 %
    assert white.image.std() == pytest.approx(white.sigma[0, 0], rel=0.011)


def test_useless_sigmas_have_no_weight():
    bands = [np.ones((2, 2), np.float32), 5 * np.ones((2, 2), np.float32)]
    for bad in (0.0, -1.0, np.nan, np.inf):
        assert (white_strip(bands, sky_sigma=[bad, 2.0]).image == 5).all()


def test_strips_cover_every_row_once_and_gaps_stay_nan():
    boxes = list(row_strips((10, 4), 3))
    assert [b.y0 for b in boxes] == [0, 3, 6, 9]
    assert boxes[-1] == Box(0, 4, 9, 10)
    part = [(boxes[0], [np.ones((3, 4), np.float32)])]
    white = white_stack(part, sky_sigma=[1.0], shape=(10, 4))
    assert np.isnan(white.image[3:]).all()
    assert np.isinf(white.sigma[3:]).all()


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="no band"):
        white_strip([], sky_sigma=[])
    with pytest.raises(ValueError, match="argument"):
        white_strip([np.ones((2, 2))], sky_sigma=[1.0, 2.0])
    with pytest.raises(ValueError, match="cannot be stacked"):
        white_strip([np.ones((2, 2)), np.ones((3, 2))], sky_sigma=[1.0, 2.0])


def test_noise_of_each_pixel_weighs_it():
    """A pixel without weight counts as one that is missing; strips ask for their part."""
    bands = [np.full((4, 3), 10, np.float32), np.full((4, 3), 20, np.float32)]
    noise = np.array([[1.0, 2.0, np.inf]] * 4, np.float32)
    noise[3] = 4.0
    strips = ((box, (b[box.slices] for b in bands)) for box in row_strips((4, 3), 2))
    found = white_stack(strips, sky_sigma=[lambda box: noise[box.slices], 2.0], shape=(4, 3))
    weight = 1 / noise**2
    expected = (10 * weight + 20 / 4) / (weight + 1 / 4)
    assert found.image == pytest.approx(expected, rel=1e-6)  # single precision
    assert found.sigma == pytest.approx((weight + 1 / 4) ** -0.5, rel=1e-6)
    assert found.image[0, 2] == 20.0

from __future__ import annotations

import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis.strategies import floats
from scipy.spatial import cKDTree

from skyloom.detect import extract_candidates
from skyloom.images import FitsImage


def scene(positions, *, shape=(120, 140), sigma=1.0, peak=100.0, width=(2.0, 2.0), seed=1):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.random.default_rng(seed).normal(0, sigma, shape)
    for px, py in positions:
        image += peak * np.exp(-0.5 * (((x - px) / width[0]) ** 2 + ((y - py) / width[1]) ** 2))
    return image.astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(x=floats(30, 100), y=floats(30, 80))
def test_positions_are_zero_based_and_shapes_come_out(x, y):
    found = extract_candidates(scene([(x, y)], width=(3, 2)), 1.0, thresh=5, minarea=9)
    assert len(found) == 1
    # 0.1 pix: noise of the centroid of a source at S/N ~ 300 above the isophote, times three
    assert (found["x"][0], found["y"][0]) == (pytest.approx(x, abs=0.1), pytest.approx(y, abs=0.1))
    assert found["a"][0] / found["b"][0] == pytest.approx(1.5, rel=0.08)  # isophotal truncation
    assert abs(found["theta"][0]) < 0.1
    assert found["flux"][0] == pytest.approx(2 * np.pi * 6 * 100, rel=0.05)  # light below 5 sigma


def test_masked_and_nan_pixels_are_ignored():
    image = scene([(30, 30), (80, 60), (110, 90)])
    image[25:36, 25:36] = np.nan
    mask = np.zeros(image.shape, bool)
    mask[45:75, 65:95] = True
    noise = np.ones(image.shape, np.float32)
    noise[85:96, 105:116] = np.inf
    copies = image.copy(), mask.copy(), noise.copy()
    found = extract_candidates(image, noise, mask, thresh=30, minarea=5)
    assert len(found) == 0
    assert np.array_equal(copies[0], image, equal_nan=True)  # inputs stay as they are
    assert np.array_equal(copies[1], mask)
    assert np.array_equal(copies[2], noise)
    assert len(extract_candidates(image, 1.0, thresh=30, minarea=5)) == 2


def test_the_threshold_is_in_units_of_the_noise():
    image = scene([(30, 30), (100, 80)], peak=20)
    noise = np.ones(image.shape, np.float32)
    noise[:, 70:] = 50.0
    found = extract_candidates(image, noise, thresh=5, minarea=5)
    assert found["x"] == pytest.approx([30], abs=0.3)


def test_non_native_pixels_and_units():
    image = scene([(50, 50)]).astype(">f8")
    found = extract_candidates(image, 1.0, thresh=5, minarea=5)
    assert len(found) == 1
    assert (str(found["x"].unit), str(found["theta"].unit)) == ("pix", "rad")


def test_limits_of_sep_do_not_stop_us_and_are_put_back():
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    try:
        sep.set_extract_pixstack(1000)
        sep.set_sub_object_limit(16)
        # one bright plateau of 90 000 pixels with 150 peaks: overflows both limits
        grid = [(15 + 18 * i, 15 + 18 * j) for i in range(15) for j in range(10)]
        image = scene(grid, shape=(300, 300), peak=300, width=(3, 3)) + np.float32(50)
        found = extract_candidates(image, 1.0, thresh=5, minarea=5, deblend_cont=1e-4)
        assert len(found) >= 150
        assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == (1000, 16)
    finally:
        sep.set_extract_pixstack(before[0])
        sep.set_sub_object_limit(before[1])


def test_an_empty_image_has_no_objects():
    found = extract_candidates(np.zeros((20, 20), np.float32), 1.0, thresh=5, minarea=5)
    assert len(found) == 0
    assert found.colnames[:5] == ["x", "y", "a", "b", "theta"]
    nothing = extract_candidates(np.full((20, 20), np.nan, np.float32), 1.0, thresh=5, minarea=5)
    assert len(nothing) == 0


def test_a_real_image_gives_the_objects_of_sextractor(shared_data):
    folder = shared_data / "sep_reference"
    image, back, rms = (
        FitsImage.open(folder / f"{name}.fits").read() for name in ("image", "back", "rms")
    )
    columns = np.loadtxt(folder / "image.cat")
    flux, error, flags = columns[:, 15], columns[:, 16], columns[:, -1]  # FLUX_AUTO and its error
    bright = (flags == 0) & (flux > 20 * error)
    reference = columns[bright, 1:3] - 1  # SExtractor counts from 1
    # SExtractor: 1.5 sigma of a pixel after smoothing with (1 2 1; 2 4 2; 1 2 1) / 16, whose noise
    # is 6/16 of a pixel's; our threshold is in units of the smoothed noise
    found = extract_candidates(image - back, rms, thresh=4.0, minarea=5, deblend_cont=0.005)
    tree = cKDTree(np.column_stack([found["x"], found["y"]]))
    distance, _ = tree.query(reference)
    assert len(reference) > 15
    # 0.1 pix: the noise map bends the isophotes a little; half of them do not feel it
    assert distance.max() < 0.1
    assert np.median(distance) < 1e-3

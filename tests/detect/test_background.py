from __future__ import annotations

import json

import numpy as np
import pytest

from skyloom.detect import cell_background


def cell(*, shape=(200, 240), slope=0.02, level=5.0, sigma=1.0, n_stars=25):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    sky = level + slope * x
    image = sky + rng.normal(0, sigma, shape)
    for px, py in zip(rng.uniform(0, 240, n_stars), rng.uniform(0, 200, n_stars), strict=True):
        image += 200 * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / 4)
    return image.astype(np.float32), sky


def test_a_flat_sky_under_stars_is_recovered():
    image, _ = cell(slope=0)
    bad = np.zeros(image.shape, bool)
    found = cell_background(image, 1.0, bad, boxsize=48, filtersize=3)
    assert found.status == "ok"
    # masking above 3 sigma trims the noise by 0.004; stars below the limit add 0.05
    assert found.level_median == pytest.approx(5.0, abs=0.1)
    assert found.rms_median == pytest.approx(1.0, abs=0.1)
    assert 0.01 < found.mask_frac < 0.2
    assert found.level.shape == image.shape


def test_a_slope_is_followed():
    # mild: the source mask is relative to the median of the whole cell
    image, sky = cell(slope=0.005, n_stars=5)
    found = cell_background(image, 1.0, np.zeros(image.shape, bool), boxsize=40, filtersize=3)
    inner = (slice(20, -20), slice(20, -20))
    assert np.abs(found.level - sky)[inner].max() < 0.3  # meshes of 40 x 40: 0.03 noise, 0.1 slope


def test_bad_pixels_and_nan_do_not_count():
    image, _ = cell(slope=0)
    bad = np.zeros(image.shape, bool)
    bad[:, :60] = True
    image[:, :60] = 1e6
    image[100, 100] = np.nan
    found = cell_background(image, 1.0, bad, boxsize=48, filtersize=3)
    assert found.level_median == pytest.approx(5.0, abs=0.1)
    assert np.isfinite(found.level).all()
    assert found.mask_frac > 0.25


@pytest.mark.parametrize("what", ["bad", "nan", "sigma"])
def test_a_cell_without_pixels_gets_zero_and_says_so(what):
    image, _ = cell()
    bad, sigma = np.full(image.shape, what == "bad"), 1.0
    if what == "nan":
        image[:] = np.nan
    if what == "sigma":
        sigma = np.full(image.shape, np.inf, np.float32)
    found = cell_background(image, sigma, bad)
    assert found.status == "error"
    assert not found.level.any()
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["patch_bkg_median"] is None
    assert values["patch_bkg_mask_frac"] == 1.0


def test_meshes_larger_than_the_cell_and_smaller_than_eight():
    image, _ = cell(slope=0)
    bad = np.zeros(image.shape, bool)
    for size in (1, 1000):
        assert cell_background(image, 1.0, bad, boxsize=size, filtersize=0).status == "ok"

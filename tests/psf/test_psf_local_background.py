"""The sky around single stars."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.psf import (
    MoffatPsf,
    annulus_background,
    annulus_radii,
    cut_stars,
    without_local_background,
)

SIDE = 61


def stars(levels: list[float], seed: int = 3):
    """Return cutouts of stars on sky of given levels, noise 1."""
    rng = np.random.default_rng(seed)
    stamp = 1e4 * MoffatPsf(fwhm_pix=4.0, radius=30.0).basis[0]
    sky = np.concatenate([np.full((SIDE, SIDE), level) for level in levels], axis=1)
    image = sky + np.concatenate([stamp] * len(levels), axis=1) + rng.normal(size=sky.shape)
    x = SIDE // 2 + SIDE * np.arange(len(levels))
    return cut_stars(image.astype(np.float32), np.ones_like(image), x, x * 0 + SIDE // 2, side=SIDE)


def level(cutouts, **changes):
    options = {"rin": 20.0, "rout": 30.0, "clip_sigma": 3.0, "min_pixels": 30, **changes}
    return without_local_background(cutouts, **options)


@pytest.mark.parametrize(
    ("side", "rin", "rout", "expected"),
    [(61, 20.0, 30.0, (20.0, 29.0)), (61, 40.0, 50.0, (28.0, 29.0)), (5, 0.0, 1.0, (0.0, 2.0))],
)
def test_the_annulus_fits_into_the_stamp(side, rin, rout, expected):
    """The first is the example of the specification."""
    assert annulus_radii(side, rin=rin, rout=rout) == expected


def test_the_level_of_each_star_is_found_and_taken_away():
    found, background = level(stars([0.0, 5.0, -3.0]))
    assert background.is_measured.all()
    # 1385 pixels of noise 1: 1.25 / sqrt(1385) = 0.034; the wings of the star add up to 0.3
    assert background.level == pytest.approx([0.2, 5.2, -2.8], abs=0.3)
    corners = found.data[:, :5, :5].mean(axis=(1, 2))
    assert corners == pytest.approx(np.zeros(3), abs=0.8)  # 25 pixels: 0.2; wings as above
    summary = background.as_dict(np.array([True, True, False]))
    assert summary["local_bkg_nstars"] == summary["local_bkg_ok_nstars"] == 2
    assert summary["local_bkg_mean"] == pytest.approx(background.level[:2].mean())


def test_a_neighbour_in_the_annulus_is_clipped():
    cutouts = stars([0.0])
    cutouts.data[0, 5:9, 28:33] += 500.0
    clipped, free = (level(cutouts, clip_sigma=c)[1].level[0] for c in (3.0, 1e9))
    clean = level(stars([0.0]))[1].level[0]
    assert abs(clipped - clean) < 0.05  # 20 of 1385 pixels shift the rank by 0.7 per cent
    assert abs(clipped - clean) <= abs(free - clean)


def test_too_few_pixels_give_zero():
    found, background = level(stars([7.0]), min_pixels=5000)
    assert background.level.tolist() == [0.0]
    assert not background.is_measured.any()
    assert np.array_equal(found.data, stars([7.0]).data)
    assert level(stars([7.0]).rows(np.zeros(0, int)))[1].as_dict()["local_bkg_median"] is None


@pytest.mark.parametrize("clip_sigma", [1.0, 3.0, 50.0])
def test_clipping_is_that_of_the_textbook(clip_sigma):
    """Median and deviation of what is left, five times at most."""
    rng = np.random.default_rng(4)
    stamp = (100.0 + rng.standard_t(2, size=(SIDE, SIDE))).astype(np.float32)
    good = rng.uniform(size=stamp.shape) > 0.1
    options = {"rin": 12.0, "rout": 25.0, "min_pixels": 30}
    found = annulus_background(stamp, good, clip_sigma=clip_sigma, **options)
    r = np.hypot(*(np.indices(stamp.shape) - SIDE // 2))
    left = good & (r >= 12.0) & (r <= 25.0)
    for _ in range(5):
        values = stamp[left].astype(np.float64)
        left &= np.abs(stamp - np.median(values)) <= clip_sigma * values.std()
    np.testing.assert_array_equal(found.used, left)
    assert found.level == pytest.approx(np.median(stamp[left].astype(np.float64)))

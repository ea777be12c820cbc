"""What models leave: peaks of all bands together, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.detect import find_leftovers
from skyloom.scene import NoiseCorrelation, measure_noise_correlation

FWHM, SIDE = 4.0, 256
SIGMA = FWHM / 2.3548


def source(x: float, y: float, flux: float) -> np.ndarray:
    v, u = np.mgrid[:SIDE, :SIDE]
    r2 = (u - x) ** 2 + (v - y) ** 2
    return flux / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * r2 / SIGMA**2)


def find(images, weights, **options):
    planes = [np.asarray(p, np.float32) for p in (*images, *weights)]
    n = len(images)
    return find_leftovers(planes[:n], planes[n:], **{"fwhm": FWHM, "threshold": 5.0, **options})


def test_the_significance_is_that_of_the_best_filter() -> None:
    bands = [source(100, 80, flux) for flux in (300.0, 300.0)]
    weights = [np.full((SIDE, SIDE), w) for w in (1.0, 0.25)]
    found = find(bands, weights)
    best = 300.0 * np.sqrt((1.0 + 0.25) / (4 * np.pi * SIGMA**2))
    assert (found.x.tolist(), found.y.tolist()) == ([100], [80])
    assert found.snr[0] == pytest.approx(best, rel=0.01)  # the filter ends at 3.5 sigma


def test_noise_has_a_width_of_one_and_no_peaks() -> None:
    rng = np.random.default_rng(2)
    found = [find(rng.normal(0, 2, (3, SIDE, SIDE)), np.full((3, SIDE, SIDE), 0.25)).snr
             for _ in range(20)]  # fmt: skip
    assert sum(map(len, found)) == 0  # 1.3 Mpx, of them 60 000 are independent: 0.02 expected
    low = find(rng.normal(0, 2, (3, SIDE, SIDE)), np.full((3, SIDE, SIDE), 0.25), threshold=3.0)
    assert 5 <= len(low.snr) <= 60  # some ten by the peaks of a Gaussian field


def test_correlated_noise_counts() -> None:
    white = np.random.default_rng(3).normal(0, 1, (SIDE + 2, SIDE + 2))
    pairs = white[1:] + white[:-1]
    image = 0.5 * (pairs[:SIDE, :SIDE] + pairs[:SIDE, 1 : SIDE + 1])
    weight = np.ones((SIDE, SIDE))
    rho: NoiseCorrelation = measure_noise_correlation(image, weight, weight > 0, max_lag=3)
    factor = rho.variance_factor(source(SIDE / 2, SIDE / 2, 1.0)[100:157, 100:157])
    assert factor == pytest.approx(3.6, abs=0.1)  # 4 for the widest filter
    assert len(find([image], [weight], threshold=4.5).snr) > 10
    assert len(find([image], [weight], threshold=4.5, variance_factor=[factor]).snr) <= 1


def test_masks_and_their_islands_are_no_peaks() -> None:
    image = np.random.default_rng(4).normal(0, 1, (SIDE, SIDE))
    weight = np.ones((SIDE, SIDE))
    weight[50:70, 61:90] = 0.0
    image[50:70, 61:90] = 1e6
    weight[58:60, 70:72] = 1.0  # pixels that a mask forgot
    image[58:60, 70:72] = 50.0
    assert len(find([image], [weight]).snr) == 0
    assert len(find([image], [0 * weight]).snr) == 0

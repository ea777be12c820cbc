from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from skyloom.calib import effective_number, fit_scatter, weighted_median_error, zero_point

POGSON = 2.5 / np.log(10)


def stars(rng, *, n=60, scatter=0.01, zp=25.0):
    """Magnitudes and fluxes whose brightest have errors far below the scatter."""
    mag = 18 - np.clip(rng.exponential(1.3, n), 0, 6)
    truth = 10 ** ((zp - mag) / 2.5)
    error = np.sqrt(40.0**2 + truth)
    flux = truth * 10 ** (0.4 * scatter * rng.normal(size=n)) + error * rng.normal(size=n)
    return mag, flux, error


def measure(mag, flux, error, **options):
    return zero_point(
        "r",
        mag=mag,
        flux=flux,
        flux_err=error,
        is_reliable=np.ones(len(mag), bool),
        source_id=np.arange(len(mag)).astype(str),
        **options,
    )


def test_without_errors_the_mean_and_standard_deviation_come_back():
    values = np.random.default_rng(1).normal(25.0, 0.02, 200)
    fit = fit_scatter(values, np.full(200, np.nan))
    assert fit.mean == pytest.approx(values.mean(), abs=1e-9)
    # the mean over the likelihood lies above its maximum by about 3 / (4 n)
    assert fit.intrinsic == pytest.approx(values.std(ddof=1), rel=0.02)
    assert fit.mean_err == pytest.approx(values.std(ddof=1) / 200**0.5, rel=0.02)


@given(shift=floats(-3, 3), scale=floats(0.1, 10), seed=integers(0, 30))
def test_shift_and_scale_follow(shift, scale, seed):
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.01, 0.05, 12)
    values = rng.normal(0, 0.05, 12)
    one = fit_scatter(values, errors)
    two = fit_scatter(shift + scale * values, scale * errors)
    # 1e-4: the floor of 1 micromagnitude does not scale
    assert two.mean == pytest.approx(shift + scale * one.mean, abs=1e-4)
    assert two.intrinsic == pytest.approx(scale * one.intrinsic, rel=1e-3)


def test_few_values_are_defined():
    assert np.isnan(fit_scatter(np.array([np.nan]), np.array([0.1])).mean)
    one = fit_scatter(np.array([25.0, np.nan]), np.array([0.1, 0.1]))
    assert (one.mean, one.mean_err, one.intrinsic) == (25.0, 0.1, 0.0)
    same = fit_scatter(np.full(5, 25.0), np.full(5, np.nan))
    assert same.mean == pytest.approx(25.0)
    assert same.intrinsic < 1e-5  # the floor


def test_far_values_are_left_out_and_counted():
    rng = np.random.default_rng(3)
    values = np.append(rng.normal(25, 0.01, 40), [26.0, 20.0])
    fit = fit_scatter(values, np.full(42, 0.005), clip_sigma=4.0)
    assert fit.is_used.tolist() == [True] * 40 + [False] * 2
    assert fit.mean == pytest.approx(25.0, abs=0.006)  # 3 standard errors of 40 at 0.011


def test_the_error_of_a_weighted_median_is_that_of_its_scatter():
    rng = np.random.default_rng(4)
    errors = rng.uniform(0.002, 0.02, 60)
    medians = []
    for _ in range(400):
        values = np.hypot(errors, 0.01) * rng.normal(size=60)
        order = np.argsort(values)
        half = np.searchsorted(np.cumsum(errors[order] ** -2.0), 0.5 * np.sum(errors**-2.0))
        medians.append(values[order][half])
    predicted = weighted_median_error(errors, intrinsic=0.01)
    # 400 medians know their scatter to 3.5 %; 15 %: the formula is asymptotic, 60 are few
    assert np.std(medians) == pytest.approx(predicted, rel=0.15)
    equal = weighted_median_error(np.zeros(100), intrinsic=0.01)
    assert equal == pytest.approx(1.2533e-3, rel=1e-3)  # sqrt(pi / 2) sigma / sqrt(n)


def test_effective_number_counts_equal_weights():
    assert effective_number(np.ones(7)) == pytest.approx(7.0)
    assert effective_number(np.array([1e6, 1.0, 1.0])) == pytest.approx(1.0, abs=1e-5)


def test_scatter_is_recovered_and_the_mean_beats_the_median():
    rng = np.random.default_rng(5)
    found = [measure(*stars(rng)) for _ in range(150)]
    offset = np.array([[f.zp_median - 25.0, f.ml.mean - 25.0] for f in found])
    rms = offset.std(axis=0)
    assert rms[1] < 0.65 * rms[0]  # 0.50 in 800 fields, known to 8 % here
    # 3 standard errors of 150 means with rms 3.6 mmag
    assert abs(offset[:, 1].mean()) < 9e-4
    assert np.mean([f.ml.intrinsic for f in found]) == pytest.approx(0.0099, abs=0.001)
    pull = offset[:, 1] / [f.ml.mean_err for f in found]
    assert pull.std() == pytest.approx(1.06, abs=0.18)  # 3 standard errors of 150, and the model


def test_required_accuracy_with_fifty_stars_at_high_signal():
    rng = np.random.default_rng(7)
    mag = rng.uniform(13, 16.5, 60)
    truth = 10 ** ((25.0 - mag) / 2.5)
    error = truth / rng.uniform(100, 400, 60)
    found = measure(mag, truth + error * rng.normal(size=60), error)
    # 2 mmag + 3 standard errors: the requirement
    assert abs(found.zp_median - 25.0) < 0.002 + 3 * found.zp_median_err
    assert abs(found.ml.mean - 25.0) < 0.002 + 3 * found.ml.mean_err


def test_the_choice_changes_what_calibrates_and_nothing_else():
    data = stars(np.random.default_rng(8))
    median = measure(*data)
    ml = measure(*data, estimate="ml")
    assert median.zp == median.zp_median == ml.zp_median
    assert ml.zp == ml.ml.mean == median.ml.mean
    assert ml.zp_err == median.zp_err


def test_a_median_that_hangs_on_few_stars_is_announced(caplog):
    mag, flux, error = stars(np.random.default_rng(8))
    error[:2] = 1e-5 * flux[:2]
    with caplog.at_level(logging.WARNING):
        measure(mag, flux, error)
    assert "stars carry the zero point" in caplog.text
    assert "skyloom.zp_estimate: ml" in caplog.text


def test_reference_errors_enter_the_mean_only():
    mag, flux, error = stars(np.random.default_rng(9), scatter=0.0)
    one, two = measure(mag, flux, error), measure(mag, flux, error, mag_err=np.full(60, 0.05))
    assert one.zp_median == two.zp_median
    assert two.ml.mean_err > 2 * one.ml.mean_err

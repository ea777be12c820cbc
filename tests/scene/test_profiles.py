"""Radial profiles and their tables."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import gamma, gammainc, j0

from skyloom.scene._render_nb import sersic_table
from skyloom.scene.profiles import (
    N_SERSIC_MAX,
    N_SERSIC_MIN,
    Q0,
    fixed_table,
    mixture_transform,
    profile_table,
    sersic_bn,
    sersic_table_grid,
    sersic_transform,
)

K = np.geomspace(1e-3, 60.0, 300)  # times r_e: beyond it every transform is below 2e-3


def lookup(table: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate f and df/dq in double precision, without the bit tricks of the kernel."""
    t = 1.0 + Q0 * q
    octave = np.floor(np.log2(t)).astype(int)
    fraction = (t / 2.0**octave - 1.0) * 16
    row = 16 * octave + np.minimum(fraction.astype(int), 15)
    u = (fraction - (row - 16 * octave))[:, None] ** np.arange(4)
    cubics = table[row].astype(np.float64)
    return (cubics[:, :4] * u).sum(axis=1), (cubics[:, 4:] * u).sum(axis=1)


@pytest.mark.parametrize("n", [0.5, 1.0, 4.0, 6.0])
def test_half_of_the_light_is_inside_the_half_light_radius(n: float) -> None:
    assert gammainc(2 * n, sersic_bn(n)) == pytest.approx(0.5, abs=1e-12)  # rounding


def test_the_log_hankel_transform_agrees_with_the_closed_forms() -> None:
    near = np.nextafter(1.0, 2.0)  # not the closed form itself
    exact = (1.0 + K**2 / sersic_bn(1.0) ** 2) ** -1.5
    assert_allclose(sersic_transform(near)(K**2), exact, rtol=0, atol=1e-9)  # spline in ln k
    gauss = np.exp(-0.25 * K**2 / sersic_bn(0.5))
    assert_allclose(sersic_transform(np.nextafter(0.5, 1.0))(K**2), gauss, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [1.5, 2.5, 4.0, 6.0])
def test_transforms_agree_with_galsim(n: float) -> None:
    fine = galsim.GSParams(kvalue_accuracy=1e-9, folding_threshold=1e-5, maxk_threshold=1e-6)
    truth = galsim.Sersic(n=n, half_light_radius=1.0, gsparams=fine)
    expected = [truth.kValue(k, 0.0).real for k in K]
    assert_allclose(sersic_transform(n)(K**2), expected, rtol=0, atol=5e-7)  # spec 3.2: 3.4e-7


@pytest.mark.parametrize("n", [0.3, 0.4, 2.0])
def test_transforms_agree_with_numerical_integrals(n: float) -> None:
    bn = sersic_bn(n)
    for k in (0.1, 0.4, 1.0, 3.0):
        total, _ = quad(
            lambda r, k=k: r * np.exp(-bn * r ** (1 / n)) * j0(k * r), 0, 300, limit=2000
        )
        expected = total / (n * bn ** (-2 * n) * gamma(2 * n))
        # absolute error of the quadrature
        assert sersic_transform(n)(np.array([k**2]))[0] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("n", [N_SERSIC_MIN, 0.5, 1.0, 4.0, N_SERSIC_MAX])
def test_transforms_keep_the_flux(n: float) -> None:
    low = sersic_transform(n)(np.array([0.0, 1e-12, 1.1e-10, 1e-8]))
    assert low[0] == 1.0
    assert_allclose(low, 1.0, rtol=0, atol=2e-6)  # n = 8, where the Hankel grid wraps around


@pytest.mark.parametrize("name", ["exp", "dev"])
def test_a_published_mixture_is_a_normalised_sum_of_gaussians(name: str) -> None:
    transform = mixture_transform(name)
    assert transform(np.zeros(1))[0] == pytest.approx(1.0, abs=1e-15)
    assert np.all(np.diff(transform(K**2)) < 0)
    # The published sets describe truncated laws: 1.5 % and 6 % from the infinite ones (spec 3.3).
    infinite = sersic_transform({"exp": 1.0, "dev": 4.0}[name])(K**2)
    worst = np.abs(transform(K**2) - infinite).max()
    assert {"exp": 0.010, "dev": 0.050}[name] < worst < {"exp": 0.020, "dev": 0.075}[name]


def test_hl13_amplitudes_are_those_of_the_paper() -> None:
    # f(q) at small q: 1 - q <v> / 2 with the amplitude-weighted mean variance of the table.
    q = np.array([1e-6])
    amplitudes = np.array([0.0023485, 0.0307995, 0.2233642, 1.179491, 4.3387375, 5.9982077])
    variances = np.array([0.0012008, 0.0088453, 0.0391463, 0.1399768, 0.4609625, 1.5015957])
    mean_exp = np.average(variances, weights=amplitudes)
    slope = (1.0 - mixture_transform("exp")(q)[0]) / q[0]
    assert slope == pytest.approx(mean_exp / 2, rel=1e-4)  # digits above


@pytest.mark.parametrize("n", [0.5, 1.0, 2.0, 4.0, 6.0])
def test_tables_follow_their_transform(n: float) -> None:
    transform = sersic_transform(n)
    q = np.geomspace(1e-6, 1e4, 4001)
    value, slope = lookup(profile_table(transform), q)
    assert np.abs(value - transform(q)).max() < 1e-7  # spec 3.2: 4e-8, and float32 storage
    step = 1e-4
    expected = (transform(q * (1 + step)) - transform(q * (1 - step))) / (2 * step)
    assert np.abs(q * slope - expected).max() < 1e-5  # spec 3.2: 8e-6


def test_tables_begin_with_the_whole_flux() -> None:
    for name in ("exp", "dev"):
        for variant in ("exact", "hl13"):
            value, _ = lookup(fixed_table(name, variant), np.zeros(1))
            assert value[0] == pytest.approx(1.0, abs=2e-6)  # dev bends within the first interval


@pytest.mark.parametrize("n", [0.31, 0.5, 0.77, 1.0, 1.9, 3.3, 4.0, 5.9, 7.7])
def test_the_sersic_grid_interpolates_between_indices(n: float) -> None:
    log_n, spline = sersic_table_grid()
    table, slope = np.empty((512, 8), np.float32), np.empty((512, 4), np.float32)
    sersic_table(np.log(n), log_n, spline, table, slope)
    q = np.geomspace(1e-4, 1e4, 2001)
    value, _ = lookup(table, q)
    # Spline error at the ends of the grid (not-a-knot) is the largest.
    assert np.abs(value - sersic_transform(n)(q)).max() < 5e-7
    step = 1e-3
    expected = (sersic_transform(n * (1 + step))(q) - sersic_transform(n * (1 - step))(q)) / (
        2 * step * n
    )
    by_n, _ = lookup(np.hstack([slope, slope]), q)
    assert np.abs(by_n - expected).max() < 3e-5  # differences of a transform good to 1e-8


def test_the_sersic_grid_is_clamped_outside() -> None:
    log_n, spline = sersic_table_grid()
    table, slope = np.empty((512, 8), np.float32), np.empty((512, 4), np.float32)
    sersic_table(log_n[-1], log_n, spline, table, slope)
    value, _ = lookup(table, K**2)
    # n = 8 bends within the first table interval.
    assert_allclose(value, sersic_transform(N_SERSIC_MAX)(K**2), rtol=0, atol=3e-6)

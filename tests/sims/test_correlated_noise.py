"""Noise correlated by resampling: errors must say what the scatter is, not what pixels say.

White noise is resampled by Lanczos-3 interpolation, as coadds and infrared stacks are; images carry
the per-pixel variance that one measures in them, and nothing else.  Stars and galaxies of
r_e = 5 px are looked at separately: they feel noise of other wavelengths.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("galsim", reason="GalSim draws the sources (test extra)")

from blend_tools import (
    EXP,
    STAR,
    Field,
    Pulls,
    PullStats,
    blend_template,
    fit_field,
    lone_template,
    make_field,
    neighbour_correlation,
    pool,
    pull_stats,
    resampled_noise,
    shifted_noise,
    spread_fluxes,
)

Noise = Callable[[tuple[int, int], np.random.Generator], np.ndarray]

FWHM = (3.0, 3.8)
RADIUS = 5.0  # pix, half-light radius of the galaxies


def shifted(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Half a pixel in x and y: the strongest correlation that a shift gives."""
    return shifted_noise(shape, (0.5, 0.5), rng)


def turned(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Another grid, slightly coarser and rotated: the correlation differs from place to place."""
    return resampled_noise(shape, degrees=2.0, scale=1.05, rng=rng)


# with the rms of white noise of the same power per area
NOISES = [pytest.param(shifted, 1.0, id="shifted"), pytest.param(turned, 1.05, id="turned")]


def lone_field(count: int, snr: tuple[float, float], rng: np.random.Generator) -> Field:
    """Return isolated stars and galaxies, ``count`` of each of three sub-pixel positions."""
    templates = [lone_template(rng, STAR, 1.0, FWHM) for _ in range(3)]
    templates += [lone_template(rng, EXP, RADIUS, FWHM) for _ in range(3)]
    fluxes = [spread_fluxes(t, count, snr, rng) for t in templates]
    return make_field(templates, fluxes, pitch=64)


def measure(field: Field, noise: Noise, rng: np.random.Generator) -> Pulls:
    """Fit a field in one realisation of correlated noise."""
    shape = field.images[0].data.shape
    return fit_field(field, rng, images=field.with_noise([noise(shape, rng) for _ in FWHM]))


def check_width(found: PullStats) -> None:
    """Hold pulls to the limits of white noise, each plus three standard errors."""
    wide, narrow = 3.0 * found.width_err, 3.0 * found.mean_err
    assert 0.95 - wide < found.width < 1.05 + wide, found
    assert 0.95 - 3 * found.robust_err < found.robust < 1.05 + 3 * found.robust_err, found
    assert abs(found.mean_pull) < 0.1 + narrow, found


@pytest.fixture(
    scope="module", params=[noise.values for noise in NOISES], ids=["shifted", "turned"]
)
def pulls(request: pytest.FixtureRequest) -> Pulls:
    rng = np.random.default_rng(1)
    noise, sigma = request.param
    return measure(lone_field(140, (16.0, 100.0), rng), noise, rng).against(sigma)


@pytest.mark.parametrize("kind", [STAR, EXP])
def test_errors_are_honest_in_correlated_noise(pulls: Pulls, kind: int) -> None:
    found = pull_stats(pulls.of(kind))
    assert found.n == 840
    check_width(found)
    # No fit can do better than the bound, and weights by pixel lose little to it.
    assert found.reported == pytest.approx(1.0, abs=0.02)


def test_white_noise_is_left_alone() -> None:
    rng = np.random.default_rng(2)
    field = lone_field(40, (16.0, 100.0), rng)
    found = pull_stats(fit_field(field, rng))
    # No correction where there is nothing to correct: reported errors stay at the bound.
    assert found.reported == pytest.approx(1.0, abs=0.01)
    check_width(found)


def test_resampling_correlates_noise_as_lanczos_does() -> None:
    rng = np.random.default_rng(3)
    taps = np.sinc(np.arange(-2.5, 3.0)) * np.sinc(np.arange(-2.5, 3.0) / 3.0)
    expected = (taps[1:] * taps[:-1]).sum() / (taps**2).sum()
    noise = shifted((600, 600), rng)
    # 360000 pixels, some ten per independent cell: 0.005 is three standard errors.
    assert neighbour_correlation(noise) == pytest.approx(expected, abs=0.005)
    assert noise.var() == pytest.approx((taps**2).sum() ** 2 / taps.sum() ** 4, rel=0.02)
    assert neighbour_correlation(turned((400, 400), rng)) > 0.1
    assert abs(neighbour_correlation(rng.standard_normal((600, 600)))) < 0.005


@pytest.mark.soak
@pytest.mark.parametrize("snr", [(6.0, 16.0), (16.0, 50.0), (50.0, 200.0)])
@pytest.mark.parametrize(("noise", "sigma"), NOISES)
def test_many_pulls_in_correlated_noise(
    noise: Noise, sigma: float, snr: tuple[float, float]
) -> None:
    rng = np.random.default_rng(4)
    pulls = pool([measure(lone_field(170, snr, rng), noise, rng) for _ in range(5)])
    for kind in (STAR, EXP):
        found = pull_stats(pulls.against(sigma).of(kind))
        assert found.n >= 5000
        check_width(found)
        assert found.reported == pytest.approx(1.0, abs=0.05), found


@pytest.mark.soak
def test_blends_in_correlated_noise() -> None:
    rng = np.random.default_rng(5)
    templates = [blend_template(rng, FWHM) for _ in range(6)]
    fluxes = [spread_fluxes(t, 120, (6.0, 200.0), rng) for t in templates]
    pulls = measure(make_field(templates, fluxes), shifted, rng)
    for low, high in [(6.0, 16.0), (16.0, 50.0), (50.0, 200.0)]:
        check_width(pull_stats(pulls.between(low, high)))

"""How far galaxies are from their laws, from what their pixels say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scene_tools import DEV, EXP, SERSIC, STAR, blank, make_scene

from skyloom.psf import PixelPsf
from skyloom.scene import (
    BAND_SHARE,
    LAWS,
    FitOptions,
    ScenePass,
    SceneState,
    Sources,
    estimate_band_spread,
    estimate_law_spread,
    fit_scene,
    law_departures,
)

N_GALAXIES = 60


def departures(
    rng: np.random.Generator, scatter: float, *, mean: float = 0.0, factor: float = 1.0
) -> np.ndarray:
    """Return rows as of `law_departures`, drawn from what it says of them."""
    error = 10 ** rng.uniform(-1.5, 0.0, N_GALAXIES)  # of ln n
    shrink = 0.09 / (0.09 + error**2)
    noise = rng.normal(0.0, np.sqrt(factor) * error)
    value = shrink * (mean + rng.normal(0.0, scatter, N_GALAXIES) + noise)
    return np.column_stack([value, shrink**2, (shrink * error) ** 2])


@pytest.mark.parametrize("mean", [0.0, -0.4])
def test_mean_and_scatter_of_many_galaxies_are_found(mean: float) -> None:
    rngs = [np.random.default_rng(k) for k in range(12)]
    means, scatters = np.transpose(
        [estimate_law_spread(departures(rng, 0.25, mean=mean)) for rng in rngs]
    )
    # 60 galaxies, half of them telling: 0.04 of the mean, 12 % of the scatter each
    assert np.mean(means) == pytest.approx(mean, abs=0.04)
    assert np.mean(scatters) == pytest.approx(0.25, rel=0.12)
    assert np.std(scatters) < 0.06


def test_galaxies_that_are_all_off_alike_hardly_scatter() -> None:
    rows = [departures(np.random.default_rng(k), 0.0, mean=0.17) for k in range(12)]
    means, scatters = np.transpose([estimate_law_spread(r) for r in rows])
    assert np.mean(means) == pytest.approx(0.17, abs=0.015)  # 12 tiles of 0.013 each: 4 errors
    assert np.median(scatters) < 0.05


def test_few_galaxies_move_the_mean_little_and_their_doubt_is_scatter() -> None:
    """Three of one index, each known to 0.3: the mean is shrunk, and what it may be scatters."""
    shrink = 0.09 / (0.09 + 0.3**2)
    rows = np.tile([shrink * 0.6, shrink**2, (shrink * 0.3) ** 2], (3, 1))
    mean, scatter = estimate_law_spread(rows)
    # a prior of 0.3 and three measurements of 0.3: three quarters of 0.6, known to 0.15
    assert mean == pytest.approx(0.45, abs=0.05)
    assert scatter == pytest.approx(0.15, abs=0.03)


def test_laws_that_are_true_scatter_by_nothing() -> None:
    found = [estimate_law_spread(departures(np.random.default_rng(k), 0.0)) for k in range(40)]
    # a gain of 2 in ln likelihood at the edge of what is allowed: 2.3 %, one in 40
    assert np.count_nonzero(found) <= 3


def test_correlated_noise_is_no_scatter() -> None:
    rows = [departures(np.random.default_rng(k), 0.0, factor=4.0) for k in range(10)]
    assert np.count_nonzero([estimate_law_spread(r)[1] for r in rows]) >= 8
    found = [estimate_law_spread(r, variance_factor=4.0)[1] for r in rows]
    assert not np.count_nonzero(found) > 1


def test_a_few_blends_do_not_decide() -> None:
    rows = departures(np.random.default_rng(2), 0.0)
    rows[np.argsort(rows[:, 2])[:2], 0] = 1.5
    mean, scatter = estimate_law_spread(rows)
    assert abs(mean) < 0.05
    assert scatter < 0.05


def test_nobody_tells_nothing() -> None:
    assert estimate_law_spread(np.zeros((0, 3))) == (0.0, 0.0)
    assert estimate_law_spread(np.zeros((5, 3))) == (0.0, 0.0)


def band_departures(
    rng: np.random.Generator, mean: np.ndarray, scatter: float, n_galaxies: int
) -> np.ndarray:
    """Return rows as of `law_departures` for five bands, ``mean`` (5, 2) of ln r and ln n."""
    width = BAND_SHARE * 0.3
    error = 10 ** rng.uniform(-2.0, -1.0, (n_galaxies, 1))
    truth = mean.ravel() + rng.normal(0.0, scatter, (n_galaxies, 10))
    measured = (truth + error * rng.normal(size=(n_galaxies, 10))).reshape(-1, 5, 2)
    measured -= measured.mean(axis=1, keepdims=True)  # the common ones take what bands share
    shrink = width**2 / (width**2 + error**2)
    value = shrink * measured.reshape(-1, 10)
    answer = 0.8 * shrink**2  # of five bands, one does not tell
    noise = 0.8 * (shrink * error) ** 2
    parts = np.stack(np.broadcast_arrays(value, answer, noise), axis=2)
    return np.hstack([np.zeros((n_galaxies, 3)), parts.reshape(n_galaxies, 30)])


def test_trends_with_the_band_are_found() -> None:
    truth = np.column_stack([np.linspace(0.06, -0.06, 5), np.linspace(-0.1, 0.1, 5)])
    found = [
        estimate_band_spread(band_departures(np.random.default_rng(k), truth, 0.03, 80))
        for k in range(6)
    ]
    # six tiles: 0.03 / sqrt(480) each, and widths of priors
    assert_allclose(np.mean([mean for mean, _ in found], axis=0), truth, atol=0.012)
    assert 0.02 < np.mean([scatter for _, scatter in found]) < 0.045


def test_without_trends_bands_have_nothing_of_their_own() -> None:
    none = np.zeros((5, 2))
    found = [
        estimate_band_spread(band_departures(np.random.default_rng(k), none, 0.0, 60))
        for k in range(12)
    ]
    assert sum(mean.any() for mean, _ in found) <= 1
    mean, scatter = estimate_band_spread(np.zeros((4, 9)))  # one band
    assert mean.shape == (1, 2)
    assert scatter == 0.0


def test_departures_are_those_of_the_pixels(small_psf: PixelPsf) -> None:
    """Noise-free galaxies with another index: the departure is the index, shrunk as told."""
    kind = np.array([EXP, DEV, STAR, EXP])
    x, y = np.array([80.0, 230.0, 380.0, 530.0]), np.full(4, 80.0)
    true_n = np.array([1.05, 3.8, 1.0, 1.0])
    flux = np.array([[2000.0], [4000.0], [900.0], [20.0]])
    drawn = np.where(kind == STAR, STAR, SERSIC)
    truth = Sources.create(drawn, x, y, r=3.0, n=true_n)
    empty = blank((160, 610), small_psf, sigma=0.2, flux_key=0)
    images = make_scene([empty], truth, flux).images
    sources = Sources.create(kind, x, y, r=3.0)
    options = FitOptions(correlated_noise=False, stamp_side=128)
    fit = fit_scene(images, sources, options)
    scene = ScenePass(images, sources, options)
    state = replace_state(SceneState.start(sources, 1), fit)
    found = law_departures(scene, state, [np.array([k]) for k in range(4)])
    assert not found[2].any()  # a star
    assert not found[3].any()  # too faint to tell
    expected = true_n[:2] / np.array([1.0, 4.0]) - 1.0
    # one step: models are not quite linear in n
    assert_allclose(found[:2, 0] / np.sqrt(found[:2, 1]), expected, rtol=0.06)
    assert LAWS == (EXP, DEV)
    # the noise it states is that of the fit: half the light, half as well
    faint = make_scene([empty], truth, 0.5 * flux).images
    half = replace_state(SceneState.start(sources, 1), fit_scene(faint, sources, options))
    again = law_departures(ScenePass(faint, sources, options), half, [np.array([0])])
    error = [np.sqrt(f[0, 2] / f[0, 1]) for f in (found, again)]
    assert error[1] == pytest.approx(2.0 * error[0], rel=0.05)


def replace_state(state: SceneState, fit: object) -> SceneState:
    """Return a state as a fit left it."""
    after = state.copy()
    for name, given in (("theta", "params"), ("theta_cov", "param_cov")):
        setattr(after, name, getattr(fit, given))
    after.flux, after.flux_cov = fit.flux, fit.flux_cov  # type: ignore[attr-defined]
    after.started[:], after.side[:] = True, 128
    return replace(after)


def test_galaxies_freed_from_a_law_tell_by_their_index(small_psf: PixelPsf) -> None:
    """A galaxy of n = 2 that was DEV: its departure is 2 / 4 - 1."""
    empty = [blank((128, 128), small_psf, sigma=0.2, flux_key=b) for b in range(2)]
    x = y = np.array([64.0])
    kind = np.array([SERSIC])
    truth = Sources.create(kind, x, y, r=3.0, n=np.array([2.0]))
    images = make_scene(empty, truth, np.array([[4000.0, 4000.0]])).images
    options = FitOptions(correlated_noise=False, stamp_side=128)
    fit = fit_scene(images, truth, options)
    state = replace_state(SceneState.start(truth, 2), fit)
    scene, block = ScenePass(images, truth, options), [np.array([0])]
    assert not law_departures(scene, state, block)[0, :3].any()
    found = law_departures(scene, state, block, laws=np.array([DEV]))[0, :3]
    assert found[0] / np.sqrt(found[1]) == pytest.approx(fit.params[0, 5] / 4.0 - 1.0, rel=1e-6)
    # what the two bands may have of their own, 0.075 each, counts as error
    error = np.hypot(np.sqrt(fit.param_cov[0, 5, 5]), 2.0 * BAND_SHARE * 0.3 / np.sqrt(2.0)) / 4.0
    assert np.sqrt(found[2] / found[1]) == pytest.approx(error, rel=0.02)

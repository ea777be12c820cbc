"""How far galaxies are from their laws, from what their pixels say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scene_tools import DEV, EXP, SERSIC, STAR, blank, make_scene

from skyloom.psf import PixelPsf
from skyloom.scene import (
    LAWS,
    FitOptions,
    ScenePass,
    SceneState,
    Sources,
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
    after.theta, after.flux, after.flux_cov = fit.params, fit.flux, fit.flux_cov  # type: ignore[attr-defined]
    after.started[:], after.side[:] = True, 128
    return replace(after)

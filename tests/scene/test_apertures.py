"""Aperture fluxes: exact areas, neighbours taken away, errors that are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_tools import DEV, EXP, STAR, Scene, blank, make_scene, nudged

from skyloom.psf import PixelPsf
from skyloom.scene import (
    ApertureFluxes,
    FitOptions,
    NoiseCorrelation,
    SceneImage,
    ScenePass,
    SceneState,
    Sources,
    fit_scene,
    measure_apertures,
)
from skyloom.scene._apertures_nb import disc_share

WHITE = FitOptions(correlated_noise=False)


@settings(deadline=None)
@given(
    x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5), radius=st.floats(0.05, 9.0)
)  # fmt: skip
def test_shares_of_pixels_add_up_to_the_circle(x: float, y: float, radius: float) -> None:
    reach = range(-11, 12)
    total = sum(disc_share(i - x, j - y, radius) for i in reach for j in reach)
    assert total == pytest.approx(np.pi * radius**2, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("x", "y", "radius", "share"),
    [
        (0.0, 0.0, 3.0, 1.0),
        (0.0, 0.0, 0.2, 0.04 * np.pi),  # a circle inside a pixel
        (0.5, 0.0, 0.5, np.pi / 8),  # a half circle
        (0.5, 0.5, 1.0, np.pi / 4),  # a quarter
        (9.0, 0.0, 3.0, 0.0),
    ],
)
def test_closed_forms(x: float, y: float, radius: float, share: float) -> None:
    assert disc_share(x, y, radius) == pytest.approx(share, abs=1e-14)


def scene_of(kinds: list[int], xy: list[tuple[float, float]], flux: list[float], **more: object):
    """Return sources and a scene maker for two bands of different PSFs."""
    x, y = np.array(xy).T
    sources = Sources.create(np.array(kinds), x, y, **more)
    return sources, np.tile(np.array(flux)[:, None], (1, 2))


def fitted(
    images: list[SceneImage], start: Sources, radius: tuple[float, ...] | float = 5.0
) -> tuple[ApertureFluxes, np.ndarray, np.ndarray]:
    """Fit a scene; return apertures, fluxes and their errors."""
    fit = fit_scene(images, start, WHITE)
    scene = ScenePass(images, start, WHITE)
    state = SceneState.start(start, scene.n_flux, 0)
    state.theta, state.flux, state.flux_cov = fit.params, fit.flux, fit.flux_cov
    state.started[:] = True
    rows = np.arange(len(start))
    found = measure_apertures(scene, state, rows, scene.residual(state), radius=np.asarray(radius))
    return found, fit.flux, fit.flux_err


def test_of_one_star_it_is_the_sum_of_its_pixels(small_psf: PixelPsf) -> None:
    sources, flux = scene_of([STAR], [(30.3, 29.6)], [500.0])
    scene = make_scene([blank((60, 60), small_psf, flux_key=b) for b in (0, 1)], sources, flux)
    (image, other) = scene.noisy(np.random.default_rng(1))
    found, _, _ = fitted([image, other], sources, (4.0, 6.0))
    fit = fit_scene([image, other], sources, WHITE)
    for b, (im, r) in enumerate(zip((image, other), (4.0, 6.0), strict=True)):
        data = im.data.astype(np.float64)
        total, _, _ = sep.sum_circle(data, [fit.x[0]], [fit.y[0]], r, subpix=0)
        # single precision of some hundred pixels
        assert found.flux[0, b] == pytest.approx(total[0], abs=1e-3)
        shares = [disc_share(i - fit.x[0], j - fit.y[0], r) for i in range(60) for j in range(60)]
        assert found.noise[0, b] == pytest.approx(np.sqrt(np.sum(np.square(shares))), rel=1e-6)
    assert found.correction[0, 0] > found.correction[0, 1] > 1.0
    assert found.masked[0] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_masked_pixels_count_as_the_model(small_psf: PixelPsf) -> None:
    sources, flux = scene_of([STAR, STAR], [(20.0, 20.0), (60.0, 20.0)], [800.0, 800.0])
    scene = make_scene([blank((40, 80), small_psf, flux_key=b) for b in (0, 1)], sources, flux)
    ivar = scene.images[0].ivar.copy()
    ivar[21:23, 21:23] = 0.0
    ivar[:, 45:] = 0.0
    data = np.where(ivar > 0, scene.images[0].data, 1e6).astype(np.float32)
    images = [replace(scene.images[0], ivar=ivar, data=data), scene.images[1]]
    found, measured, _ = fitted(images, sources)
    assert measured[0] == pytest.approx([800.0, 800.0], abs=0.1)
    assert found.flux[0, 0] == pytest.approx(found.flux[0, 1], abs=0.1)
    assert found.masked[0, 0] == pytest.approx(4.0 / (np.pi * 25.0), abs=1e-6)
    assert found.noise[0, 0] < found.noise[0, 1]
    assert found.masked[1, 0] == 1.0
    assert np.isnan(found.flux[1, 0])
    assert np.isnan(found.difference_err[1, 0])


def test_what_the_model_lacks_is_seen(small_psf: PixelPsf) -> None:
    """A galaxy fitted as a star, and a neighbour that nobody lists."""
    kinds, at = [EXP, STAR, STAR, STAR], [(25.0, 25.0), (75.0, 25.0), (125.0, 25.0), (129.5, 25.0)]
    sources, flux = scene_of(kinds, at, [1500.0, 1500.0, 1500.0, 300.0], r=2.5)
    scene = make_scene([blank((50, 150), small_psf, flux_key=b) for b in (0, 1)], sources, flux)
    listed = Sources.create(np.array([STAR] * 3), sources.theta[:3, 0], sources.theta[:3, 1])
    images = scene.noisy(np.random.default_rng(2))
    found, _, _ = fitted(images, listed)
    pull = found.difference / found.difference_err
    assert pull[0].min() > 10.0
    assert np.abs(pull[1]).max() < 4.0  # nothing wrong with it
    assert pull[2].min() > 5.0


def noisy_field(kind: int, blended: bool, psf: PixelPsf, rng: np.random.Generator) -> Scene:
    """Return 36 sources, or pairs of them, S/N 10 to 100."""
    grid = np.stack(np.meshgrid(np.arange(6) * 56.0 + 28.0, np.arange(6) * 56.0 + 28.0), -1)
    at = grid.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (36, 2))
    flux = 10 ** rng.uniform(2.0, 3.0, 36)
    kinds = np.full(36, kind)
    if blended:
        angle = rng.uniform(0, 2 * np.pi, 36)
        near = at + 4.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        at, flux = np.concatenate([at, near]), np.concatenate([flux, rng.permutation(flux)])
        kinds = np.concatenate([kinds, np.full(36, STAR)])
    sources = Sources.create(kinds, at[:, 0], at[:, 1], r=2.0)
    images = [blank((336, 336), psf, flux_key=b) for b in (0, 1)]
    return make_scene(images, sources, np.tile(flux[:, None], (1, 2)))


@pytest.mark.parametrize("kind", [STAR, EXP, DEV])
@pytest.mark.parametrize("blended", [False, True])
def test_totals_agree_with_the_truth_within_their_errors(
    kind: int, blended: bool, small_psf: PixelPsf
) -> None:
    rng = np.random.default_rng(10 + kind)
    scene = noisy_field(kind, blended, small_psf, rng)
    pulls, checks = [], []
    for _ in range(3):
        found, flux, error = fitted(scene.noisy(rng), nudged(scene.sources, rng, shift=0.2))
        total = found.flux * found.correction
        assert total == pytest.approx(flux + found.difference, rel=1e-5, abs=1e-3)
        pulls.append((total - scene.flux) / np.hypot(error, found.difference_err))
        checks.append(found.difference / found.difference_err)
        if not blended and kind == STAR:
            alone = found.noise * found.correction
            assert np.hypot(error, found.difference_err) == pytest.approx(alone, rel=0.02)
    # 216 pulls, twice as many in blends: standard errors of mean and width are 0.068 and 0.048
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.25)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.16)
    # free shapes take more from the residual than the error knows
    assert 0.75 < np.std(checks) < 1.15
    assert abs(np.mean(checks)) < 0.25


def test_correlated_noise_and_the_sky_widen_errors(small_psf: PixelPsf) -> None:
    sources, flux = scene_of([STAR], [(30.0, 30.0)], [500.0])
    images = [blank((60, 60), small_psf, flux_key=b) for b in (0, 1)]
    scene = ScenePass(make_scene(images, sources, flux).images, sources, WHITE)
    state = SceneState.start(sources, 2, 0)
    state.flux[:] = 500.0
    prepared = scene.residual(state)

    def error(**more: object) -> np.ndarray:
        return measure_apertures(
            scene, state, np.array([0]), prepared, radius=np.array([5.0, 5.0]), **more
        ).difference_err[0]

    plain = error()
    rho = np.array([[0.1, 0.25, 0.1], [0.25, 1.0, 0.25], [0.1, 0.25, 0.1]])
    shares = [[disc_share(i - 30.0, j - 30.0, 5.0) for i in range(60)] for j in range(60)]
    factor = NoiseCorrelation(rho=rho).variance_factor(np.array(shares))
    assert 2.0 < factor < 2.4
    wide = error(variance_factor=(np.array([factor, 1.0]), np.array([factor, 1.0])))
    assert wide[0] == pytest.approx(plain[0] * np.sqrt(factor), rel=1e-6)
    assert wide[1] == plain[1]
    assert np.all(error(sky_err=np.array([[0.1, 0.1]])) > plain)

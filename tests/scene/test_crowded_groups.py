"""Groups larger than a block: exactness of fluxes and errors, bounded memory, threads."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
from scene_tools import EXP, STAR, Scene, blank, make_scene, nudged

import skyloom.scene.fit as fit_module
from skyloom.flags import FitFlag
from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    SceneFit,
    SceneImage,
    Sources,
    blend_groups,
    fit_scene,
    forced_photometry,
)


def crowd(count: int, side: int, psf: PixelPsf, seed: int) -> tuple[Scene, np.random.Generator]:
    """Return sources on a jittered grid of about 4 px: all of them one group."""
    rng = np.random.default_rng(seed)
    n = int(np.ceil(np.sqrt(count)))
    step = (side - 40) / n
    gy, gx = np.divmod(np.arange(count), n)
    x = 20 + step * (gx + 0.5) + rng.uniform(-0.25, 0.25, count) * step
    y = 20 + step * (gy + 0.5) + rng.uniform(-0.25, 0.25, count) * step
    kind = rng.choice([int(STAR), int(EXP)], count, p=[0.7, 0.3])
    sources = Sources.create(kind, x, y, r=rng.uniform(0.8, 1.5, count))
    images = [blank((side, side), psf, flux_key=b) for b in range(2)]
    return make_scene(images, sources, 10 ** rng.uniform(2.3, 3.3, (count, 2))), rng


def fit_in_blocks(
    images: list[SceneImage], start: Sources, size: int, monkeypatch: pytest.MonkeyPatch
) -> SceneFit:
    """Fit with blocks of another size."""
    monkeypatch.setattr(
        fit_module, "blend_groups", lambda *a, **k: blend_groups(*a, **k, block_size=size)
    )
    return fit_scene(images, start, FitOptions(passes=30))


def test_blocks_give_the_joint_answer_and_its_errors(
    small_psf: PixelPsf, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, rng = crowd(100, 84, small_psf, 4)
    images, start = scene.noisy(rng), nudged(scene.sources, rng, shift=0.15)
    joint = fit_in_blocks(images, start, 100, monkeypatch)
    parts = fit_in_blocks(images, start, 48, monkeypatch)
    assert joint.blends.group_size.min() == 100
    assert parts.blends.group_size.min() == 100
    # Passes end when a block gains less than 0.005 per source: half a sigma at the very most.
    assert np.abs((parts.flux - joint.flux) / joint.flux_err).max() < 0.3
    assert np.median(np.abs((parts.flux - joint.flux) / joint.flux_err)) < 0.01
    # Neighbours beyond the halo of a block matter to second order.
    assert np.abs(parts.flux_err / joint.flux_err - 1.0).max() < 0.06
    assert np.median(parts.flux_err / joint.flux_err) == pytest.approx(1.0, abs=0.003)


def test_two_thousand_connected_sources_fit_in_bounded_memory(small_psf: PixelPsf) -> None:
    scene, rng = crowd(2000, 300, small_psf, 5)
    images = scene.noisy(rng)
    start = nudged(scene.sources, rng, shift=0.1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit = fit_scene(images, start, FitOptions(passes=4))
    unit = 1024 if sys.platform == "linux" else 1024**2
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit  # MiB
    assert fit.blends.group_size.max() > 1900
    assert grown < 500  # a dense matrix of 10 000 parameters alone would take 800
    pull = (fit.flux - scene.flux) / fit.flux_err
    assert np.isfinite(pull).all()
    # 4000 pulls: the robust width is known to 0.015.
    assert np.diff(np.percentile(pull, [15.87, 84.13]))[0] / 2 == pytest.approx(1.0, abs=0.07)


def test_coincident_sources_share_a_flux_that_is_known(small_psf: PixelPsf) -> None:
    truth = Sources.create(np.array([STAR]), np.array([40.0]), np.array([40.0]))
    scene = make_scene([blank((80, 80), small_psf)], truth, np.array([[2000.0]]))
    two = Sources.create(np.array([STAR, STAR]), np.array([40.0, 40.4]), np.array([40.0, 40.1]))
    fit = fit_scene(scene.noisy(np.random.default_rng(2)), two)
    alone = fit_scene(scene.noisy(np.random.default_rng(2)), truth)
    assert np.all(fit.flags & FitFlag.CLOSE_PAIR)
    assert np.all(fit.blends.flux_correlation > 0.9)
    assert fit.blends.neighbour.tolist() == [1, 0]
    # The sum is as good as the flux of one star, the parts are not.
    total, error = fit.blends.pair_flux[0, 0], fit.blends.pair_flux_err[0, 0]
    assert abs(total - 2000.0) < 4 * error
    assert error < 1.5 * alone.flux_err[0, 0]
    assert fit.flux_err.min() > 3 * error


def test_threads_change_nothing(small_psf: PixelPsf) -> None:
    scene, rng = crowd(60, 200, small_psf, 6)
    images, start = scene.noisy(rng), nudged(scene.sources, rng, shift=0.15)
    one = fit_scene(images, start, FitOptions(threads=1))
    three = fit_scene(images, start, FitOptions(threads=3))
    for name in ("flux", "flux_cov", "params", "param_cov", "flags", "evaluations"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
    for a, b in zip(one.residual, three.residual, strict=True):
        np.testing.assert_array_equal(a, b)


def test_forced_photometry_is_the_fit_with_everything_fixed(small_psf: PixelPsf) -> None:
    scene, rng = crowd(60, 200, small_psf, 7)
    images = scene.noisy(rng)
    forced = forced_photometry(images, scene.sources)
    pull = (forced.flux - scene.flux) / forced.flux_err
    assert np.std(pull) == pytest.approx(1.0, abs=3 * (2 * pull.size) ** -0.5)
    free = fit_scene(images, scene.sources)
    assert np.all(forced.flux_err <= free.flux_err * (1 + 1e-6))

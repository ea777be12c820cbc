"""What smooth models miss: waves of known amplitude, white noise, light of others."""

from __future__ import annotations

import numpy as np
import pytest
from scene_tools import EXP, STAR, blank

from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    ResidualStructure,
    ScenePass,
    SceneState,
    Sources,
    render_scene,
    residual_structure,
)
from skyloom.scene.structure import LAGS

FLUX = 2e4
SIDE = 121


def galaxy(*at: tuple[float, float], r: float = 9.0) -> Sources:
    x, y = np.array(at).T
    return Sources.create(np.full(len(at), EXP), x, y, r=np.full(len(at), r))


def examine(sources: Sources, psf: PixelPsf, residual, *, flux=FLUX) -> ResidualStructure:
    """Measure a residual that is given as a function of the model's image."""
    image = blank((SIDE, SIDE), psf)
    scene = ScenePass([image], sources, FitOptions())
    state = SceneState.start(sources, 1)
    state.flux[:] = np.broadcast_to(flux, (len(sources),))[:, None]
    state.flux_cov[:] = 1.0
    state.started[:] = True
    model = render_scene([image], sources, state.flux)[0]
    planes = np.asarray(residual(model), np.float32).ravel()
    rows = np.arange(len(sources))
    flat = np.asarray(model, np.float32).ravel()
    return residual_structure(scene, state, rows, planes, scene.ivar, model=flat)


def test_a_slow_wave_has_the_rms_of_its_cosine(small_psf):
    k = 2.0 * np.pi / 40.0
    phase = k * np.arange(SIDE)
    found, other = (
        examine(galaxy((60.0, 60.0)), small_psf, lambda model, w=wave: 0.2 * model * w)
        for wave in (np.cos(phase), np.sin(phase))
    )
    # Both phases together see each place alike: cos a cos b + sin a sin b = cos (a - b).
    rms = np.hypot(found.fraction[0, 0], other.fraction[0, 0]) / np.sqrt(2.0)
    blurred = np.sqrt(np.mean([np.cos(k * dx) for dx, _ in LAGS]))
    assert rms == pytest.approx(0.2 / np.sqrt(2.0) * blurred, rel=0.01)  # lags have unequal light
    assert found.significance[0, 0] > 100.0
    covariance, significance, fraction = found.joint()
    assert covariance == pytest.approx(found.covariance[:, 0])
    assert significance == pytest.approx(found.significance[:, 0])
    assert fraction == pytest.approx(found.fraction[:, 0])


def test_white_noise_has_no_structure(small_psf):
    rng = np.random.default_rng(5)
    values = [
        examine(
            galaxy((60.0, 60.0)), small_psf, lambda model: rng.normal(size=model.shape)
        ).significance[0, 0]
        for _ in range(60)
    ]
    assert abs(np.mean(values)) < 3.0 / np.sqrt(60.0)
    # six lags share pixels but no pairs: one standard error, known to 9 % from 60 values
    assert np.std(values) == pytest.approx(1.0, abs=0.28)


def test_light_of_others_is_left_out(small_psf):
    """A wave under a bright star is the star's business."""
    sources = Sources.create([EXP, STAR], [60.0, 72.0], [60.0, 60.0], r=[9.0, 1.0])
    y, x = np.mgrid[:SIDE, :SIDE]
    near = np.hypot(x - 72.0, y - 60.0) < 2.5

    def residual(model):
        return np.where(near, 0.3 * model, 0.0)

    found = examine(sources, small_psf, residual, flux=[FLUX, 3 * FLUX])
    assert np.nan_to_num(found.fraction[0, 0]) < 0.003
    alone = examine(galaxy((60.0, 60.0)), small_psf, residual)
    assert alone.fraction[0, 0] > 0.015


@pytest.mark.parametrize("at", [(-80.0, 60.0), (60.0, 400.0)])
def test_a_galaxy_off_the_image_has_no_pairs(small_psf, at):
    found = examine(galaxy(at), small_psf, lambda model: model)
    assert found.n_pairs[0, 0] == 0
    assert np.isnan(found.fraction[0, 0])
    assert np.isnan(found.joint()[0][0])


def test_a_galaxy_on_the_edge_is_measured_on_what_is_there(small_psf):
    inside, cut = (
        examine(galaxy((x, 60.0)), small_psf, lambda model: 0.1 * model) for x in (60.0, 0.0)
    )
    assert 0.4 < cut.n_pairs[0, 0] / inside.n_pairs[0, 0] < 0.6
    assert cut.fraction[0, 0] == pytest.approx(0.1, rel=1e-5)

"""Galaxies larger than the largest transform, through the public interface, against GalSim."""

from __future__ import annotations

import resource
from dataclasses import replace
from functools import cache

import galsim
import numpy as np
import pytest
from scene_tools import DEV, EXP, STAR, blank, draw, light, profile_of, psf_stamp

from skyloom.scene import FitOptions, ScenePass, Sources, choose_models, fit_scene, render_scene
from skyloom.scene.choice import ChoiceReason
from skyloom.scene.state import SceneState

SHAPE = (300, 300)
AT = (150.13, 148.69)
R, G = 30.0, (0.2, -0.1)
FWHM = 4.0
STARS = np.array([[150.1, 170.4], [185.3, 140.8], [101.7, 133.2], [60.4, 240.9]])
STAR_FLUX = np.array([8e3, 3e3, 5e3, 2e4])
FLUX = 1e6
# Folding moves 1e-3 of the light far out: 1e-7 of the peak.  By default GalSim drops amplitudes
# below 1e-5: of the cusp of an exponential of 200 px that is 1 %.
LARGE = galsim.GSParams(
    folding_threshold=1e-3, maxk_threshold=1e-5, kvalue_accuracy=1e-9, maximum_fft_size=16384
)
PSF = psf_stamp("gaussian", FWHM, 51)


@cache
def truth(kind: int) -> np.ndarray:
    """Draw the galaxy and the stars with GalSim."""
    psf = light("gaussian", FWHM)
    image = FLUX * draw_galaxy(kind, R, G, SHAPE, AT)
    for (x, y), flux in zip(STARS, STAR_FLUX, strict=True):
        image += flux * draw(psf, SHAPE, x, y)
    return image


def draw_galaxy(
    kind: int, r: float, g: tuple[float, float], shape: tuple[int, int], at: tuple[float, float]
) -> np.ndarray:
    law = profile_of(kind, r, *g, 1.0)
    return draw(galsim.Convolve(light("gaussian", FWHM), law, gsparams=LARGE), shape, *at)


def start(kind: int) -> Sources:
    """Return a catalogue that is wrong by 0.3 px, by 40 % in size, and thinks the galaxy round."""
    rng = np.random.default_rng(3)
    x, y = np.vstack([AT, STARS]).T + rng.normal(0.0, 0.3, (2, 5))
    kinds = np.array([kind, STAR, STAR, STAR, STAR])
    return Sources.create(kinds, x, y, r=np.array([0.6 * R, 1, 1, 1, 1]))


def image_of(kind: int, rng: np.random.Generator | None = None) -> list:
    data = truth(kind) if rng is None else truth(kind) + rng.normal(0.0, 1.0, SHAPE)
    return [replace(blank(SHAPE, PSF), data=data.astype(np.float32))]


@pytest.mark.parametrize("kind", [EXP, DEV])
def test_the_flux_of_a_large_galaxy_is_right(kind: int) -> None:
    fit = fit_scene(image_of(kind), start(kind), FitOptions(passes=6))
    assert fit.flux[0, 0] == pytest.approx(FLUX, rel=1e-5)  # measured: 1e-6
    assert np.exp(fit.params[0, 2]) == pytest.approx(R, rel=1e-5)
    np.testing.assert_allclose(fit.params[0, 3:5], G, atol=1e-5)
    # a hundredth of the noise that the fit was told; measured 1e-3
    assert np.all(np.abs(fit.flux[1:, 0] - STAR_FLUX) < 0.01 * fit.flux_err[1:, 0])


@pytest.mark.parametrize("kind", [EXP, DEV])
def test_noise_is_all_that_a_large_galaxy_leaves(kind: int) -> None:
    images = image_of(kind, np.random.default_rng(5))
    fit = fit_scene(images, start(kind), FitOptions(passes=6))
    residual = fit.residual[0]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(x - AT[0], y - AT[1])
    for inner, outer in ((0, 10), (10, 40), (40, 80), (80, 120), (120, 220)):
        part = residual[(radius >= inner) & (radius < outer)].astype(float)
        # four sigma of chi-square and of the mean
        assert np.mean(part**2) == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / part.size))
        assert abs(part.mean()) < 4.0 / np.sqrt(part.size)
    # four sigma
    assert np.all(np.abs(fit.flux[1:, 0] - STAR_FLUX) < 4.0 * fit.flux_err[1:, 0])
    assert abs(fit.flux[0, 0] - FLUX) < 4.0 * fit.flux_err[0, 0]


def test_a_galaxy_as_large_as_the_frame_agrees_with_galsim() -> None:
    shape, at = (512, 512), (250.3, 260.8)
    source = Sources.create(np.array([EXP]), *(np.array([v]) for v in at), r=200.0, g1=0.1, g2=0.2)
    (got,) = render_scene([blank(shape, PSF)], source, np.ones((1, 1)))
    want = draw_galaxy(EXP, 200.0, (0.1, 0.2), shape, at)
    # Interpolation: 6e-6, as measured in test_wide; GalSim's folding: 1e-5.
    assert np.abs(got - want).max() < 3e-5 * want.max()


def test_images_of_a_large_galaxy_share_its_shape_but_not_their_psf() -> None:
    kind = EXP
    images = [
        blank(SHAPE, psf_stamp("gaussian", fwhm, 51), flux_key=band)
        for band, fwhm in (("g", 4.0), ("r", 6.0))
    ]
    source = Sources.create(np.array([kind]), *(np.array([v]) for v in AT), r=R)
    models = render_scene(images, source, np.array([[2.0, 3.0]]))
    for image, model, flux in zip(images, models, (2.0, 3.0), strict=True):
        (alone,) = render_scene([image], source, np.array([[flux]]))
        np.testing.assert_array_equal(model, alone)
    assert np.abs(models[0] / 2.0 - models[1] / 3.0).max() > 1e-3 * models[0].max()


def test_stamps_of_large_galaxies_end_with_noise_or_frame() -> None:
    scene = ScenePass(image_of(DEV), start(DEV), FitOptions())
    state = SceneState.start(scene.sources, scene.n_flux)
    sides = {}
    for flux in (1e3, 9e4, 1.1e5, 1e8):
        state.flux[:] = flux
        state.flux_cov[:] = (flux / 200.0) ** 2
        state.started[:] = True
        sides[flux] = int(scene.stamp_sides(state)[0])
    assert sides[1e3] == 272  # lost in the noise: the smallest
    assert 272 < sides[9e4] < sides[1.1e5] < sides[1e8]
    assert sides[1e8] == 336  # the frame: 151 px to its farthest edge, 16 beyond
    assert np.all(scene.stamp_sides(state)[1:] <= 256)


def test_no_other_model_of_a_large_galaxy_is_tried_and_that_is_said() -> None:
    found = choose_models(image_of(EXP), start(EXP), FitOptions(passes=3))
    assert found.is_oversized.tolist() == [True, False, False, False, False]
    assert np.isnan(found.dchisq).all(axis=1).tolist() == found.is_oversized.tolist()
    assert found.reason[0] == ChoiceReason.NOT_TRIED
    assert found.kind[0] == EXP


def test_memory_is_bounded() -> None:
    shape = (1200, 1200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = Sources.create(np.array([DEV]), np.array([600.0]), np.array([600.0]), r=100.0)
    render_scene([blank(shape, PSF)], source, np.ones((1, 1)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # image, weight, residual, values and levels: 6 MB each; spectra of that side would be 400 MB
    assert after - before < 150_000

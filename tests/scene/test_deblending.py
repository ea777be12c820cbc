"""What tells how far a source can be trusted in a crowd: light of others, residuals nearby."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scene_tools import EXP, STAR, Scene, blank, make_scene

from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    SceneImage,
    ScenePass,
    SceneState,
    SourceDiagnostics,
    Sources,
    diagnose,
    render_scene,
)

FWHM = 3.0  # of the PSF here
SIGMA2 = (FWHM / 2.3548) ** 2 + 1.0 / 12.0  # a pixel adds its own second moment


def flat(planes):
    """Return planes as one flat array, as scenes keep them."""
    return np.concatenate([np.asarray(p, np.float32).ravel() for p in planes])


def stars(*at: tuple[float, float]) -> Sources:
    x, y = np.array(at).T
    return Sources.create(np.full(len(at), STAR), x, y)


def examine(
    images: list[SceneImage],
    sources: Sources,
    flux: np.ndarray,
    *,
    residual: list[np.ndarray] | None = None,
    is_model_known: bool = True,
) -> SourceDiagnostics:
    """Diagnose sources at known parameters and fluxes, with a residual that the test chooses."""
    scene = ScenePass(images, sources, FitOptions())
    state = SceneState.start(sources, scene.n_flux)
    state.flux[:] = flux
    state.flux_cov[:] = np.eye(scene.n_flux)
    state.started[:] = True
    planes = [np.zeros(im.data.shape) for im in images] if residual is None else residual
    model = flat(render_scene(images, sources, flux))
    return diagnose(
        scene,
        state,
        np.arange(len(sources)),
        flat(planes),
        scene.ivar,
        model=model if is_model_known else None,
    )


def test_two_stars_share_light_by_the_overlap_of_two_gaussians(small_psf: PixelPsf) -> None:
    distance, bright, faint = 4.0, 900.0, 100.0
    sources = stars((40.0, 40.0), (40.0 + distance, 40.0))
    image = blank((80, 84), small_psf)
    found = examine([image], sources, np.array([[bright], [faint]])).flux_fraction_others[:, 0]
    overlap = np.exp(-(distance**2) / (4.0 * SIGMA2))
    # A Gaussian of 1.3 px integrated over pixels is nearly a Gaussian: 3e-4 here.
    assert found[0] == pytest.approx(faint * overlap / (bright + faint * overlap), rel=1e-3)
    assert found[1] == pytest.approx(bright * overlap / (faint + bright * overlap), rel=1e-3)


def test_the_ratio_to_own_light_is_that_of_the_legacy_surveys(small_psf: PixelPsf) -> None:
    sources = Sources.create(np.array([STAR, EXP]), np.array([30.2, 35.1]), np.full(2, 30.4), r=1.5)
    flux = np.array([[300.0], [800.0]])
    image = blank((64, 64), small_psf)
    found = examine([image], sources, flux).flux_fraction_others[:, 0]
    one = [
        render_scene([image], sources.take(np.array([k])), flux[[k]])[0].astype(float)
        for k in (0, 1)
    ]
    for k in (0, 1):
        fracflux = (one[1 - k] * one[k]).sum() / (one[k] ** 2).sum()
        # single precision, and stamps of 32 px that cut wings of 1e-5
        assert found[k] / (1.0 - found[k]) == pytest.approx(fracflux, rel=1e-4)


def test_the_share_of_others_runs_from_alone_to_buried(small_psf: PixelPsf) -> None:
    image = blank((80, 160), small_psf)
    sources = stars((40.0, 40.0), (120.0, 40.0), (120.0, 41.0))
    found = examine([image], sources, np.array([[500.0], [1e-3], [1e4]])).flux_fraction_others
    assert found[0, 0] < 1e-6  # rounding of single precision
    assert found[1, 0] == pytest.approx(1.0, abs=1e-6)
    assert found[2, 0] < 1e-6


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [(0.0, 100.0, 1.0), (-5.0, 100.0, 1.0), (100.0, -5.0, 0.0), (0.0, 0.0, np.nan)],
)
def test_fluxes_that_are_no_light_stay_between_the_limits(
    small_psf: PixelPsf, own: float, other: float, expected: float
) -> None:
    sources = stars((40.0, 40.0), (44.0, 40.0))
    found = examine([blank((80, 84), small_psf)], sources, np.array([[own], [other]]))
    assert found.flux_fraction_others[0, 0] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_bands_have_their_own_share_and_masked_pixels_none(small_psf: PixelPsf) -> None:
    sources = stars((40.0, 40.0), (44.0, 40.0))
    images = [blank((80, 84), small_psf, flux_key=b) for b in range(3)]
    images[2].ivar[:, :] = 0.0
    flux = np.array([[100.0, 100.0, 1.0], [0.0, 1e5, 1.0]])
    found = examine(images, sources, flux).flux_fraction_others
    assert found[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert found[0, 1] > 0.9
    assert np.isnan(found[:, 2]).all()


def test_without_a_model_the_share_is_unknown(small_psf: PixelPsf) -> None:
    image = blank((64, 64), small_psf)
    found = examine([image], stars((30.0, 30.0)), np.ones((1, 1)), is_model_known=False)
    assert np.isnan(found.flux_fraction_others).all()
    assert found.residual_peak[0, 0] == 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_planted_residual_is_found_with_its_sign(small_psf: PixelPsf, sign: float) -> None:
    residual = np.zeros((64, 70), np.float32)
    residual[32, 31] = sign * 90.0
    image = blank((64, 70), small_psf, sigma=2.0)
    found = examine([image], stars((30.0, 31.0)), np.ones((1, 1)), residual=[residual])
    # One pixel of 45 sigma in a box of nine; noise of nine is three times that of one.
    assert found.residual_peak[0, 0] == pytest.approx(sign * 45.0 / 3.0, rel=1e-6)


def test_a_pixel_is_near_up_to_the_fwhm_and_half_a_box(small_psf: PixelPsf) -> None:
    image = blank((64, 70), small_psf)
    seen = []
    for dx in range(10):
        residual = np.zeros(image.data.shape, np.float32)
        residual[31, 30 + dx] = 30.0
        found = examine([image], stars((30.0, 31.0)), np.ones((1, 1)), residual=[residual])
        seen.append(found.residual_peak[0, 0] > 0)
    assert seen == [True] * 5 + [False] * 5  # box centres to 3 px, boxes one further


def test_near_grows_with_the_source_and_follows_the_image(small_psf: PixelPsf) -> None:
    """A galaxy of 4 px, in an image of twice the resolution in which it lies elsewhere."""
    galaxy = Sources.create(np.array([EXP]), np.array([20.0]), np.array([20.0]), r=4.0)
    place = {"x": np.array([50.0]), "y": np.array([41.0]), "jacobian": 2.0 * np.eye(2)[None]}
    image = blank((90, 100), small_psf, **place)
    seen = []
    for dx in range(16):
        residual = np.zeros(image.data.shape, np.float32)
        residual[41, 50 + dx] = 30.0
        found = examine([image], galaxy, np.ones((1, 1)), residual=[residual])
        seen.append(bool(found.residual_peak[0, 0] > 0))
    assert seen == [dx <= 10 for dx in range(16)]  # 2 * 4 + 3 / 2 = 9.5: centres to 9, boxes to 10


def test_boxes_need_five_of_nine_pixels_and_use_the_good_ones(small_psf: PixelPsf) -> None:
    image = blank((64, 64), small_psf)
    residual = np.full((64, 64), 1.0, np.float32)
    image.ivar[:, 31:] = 0.0  # to the right of the source: boxes of 3 or 6 good pixels
    found = examine([image], stars((30.0, 30.0)), np.ones((1, 1)), residual=[residual])
    assert found.residual_peak[0, 0] == pytest.approx(3.0)  # whole boxes of 9: 9 / 3
    image.ivar[:, :29] = 0.0  # two columns are left
    found = examine([image], stars((30.0, 30.0)), np.ones((1, 1)), residual=[residual])
    assert found.residual_peak[0, 0] == pytest.approx(6.0**0.5)
    image.ivar[:, :30] = 0.0  # one column
    found = examine([image], stars((30.0, 30.0)), np.ones((1, 1)), residual=[residual])
    assert np.isnan(found.residual_peak[0, 0])


def twin(residual: np.ndarray, weight: np.ndarray, x: float, y: float, reach: float) -> float:
    """Return the peak as its definition says it."""
    best = 0.0
    for j, i in np.ndindex(residual.shape):
        box = slice(max(j - 1, 0), j + 2), slice(max(i - 1, 0), i + 2)
        w, r = weight[box], residual[box]
        if np.hypot(i - x, j - y) <= reach and (w > 0).sum() >= 5:
            value = (w * r).sum() / np.sqrt(w.sum())
            best = value if abs(value) > abs(best) else best
    return best


def test_peaks_are_those_of_the_readable_twin(small_psf: PixelPsf) -> None:
    rng = np.random.default_rng(17)
    image = blank((50, 46), small_psf)
    image.ivar[:] = rng.uniform(0.2, 3.0, image.ivar.shape)
    image.ivar[rng.random(image.ivar.shape) < 0.3] = 0.0
    residual = rng.normal(size=image.data.shape).astype(np.float32)
    at = rng.uniform(-2.0, 50.0, (20, 2))
    found = examine([image], stars(*at.tolist()), np.ones((20, 1)), residual=[residual])
    expected = [twin(residual, image.ivar, x, y, FWHM) for x, y in at]
    np.testing.assert_allclose(np.nan_to_num(found.residual_peak[:, 0]), expected, rtol=1e-5)


def test_noise_alone_peaks_at_two_to_three_sigma(small_psf: PixelPsf) -> None:
    rng = np.random.default_rng(2)
    image = blank((400, 400), small_psf)
    at = [(20.0 + 18 * (k % 20), 20.0 + 18 * (k // 20)) for k in range(400)]
    residual = rng.normal(size=image.data.shape).astype(np.float32)
    found = examine([image], stars(*at), np.ones((400, 1)), residual=[residual])
    peak = np.abs(found.residual_peak[:, 0])
    assert 1.8 < np.median(peak) < 2.3  # about 6 independent boxes; 400 values: 0.03
    assert np.quantile(peak, 0.95) < 3.2


def test_an_unlisted_neighbour_shows_in_the_fit(small_psf: PixelPsf) -> None:
    """The peak stands where light is missing from the model, not at a source far away."""
    truth = stars((30.0, 30.0), (33.5, 30.0), (80.0, 30.0))
    scene: Scene = make_scene(
        [blank((60, 110), small_psf)], truth, np.array([[600.0], [200.0], [600.0]])
    )
    images = scene.noisy(np.random.default_rng(9))
    listed = truth.take(np.array([0, 2]))
    fixed = replace(listed, free=np.zeros((2, 6), np.bool_))
    ready = ScenePass(images, fixed, FitOptions())
    state = SceneState.start(fixed, 1)
    state = ready.run(state, {0: [np.array([0])], 1: [np.array([1])]}, linear=True)
    residual, weight = ready.residual(state)
    found = diagnose(ready, state, np.arange(2), residual, weight)
    # A star of 200 counts, of which half is in a box of 9 pixels of unit noise: 30 sigma.
    assert found.residual_peak[0, 0] > 15.0
    assert abs(found.residual_peak[1, 0]) < 4.5


def test_sources_off_the_image_have_no_peak(small_psf: PixelPsf) -> None:
    found = examine([blank((64, 64), small_psf)], stars((-40.0, 30.0)), np.ones((1, 1)))
    assert np.isnan(found.residual_peak[0, 0])
    assert np.isnan(found.flux_fraction_others[0, 0])

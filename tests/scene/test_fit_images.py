"""Several images: shared fluxes, other geometries, sky levels, source noise, parts of a field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scene_tools import DEV, EXP, SERSIC, STAR, Scene, blank, make_scene, nudged

from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    SceneImage,
    ScenePass,
    SceneState,
    Sources,
    blend_groups,
    fit_scene,
)


@pytest.fixture(scope="module")
def field(small_psf: PixelPsf) -> Scene:
    """Twelve sources of all kinds in two bands, some of them blended."""
    rng = np.random.default_rng(41)
    kind = np.tile([STAR, EXP, DEV, SERSIC], 3)
    x = np.array([30.0, 34.0, 80.0, 130.0, 31.0, 90.0, 85.0, 136.0, 180.0, 184.0, 240.0, 244.0])
    y = np.array([30.0, 33.0, 31.0, 33.0, 80.0, 85.0, 80.0, 80.0, 40.0, 37.0, 80.0, 83.0])
    sources = Sources.create(
        kind, x + rng.uniform(-0.5, 0.5, 12), y + rng.uniform(-0.5, 0.5, 12),
        r=rng.uniform(0.8, 1.5, 12), g1=rng.normal(0, 0.1, 12), g2=rng.normal(0, 0.1, 12), n=1.5,
    )  # fmt: skip
    flux = 10 ** rng.uniform(2.3, 3.5, (12, 2))
    images = [blank((116, 276), small_psf, flux_key=b, sigma=1.0 + 0.5 * b) for b in range(2)]
    scene = make_scene(images, sources, flux)
    return replace(scene, images=scene.noisy(rng))


@pytest.fixture(scope="module")
def start(field: Scene) -> Sources:
    return nudged(field.sources, np.random.default_rng(42), shift=0.2)


def test_images_with_one_key_share_one_flux(field: Scene, start: Sources) -> None:
    halves = [replace(im, ivar=im.ivar / 2) for im in field.images for _ in range(2)]
    one, two = fit_scene(field.images, start), fit_scene(halves, start)
    assert two.flux_keys == [0, 1]
    assert two.flux.shape == (12, 2)
    # Half the weight twice: the same sums in another order.
    assert_allclose(two.flux, one.flux, rtol=0, atol=2e-3 * one.flux_err.min())
    assert_allclose(two.flux_err, one.flux_err, rtol=1e-5)
    assert_allclose(two.params, one.params, atol=1e-4)
    assert len(two.residual) == 4


def test_exposures_of_one_band_add_their_information(field: Scene, start: Sources) -> None:
    fixed = replace(start, free=np.zeros((12, 6), np.bool_))
    one = fit_scene(field.images[:1], fixed)
    twice = fit_scene([field.images[0], field.images[0]], fixed)
    assert_allclose(twice.flux_err, one.flux_err / np.sqrt(2), rtol=1e-5)
    separate = fit_scene([field.images[0], replace(field.images[0], flux_key="again")], fixed)
    assert separate.flux_keys == [0, "again"]
    assert_allclose(separate.flux[:, 0], separate.flux[:, 1], rtol=1e-6)  # packed transforms
    assert_allclose(separate.flux_err[:, 0], one.flux_err[:, 0], rtol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 35.0])
def test_an_image_with_another_geometry_gives_the_same_answer(
    small_psf: PixelPsf, angle: float
) -> None:
    sources = Sources.create(
        np.array([STAR, EXP, SERSIC]), np.array([60.3, 66.1, 90.7]), np.array([60.2, 64.4, 80.1]),
        r=np.array([1.0, 2.0, 2.2]), g1=np.array([0, 0.3, -0.1]), g2=np.array([0, 0.1, 0.25]),
        n=1.4,
    )  # fmt: skip
    flux = np.array([[2000.0], [5000.0], [7000.0]])
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    jac = 1.25 * np.array([[c, -s], [s, c]]) @ np.array([[1.0, 0.1], [0.0, 0.9]])
    centre = np.array([90.3, 88.6])
    place = (jac @ (sources.theta[:, :2] - 75.0).T).T + centre
    # The same scene drawn in the pixels of the other image: S' = J S J^T.
    native = []
    for theta in sources.theta:
        g = theta[3] ** 2 + theta[4] ** 2
        a = np.exp(2 * theta[2]) / (1 - g)
        shape = a * np.array(
            [[1 + g + 2 * theta[3], 2 * theta[4]], [2 * theta[4], 1 + g - 2 * theta[3]]]
        )
        shape = jac @ shape @ jac.T
        root = np.sqrt(np.linalg.det(shape))
        scale = np.trace(shape) + 2 * root
        native.append(
            [0.25 * np.log(root**2), (shape[0, 0] - shape[1, 1]) / scale, 2 * shape[0, 1] / scale]
        )
    rho, g1, g2 = np.array(native).T
    there = Sources.create(
        sources.kind, *place.T, r=np.exp(rho), g1=g1, g2=g2, n=1.4
    )  # fmt: skip
    drawn = make_scene([blank((180, 180), small_psf)], there, flux).images[0]
    start = Sources.create(
        sources.kind, sources.theta[:, 0] + 0.2, sources.theta[:, 1] - 0.15, r=1.7, n=1.4,
        ellipticity_prior=None,
    )  # fmt: skip
    at_start = (jac @ (start.theta[:, :2] - 75.0).T).T + centre
    image = replace(
        drawn, x=at_start[:, 0], y=at_start[:, 1], jacobian=np.broadcast_to(jac, (3, 2, 2))
    )
    fit = fit_scene([image], start)
    assert fit.flux == pytest.approx(flux, rel=5e-4)  # stamps of other sides
    has_shape = sources.kind != STAR
    assert_allclose(fit.params[:, :2], sources.theta[:, :2], atol=2e-3)
    assert_allclose(fit.params[has_shape, 2:5], sources.theta[has_shape, 2:5], atol=3e-3)
    # Together with the reference frame itself.
    here = make_scene([blank((150, 150), small_psf)], sources, flux).images[0]
    both = fit_scene([here, image], start)
    assert both.flux == pytest.approx(flux, rel=5e-4)
    assert np.all(both.flux_err < fit.flux_err)


def test_sky_levels_are_fitted_with_their_errors(field: Scene, start: Sources) -> None:
    # Two images share one level, a third has its own.
    images = [
        replace(field.images[0], data=field.images[0].data + np.float32(3.0), sky_key="first"),
        replace(field.images[1], data=field.images[1].data + np.float32(3.0), sky_key="first"),
        replace(field.images[1], data=field.images[1].data - np.float32(1.0), sky_key="other"),
    ]
    start = replace(start, free=np.zeros((12, 6), np.bool_))
    fit = fit_scene(images, start)
    plain = fit_scene([*field.images, field.images[1]], start)
    weight = [float(im.ivar.sum()) for im in images]
    # Sources with free fluxes take a per cent of the information on the level.
    assert 1.0 < fit.sky_err["first"] * (weight[0] + weight[1]) ** 0.5 < 1.02
    assert 1.0 < fit.sky_err["other"] * weight[2] ** 0.5 < 1.02
    # 32016 pixels per image; sources take some of the light of the level and give it back.
    assert fit.sky["first"] == pytest.approx(3.0, abs=5 * fit.sky_err["first"])
    assert fit.sky["other"] == pytest.approx(-1.0, abs=5 * fit.sky_err["other"])
    assert np.all(np.abs(fit.flux - plain.flux) < 0.3 * plain.flux_err)
    assert np.all(fit.flux_err > plain.flux_err)
    assert plain.sky == {}


def test_the_error_of_the_sky_enters_fluxes_by_the_area_of_a_source(small_psf: PixelPsf) -> None:
    truth = Sources.create(np.array([STAR]), np.array([20.0]), np.array([20.0]))
    truth = replace(truth, free=np.zeros((1, 6), np.bool_))
    for copies in (1, 2):
        image = blank((40, 40), small_psf, sky_key=0)
        scene = make_scene([image] * copies, truth, np.array([[500.0]]))
        fit = fit_scene(scene.images, truth)
        psf = small_psf.basis[0].astype(float)
        own = 1.0 / (copies * (psf**2).sum())
        response = psf.sum() / (psf**2).sum()  # pixels that the flux averages over
        # The flux of the star is free: it takes information on the level away.
        sky = 1.0 / (copies * (1600 - psf.sum() ** 2 / (psf**2).sum()))
        assert fit.sky_err[0] == pytest.approx(np.sqrt(sky), rel=1e-3)
        assert fit.flux_err[0, 0] == pytest.approx(np.sqrt(own + response**2 * sky), rel=1e-3)


def test_source_noise_comes_from_the_model(small_psf: PixelPsf) -> None:
    truth = Sources.create(
        np.array([STAR, EXP]), np.array([40.2, 120.3]), np.array([40.0, 41.0]), r=1.5
    )
    images = [blank((80, 160), small_psf, source_variance=0.5)]
    scene = make_scene(images, truth, np.array([[20000.0], [30000.0]]))
    model = scene.images[0].data.astype(float)
    state = SceneState.start(truth, 1)
    state.flux[:], state.flux_cov[:], state.started[:] = scene.flux, 1.0, True
    _, weight = ScenePass(scene.images, truth, FitOptions()).residual(state)
    expected = 1.0 / (1.0 + 0.5 * np.maximum(model, 0.0))
    assert_allclose(weight.reshape(80, 160), expected, rtol=1e-5)  # single precision
    # The noise of the data follows the same law: pulls of 200 realisations of both sources.
    rng = np.random.default_rng(7)
    pulls = []
    for _ in range(200):
        noise = rng.normal(0.0, np.sqrt(1.0 + 0.5 * np.maximum(model, 0.0)))
        data = (model + noise).astype(np.float32)
        fit = fit_scene([replace(scene.images[0], data=data)], truth)
        pulls.append(((fit.flux - scene.flux) / fit.flux_err)[:, 0])
    pull = np.concatenate(pulls)
    assert pull.std() == pytest.approx(1.0, abs=3 / np.sqrt(2 * 400))
    assert abs(pull.mean()) < 3 / np.sqrt(400)  # weights from the data would pull fluxes down


def test_the_order_of_rows_does_not_matter(field: Scene, start: Sources) -> None:
    order = np.random.default_rng(3).permutation(12)
    here = fit_scene(field.images, start)
    there = fit_scene(field.images, start.take(order))
    # Sums of single-precision models in another order; an iteration more or less of 0.01 in chi2.
    assert np.abs((there.flux - here.flux[order]) / here.flux_err[order]).max() < 0.01
    assert_allclose(there.flux_err, here.flux_err[order], rtol=1e-2)
    assert_array_equal(there.flags, here.flags[order])


def test_the_order_of_bands_does_not_matter(field: Scene, start: Sources) -> None:
    here = fit_scene(field.images, start)
    there = fit_scene(field.images[::-1], start)
    assert there.flux_keys == here.flux_keys[::-1]
    assert np.abs((there.flux[:, ::-1] - here.flux) / here.flux_err).max() < 0.01


def test_the_order_of_groups_does_not_matter_at_all(field: Scene, start: Sources) -> None:
    scene = ScenePass(field.images, start, FitOptions())
    groups = blend_groups(
        start.theta[:, 0], start.theta[:, 1], np.ones(12), psf_sigma=1.3
    ).members()
    assert len(groups) > 3
    state = SceneState.start(start, 2)
    state = scene.run(state, groups, linear=True)
    forward = scene.run(state, groups)
    backward = scene.run(state, dict(reversed(list(groups.items()))))
    assert_array_equal(forward.theta, backward.theta)
    assert_array_equal(forward.flux, backward.flux)
    pieces = state.copy()
    for name, blocks in groups.items():
        part = scene.run(state, {name: blocks})
        rows = np.concatenate(blocks)
        pieces.theta[rows], pieces.flux[rows] = part.theta[rows], part.flux[rows]
    assert_array_equal(pieces.theta, forward.theta)
    assert_array_equal(pieces.flux, forward.flux)


def test_a_group_in_a_part_of_the_field_has_the_same_answer(field: Scene, start: Sources) -> None:
    rows = np.array([8, 9])  # 50 px from everybody else
    whole = fit_scene(field.images, start)
    assert set(np.flatnonzero(whole.group == 8)) == {8, 9}
    cut = [
        replace(
            im,
            data=im.data[2:80, 140:230].copy(),
            ivar=im.ivar[2:80, 140:230].copy(),
            origin=(140, 2),
        )
        for im in field.images
    ]
    part = fit_scene(cut, start.take(rows))
    # The wings of the others reach in below a thousandth of the noise.
    assert np.abs((part.flux - whole.flux[rows]) / whole.flux_err[rows]).max() < 0.01
    assert_allclose(part.flux_err, whole.flux_err[rows], rtol=1e-3)
    assert_allclose(part.params[:, :2], whole.params[rows, :2], atol=1e-3)


def test_blocks_of_a_large_group_reach_the_joint_solution(small_psf: PixelPsf) -> None:
    rng = np.random.default_rng(12)
    grid = np.stack(np.meshgrid(30 + 5.5 * np.arange(4), 30 + 5.5 * np.arange(4)), -1).reshape(
        -1, 2
    )
    x, y = (grid + rng.uniform(-0.5, 0.5, grid.shape)).T
    truth = Sources.create(np.tile([STAR, EXP], 8), x, y, r=1.2)
    scene = make_scene(
        [blank((84, 84), small_psf, flux_key=b) for b in range(2)],
        truth,
        rng.uniform(800, 2000, (16, 2)),
    )
    images = scene.noisy(rng)
    start = nudged(truth, rng, shift=0.1)
    options = FitOptions(offset_snr=np.inf)
    fit = fit_scene(images, start, options)
    assert len(np.unique(fit.group)) == 1
    joint_scene = ScenePass(images, start, options)
    state = SceneState.start(start, 2)
    for number in range(5):
        state = joint_scene.run(state, {0: [np.arange(16)]}, linear=number == 0)
    # Lessons, point 3: three passes over blocks reach the joint optimum.
    assert np.abs((fit.flux - state.flux) / state.flux_err).max() < 0.2
    chi2 = [sum(float((r**2 * im.ivar).sum()) for r, im in zip(fit.residual, images, strict=True))]
    residual, weight = joint_scene.residual(state)
    assert chi2[0] - float((residual**2 * weight).sum()) < 1.0


def test_bands_off_the_joint_position_keep_the_flux_of_bright_sources(small_psf: PixelPsf) -> None:
    truth = Sources.create(
        np.array([STAR, EXP]), np.array([40.0, 90.2]), np.array([40.3, 41.0]), r=1.2
    )
    flux = np.array([[5000.0, 4000.0], [9000.0, 9000.0]])
    images = [blank((80, 130), small_psf, flux_key=b) for b in range(2)]
    shifted = truth.at(truth.theta + np.array([0.25, -0.2, 0, 0, 0, 0]))
    scene = make_scene(images, truth, flux)
    second = make_scene(images, shifted, flux).images[1]
    fit = fit_scene([scene.images[0], second], truth, FitOptions(offset_snr=50.0))
    rigid = fit_scene([scene.images[0], second], truth)
    # The prior of 0.2 px on offsets holds back a hundredth of them.
    assert np.abs(fit.flux / flux - 1.0).max() < 1e-3
    assert np.abs(rigid.flux / flux - 1.0)[0].max() > 3e-3
    middle = fit.params[:, :2] - truth.theta[:, :2]
    assert np.all((middle > [0.0, -0.2]) & (middle < [0.25, 0.0]))
    assert fit.diagnostics.chi2.sum() < 0.1 * rigid.diagnostics.chi2.sum()


def test_residuals_are_data_minus_everything(field: Scene, start: Sources) -> None:
    fit = fit_scene(field.images, start)
    for residual, image in zip(fit.residual, field.images, strict=True):
        assert residual.shape == image.data.shape
        chi2 = float((residual.astype(float) ** 2 * image.ivar).mean())
        assert chi2 == pytest.approx(1.0, abs=0.03)  # 32016 pixels: 0.008, and 80 parameters
    assert np.median(fit.chi2) == pytest.approx(1.0, abs=0.25)  # footprints of some 30 pixels


def test_diagnostics_count_pixels(small_psf: PixelPsf) -> None:
    truth = Sources.create(np.array([STAR, STAR]), np.array([30.0, 79.0]), np.array([30.0, 30.0]))
    scene = make_scene([blank((60, 80), small_psf)], truth, np.array([[1000.0], [1000.0]]))
    image: SceneImage = scene.images[0]
    hole = replace(image, ivar=image.ivar.copy())
    hole.ivar[30, 30] = 0.0
    fit = fit_scene([hole], replace(truth, free=np.zeros((2, 6), np.bool_)))
    above = int((1000.0 * small_psf.basis[0] > 1.0).sum())
    found = fit.diagnostics
    assert found.n_above[0, 0] == above
    assert found.n_good[0, 0] == above - 1
    psf2 = small_psf.basis[0].astype(float) ** 2
    assert found.masked_fraction[0, 0] == pytest.approx(psf2[12, 12] / psf2.sum(), rel=1e-3)
    core = small_psf.basis[0] > 0.25 * small_psf.basis[0].max()
    assert found.core_masked_fraction[0, 0] == pytest.approx(1 / core.sum())
    beyond = psf2[:, 13:].sum() / psf2.sum()  # the frame ends at its centre
    assert found.masked_fraction[1, 0] == pytest.approx(beyond, rel=1e-3)
    assert found.has_footprint.all()
    assert fit.chi2[0, 0] < 1e-3  # no noise was added

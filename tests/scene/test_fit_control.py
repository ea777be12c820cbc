"""What a fit is told, and what it tells: bounds, priors, frozen and missing sources, flags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scene_tools import DEV, EXP, SERSIC, STAR, Scene, blank, make_scene, nudged

from skyloom.flags import FitFlag
from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    ScenePass,
    SceneState,
    Sources,
    SourceType,
    diagnose,
    fit_flags,
    fit_scene,
    forced_photometry,
)
from skyloom.scene._records import Results

BAD_FIT = FitFlag.NOT_CONVERGED | FitFlag.FAILED | FitFlag.SINGULAR


@pytest.fixture(scope="module")
def pair(small_psf: PixelPsf) -> Scene:
    """A star and a galaxy 10 px apart, without noise, in two bands."""
    sources = Sources.create(
        np.array([STAR, EXP]), np.array([40.3, 49.8]), np.array([40.1, 42.2]), r=1.5, g1=0.1
    )
    images = [blank((84, 90), small_psf, flux_key=b) for b in "gr"]
    return make_scene(images, sources, np.array([[500.0, 900.0], [800.0, 1500.0]]))


def start_at(scene: Scene, dx: float, dy: float = 0.0, *, row: int = 0, **more: object) -> Sources:
    """Return starts at the truth but for one row; keywords go to `Sources.create`."""
    theta = scene.sources.theta.copy()
    theta[row, :2] += dx, dy
    return Sources.create(
        scene.sources.kind, theta[:, 0], theta[:, 1], r=np.exp(theta[:, 2]), g1=theta[:, 3],
        g2=theta[:, 4], n=theta[:, 5], **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_source_at_its_bound_says_so_and_does_not_stop_its_neighbour(pair: Scene) -> None:
    start = start_at(pair, 0.6, max_shift=0.4)  # the truth lies 0.2 px beyond the box
    start.theta[1, :2] += 0.35
    fit = fit_scene(pair.images, start)
    assert fit.x[0] == pytest.approx(40.5, abs=1e-9)  # at its bound
    assert fit.flags[0] & FitFlag.BOUND_POSITION
    assert not fit.flags[1] & FitFlag.BOUND_POSITION
    assert fit.converged.all()
    # The dipole that the star leaves behind, 10 px away.
    assert np.abs((fit.params - pair.sources.theta)[1, :2]).max() < 0.05
    assert fit.flux[1] == pytest.approx(pair.flux[1], rel=0.02)
    # Nothing else held the star back: its y is right although its x cannot be.
    assert abs(fit.y[0] - 40.1) < 0.01


def test_elongated_sources_slide_along_their_bounds(small_psf: PixelPsf) -> None:
    # x and y of a diagonal ellipse are correlated: holding one at its bound must free the other.
    truth = Sources.create(np.array([EXP]), np.array([40.0]), np.array([40.0]), r=3.0, g2=0.6)
    scene = make_scene([blank((80, 80), small_psf)], truth, np.array([[5000.0]]))
    best = np.inf
    for y in np.linspace(40.0, 41.5, 61):
        fixed = truth.at(truth.theta + np.array([1.0, y - 40.0, 0, 0, 0, 0]))
        held = replace(fixed, free=np.zeros((1, 6), np.bool_))
        fit = fit_scene(scene.images, held)
        value = float((fit.residual[0] ** 2).sum())
        if value < best:
            best, best_y = value, y
    start = Sources.create(np.array([EXP]), np.array([41.5]), np.array([39.6]), r=3.0, g2=0.6)
    start.lower[0, 0], start.free[0, 2:] = 41.0, False
    fit = fit_scene(scene.images, start)
    assert fit.x[0] == 41.0
    assert fit.y[0] == pytest.approx(best_y, abs=0.02)  # half the grid step, and the parabola
    assert fit.converged[0]


def test_sizes_and_indices_at_a_limit_are_reported(small_psf: PixelPsf) -> None:
    truth = Sources.create(
        np.array([STAR, SERSIC]), np.array([40.0, 120.0]), np.full(2, 40.0), r=2.0, n=5.0
    )
    scene = make_scene([blank((80, 160), small_psf)], truth, np.full((2, 1), 3e4))
    start = Sources.create(
        np.array([EXP, SERSIC]), np.array([40.0, 120.0]), np.full(2, 40.0), r=2.0, n=2.0,
        r_limits=(0.3, 100.0), n_limits=(0.5, 3.0),
    )  # fmt: skip
    fit = fit_scene(scene.images, start)
    assert np.exp(fit.params[0, 2]) == pytest.approx(0.3, rel=1e-6)
    assert fit.params[1, 5] == pytest.approx(3.0, rel=1e-6)
    assert np.all(fit.flags & FitFlag.BOUND_SHAPE)
    assert fit.param_cov[1, 5, 5] == pytest.approx(0.0, abs=1e-12)  # treated as known


def test_ellipticity_stays_below_its_limit(small_psf: PixelPsf) -> None:
    truth = Sources.create(np.array([EXP]), np.array([40.0]), np.array([40.0]), r=3.0, g1=0.7)
    scene = make_scene([blank((80, 80), small_psf)], truth, np.array([[1e5]]))
    start = Sources.create(np.array([EXP]), np.array([40.1]), np.array([40.0]), r=2.0)
    fit = fit_scene(scene.images, start, FitOptions(max_ellipticity=0.5))
    assert np.hypot(*fit.params[0, 3:5]) == pytest.approx(0.5, abs=1e-6)
    assert fit.flags[0] & FitFlag.BOUND_SHAPE
    assert fit.converged[0]
    free = fit_scene(scene.images, start)
    assert free.params[0, 3] == pytest.approx(0.7, abs=0.01)
    assert not free.flags[0]


def test_limits_of_parameters_that_a_star_lacks_mean_nothing(pair: Scene) -> None:
    everything = replace(pair.sources, free=np.ones((2, 6), np.bool_))
    everything.theta[0, 2] = everything.lower[0, 2]
    assert not fit_scene(pair.images, everything).flags.any()


def test_fixed_parameters_do_not_move(pair: Scene) -> None:
    start = start_at(pair, 0.3, -0.2)
    start.theta[1, 2] += 0.2
    start.free[0, :2] = False
    start.free[1, 2:] = False
    fit = fit_scene(pair.images, start)
    assert_array_equal(fit.params[0, :2], start.theta[0, :2])
    assert_array_equal(fit.params[1, 2:], start.theta[1, 2:])
    assert not fit.param_cov[0].any()
    assert fit.param_cov[1, 0, 0] > 0.0
    assert not fit.param_cov[1, 2:].any()
    free = fit_scene(pair.images, start_at(pair, 0.3))
    assert fit.flux_err[1, 0] < 0.98 * free.flux_err[1, 0]  # the size is known


def test_with_everything_fixed_a_fit_is_one_linear_solution(pair: Scene) -> None:
    start = replace(pair.sources, free=np.zeros((2, 6), np.bool_))
    fit = fit_scene(pair.images, start)
    assert fit.flux == pytest.approx(pair.flux, rel=1e-5)  # single precision
    assert fit.converged.all()
    assert_array_equal(fit.params, pair.sources.theta)


def test_a_tight_position_prior_keeps_the_position(pair: Scene) -> None:
    start = start_at(pair, 0.3)
    start.prior_mean[0, :2] = start.theta[0, :2]
    start.prior_ivar[0, :2] = 1e-4**-2.0
    fit = fit_scene(pair.images, start)
    assert np.abs(fit.params[0, :2] - start.theta[0, :2]).max() < 1e-3
    assert np.sqrt(fit.param_cov[0, 0, 0]) == pytest.approx(1e-4, rel=1e-2)
    start.prior_ivar[0, :2] = 1e3**-2.0
    loose = fit_scene(pair.images, start)
    assert np.abs(loose.params[0, :2] - pair.sources.theta[0, :2]).max() < 1e-3


def test_priors_and_data_are_weighed_by_their_errors(small_psf: PixelPsf) -> None:
    truth = Sources.create(np.array([STAR]), np.array([40.0]), np.array([40.0]))
    scene = make_scene([blank((80, 80), small_psf)], truth, np.array([[2000.0]]))
    free = fit_scene(scene.images, truth)
    error = np.sqrt(free.param_cov[0, 0, 0])
    start = truth.at(truth.theta.copy())
    start.prior_mean[0, 0], start.prior_ivar[0, 0] = 40.0 + 4 * error, error**-2
    fit = fit_scene(scene.images, start)
    assert fit.x[0] - 40.0 == pytest.approx(2 * error, rel=0.02)  # curvature of the model
    assert fit.param_cov[0, 0, 0] == pytest.approx(error**2 / 2, rel=0.02)


def test_flux_priors_join_the_data(pair: Scene) -> None:
    fixed = replace(pair.sources, free=np.zeros((2, 6), np.bool_))
    plain = fit_scene(pair.images, fixed)
    mean, ivar = np.zeros((2, 2)), np.zeros((2, 2))
    mean[0, 1] = pair.flux[0, 1] + 5 * plain.flux_err[0, 1]
    ivar[0, 1] = plain.flux_err[0, 1] ** -2
    fit = fit_scene(pair.images, replace(fixed, flux_prior_mean=mean, flux_prior_ivar=ivar))
    shift = (fit.flux - plain.flux)[0, 1] / plain.flux_err[0, 1]
    assert shift == pytest.approx(2.5, rel=1e-3)  # two equal errors: half way
    assert fit.flux_err[0, 1] == pytest.approx(plain.flux_err[0, 1] / np.sqrt(2), rel=1e-3)
    assert fit.flux[:, 0] == pytest.approx(plain.flux[:, 0], rel=1e-6)  # the other band


def test_faint_sources_keep_position_and_shape(small_psf: PixelPsf) -> None:
    truth = Sources.create(
        np.array([EXP, EXP]), np.array([40.2, 50.3]), np.array([40.1, 46.0]), r=1.5
    )
    scene = make_scene([blank((84, 90), small_psf)], truth, np.array([[8.0], [4000.0]]))
    start = nudged(truth, np.random.default_rng(2))
    fit = fit_scene(scene.images, start)
    assert fit.flags.tolist() == [FitFlag.FROZEN, 0]
    assert_array_equal(fit.params[0, :5], start.theta[0, :5])
    assert fit.flux[0, 0] == pytest.approx(8.0, abs=fit.flux_err[0, 0])
    assert fit.flux[1, 0] == pytest.approx(4000.0, rel=1e-3)
    thawed = fit_scene(scene.images, start, FitOptions(frozen_snr=0.0))
    assert not thawed.flags[0] & FitFlag.FROZEN
    assert np.abs(thawed.params[0, :2] - start.theta[0, :2]).max() > 1e-3


def test_a_masked_source_has_no_flux_and_its_neighbours_do_not_suffer(small_psf: PixelPsf) -> None:
    truth = Sources.create(
        np.array([STAR, EXP, DEV]), np.array([40.2, 110.3, 180.1]), np.full(3, 40.0), r=1.0
    )
    scene = make_scene(
        [blank((80, 220), small_psf, flux_key=b) for b in range(2)], truth, np.full((3, 2), 3000.0)
    )
    images = scene.noisy(np.random.default_rng(5))
    plain = fit_scene(images, nudged(truth, np.random.default_rng(6)))
    masked = [replace(im, ivar=im.ivar.copy()) for im in images]
    masked[0].ivar[:, 70:150] = 0.0
    masked[1].ivar[:, 70:150] = 0.0
    masked[1].ivar[:, 150:] = 0.0
    fit = fit_scene(masked, nudged(truth, np.random.default_rng(6)))
    assert np.isnan(fit.flux[1]).all()
    assert np.isnan(fit.flux_err[1]).all()
    assert fit.flags[1] == FitFlag.NO_DATA | FitFlag.MASKED_CORE | FitFlag.FROZEN
    assert np.isnan(fit.flux[2]).tolist() == [False, True]
    assert fit.flags[2] == FitFlag.NO_DATA_BAND | FitFlag.MASKED_CORE
    assert fit.flux[2, 0] == pytest.approx(3000.0, abs=4 * fit.flux_err[2, 0])
    assert fit.flags[0] == 0
    assert fit.flux[0] == pytest.approx(plain.flux[0], abs=0.01 * plain.flux_err[0, 0])
    assert_array_equal(fit.diagnostics.n_good[1], [0, 0])
    assert_array_equal(fit.diagnostics.masked_fraction[1], [1.0, 1.0])


def test_a_masked_member_of_a_blend_leaves_its_neighbour_alone(pair: Scene) -> None:
    """One band of the blend is lost to one member only where its core is masked."""
    masked = [replace(im, ivar=im.ivar.copy()) for im in pair.images]
    masked[0].ivar[:, :46] = 0.0  # the star and half of the way to the galaxy
    start = start_at(pair, 0.1)
    fit = fit_scene(masked, start)
    assert fit.flux[1] == pytest.approx(pair.flux[1], rel=2e-3)
    assert fit.flux[0, 1] == pytest.approx(pair.flux[0, 1], rel=2e-3)
    assert fit.flux_err[0, 0] > 5 * fit.flux_err[0, 1]  # its wing is all that is left
    assert not (fit.flags & BAD_FIT).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_without_a_number_are_pixels_without_weight(pair: Scene, bad: float) -> None:
    holes = [replace(im, data=im.data.copy(), ivar=im.ivar.copy()) for im in pair.images]
    zeros = [replace(im, ivar=im.ivar.copy()) for im in pair.images]
    holes[0].data[38:42, 44:47] = bad
    holes[1].ivar[30:34, 40:42] = bad
    zeros[0].ivar[38:42, 44:47] = 0.0
    zeros[1].ivar[30:34, 40:42] = 0.0
    one, two = (fit_scene(images, start_at(pair, 0.2)) for images in (holes, zeros))
    assert_array_equal(one.flux, two.flux)
    assert_array_equal(one.params, two.params)
    assert_array_equal(one.flux_cov, two.flux_cov)
    assert np.isfinite(one.flux).all()


def test_coincident_sources_are_singular_and_nobody_else(small_psf: PixelPsf) -> None:
    x = np.array([40.0, 40.0, 47.0, 54.0, 54.0])
    truth = Sources.create(np.full(5, STAR), x, np.full(5, 40.0))
    truth = replace(truth, free=np.zeros((5, 6), np.bool_))
    flux = np.array([[300.0], [200.0], [400.0], [250.0], [250.0]])
    scene = make_scene([blank((80, 96), small_psf)], truth, flux)
    fit = fit_scene(scene.noisy(np.random.default_rng(1)), truth)
    singular = (fit.flags & FitFlag.SINGULAR).astype(bool)
    assert singular.tolist() == [True, True, False, True, True]
    assert_array_equal(np.isinf(fit.flux_err[:, 0]), singular)
    for rows in ([0, 1], [3, 4]):
        assert fit.flux[rows].sum() == pytest.approx(500.0, abs=5 * fit.flux_err[2, 0])
        assert np.all(np.abs(fit.flux[rows]) < 1500.0)  # not +10000 and -9500
    assert fit.flux[2, 0] == pytest.approx(400.0, abs=4 * fit.flux_err[2, 0])


def test_coincident_stars_may_part_again(small_psf: PixelPsf) -> None:
    truth = Sources.create(np.full(2, STAR), np.array([40.0, 45.0]), np.array([40.0, 40.0]))
    scene = make_scene([blank((80, 90), small_psf)], truth, np.array([[3000.0], [3000.0]]))
    start = Sources.create(np.full(2, STAR), np.array([42.4, 42.6]), np.array([40.0, 40.0]))
    fit = fit_scene(scene.images, start)
    assert not (fit.flags & FitFlag.SINGULAR).any()
    assert sorted(fit.x) == pytest.approx([40.0, 45.0], abs=0.01)
    assert np.isfinite(fit.flux_err).all()


def test_an_exhausted_fit_is_reported(pair: Scene) -> None:
    start = start_at(pair, 0.4, 0.4)
    fit = fit_scene(pair.images, start, FitOptions(max_iterations=1, passes=1))
    assert (fit.flags & FitFlag.NOT_CONVERGED).any()
    assert not fit.converged.all()


def test_the_first_pass_solves_fluxes_only(pair: Scene) -> None:
    start = start_at(pair, 0.3)
    scene = ScenePass(pair.images, start, FitOptions())
    state = scene.run(SceneState.start(start, 2), {0: [np.arange(2)]}, linear=True)
    assert_array_equal(state.theta, start.theta)
    assert np.all(state.flux > 0.5 * pair.flux)
    assert state.evaluations.tolist() == [1, 1]


def test_a_pass_changes_the_rows_that_it_is_given(pair: Scene) -> None:
    start = start_at(pair, 0.3)
    scene = ScenePass(pair.images, start, FitOptions())
    state = scene.run(SceneState.start(start, 2), {0: [np.array([1])]}, linear=True)
    assert not state.flux[0].any()
    assert not state.started[0]
    assert state.flux[1].all()


def test_the_residual_after_a_pass_is_that_of_the_state_after_it(pair: Scene) -> None:
    start = start_at(pair, 0.3)
    scene = ScenePass(pair.images, start, FitOptions())
    rows = np.arange(2)
    before = scene.run(SceneState.start(start, scene.n_flux), {0: [rows]}, linear=True)
    first, _ = scene.residual(before)
    kept = first.copy()
    after = scene.run(before, {0: [rows[:1]]})
    assert after.theta[0, 0] != before.theta[0, 0]
    found, weight = scene.residual_after(first, before, after, rows[:1])
    # the second source has not moved, and its stamp has not grown
    after.side[1] = before.side[1]
    expected, expected_weight = scene.residual(after)
    # single precision of pixels near 1e3: models are added and taken away again
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(weight, expected_weight, rtol=1e-5)
    np.testing.assert_array_equal(first, kept)


def test_stamps_of_some_rows_are_those_of_the_scene(small_psf: PixelPsf) -> None:
    # large galaxies, whose stamps end with the image, at different distances from its edges
    x = np.array([5.0, 120.0, 200.0, 395.0])
    sources = Sources.create(np.full(4, SourceType.DEV), x, np.full(4, 20.0), r=np.full(4, 25.0))
    scene = ScenePass([blank((40, 400), small_psf)], sources, FitOptions())
    state = SceneState.start(sources, 1)
    sides = scene.stamp_sides(state)
    assert len(np.unique(sides)) > 1
    for rows in (np.array([2]), np.array([2, 1])):
        part = SceneState.start(sources.take(rows), 1)
        assert_array_equal(scene.stamp_sides_of(rows, sources.take(rows), part), sides[rows])


def test_stamps_of_the_last_pass_do_not_move_the_next(pair: Scene) -> None:
    start = start_at(pair, 0.3)
    scene = ScenePass(pair.images, start, FitOptions())
    groups = {0: [np.arange(2)]}
    state = scene.run(SceneState.start(start, scene.n_flux), groups, linear=True)
    after = []
    for side in (32, 64):
        state.side[:] = side
        after.append(scene.run(state, groups))
    assert_array_equal(after[0].theta, after[1].theta)
    assert_array_equal(after[0].flux, after[1].flux)


def test_a_failed_block_keeps_the_state(pair: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(order: np.ndarray, *rest: object) -> None:
        results = next(part for part in rest if isinstance(part, Results))
        results.healthy[order] = False

    monkeypatch.setattr("skyloom.scene.passes.solve_groups", broken)
    start = start_at(pair, 0.3)
    scene = ScenePass(pair.images, start, FitOptions())
    state = scene.run(SceneState.start(start, 2), {0: [np.arange(2)]})
    assert_array_equal(state.theta, start.theta)
    residual, weight = scene.residual(state)
    rows = np.arange(2)
    flags = fit_flags(scene, state, diagnose(scene, state, rows, residual, weight), rows)
    assert np.all(flags & FitFlag.FAILED)


def test_a_scene_needs_images_and_may_be_empty(small_psf: PixelPsf) -> None:
    none = Sources.create(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="at least one image"):
        fit_scene([], none)
    image = blank((40, 40), small_psf)
    rho = np.zeros((3, 3))
    rho[1] = 0.3, 1.0, 0.3
    for seen in (image, replace(image, noise_correlation=rho)):
        assert fit_scene([seen], none).flux.shape == (0, 1)
        assert forced_photometry([seen], none).flux.shape == (0, 1)


def test_a_source_off_the_frame_has_no_data(small_psf: PixelPsf) -> None:
    truth = Sources.create(
        np.array([STAR, STAR]), np.array([40.0, -500.0]), np.array([40.0, 900.0])
    )
    scene = make_scene([blank((80, 80), small_psf)], truth, np.full((2, 1), 1000.0))
    fit = fit_scene(scene.images, truth)
    assert fit.flux[0, 0] == pytest.approx(1000.0, rel=1e-4)
    assert np.isnan(fit.flux[1, 0])
    assert fit.flags[1] & FitFlag.NO_DATA


def test_a_neighbour_that_still_moves_leaves_a_settled_source_settled(
    small_psf: PixelPsf,
) -> None:
    place = np.array([[40.0, 40.0], [60.0, 41.0]])
    truth = Sources.create(np.array([STAR, EXP]), *place.T, r=3.0)
    scene = make_scene([blank((80, 80), small_psf)], truth, np.array([[300.0], [3000.0]]))
    shift = np.array([[0.2, 0.0], [0.0, 0.0]])
    start = Sources.create(np.array([STAR, EXP]), *(place + shift).T, r=0.5)
    found = {}
    for number in (2, 20):
        ready = ScenePass(scene.images, start, FitOptions(max_iterations=number))
        state = ready.run(SceneState.start(start, 1), {0: [np.arange(2)]}, linear=True)
        found[number] = ready.run(state, {0: [np.arange(2)]})
    settled = {number: state.converged.tolist() for number, state in found.items()}
    assert settled == {2: [True, False], 20: [True, True]}
    error = np.sqrt(found[20].theta_cov[0, 0, 0])
    # FitOptions.tolerance is 0.01: a step of a tenth of the error
    assert np.abs(found[2].theta[0, :2] - place[0]).max() < 0.1 * error
    assert np.abs(found[2].theta[1, 2] - found[20].theta[1, 2]) > 0.3


def test_signal_to_noise_counts_positive_fluxes_with_a_variance(pair: Scene) -> None:
    state = SceneState.start(pair.sources, 4)
    state.flux[:] = [[3.0, 8.0, -5.0, np.nan], [6.0, 2.0, 4.0, 1.0]]
    state.flux_cov[0] = np.diag([1.0, 4.0, 1.0, np.nan])
    state.flux_cov[1] = np.diag([4.0, np.inf, -1.0, 0.0])
    assert state.snr.tolist() == [5.0, 3.0]

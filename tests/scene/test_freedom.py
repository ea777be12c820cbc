"""Galaxies that do not keep to their laws: closed form, who is touched, what stays the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scene_tools import DEV, EXP, SERSIC, STAR, Scene, blank, full_frame_units, make_scene

from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    SceneFit,
    ScenePass,
    SceneState,
    Sources,
    fit_scene,
    forced_photometry,
    loose_sources,
    refine_loosely,
)

LAWS = np.array([EXP, DEV, STAR, STAR])
INDEX = np.array([1.0, 4.0, 1.0, 1.0])
TRUE_INDEX = np.array([1.4, 3.1, 1.0, 1.0])
SIZE = np.array([2.2, 2.0, 1.0, 1.0])
GROWTH = (0.95, 1.06)  # of all galaxies, by band
BOUND = FitOptions(correlated_noise=False, stamp_side=64)
LOOSE = replace(BOUND, index_scatter=0.2, size_scatter=0.1)
SIGMA = 0.2


@pytest.fixture(scope="module")
def blend(small_psf: PixelPsf, moffat: PixelPsf) -> Scene:
    """Two galaxies and a star, overlapping, and a star far away; without noise, in two bands.

    Galaxies have other indices than their laws, and sizes that change with the band.
    """
    x, y = np.array([60.0, 67.0, 57.0, 170.0]), np.array([60.0, 62.0, 68.0, 60.0])
    flux = np.array([[900.0, 1100.0], [1500.0, 1200.0], [500.0, 300.0], [700.0, 600.0]])
    images = []
    for b, psf in enumerate((small_psf, moffat)):
        kind = np.where(LAWS == STAR, STAR, SERSIC)
        truth = Sources.create(kind, x, y, r=SIZE * GROWTH[b], g1=0.1, g2=-0.05, n=TRUE_INDEX)
        empty = blank((120, 220), psf, sigma=SIGMA, flux_key=b)
        images += make_scene([empty], truth, flux[:, b : b + 1]).images
    return Scene(images=images, sources=Sources.create(LAWS, x, y, r=SIZE), flux=flux)


@pytest.fixture(scope="module")
def bound(blend: Scene) -> SceneFit:
    return fit_scene(blend.images, blend.sources, BOUND)


@pytest.fixture(scope="module")
def loose(blend: Scene) -> SceneFit:
    return fit_scene(blend.images, blend.sources, LOOSE)


def dense(blend: Scene, fit: SceneFit, options: FitOptions) -> tuple[np.ndarray, np.ndarray]:
    """Return change of all fluxes (n, B), and their covariance, by one dense solution.

    Unknowns: fluxes by band, then positions and shapes, indices, sizes and indices of single bands;
    priors as the fit has them.
    """
    group = [0, 1, 2]
    theta = fit.params[group].copy()
    theta[:, 5] = INDEX[group]
    kind = np.where(LAWS[group] == STAR, STAR, SERSIC)
    sources = replace(blend.sources.take(np.array(group)), kind=kind, theta=theta)
    model = fit.flux[group] - fit.flux_shift[group]
    units = full_frame_units(blend.images, sources)
    count = np.where(kind == STAR, 3, 7)
    first = np.cumsum(count) - count
    shapes = [(s, c) for s in group for c in range(count[s] - 1)]
    singles = [(s, c, b) for s in (0, 1) for c in (2, 5) for b in range(2)]
    n_flux, n_all = 6, 6 + len(shapes) + len(singles)
    normal, slope = np.zeros((n_all, n_all)), np.zeros(n_all)
    for b in range(2):
        design = np.zeros((n_all, units[b][0].size))
        for s in group:
            design[3 * b + s] = units[b][first[s]].ravel()
        for k, (s, c) in enumerate(shapes):
            design[n_flux + k] = model[s, b] * units[b][first[s] + 1 + c].ravel()
        for k, (s, c, own) in enumerate(singles):
            if own == b:
                at = n_flux + len(shapes) + k
                design[at] = model[s, b] * units[b][first[s] + 1 + c].ravel()
        normal += design @ design.T / SIGMA**2
        slope += design @ fit.residual[b].ravel() / SIGMA**2
    nuisance = []
    for k, (s, c) in enumerate(shapes):
        at = n_flux + k
        if c in (3, 4):
            normal[at, at] += 4.0  # the prior of `Sources.create` on the ellipticity
            slope[at] -= 4.0 * theta[s, c]
        if c == 5:
            normal[at, at] += (options.index_scatter * INDEX[s]) ** -2.0
            slope[at] += options.index_mean / options.index_scatter**2 / INDEX[s]
            nuisance.append(at)
    for k, (s, c, own) in enumerate(singles):
        at = n_flux + len(shapes) + k
        scale = INDEX[s] if c == 5 else 1.0
        normal[at, at] += (options.size_scatter * scale) ** -2.0
        if options.band_mean:
            mean = options.band_mean[own][0 if c == 2 else 1]
            slope[at] += mean / options.size_scatter**2 / scale
        nuisance.append(at)
    held = np.setdiff1d(np.arange(n_all), nuisance)
    without = np.linalg.solve(normal[np.ix_(held, held)], slope[held])[:n_flux]
    change = np.linalg.solve(normal, slope)[:n_flux] - without
    covariance = np.linalg.inv(normal)[:n_flux, :n_flux]
    return change.reshape(2, 3).T, covariance.reshape(2, 3, 2, 3).transpose(1, 3, 0, 2)


@pytest.mark.parametrize(
    ("mean", "by_band"), [(0.0, ()), (-0.3, ()), (0.1, ((0.05, -0.1), (-0.03, 0.06)))]
)
def test_it_is_the_joint_solution_with_priors(
    blend: Scene, mean: float, by_band: tuple[tuple[float, float], ...]
) -> None:
    options = replace(LOOSE, index_mean=mean, band_mean=by_band)
    loose = fit_scene(blend.images, blend.sources, options)
    change, covariance = dense(blend, loose, options)
    errors = loose.flux_err[:3]
    assert (np.abs(change[:2]) > errors[:2]).any()  # there is something to correct
    # unit images of single precision, a ridge of 1e-6 on nearly degenerate shapes
    assert_allclose(loose.flux_shift[:3] / errors, change / errors, atol=0.02)
    for s in range(3):
        scale = np.outer(errors[s], errors[s])
        assert_allclose(loose.flux_cov[s] / scale, covariance[s, s] / scale, atol=0.01)


def test_fluxes_come_nearer_to_the_truth(blend: Scene, bound: SceneFit, loose: SceneFit) -> None:
    before = np.abs(bound.flux - blend.flux)[:2]
    after = np.abs(loose.flux - blend.flux)[:2]
    assert after.max() < 0.4 * before.max()  # second order is left
    assert (loose.flux_err[:2] > bound.flux_err[:2]).all()


def test_model_shapes_and_lone_stars_stay_as_they_are(bound: SceneFit, loose: SceneFit) -> None:
    assert np.array_equal(loose.params, bound.params)
    for a, b in zip(loose.residual + loose.model, bound.residual + bound.model, strict=True):
        assert np.array_equal(a, b)
    assert_allclose(loose.flux - loose.flux_shift, bound.flux, rtol=1e-14)  # of the subtraction
    assert not bound.flux_shift.any()
    assert np.array_equal(loose.flux[3], bound.flux[3])
    assert np.array_equal(loose.flux_cov[3], bound.flux_cov[3])


def test_order_and_threads_do_not_matter(blend: Scene, loose: SceneFit) -> None:
    order = np.array([3, 2, 0, 1])
    threads = replace(LOOSE, threads=2)
    again = fit_scene(blend.images, blend.sources, threads)
    assert np.array_equal(again.flux, loose.flux)
    assert np.array_equal(again.flux_cov, loose.flux_cov)
    turned = fit_scene(blend.images, blend.sources.take(order), LOOSE)
    # another order of sums, at a fit that stops when chi-square has changed by 0.01
    assert_allclose(turned.flux, loose.flux[order], atol=0.1 * loose.flux_err.max())
    assert_allclose(turned.flux_err, loose.flux_err[order], rtol=0.01)


def test_laws_hold_where_nothing_is_free(blend: Scene, bound: SceneFit) -> None:
    for options in (
        replace(LOOSE, profile="hl13", size_scatter=0.0),
        replace(LOOSE, prior_snr=1e5),  # everybody is faint
    ):
        assert not fit_scene(blend.images, blend.sources, options).flux_shift.any()
    fixed = replace(blend.sources, theta=bound.params)
    one, other = (forced_photometry(blend.images, fixed, o).flux for o in (BOUND, LOOSE))
    assert np.array_equal(one, other)


def test_one_band_has_no_other_size(blend: Scene) -> None:
    sizes = replace(BOUND, size_scatter=0.1)
    fit = fit_scene(blend.images[:1], blend.sources, sizes)
    assert not fit.flux_shift.any()


def test_components_of_composites_keep_to_their_laws(blend: Scene) -> None:
    anchored = replace(blend.sources, anchor=np.array([0, 0, 2, 3]))
    fit = fit_scene(blend.images, anchored, LOOSE)
    assert not fit.flux_shift.any()


def test_correlated_noise_counts_as_well(blend: Scene) -> None:
    rho = np.zeros((3, 3))
    rho[1], rho[:, 1], rho[1, 1] = 0.2, 0.2, 1.0
    correlated = [replace(im, noise_correlation=rho) for im in blend.images]
    options = replace(LOOSE, correlated_noise=True)
    both = [fit_scene(images, blend.sources, options) for images in (blend.images, correlated)]
    assert np.array_equal(both[0].flux, both[1].flux)
    assert (both[1].flux_err > 1.2 * both[0].flux_err).all()


def test_blocks_do_not_know_of_each_other(blend: Scene, bound: SceneFit) -> None:
    scene = ScenePass(blend.images, blend.sources, LOOSE)
    state = SceneState.start(blend.sources, scene.n_flux)
    state.theta, state.flux, state.flux_cov = bound.params, bound.flux, bound.flux_cov
    state.started[:], state.side[:] = True, 64
    assert loose_sources(scene, state).tolist() == [True, True, False, False]
    prepared = scene.residual(state)
    nobody = np.zeros(0, np.int64)
    blocks = [(np.array(rows), nobody) for rows in ([0, 2], [1], [3])]
    together = refine_loosely(scene, state, blocks, prepared)
    for block in blocks:
        alone = refine_loosely(scene, state, [block], prepared)
        for name in ("shift", "flux_cov", "theta_cov"):
            one, other = (getattr(s, name)[block[0]] for s in (alone, together))
            assert np.array_equal(one, other)
    assert np.array_equal(together.theta, state.theta)
    assert np.array_equal(together.flux, state.flux)

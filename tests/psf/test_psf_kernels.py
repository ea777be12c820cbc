"""Compiled kernels and small parts against independent oracles."""

import galsim
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.psf._assemble import _nodes
from skyloom.psf._grid import fine_grid, star_grid
from skyloom.psf._moffat_fit import centred_moffats, fit_moffats, moffat_stamps
from skyloom.psf._moffat_nb import moffat_normal
from skyloom.psf._polar import PolarEquations, accumulate, fit_polar, polar_basis
from skyloom.psf._regress import fit_shape_field, mode_of, orthonormal_terms
from skyloom.psf._starfit import StarModel, mask_asymmetric, refine_stars
from skyloom.psf._starfit_nb import star_equations, stepped
from skyloom.psf._stars import StarState
from skyloom.psf._wings_nb import ring_weights, wing_sums
from skyloom.psf.field import monomials

SIDE = 31
CENTRE = np.arange(SIDE) - SIDE // 2.0


def galsim_moffat(ln_alpha, e1, e2, beta):
    exact = galsim.GSParams(folding_threshold=1e-4, maxk_threshold=1e-4)
    obj = galsim.Moffat(beta=beta, scale_radius=np.exp(ln_alpha), gsparams=exact)
    return obj.shear(e1=e1, e2=e2)


@pytest.mark.parametrize(("ln_alpha", "beta"), [(0.9, 2.2), (1.36, 3.0), (1.7, 4.0)])
def test_moffat_stamps_are_those_of_galsim(ln_alpha, beta):
    e1, e2, dx, dy = 0.1, -0.07, 0.31, -0.44
    value, _, _ = moffat_stamps(
        np.array([[ln_alpha, e1, e2]]),
        beta=beta,
        x=np.array([dx]),
        y=np.array([dy]),
        centre=CENTRE,
    )
    image = galsim_moffat(ln_alpha, e1, e2, beta).drawImage(
        nx=SIDE, ny=SIDE, scale=1, offset=(dx, dy), dtype=float
    )
    # GalSim's transform wraps some 1e-4 of the light; our pixel integration is good to 1e-5
    np.testing.assert_allclose(value[0], image.array, atol=3e-4 * image.array.max())


@settings(max_examples=20, deadline=None)
@given(
    ln_alpha=st.floats(0.3, 2.0),
    e1=st.floats(-0.4, 0.4),
    e2=st.floats(-0.4, 0.4),
    oversampling=st.sampled_from([1, 2]),
)
def test_centred_stamps_are_stamps_at_the_origin(ln_alpha, e1, e2, oversampling):
    centre = CENTRE / oversampling
    grid = {"centre": centre, "width": np.ones(SIDE)}
    shape, zero = np.array([[ln_alpha, e1, e2], [1.0, 0.0, 0.1]]), np.zeros(2)
    basis = polar_basis(fwhm=4.0, side=SIDE, shape=shape[0], beta=3.0)
    coefficients = np.random.default_rng(1).normal(0, 0.1, (2, basis.size))
    at_origin = moffat_stamps(shape, beta=3.0, x=zero, y=zero, **grid)[0]
    centred = centred_moffats(shape, beta=3.0, **grid)
    np.testing.assert_allclose(centred, at_origin, rtol=1e-12)  # the same sums
    basis.apply(at_origin, coefficients, x=zero, y=zero, centre=centre)
    basis.apply_centred(centred, coefficients, centre=centre)
    np.testing.assert_allclose(centred, at_origin, rtol=1e-11, atol=1e-18)  # in another order


def numeric(function, step=1e-5):
    return (function(step) - function(-step)) / (2 * step)


def test_moffat_derivatives():
    shape, beta = np.array([[1.3, 0.1, -0.05]]), 3.0

    def value(dx=0.0, dy=0.0):
        at = {"x": np.array([0.2 + dx]), "y": np.array([-0.3 + dy])}
        return moffat_stamps(shape, beta=beta, centre=CENTRE, **at)[0][0]

    _, by_x, by_y = moffat_stamps(
        shape, beta=beta, x=np.array([0.2]), y=np.array([-0.3]), centre=CENTRE
    )
    # derivatives leave out the bend term outside the core: 1 % of the local slope there
    peak = np.abs(by_x).max()
    np.testing.assert_allclose(by_x[0], numeric(lambda h: value(dx=h)), atol=3e-3 * peak)
    np.testing.assert_allclose(by_y[0], numeric(lambda h: value(dy=h)), atol=3e-3 * peak)


def test_moffat_normal_equations():
    rng = np.random.default_rng(2)
    data = rng.normal(size=(1, 15, 15)) + 5
    ivar = rng.uniform(0.5, 2, size=data.shape)
    ivar[0, 3, 4] = 0
    par = np.array([[200.0, 1.0, 0.2, -0.3, 1.2, 0.08, -0.04]])
    offset = np.arange(15) - 7.0

    def model(p, beta):
        value, _, _ = moffat_stamps(p[:, 4:7], beta=beta, x=p[:, 2], y=p[:, 3], centre=offset)
        return (p[:, 0, None, None] * value + p[:, 1, None, None])[0].ravel()

    jac = []
    for k in range(7):

        def moved(h, k=k):
            p = par.copy()
            p[0, k] += h
            return model(p, 3.0)

        jac.append(numeric(moved))
    jac.append(numeric(lambda h: model(par, 3.0 + h)))
    jac = np.array(jac)
    light = model(par, 3.0) - par[0, 1]
    w = ivar.ravel() / (1 + ivar.ravel() * (0.5 * light + (0.01 * light) ** 2))
    normal, right, loss = np.empty((1, 8, 8)), np.empty((1, 8)), np.empty(1)
    moffat_normal(data, ivar, par, 3.0, 0.5, 0.01, normal, right, loss)
    scale = np.sqrt(np.outer(np.diag(normal[0]), np.diag(normal[0])))
    # the bend term is left out of the derivatives: 1 % of the wings
    np.testing.assert_allclose(normal[0] / scale, (jac * w) @ jac.T / scale, atol=5e-3)
    residual = data.ravel() - model(par, 3.0)
    used = w > 0
    expected = (w * residual**2).sum() + np.log(ivar.ravel()[used] / w[used]).sum()
    assert loss[0] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(
        right[0] / np.sqrt(np.diag(normal[0])),
        (jac * w) @ residual / np.sqrt(np.diag(normal[0])),
        atol=0.1,
    )


def test_fit_moffats_recovers_shapes_and_exponent():
    rng = np.random.default_rng(4)
    truth = np.stack(
        [rng.uniform(1.2, 1.4, 12), rng.uniform(-0.1, 0.1, 12), rng.uniform(-0.1, 0.1, 12)], 1
    )
    dx, dy = rng.uniform(-0.5, 0.5, (2, 12))
    stamps = np.array(
        [
            galsim_moffat(*s, 2.8)
            .drawImage(nx=21, ny=21, scale=1, offset=(a, b), dtype=float)
            .array
            for s, a, b in zip(truth, dx, dy, strict=True)
        ]
    )
    fits = fit_moffats(
        1e5 * stamps + 3.0,
        np.ones_like(stamps),
        fwhm=3.5,
        beta=3.5,
        source_variance=0.0,
        model_error=0.001,
    )
    assert fits.ok.all()
    # limit: GalSim's wrapped light and the exponent, which trades against size
    assert fits.beta == pytest.approx(2.8, abs=0.03)
    np.testing.assert_allclose(fits.shape, truth, atol=0.01)
    np.testing.assert_allclose(fits.x, dx, atol=0.002)
    np.testing.assert_allclose(fits.pedestal, 3.0, atol=1.0)


@given(seed=st.integers(0, 100), fwhm=st.floats(2.5, 7.0))
@settings(max_examples=20, deadline=None)
def test_grid_keeps_weights_and_means(seed, fwhm):
    rng = np.random.default_rng(seed)
    grid = star_grid(61, fwhm=fwhm)
    assert grid.width.sum() == 61
    data, weight = rng.normal(size=(2, 2, 61, 61))
    weight = np.abs(weight) + 0.1
    mean, total = grid.averaged(data, weight)
    assert total.sum() == pytest.approx(weight.sum())
    assert (mean * total).sum() == pytest.approx((data * weight).sum())
    np.testing.assert_array_equal(grid.spread(total > 0), True)


def test_coarse_and_fine_grids_see_the_same_star():
    shape = np.array([[1.36, 0.05, 0.02]])
    at = {"x": np.array([0.3]), "y": np.array([-0.2]), "beta": 3.0}
    fine, _, _ = moffat_stamps(shape, centre=fine_grid(61).centre, **at)
    grid = star_grid(61, fwhm=4.0)
    blocks, _, _ = moffat_stamps(shape, centre=grid.centre, width=grid.width, **at)
    mean, _ = grid.averaged(fine, np.ones_like(fine))
    # second order in the size of the blocks: 1e-5 of the peak
    np.testing.assert_allclose(blocks, mean, atol=1e-5 * fine.max())


def test_polar_equations_against_dense_algebra():
    rng = np.random.default_rng(5)
    shape, beta, grid = np.array([1.3, 0.05, 0.0]), 3.0, star_grid(41, fwhm=4.0)
    basis = polar_basis(fwhm=4.0, side=41, shape=shape, beta=beta)
    state = StarState(
        flux=np.array([3e4]),
        pedestal=np.zeros(1),
        dx=np.array([0.2]),
        dy=np.array([-0.4]),
        flux_var=np.ones(1),
    )
    model = StarModel(shape=shape[None], beta=beta, basis=basis, correction=None)
    data = rng.normal(size=(1, grid.size, grid.size)) * 5
    weight = rng.uniform(0.01, 0.05, size=data.shape)
    noise = {"source_variance": 0.0, "model_error": 0.0}
    step = refine_stars(data, weight, model, state, grid, **noise)
    functions = np.empty((basis.size, data[0].size))
    for b in range(basis.size):
        unit = step.moffat.copy()
        basis.apply(unit, np.eye(basis.size)[b : b + 1], x=state.dx, y=state.dy, centre=grid.centre)
        functions[b] = (unit - step.moffat).ravel() * step.state.flux[0]
    others = np.stack(
        [
            step.unit.ravel(),
            np.ones(data[0].size),
            step.state.flux[0] * step.by_x.ravel(),
            step.state.flux[0] * step.by_y.ravel(),
        ]
    )
    root = np.sqrt(step.weight.ravel())
    q, _ = np.linalg.qr((others * root).T)
    free = functions * root - (functions * root) @ q @ q.T
    current = rng.normal(size=(1, basis.size)) * 0.01
    found = accumulate(basis, step, step.weight, before=state, centre=grid.centre, current=current)
    scale = np.abs(free @ free.T).max()
    np.testing.assert_allclose(found.normal[0], free @ free.T, atol=1e-6 * scale)
    right = free @ (step.residual.ravel() * root) + free @ free.T @ current[0]
    np.testing.assert_allclose(found.right[0], right, atol=1e-6 * np.abs(right).max())


def test_polar_functions_share_out_one():
    shape = np.array([1.3, 0.0, 0.0])
    basis = polar_basis(fwhm=4.0, side=41, shape=shape, beta=3.0)
    unit = np.ones((1, 41, 41))
    every = np.zeros((1, basis.size))
    every[0, basis.offset[:-1]] = 0.25
    zero = np.zeros(1)
    basis.apply(unit, every, x=zero, y=zero, centre=np.arange(41) - 20.0)
    inside = np.hypot(*np.mgrid[-20:21, -20:21]) < 20
    np.testing.assert_allclose(unit[0][inside], 1.25, rtol=1e-9)  # splines: partition of unity


def test_neighbours_are_masked_and_the_star_is_not():
    offset = np.arange(61) - 30.0
    star = 1e4 * np.exp(-0.5 * (offset[:, None] ** 2 + offset[None, :] ** 2) / 3)
    other = 800 * np.exp(-0.5 * ((offset[:, None] - 5) ** 2 + (offset[None, :] - 12) ** 2) / 3)
    weight = np.ones((1, 61, 61))
    found = mask_asymmetric((star + other)[None], weight, core=5.0)
    assert found[0, 35, 42] == 0
    assert (found[0] == 0).sum() < 200  # it is seen out to a radius of 7 pixels
    assert (mask_asymmetric(star[None], weight, core=5.0) == 1).all()


def test_mode_of_a_mixture():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(1.0, 0.02, 40), rng.uniform(1.1, 2.0, 60)])
    assert mode_of(values) == pytest.approx(1.0, abs=0.03)  # within the spread of the peak


def test_orthonormal_terms():
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-1, 1, (2, 20))
    w = rng.uniform(0.1, 3, 20)
    values, _ = orthonormal_terms(u, v, degree=2, weight=w)
    np.testing.assert_allclose((values * w[:, None]).T @ values, np.eye(6) * w.sum(), atol=1e-9)


def shapes_of_a_field(order, rng, n=60, noise=0.003):
    u, v = rng.uniform(-1, 1, (2, n))
    truth = np.stack([1.3 + 0 * u, 0 * u, 0 * u], axis=1)
    if order:
        truth[:, 0] += 0.04 * u
    if order == 2:
        truth[:, 1] += 0.05 * (u * v)
    cov = np.broadcast_to(noise**2 * np.eye(3), (n, 3, 3))
    return u, v, truth + rng.normal(size=truth.shape) * noise, cov, truth


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_order_of_the_field_is_found(order):
    rng = np.random.default_rng(10 + order)
    u, v, shape, cov, truth = shapes_of_a_field(order, rng)
    shape[7, 0] += 0.2  # a galaxy
    field = fit_shape_field(
        u,
        v,
        shape,
        cov,
        np.ones(60, bool),
        max_order=2,
        stars_per_term=3,
        clip_sigma=4.5,
        local=False,
    )
    assert field.order == order
    assert not field.kept[7]
    assert field.kept.sum() >= 57
    # 6 terms of 60 stars: 0.003 sqrt(6 / 60) = 0.001; four times that for the worst star
    np.testing.assert_allclose(field.shapes(u, v), truth, atol=0.004)


def test_a_step_across_the_field_asks_for_a_local_correction():
    rng = np.random.default_rng(3)
    u, v, shape, cov, _ = shapes_of_a_field(0, rng)
    step = np.where(u > 0.1, 0.12, 0.0)
    shape[:, 0] += step
    options = {"max_order": 2, "stars_per_term": 3, "clip_sigma": 4.5}
    usable = np.ones(60, bool)
    field = fit_shape_field(u, v, shape, cov, usable, local=True, **options)
    smooth = fit_shape_field(u, v, shape, cov, usable, local=False, **options)
    assert field.length > 0

    def error(f):
        return np.sqrt(((f.shapes(u, v)[:, 0] - 1.3 - step) ** 2).mean())

    assert error(field) < 0.6 * error(smooth)


def test_star_equations_against_dense_algebra():
    rng = np.random.default_rng(6)
    data, by_x, by_y = (rng.normal(size=(2, 9, 9)) for _ in range(3))
    unit, ivar = rng.normal(0.1, 0.2, size=data.shape), rng.uniform(0.1, 1.0, size=data.shape)
    ivar[0, 3, 4] = 0.0
    flux, pedestal = np.array([30.0, -2.0]), np.array([0.5, -1.0])
    light, residual, weight = (np.empty_like(data) for _ in range(3))
    normal, right = np.empty((2, 4, 4)), np.empty((2, 4))
    star_equations(
        data, ivar, unit, by_x, by_y, flux, pedestal, 0.3, 0.02, light, residual, weight, normal,
        right,
    )  # fmt: skip
    own = flux[:, None, None] * unit
    star = np.maximum(own, 0.0)
    np.testing.assert_allclose(light, own)
    np.testing.assert_allclose(
        weight, ivar / (1 + ivar * (0.3 * star + (0.02 * star) ** 2)), rtol=1e-12
    )
    np.testing.assert_allclose(residual, data - own - pedestal[:, None, None], rtol=1e-9)
    step = rng.normal(size=(2, 4))
    for s in range(2):
        jac = np.stack([unit[s], np.ones((9, 9)), flux[s] * by_x[s], flux[s] * by_y[s]])
        flat = jac.reshape(4, -1)
        np.testing.assert_allclose(normal[s], (flat * weight[s].ravel()) @ flat.T, rtol=1e-9)
        np.testing.assert_allclose(right[s], flat @ (weight[s] * residual[s]).ravel(), rtol=1e-9)
    before, left = light.copy(), residual.copy()
    stepped(unit, by_x, by_y, flux, step, light, residual)
    for s in range(2):
        change = step[s, 0] * unit[s] + flux[s] * (step[s, 2] * by_x[s] + step[s, 3] * by_y[s])
        np.testing.assert_allclose(light[s], before[s] + change)
        np.testing.assert_allclose(residual[s], left[s] - change - step[s, 1])


def test_sums_over_rings_against_plain_numpy():
    rng = np.random.default_rng(7)
    side, x, y, radius = 41, 20.3, 19.8, np.array([4.0, 7.0, 12.0, 18.0])
    data = rng.normal(size=(side, side)).astype(np.float32)
    data[30, 12], data[10, 25] = 9.0, -9.0  # one of them takes its neighbours along
    weight = rng.uniform(0.5, 1.0, size=data.shape).astype(np.float32)
    weight[5:9, 20] = 0.0
    light = rng.uniform(0.0, 0.5, size=data.shape)
    w, values, room = (
        np.empty(data.shape),
        np.empty(data.size, np.float32),
        np.empty((41, 41), "u1"),
    )
    n = ring_weights(data, weight, light, x, y, radius[0], radius[-1], w, values)
    yy, xx = np.indices(data.shape)
    distance = np.hypot(xx - x, yy - y)
    inside = (distance > 4.0) & (distance <= 18.0) & (weight > 0)
    assert n == inside.sum()
    assert sorted(values[:n]) == sorted(data[inside])
    np.testing.assert_allclose(w, np.where(inside, weight / (1 + weight * light), 0.0), rtol=1e-6)
    own, cross, sums = np.zeros((4, 4)), np.zeros(4), np.zeros(4)
    total, amount = wing_sums(data, w, 0.0, 5.0, x, y, radius, room, own, cross, sums)
    kept = np.where(inside, w, 0.0)
    kept[29:32, 11:14] = 0.0
    kept[10, 25] = 0.0
    hats = np.stack([np.interp(distance, radius, row) for row in np.eye(4)]).reshape(4, -1)
    np.testing.assert_allclose(own, (hats * kept.ravel()) @ hats.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cross, hats @ kept.ravel(), rtol=1e-9)
    np.testing.assert_allclose(sums, hats @ (kept * data).ravel(), rtol=1e-6, atol=1e-6)
    assert (total, amount) == pytest.approx((kept.sum(), (kept * data).sum()), rel=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 5, 6])
def test_nodes_are_as_many_as_terms_and_nearly_the_best(degree):
    """A polynomial through them errs little more than the best one does."""
    u, v = _nodes(degree)
    terms = monomials(u, v, degree=degree)
    assert terms.shape[0] == terms.shape[1]

    def shape(u, v):
        return np.exp(0.3 * u - 0.2 * u * v + 0.1 * v**2)

    grid = np.linspace(-1, 1, 41)
    gu, gv = (a.ravel() for a in np.meshgrid(grid, grid))
    dense = monomials(gu, gv, degree=degree)
    error = np.abs(dense @ np.linalg.solve(terms, shape(u, v)) - shape(gu, gv)).max()
    best = np.linalg.lstsq(dense, shape(gu, gv), rcond=None)[0]
    # their Lebesgue constants grow like the square of the logarithm of the degree: 3 to 5 here
    assert error < 4.0 * np.abs(dense @ best - shape(gu, gv)).max()


def equations_of_stars(n, basis, rng, truth):
    """Return equations of stars whose corrections are ``truth`` (n, B), and noise of one sigma."""
    root = rng.normal(size=(n, basis.size, basis.size)) * 300.0 / np.sqrt(basis.size)
    normal = root @ root.transpose(0, 2, 1)
    noise = (root @ rng.normal(size=(n, basis.size, 1)))[:, :, 0]
    return PolarEquations(
        normal=normal,
        right=(normal @ truth[:, :, None])[:, :, 0] + noise,
        current=np.zeros((n, basis.size)),
        shift=np.zeros((n, 4)),
        gain=np.zeros((n, 4, basis.size)),
    )


@pytest.mark.parametrize("varies", [False, True])
def test_the_order_of_the_correction_is_found_and_its_widths_are_handed_on(varies):
    rng = np.random.default_rng(8)
    n = 60
    u, v = rng.uniform(-1, 1, (2, n))
    basis = polar_basis(fwhm=4.0, side=31, shape=np.array([1.3, 0.0, 0.0]), beta=3.0)
    # what moves or brightens a star is held back: such corrections are none
    free = np.eye(basis.size) - np.linalg.pinv(basis.gauge) @ basis.gauge
    constant, slope = (free @ rng.normal(0.0, 0.02, basis.size) for _ in range(2))
    truth = constant + (u if varies else 0.0 * u)[:, None] * slope
    equations = equations_of_stars(n, basis, rng, truth)
    fit = fit_polar(basis, equations, u, v, np.ones(n), orders=[0, 1])
    assert fit.order == int(varies)
    again = fit_polar(basis, equations, u, v, np.ones(n), orders=[fit.order], previous=fit)
    for found in (fit, again):
        error = monomials(u, v, degree=found.order) @ found.images - truth
        assert np.abs(error).max() < 0.15 * np.abs(truth).max()
    assert np.abs(again.images - fit.images).max() < 1e-3  # a tenth of what is found


def field_error(cubic, *, max_order, trials=12, noise=0.004):
    """Return the rms error of the size over the field, of shapes with a cubic part and noise."""
    squares = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        u, v = rng.uniform(-1, 1, (2, 120))
        truth = lambda u, v: 0.5 + 0.05 * u - 0.04 * u * v + cubic * (u**3 - 2 * u * v**2)  # noqa: E731
        shape = rng.normal(0, noise, (120, 3))
        shape[:, 0] += truth(u, v)
        cov = np.broadcast_to(np.eye(3) * noise**2, (120, 3, 3))
        field = fit_shape_field(
            u, v, shape, cov, np.ones(120, bool), max_order=max_order, stars_per_term=3.0,
            clip_sigma=4.5, local=True,
        )  # fmt: skip
        gu, gv = (g.ravel() for g in np.meshgrid(*[np.linspace(-0.9, 0.9, 11)] * 2))
        squares.append(np.mean((field.shapes(gu, gv)[:, 0] - truth(gu, gv)) ** 2))
    return np.sqrt(np.mean(squares))


def test_small_cubic_terms_are_found_and_absent_ones_cost_nothing():
    quadratic, cubic = (field_error(0.004, max_order=k) for k in (2, 3))
    assert cubic < 0.8 * quadratic  # 0.0012 against 0.0016; noise of ten terms alone: 0.0012
    without = [field_error(0.0, max_order=k) for k in (2, 3)]
    assert without[1] < 1.1 * without[0]  # the same in all trials

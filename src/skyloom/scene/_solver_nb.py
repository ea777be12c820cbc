"""Compiled solver of one blend group: variable projection and Levenberg-Marquardt.

The fluxes are linear and eliminated exactly, key by key; positions and shapes move on what is
left.  One pixel pass (`evaluate`) per trial point; everything else is algebra on its Gram matrix.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import exact_kernel
from skyloom._types import Floats

from ._gram_nb import evaluate, make_scratch
from ._linear_nb import assign, backward, cholesky, factor_fluxes, forward, project
from ._records import Images, Members, Normal, Outcome, Problem, Tables
from ._render_nb import n_parameters

REJECTIONS = 12  # in a row: damping has grown by 8**12, nothing will help
NO_DATA = -1.0
DEGENERATE = -2.0


@exact_kernel
def _free_parameters(kind, free):
    """Return source and column of every free parameter."""
    n_src = kind.shape[0]
    m = 0
    for s in range(n_src):
        for c in range(n_parameters(kind[s]) - 1):
            m += 1 if free[s, c] else 0
    owner = np.empty(m, np.int64)
    column = np.empty(m, np.int64)
    k = 0
    for s in range(n_src):
        for c in range(n_parameters(kind[s]) - 1):
            if free[s, c]:
                owner[k], column[k] = s, c
                k += 1
    return owner, column


@exact_kernel
def _make_normal(n_src, n_flux, n_units, m):
    """Allocate normal equations."""
    return Normal(
        np.zeros((n_flux, n_units, n_units)),
        np.zeros((n_flux, n_units)),
        np.zeros(n_flux),
        np.zeros((m, m)),
        np.zeros(m),
        np.zeros((m, n_flux, n_src)),
    )


@exact_kernel
def _penalty(value, mu, w):
    """Return the chi-square of Gaussian priors."""
    total = 0.0
    for s in range(value.shape[0]):
        for c in range(value.shape[1]):
            if w[s, c] > 0.0:
                total += w[s, c] * (value[s, c] - mu[s, c]) ** 2
    return total


@exact_kernel
def _step_cap(column, theta):
    """Return the largest step per iteration: beyond it the linearisation is not to be trusted."""
    if column < 2:
        return 1.0
    if column == 2:
        return 0.7
    if column < 5:
        return 0.3
    return 0.3 * theta[5]


@exact_kernel
def _damped_step(theta, normal, damping, owner, column, problem, matrix, delta):
    """Solve ``(A + P + damping D) delta = g`` with parameters held that push against a bound."""
    m = owner.shape[0]
    held = np.zeros(m, np.bool_)
    floor = np.zeros(m)
    low = np.zeros(m, np.bool_)
    for _ in range(3):
        for k in range(m):
            s, c = owner[k], column[k]
            for h in range(k + 1):
                matrix[k, h] = 0.0 if held[k] or held[h] else normal.a[k, h]
            w = problem.w[s, c]
            delta[k] = 0.0 if held[k] else normal.g[k] - w * (theta[s, c] - problem.mu[s, c])
            d = normal.a[k, k] + w
            matrix[k, k] = 1.0 if held[k] else d + (damping + 1e-9) * max(d, 1e-6)
        cholesky(matrix, floor, low)
        forward(matrix, delta)
        backward(matrix, delta)
        changed = False
        for k in range(m):
            s, c = owner[k], column[k]
            at_low = theta[s, c] <= problem.lower[s, c] and delta[k] < 0.0
            at_high = theta[s, c] >= problem.upper[s, c] and delta[k] > 0.0
            if (at_low or at_high) and not held[k]:
                held[k] = True
                changed = True
        if not changed:
            break


@exact_kernel
def _propose(theta, normal, damping, owner, column, problem, trial):
    """Fill a damped step inside the bounds; return the predicted decrease of chi-square."""
    m = owner.shape[0]
    matrix = np.empty((m, m))
    delta = np.empty(m)
    _damped_step(theta, normal, damping, owner, column, problem, matrix, delta)
    assign(trial, theta)
    for k in range(m):
        s, c = owner[k], column[k]
        cap = _step_cap(c, theta[s])
        value = theta[s, c] + min(max(delta[k], -cap), cap)
        trial[s, c] = min(max(value, problem.lower[s, c]), problem.upper[s, c])
    for s in range(theta.shape[0]):
        modulus = np.sqrt(trial[s, 3] ** 2 + trial[s, 4] ** 2)
        if modulus > problem.g_max:
            trial[s, 3] *= problem.g_max / modulus
            trial[s, 4] *= problem.g_max / modulus
    predicted = 0.0
    for k in range(m):
        s, c = owner[k], column[k]
        slope = normal.g[k] - problem.w[s, c] * (theta[s, c] - problem.mu[s, c])
        predicted += (trial[s, c] - theta[s, c]) * slope
    return predicted


@exact_kernel
def solve_group(
    members: Members,
    theta: Floats,
    flux: Floats,
    tables: Tables,
    images: Images,
    problem: Problem,
    tolerance: float,
    max_iterations: int,
    outcome: Outcome,
) -> tuple[int, int, bool, float]:
    """Fit one group in place.

    Parameters
    ----------
    theta, flux : ndarray, shapes (n, 6) and (n, F)
        Start and result.
    tolerance : float
        Stop when the predicted, or the actual, decrease of chi-square is smaller.
    outcome : Outcome
        Receives covariances, the chi-square before the last flux update, degeneracies.

    Returns
    -------
    evaluations, iterations, converged, last_decrease
    """
    n_src, n_flux = flux.shape
    owner, column = _free_parameters(members.kind, problem.free)
    scratch = make_scratch(members)
    n_units = scratch.first[n_src]
    best = _make_normal(n_src, n_flux, n_units, owner.shape[0])
    new = _make_normal(n_src, n_flux, n_units, owner.shape[0])
    trial, trial_flux = theta.copy(), flux.copy()
    evaluations, iterations, rejected = 0, 0, 0
    damping, last, current = 1e-2, 0.0, 0.0
    converged = owner.shape[0] == 0
    # The start is the first trial, so that the pixel pass is called, and compiled, in one place.
    while True:
        evaluate(members, trial, trial_flux, tables, images, scratch, new.gram, new.grad, new.chi2)
        evaluations += 1
        before = _penalty(trial_flux, problem.flux_mu, problem.flux_w)
        drop = project(
            scratch.first,
            owner,
            column,
            trial_flux,
            problem.flux_mu,
            problem.flux_w,
            new,
            outcome.singular,
        )
        value = before - drop + _penalty(trial, problem.mu, problem.w)
        for b in range(n_flux):
            value += new.chi2[b]
        if evaluations == 1 or value <= current:
            if evaluations > 1:
                last = current - value
                damping = max(damping / 5.0, 1e-6)
                converged = last < tolerance
            current = value
            rejected = 0
            assign(theta, trial)
            assign(flux, trial_flux)
            best, new = new, best
        else:
            damping *= 8.0
            rejected += 1
        if converged or iterations >= max_iterations or rejected >= REJECTIONS:
            break
        if _propose(theta, best, damping, owner, column, problem, trial) < tolerance:
            converged = True
            break
        iterations += 1
        assign(trial_flux, flux)
    for b in range(n_flux):
        outcome.chi2[b] = best.chi2[b]
    _covariances(theta, best, scratch.first, owner, column, problem, outcome)
    _position_slopes(best, scratch.first, flux, outcome.slope, outcome.curvature)
    return evaluations, iterations, converged, last


@exact_kernel
def _parameter_covariance(theta, normal, owner, column, problem):
    """Return the inverse of the projected normal matrix, shape (m, m).

    A parameter at its bound is treated as known: the others' errors then refer to that.
    """
    m = owner.shape[0]
    held = np.zeros(m, np.bool_)
    matrix = np.zeros((m, m))
    for k in range(m):
        s, c = owner[k], column[k]
        held[k] = theta[s, c] <= problem.lower[s, c] or theta[s, c] >= problem.upper[s, c]
        for h in range(k):
            matrix[k, h] = 0.0 if held[k] or held[h] else normal.a[k, h]
        d = normal.a[k, k] + problem.w[s, c]
        matrix[k, k] = 1e30 if held[k] else d * (1.0 + 1e-9) + 1e-12
    cholesky(matrix, np.zeros(m), np.zeros(m, np.bool_))
    inverse = np.zeros((m, m))
    for k in range(m):
        inverse[k, k] = 1.0
        forward(matrix, inverse[k])
        backward(matrix, inverse[k])
    return inverse


@exact_kernel
def _covariances(theta, normal, first, owner, column, problem, outcome):
    """Fill the marginal covariance of every member's parameters and of its fluxes."""
    n_src = first.shape[0] - 1
    n_flux = normal.gram.shape[0]
    m = owner.shape[0]
    param_cov, flux_cov = outcome.param_cov, outcome.flux_cov
    param_cov[:] = 0.0
    inverse = _parameter_covariance(theta, normal, owner, column, problem)
    for k in range(m):
        for h in range(m):
            if owner[k] == owner[h]:
                param_cov[owner[k], column[k], column[h]] = inverse[k, h]
    chol = np.zeros((n_src, n_src))
    unit = np.empty(n_src)
    left = np.empty((n_flux, m))
    conditional = np.zeros((n_src, n_flux))
    outcome.singular[:] = False  # what was degenerate at a trial point does not count
    for b in range(n_flux):
        factor_fluxes(normal.gram[b], first, problem.flux_w[:, b], chol, outcome.singular)
        for s in range(n_src):
            unit[:] = 0.0
            unit[s] = 1.0
            forward(chol, unit)
            for i in range(n_src):
                conditional[s, b] += unit[i] * unit[i]
    for s in range(n_src):
        for b in range(n_flux):
            for k in range(m):
                v = 0.0
                for h in range(m):
                    v += normal.gain[h, b, s] * inverse[h, k]
                left[b, k] = v
        for b in range(n_flux):
            for d in range(n_flux):
                v = conditional[s, b] if b == d else 0.0
                for k in range(m):
                    v += left[b, k] * normal.gain[k, d, s]
                flux_cov[s, b, d] = v
        _mark_missing(normal.gram, first[s], outcome.singular[s], flux_cov[s])


@exact_kernel
def _position_slopes(normal, first, flux, slope, curvature):
    """Fill how chi-square answers to shifts of one source in the images of one flux key."""
    for s in range(flux.shape[0]):
        x, y = first[s] + 1, first[s] + 2
        for b in range(flux.shape[1]):
            f = flux[s, b]
            slope[s, b, 0] = f * normal.grad[b, x]
            slope[s, b, 1] = f * normal.grad[b, y]
            curvature[s, b, 0] = f * f * normal.gram[b, x, x]
            curvature[s, b, 1] = f * f * normal.gram[b, x, y]
            curvature[s, b, 2] = f * f * normal.gram[b, y, y]


@exact_kernel
def _mark_missing(gram, unit, is_singular, flux_cov):
    """Put sentinels where a flux has no data or is degenerate.

    Fast arithmetic and NaN or infinity do not go together.
    """
    for b in range(gram.shape[0]):
        if gram[b, unit, unit] <= 0.0:
            flux_cov[b, :] = 0.0
            flux_cov[:, b] = 0.0
            flux_cov[b, b] = NO_DATA
        elif is_singular:
            flux_cov[b, b] = DEGENERATE

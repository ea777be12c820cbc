"""Compiled solver of one blend group: variable projection and Levenberg-Marquardt.

The fluxes are linear and eliminated exactly, image by image; positions and shapes move on what is
left.  One pixel pass (`evaluate`) per trial point; everything else is algebra on its Gram matrix.
Source: Golub & Pereyra 1973; Kaufman 1975 (the approximation of the projected Hessian);
``skyloom.scene.solver`` documents the control parameters.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from ._fft_nb import JIT
from ._gram_nb import evaluate
from ._render_nb import n_parameters

RIDGE = 1e-6  # relative; single-precision pixels limit the Gram matrix to about 1e-7
SINGULAR_PIVOT = 1e-4  # conditional variance below this fraction of the marginal precision
REJECTIONS = 12
NO_DATA = -1.0
DEGENERATE = -2.0


@nb.njit(**JIT)
def _cholesky(a, n, floor):
    """Factorise in place (lower triangle); return the row of the first pivot below floor, or -1."""
    bad = -1
    for j in range(n):
        d = a[j, j]
        for k in range(j):
            d -= a[j, k] * a[j, k]
        if d < floor[j]:
            if bad < 0:
                bad = j
            d = max(d, 1e-12 * floor[j] + 1e-300)
        d = np.sqrt(d)
        a[j, j] = d
        for i in range(j + 1, n):
            v = a[i, j]
            for k in range(j):
                v -= a[i, k] * a[j, k]
            a[i, j] = v / d
    return bad


@nb.njit(**JIT)
def _forward(a, n, rhs):
    for i in range(n):
        v = rhs[i]
        for k in range(i):
            v -= a[i, k] * rhs[k]
        rhs[i] = v / a[i, i]


@nb.njit(**JIT)
def _backward(a, n, rhs):
    for i in range(n - 1, -1, -1):
        v = rhs[i]
        for k in range(i + 1, n):
            v -= a[k, i] * rhs[k]
        rhs[i] = v / a[i, i]


@nb.njit(**JIT)
def _factor_fluxes(gram, first, n_src, prior, chol, singular):
    """Factorise G_vv + prior of one image; mark sources that cannot be told apart."""
    floor = np.empty(n_src)
    for i in range(n_src):
        for j in range(i + 1):
            chol[i, j] = gram[first[i], first[j]]
        diag = chol[i, i]
        if diag <= 0.0:
            # No usable pixel: decouple the source; the caller reports a missing flux.
            for j in range(i):
                chol[i, j] = 0.0
            for j in range(i + 1, n_src):
                chol[j, i] = 0.0
            diag = 1.0
        chol[i, i] = diag * (1.0 + RIDGE) + prior[i]
        floor[i] = SINGULAR_PIVOT * diag
    for i in range(n_src):
        for j in range(i):
            if gram[first[j], first[j]] <= 0.0 or gram[first[i], first[i]] <= 0.0:
                chol[i, j] = 0.0
    bad = _cholesky(chol, n_src, floor)
    if bad >= 0:
        worst, partner = 0.0, -1
        for j in range(bad):
            g = abs(gram[first[bad], first[j]])
            norm = gram[first[bad], first[bad]] * gram[first[j], first[j]]
            if norm > 0.0 and g / np.sqrt(norm) > worst:
                worst, partner = g / np.sqrt(norm), j
        singular[bad] = True
        if partner >= 0:
            singular[partner] = True


@nb.njit(**JIT)
def project(gram, grad, flux, first, owner, column, prior_mu, prior_w, a, g, gain, singular):
    """Eliminate the fluxes.

    ``flux`` (n, B) is replaced by the optimum at this position and shape; ``a`` (m, m) and ``g``
    (m,) receive the projected normal matrix and gradient; ``gain`` (m, B, n) receives the
    transposed K of every image, so that ``df = -K dtheta``.  Returns the decrease of chi-square by the flux update.
    """
    n_src = first.shape[0] - 1
    n_img = gram.shape[0]
    m = owner.shape[0]
    a[:m, :m] = 0.0
    g[:m] = 0.0
    decrease = 0.0
    chol = np.zeros((n_src, n_src))
    step = np.empty(n_src)
    half = np.empty((m, n_src))
    for b in range(n_img):
        _factor_fluxes(gram[b], first, n_src, prior_w[:, b], chol, singular)
        for i in range(n_src):
            step[i] = 0.0
            if gram[b, first[i], first[i]] > 0.0:
                step[i] = grad[b, first[i]] + prior_w[i, b] * (prior_mu[i, b] - flux[i, b])
        _forward(chol, n_src, step)
        for i in range(n_src):
            decrease += step[i] * step[i]
        _backward(chol, n_src, step)
        for i in range(n_src):
            flux[i, b] += step[i]
        for k in range(m):
            t = first[owner[k]] + 1 + column[k]
            for i in range(n_src):
                half[k, i] = gram[b, t, first[i]]
                if gram[b, first[i], first[i]] <= 0.0:
                    half[k, i] = 0.0
        for k in range(m):
            t = first[owner[k]] + 1 + column[k]
            fk = flux[owner[k], b]
            v = grad[b, t]
            for i in range(n_src):
                v -= half[k, i] * step[i]
            g[k] += fk * v
        for k in range(m):
            _forward(chol, n_src, half[k])
        for k in range(m):
            tk = first[owner[k]] + 1 + column[k]
            fk = flux[owner[k], b]
            for h in range(k + 1):
                th = first[owner[h]] + 1 + column[h]
                v = gram[b, tk, th]
                for i in range(n_src):
                    v -= half[k, i] * half[h, i]
                a[k, h] += fk * flux[owner[h], b] * v
        for k in range(m):
            _backward(chol, n_src, half[k])
            fk = flux[owner[k], b]
            for i in range(n_src):
                gain[k, b, i] = fk * half[k, i]
    for k in range(m):
        for h in range(k):
            a[h, k] = a[k, h]
    return decrease


@nb.njit(**JIT)
def _parameter_penalty(theta, mu, w):
    total = 0.0
    for s in range(theta.shape[0]):
        for c in range(6):
            total += w[s, c] * (theta[s, c] - mu[s, c]) ** 2
    return total


@nb.njit(**JIT)
def _flux_penalty(flux, mu, w):
    total = 0.0
    for s in range(flux.shape[0]):
        for b in range(flux.shape[1]):
            if w[s, b] > 0.0:
                total += w[s, b] * (flux[s, b] - mu[s, b]) ** 2
    return total


@nb.njit(**JIT)
def _propose(theta, a, g, damping, owner, column, lower, upper, mu, w, g_max, trial, delta):
    """Solve for a damped step inside the bounds; return the predicted decrease of chi-square."""
    m = owner.shape[0]
    held = np.zeros(m, np.bool_)
    matrix = np.empty((m, m))
    floor = np.zeros(m)
    for _ in range(3):
        for k in range(m):
            s, c = owner[k], column[k]
            for h in range(k + 1):
                matrix[k, h] = 0.0 if held[k] or held[h] else a[k, h]
            delta[k] = 0.0 if held[k] else g[k] - w[s, c] * (theta[s, c] - mu[s, c])
            d = a[k, k] + w[s, c]
            matrix[k, k] = 1.0 if held[k] else d + damping * max(d, 1e-6) + 1e-9 * max(d, 1e-6)
        _cholesky(matrix, m, floor)
        _forward(matrix, m, delta)
        _backward(matrix, m, delta)
        changed = False
        for k in range(m):
            s, c = owner[k], column[k]
            at_low = theta[s, c] <= lower[s, c] and delta[k] < 0.0
            at_high = theta[s, c] >= upper[s, c] and delta[k] > 0.0
            if (at_low or at_high) and not held[k]:
                held[k] = True
                changed = True
        if not changed:
            break
    predicted = 0.0
    for k in range(m):
        s, c = owner[k], column[k]
        # Caps per iteration: beyond them the linearisation is not to be trusted.
        cap = 1.0
        if c == 2:
            cap = 0.7
        elif 3 <= c <= 4:
            cap = 0.3
        elif c == 5:
            cap = 0.3 * theta[s, 5]
        delta[k] = min(max(delta[k], -cap), cap)
    for s in range(theta.shape[0]):
        for c in range(6):
            trial[s, c] = theta[s, c]
    for k in range(m):
        s, c = owner[k], column[k]
        trial[s, c] = min(max(theta[s, c] + delta[k], lower[s, c]), upper[s, c])
    for s in range(theta.shape[0]):
        modulus = np.sqrt(trial[s, 3] ** 2 + trial[s, 4] ** 2)
        if modulus > g_max:
            trial[s, 3] *= g_max / modulus
            trial[s, 4] *= g_max / modulus
    for k in range(m):
        s, c = owner[k], column[k]
        predicted += (trial[s, c] - theta[s, c]) * (g[k] - w[s, c] * (theta[s, c] - mu[s, c]))
    return predicted


@nb.njit(**JIT)
def solve_group(
    members,
    theta,
    flux,
    tables,
    images,
    free,
    lower,
    upper,
    g_max,
    mu,
    w,
    flux_mu,
    flux_w,
    tolerance,
    max_iterations,
    param_cov,
    flux_cov,
    chi2,
    singular,
):
    """Fit one group in place.

    Parameters
    ----------
    theta, flux : ndarray, shapes (n, 6) and (n, B)
        Start and result.
    free : ndarray of bool, shape (n, 6)
    lower, upper, mu, w : ndarray, shape (n, 6)
        Bounds; centres and inverse variances of Gaussian priors (w = 0: none).
    flux_mu, flux_w : ndarray, shape (n, B)
    tolerance : float
        Stop when the predicted, or the actual, decrease of chi-square is smaller.
    param_cov, flux_cov, chi2, singular : ndarray
        Outputs, shapes (n, 6, 6), (n, B, B), (B,), (n,).

    Returns
    -------
    evaluations, iterations, converged, last_decrease
    """
    n_src = members.kind.shape[0]
    n_img = flux.shape[1]
    first = np.zeros(n_src + 1, np.int64)
    m = 0
    for s in range(n_src):
        first[s + 1] = first[s] + n_parameters(members.kind[s])
        for c in range(n_parameters(members.kind[s]) - 1):
            m += 1 if free[s, c] else 0
    owner = np.empty(m, np.int64)
    column = np.empty(m, np.int64)
    k = 0
    for s in range(n_src):
        for c in range(n_parameters(members.kind[s]) - 1):
            if free[s, c]:
                owner[k], column[k] = s, c
                k += 1
    total = first[n_src]
    gram = np.empty((n_img, total, total))
    gram_new = np.empty((n_img, total, total))
    grad = np.empty((n_img, total))
    chi2_new = np.empty(n_img)
    a, a_new = np.zeros((m, m)), np.zeros((m, m))
    g, g_new = np.zeros(m), np.zeros(m)
    gain, gain_new = np.zeros((m, n_img, n_src)), np.zeros((m, n_img, n_src))
    trial = theta.copy()
    delta = np.empty(m)
    flux_new = flux.copy()

    evaluate(members, theta, flux, tables, images, gram, grad, chi2)
    before = _flux_penalty(flux, flux_mu, flux_w)
    drop = project(gram, grad, flux, first, owner, column, flux_mu, flux_w, a, g, gain, singular)
    current = chi2.sum() + before - drop + _parameter_penalty(theta, mu, w)
    evaluations, iterations = 1, 0
    converged = m == 0
    damping = 1e-2
    last = 0.0
    rejected = 0
    while not converged and iterations < max_iterations:
        predicted = _propose(
            theta, a, g, damping, owner, column, lower, upper, mu, w, g_max, trial, delta
        )
        if predicted < tolerance:
            converged = True
            break
        iterations += 1
        for s in range(n_src):
            for b in range(n_img):
                flux_new[s, b] = flux[s, b]
        evaluate(members, trial, flux_new, tables, images, gram_new, grad, chi2_new)
        evaluations += 1
        before = _flux_penalty(flux_new, flux_mu, flux_w)
        drop = project(
            gram_new,
            grad,
            flux_new,
            first,
            owner,
            column,
            flux_mu,
            flux_w,
            a_new,
            g_new,
            gain_new,
            singular,
        )
        value = chi2_new.sum() + before - drop + _parameter_penalty(trial, mu, w)
        if value <= current:
            last = current - value
            current = value
            rejected = 0
            theta[:] = trial
            flux[:] = flux_new
            gram, gram_new = gram_new, gram
            a, a_new = a_new, a
            g, g_new = g_new, g
            gain, gain_new = gain_new, gain
            damping = max(damping / 5.0, 1e-6)
            if last < tolerance:
                converged = True
        else:
            damping *= 8.0
            rejected += 1
            if rejected >= REJECTIONS:
                break
    _covariances(
        theta,
        gram,
        first,
        owner,
        column,
        lower,
        upper,
        w,
        flux_w,
        a,
        gain,
        param_cov,
        flux_cov,
        singular,
    )
    return evaluations, iterations, converged, last


@nb.njit(**JIT)
def _covariances(
    theta,
    gram,
    first,
    owner,
    column,
    lower,
    upper,
    w,
    flux_w,
    a,
    gain,
    param_cov,
    flux_cov,
    singular,
):
    """Fill the marginal covariance of every member's parameters and of its fluxes."""
    n_src = first.shape[0] - 1
    n_img = gram.shape[0]
    m = owner.shape[0]
    param_cov[:] = 0.0
    flux_cov[:] = 0.0
    matrix = np.zeros((m, m))
    floor = np.zeros(m)
    for k in range(m):
        s, c = owner[k], column[k]
        held = theta[s, c] <= lower[s, c] or theta[s, c] >= upper[s, c]
        for h in range(k):
            sh, ch = owner[h], column[h]
            held_h = theta[sh, ch] <= lower[sh, ch] or theta[sh, ch] >= upper[sh, ch]
            matrix[k, h] = 0.0 if held or held_h else a[k, h]
        d = a[k, k] + w[s, c]
        # A parameter at its bound is treated as known: the others' errors then refer to that.
        matrix[k, k] = 1e30 if held else d * (1.0 + 1e-9) + 1e-12
    _cholesky(matrix, m, floor)
    inverse = np.zeros((m, m))
    for k in range(m):
        inverse[k, k] = 1.0
        _forward(matrix, m, inverse[k])
        _backward(matrix, m, inverse[k])
    for k in range(m):
        for h in range(m):
            if owner[k] == owner[h]:
                param_cov[owner[k], column[k], column[h]] = inverse[k, h]
    chol = np.zeros((n_src, n_src))
    unit = np.empty(n_src)
    left = np.empty((n_img, m))
    conditional = np.zeros((n_src, n_img))
    for b in range(n_img):
        _factor_fluxes(gram[b], first, n_src, flux_w[:, b], chol, singular)
        for s in range(n_src):
            unit[:] = 0.0
            unit[s] = 1.0
            _forward(chol, n_src, unit)
            for i in range(n_src):
                conditional[s, b] += unit[i] * unit[i]
    for s in range(n_src):
        for b in range(n_img):
            for k in range(m):
                v = 0.0
                for h in range(m):
                    v += gain[h, b, s] * inverse[h, k]
                left[b, k] = v
        for b in range(n_img):
            for d in range(n_img):
                v = conditional[s, b] if b == d else 0.0
                for k in range(m):
                    v += left[b, k] * gain[k, d, s]
                flux_cov[s, b, d] = v
        for b in range(n_img):
            if gram[b, first[s], first[s]] <= 0.0:
                # Sentinels: fast arithmetic and NaN or infinity do not go together.
                for d in range(n_img):
                    flux_cov[s, b, d] = 0.0
                    flux_cov[s, d, b] = 0.0
                flux_cov[s, b, b] = NO_DATA
            elif singular[s]:
                flux_cov[s, b, b] = DEGENERATE

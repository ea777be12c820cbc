"""Compiled linear algebra of a blend group: Cholesky factors and the elimination of the fluxes.

Source: Golub & Pereyra 1973; Kaufman 1975 (the approximation of the projected Hessian).
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import exact_kernel

RIDGE = 1e-6  # relative; single-precision pixels limit the Gram matrix to about 1e-7
SINGULAR_PIVOT = 1e-4  # conditional variance below this fraction of the marginal precision


@exact_kernel
def assign(target, source):
    """Copy a matrix; numba's own slice assignment drags in a string formatter."""
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            target[i, j] = source[i, j]


@exact_kernel
def cholesky(a, floor, low):
    """Factorise in place (lower triangle); ``low`` marks the rows with a pivot below ``floor``."""
    n = floor.shape[0]
    for j in range(n):
        d = a[j, j]
        for k in range(j):
            d -= a[j, k] * a[j, k]
        low[j] = d < floor[j]
        if low[j]:
            d = max(d, 1e-12 * floor[j] + 1e-300)
        d = np.sqrt(d)
        a[j, j] = d
        for i in range(j + 1, n):
            v = a[i, j]
            for k in range(j):
                v -= a[i, k] * a[j, k]
            a[i, j] = v / d


@exact_kernel
def forward(a, rhs):
    """Solve ``L x = rhs`` in place."""
    for i in range(rhs.shape[0]):
        v = rhs[i]
        for k in range(i):
            v -= a[i, k] * rhs[k]
        rhs[i] = v / a[i, i]


@exact_kernel
def backward(a, rhs):
    """Solve ``L^T x = rhs`` in place."""
    n = rhs.shape[0]
    for i in range(n - 1, -1, -1):
        v = rhs[i]
        for k in range(i + 1, n):
            v -= a[k, i] * rhs[k]
        rhs[i] = v / a[i, i]


@exact_kernel
def factor_fluxes(gram, first, prior, chol, singular):
    """Factorise G_vv + prior of one flux key; mark sources that cannot be told apart."""
    n_src = first.shape[0] - 1
    floor = np.empty(n_src)
    low = np.zeros(n_src, np.bool_)
    for i in range(n_src):
        diag = gram[first[i], first[i]]
        for j in range(i):
            both = diag > 0.0 and gram[first[j], first[j]] > 0.0
            chol[i, j] = gram[first[i], first[j]] if both else 0.0
        if diag <= 0.0:
            diag = 1.0  # no usable pixel: decoupled; the caller reports a missing flux
        chol[i, i] = diag * (1.0 + RIDGE) + prior[i]
        floor[i] = SINGULAR_PIVOT * diag
    cholesky(chol, floor, low)
    for i in range(n_src):
        if not low[i]:
            continue
        singular[i] = True
        worst, partner = 0.0, -1
        for j in range(i):
            norm = gram[first[i], first[i]] * gram[first[j], first[j]]
            if norm > 0.0 and abs(gram[first[i], first[j]]) / np.sqrt(norm) > worst:
                worst, partner = abs(gram[first[i], first[j]]) / np.sqrt(norm), j
        if partner >= 0:
            singular[partner] = True


@exact_kernel
def _flux_step(gram, grad, first, flux, mu, w, chol, step):
    """Move fluxes of one key, and the gradient, to the optimum; return the chi-square gained."""
    for i in range(step.shape[0]):
        step[i] = 0.0
        if gram[first[i], first[i]] > 0.0:
            step[i] = grad[first[i]] + w[i] * (mu[i] - flux[i])
    forward(chol, step)
    decrease = 0.0
    for i in range(step.shape[0]):
        decrease += step[i] * step[i]
    backward(chol, step)
    for i in range(step.shape[0]):
        flux[i] += step[i]
        for t in range(grad.shape[0]):
            grad[t] -= gram[t, first[i]] * step[i]
    return decrease


@exact_kernel
def project(first, owner, column, flux, flux_mu, flux_w, normal, singular):
    """Eliminate the fluxes.

    ``flux`` (n, F) is replaced by the optimum at this position and shape; ``normal.a`` (m, m) and
    ``normal.g`` (m,) receive the projected normal matrix and gradient, ``normal.gain`` (m, F, n)
    the transposed K of every flux key, so that ``df = -K dtheta``; ``normal.grad`` follows the
    fluxes.  Returns the decrease of chi-square by the flux update.
    """
    n_src = first.shape[0] - 1
    m = owner.shape[0]
    a, g = normal.a, normal.g
    a[:] = 0.0
    g[:] = 0.0
    decrease = 0.0
    chol = np.zeros((n_src, n_src))
    step = np.empty(n_src)
    half = np.empty((m, n_src))
    for b in range(normal.gram.shape[0]):
        gram, grad = normal.gram[b], normal.grad[b]
        factor_fluxes(gram, first, flux_w[:, b], chol, singular)
        decrease += _flux_step(
            gram, grad, first, flux[:, b], flux_mu[:, b], flux_w[:, b], chol, step
        )
        for k in range(m):
            t = first[owner[k]] + 1 + column[k]
            for i in range(n_src):
                half[k, i] = gram[t, first[i]] if gram[first[i], first[i]] > 0.0 else 0.0
            g[k] += flux[owner[k], b] * grad[t]
            forward(chol, half[k])
        for k in range(m):
            tk = first[owner[k]] + 1 + column[k]
            fk = flux[owner[k], b]
            for h in range(k + 1):
                v = gram[tk, first[owner[h]] + 1 + column[h]]
                for i in range(n_src):
                    v -= half[k, i] * half[h, i]
                a[k, h] += fk * flux[owner[h], b] * v
        for k in range(m):
            backward(chol, half[k])
            for i in range(n_src):
                normal.gain[k, b, i] = flux[owner[k], b] * half[k, i]
    for k in range(m):
        for h in range(k):
            a[h, k] = a[k, h]
    return decrease

"""Compiled linear algebra of a blend group: Cholesky factors and the elimination of the fluxes.

Inner loops run along rows of memory and add to them, so that they become vector code without
regrouping sums.

Source: Golub & Pereyra 1973; Kaufman 1975 (the approximation of the projected Hessian).
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import exact_kernel, kernel_part, lean_exact_kernel

from ._records import Room

RIDGE = 1e-6  # relative; single-precision pixels limit the Gram matrix to about 1e-7
SINGULAR_PIVOT = 1e-4  # conditional variance below this fraction of the marginal precision


@lean_exact_kernel
def assign(target, source):
    """Copy a matrix; numba's own slice assignment drags in a string formatter."""
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            target[i, j] = source[i, j]


@lean_exact_kernel
def add_scaled(target, factor, source):
    """Add ``factor * source`` to a row."""
    for i in range(target.shape[0]):
        target[i] += factor * source[i]


@lean_exact_kernel
def dot(a, b):
    """Return the product of two rows."""
    s0 = s1 = s2 = s3 = 0.0
    n = a.shape[0]
    for i in range(0, n - n % 4, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(n - n % 4, n):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@lean_exact_kernel
def cholesky(a, floor, low):
    """Factorise ``A = R^T R`` in place (upper triangle); ``low`` marks pivots below ``floor``."""
    n = floor.shape[0]
    for j in range(n):
        d = a[j, j]
        low[j] = d < floor[j]
        if low[j]:
            d = max(d, 1e-12 * floor[j] + 1e-300)
        d = np.sqrt(d)
        row = a[j, j:]
        for i in range(row.shape[0]):
            row[i] /= d
        a[j, j] = d
        for i in range(j + 1, n):
            if a[j, i] != 0.0:
                add_scaled(a[i, i:], -a[j, i], a[j, i:])


@lean_exact_kernel
def forward(a, rhs):
    """Solve ``R^T x = rhs`` in place."""
    n = rhs.shape[0]
    for i in range(n):
        rhs[i] /= a[i, i]
        add_scaled(rhs[i + 1 :], -rhs[i], a[i, i + 1 : n])


@lean_exact_kernel
def backward(a, rhs):
    """Solve ``R x = rhs`` in place."""
    n = rhs.shape[0]
    for i in range(n - 1, -1, -1):
        rhs[i] = (rhs[i] - dot(a[i, i + 1 : n], rhs[i + 1 :])) / a[i, i]


@lean_exact_kernel
def forward_rows(a, rows):
    """Solve ``R^T X = rows`` in place, all columns at once."""
    n = rows.shape[0]
    for i in range(n):
        line = rows[i]
        for c in range(line.shape[0]):
            line[c] /= a[i, i]
        for j in range(i + 1, n):
            if a[i, j] != 0.0:
                add_scaled(rows[j], -a[i, j], line)


@lean_exact_kernel
def backward_rows(a, rows):
    """Solve ``R X = rows`` in place, all columns at once."""
    n = rows.shape[0]
    for i in range(n - 1, -1, -1):
        line = rows[i]
        for j in range(i + 1, n):
            if a[i, j] != 0.0:
                add_scaled(line, -a[i, j], rows[j])
        for c in range(line.shape[0]):
            line[c] /= a[i, i]


@lean_exact_kernel
def invert(a, inverse):
    """Fill the inverse of ``R^T R`` from its factor."""
    n = inverse.shape[0]
    for i in range(n):
        for j in range(n):
            inverse[i, j] = 1.0 if i == j else 0.0
    forward_rows(a, inverse)
    backward_rows(a, inverse)


@lean_exact_kernel
def factor_fluxes(gram, first, prior, chol, singular, floor, low):
    """Factorise G_vv + prior of one flux key; mark sources that cannot be told apart.

    ``floor`` and ``low`` are room for a number and a mark of each source.
    """
    n_src = first.shape[0] - 1
    for i in range(n_src):
        diag = gram[first[i], first[i]]
        for j in range(i):
            both = diag > 0.0 and gram[first[j], first[j]] > 0.0
            chol[j, i] = gram[first[i], first[j]] if both else 0.0
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
def make_room(n_src, n_entries):
    """Allocate what `project` needs."""
    return Room(
        np.zeros((n_src, n_src)),
        np.empty(n_src),
        np.empty(n_entries),
        np.empty(n_src),
        np.empty(n_src, np.bool_),
    )


@kernel_part
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
        add_scaled(grad, -step[i], gram[first[i]])
    return decrease


@kernel_part
def _fold_ties(a, g, gain, target, m):
    """Add what belongs to tied parameters (numbers from m on) to those that they follow."""
    for k in range(m, target.shape[0]):
        to = target[k]
        g[to] += g[k]
        add_scaled(a[to], 1.0, a[k])
        for h in range(a.shape[0]):
            a[h, to] += a[h, k]
        for b in range(gain.shape[0]):
            for i in range(gain.shape[1]):
                gain[b, i, to] += gain[b, i, k]


@lean_exact_kernel
def scale_of(entries, k, flux, b):
    """Return by what the unit image of an entry is multiplied in the images of flux key b."""
    if entries[3, k] >= 0 and entries[3, k] != b:
        return 0.0
    return flux[entries[0, k], b]


@lean_exact_kernel
def project(first, entries, flux, flux_mu, flux_w, normal, singular, room):
    """Eliminate the fluxes.

    ``entries`` are source, column, parameter number and flux key (-1: all) of everything that
    moves; those beyond the number of parameters m follow one of the first m.  ``flux`` (n, F) is
    replaced by the optimum at this position and shape; the leading parts of ``normal.a`` (m, m),
    ``normal.g`` (m,) receive the projected normal matrix and gradient, ``normal.gain`` (F, n, m)
    the K of every flux key, so that ``df = -K dtheta``; ``normal.grad`` follows the fluxes.
    ``room`` is from `make_room`.  Returns the decrease of chi-square by the flux update.
    """
    owner, column, target = entries[0], entries[1], entries[2]
    n_src = first.shape[0] - 1
    e = owner.shape[0]
    a, g = normal.a, normal.g
    a[:] = 0.0
    g[:] = 0.0
    decrease = 0.0
    chol, step, scale = room.chol, room.step, room.scale
    m = 0
    for k in range(e):
        m = max(m, target[k] + 1)
    for b in range(normal.gram.shape[0]):
        gram, grad, half = normal.gram[b], normal.grad[b], normal.gain[b]
        factor_fluxes(gram, first, flux_w[:, b], chol, singular, room.floor, room.low)
        decrease += _flux_step(
            gram, grad, first, flux[:, b], flux_mu[:, b], flux_w[:, b], chol, step
        )
        for k in range(e):
            t = first[owner[k]] + 1 + column[k]
            scale[k] = scale_of(entries, k, flux, b)
            g[k] += scale[k] * grad[t]
        for i in range(n_src):
            line = gram[first[i]]
            used = 1.0 if line[first[i]] > 0.0 else 0.0
            for k in range(e):
                half[i, k] = used * scale[k] * line[first[owner[k]] + 1 + column[k]]
        forward_rows(chol, half)
        for k in range(e):
            line, row, fk = gram[first[owner[k]] + 1 + column[k]], a[k], scale[k]
            for h in range(k, e):
                row[h] += fk * scale[h] * line[first[owner[h]] + 1 + column[h]]
        for i in range(n_src):
            line = half[i]
            for k in range(e):
                if line[k] != 0.0:
                    add_scaled(a[k, k:], -line[k], line[k:])
        backward_rows(chol, half)
    for k in range(e):
        for h in range(k):
            a[k, h] = a[h, k]
    if m < e:
        _fold_ties(a, g, normal.gain, target, m)
    return decrease

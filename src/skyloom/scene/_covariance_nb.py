"""Compiled covariances of a blend group, marginal over everything that was free in it.

With c = U^T W (d - model) the estimates move linearly with the noise of all c: parameters by
``dtheta = A^-1 sum_b E_b^T c_b``, fluxes by ``df_b = P_b^T c_b - K_b dtheta``, where E_b are the
projected derivatives, P_b the unit images of the fluxes over G_vv and K_b the gain.  White noise
gives the inverse normal matrix.  For correlated noise the sandwich of ``M_b = U^T W C W U`` is
taken instead, with C the covariance of the pixels.  Loose Sersic indices, and sizes of single
bands, are parameters here and nowhere else; see `skyloom.scene.freedom`.

Source: Huber 1967 (sandwich); Golub & Pereyra 1973.
"""

from __future__ import annotations

import numpy as np

from skyloom._calls import call_at
from skyloom._jit import exact_kernel, kernel_part, lean_exact_kernel

from ._correlated_nb import correlated_products
from ._linear_nb import (
    add_scaled,
    backward,
    cholesky,
    dot,
    factor_fluxes,
    forward,
    invert,
    make_room,
    scale_of,
)
from ._step_nb import make_step_room

NO_DATA = -1.0
DEGENERATE = -2.0


@lean_exact_kernel
def _prior(problem, entries, k):
    """Return the inverse variance of what is known of a parameter beforehand."""
    if entries[3, k] >= 0:
        return problem.band_w[entries[0, k], entries[1, k]]
    return problem.w[entries[0, k], entries[1, k]]


@lean_exact_kernel
def _parameter_covariance(theta, normal, entries, m, problem, room, covariance):
    """Fill the inverse of the projected normal matrix, shape (m, m).

    A parameter at its bound is treated as known: the others' errors then refer to that.
    """
    owner, column = entries[0], entries[1]
    held, matrix = room.held, room.matrix
    for k in range(m):
        s, c = owner[k], column[k]
        held[k] = theta[s, c] <= problem.lower[s, c] or theta[s, c] >= problem.upper[s, c]
    for k in range(m):
        s, c = owner[k], column[k]
        for h in range(k + 1, m):
            matrix[k, h] = 0.0 if held[k] or held[h] else normal.a[k, h]
        d = normal.a[k, k] + _prior(problem, entries, k)
        matrix[k, k] = 1e30 if held[k] else d * (1.0 + 1e-9) + 1e-12
    cholesky(matrix, room.floor, room.low)
    invert(matrix, covariance)


@lean_exact_kernel
def _inverse_fluxes(normal, first, flux_w, singular, room, inverse):
    """Fill the inverse of G_vv of every flux key, shape (F, n, n)."""
    for b in range(normal.gram.shape[0]):
        factor_fluxes(
            normal.gram[b], first, flux_w[:, b], room.chol, singular, room.floor, room.low
        )
        invert(room.chol, inverse[b])


@lean_exact_kernel
def _times(left, right, result):
    """Fill the product of two matrices."""
    for i in range(left.shape[0]):
        row = result[i]
        for c in range(row.shape[0]):
            row[c] = 0.0
        for k in range(right.shape[0]):
            if left[i, k] != 0.0:
                add_scaled(row, left[i, k], right[k])


@lean_exact_kernel
def _estimator(normal, first, entries, m, flux, inverse, left, b, d, rows):
    """Fill what c of key d does to the fluxes of key b: rows for all sources, shape (n, T)."""
    n_src = first.shape[0] - 1
    rows[:] = 0.0
    for s in range(n_src):
        for k in range(entries.shape[1]):
            to = entries[2, k]
            at = first[entries[0, k]] + 1 + entries[1, k]
            rows[s, at] -= left[b, s, to] * scale_of(entries, k, flux, d)
        for i in range(n_src):
            rows[s, first[i]] += dot(left[b, s], normal.gain[d, i, :m])
            if b == d:
                rows[s, first[i]] += inverse[b, s, i]


@lean_exact_kernel
def _parameter_rows(normal, first, entries, m, flux, covariance, d, rows):
    """Fill what c of key d does to the parameters, shape (m, T)."""
    rows[:] = 0.0
    for p in range(m):
        for k in range(entries.shape[1]):
            at = first[entries[0, k]] + 1 + entries[1, k]
            rows[p, at] += covariance[p, entries[2, k]] * scale_of(entries, k, flux, d)
        for i in range(first.shape[0] - 1):
            rows[p, first[i]] -= dot(covariance[p], normal.gain[d, i, :m])


@lean_exact_kernel
def _sandwich(
    normal, first, entries, m, flux, inverse, left, covariance, spread, problem, outcome, theta_cov,
    rows, turned, flux_rows, flux_turned, flux_others,
):  # fmt: skip
    """Fill covariances for the noise described by ``spread``, (F, T, T); priors count as data.

    ``rows`` and ``turned`` (m, T) and the last three (n, T) are room.
    """
    n_src, n_flux = flux.shape
    theta_cov[:] = 0.0
    for k in range(m):
        w = _prior(problem, entries, k)
        if w > 0.0:
            for p in range(m):
                add_scaled(theta_cov[p], w * covariance[p, k], covariance[k])
            for s in range(n_src):
                for b in range(n_flux):
                    for c in range(n_flux):
                        outcome.flux_cov[s, b, c] += w * left[b, s, k] * left[c, s, k]
    for s in range(n_src):
        for d in range(n_flux):
            spread[d, first[s], first[s]] += problem.flux_w[s, d]
    for d in range(n_flux):
        _parameter_rows(normal, first, entries, m, flux, covariance, d, rows)
        _times(rows, spread[d], turned)
        for p in range(m):
            for q in range(m):
                theta_cov[p, q] += dot(turned[p], rows[q])
    for d in range(n_flux):
        for b in range(n_flux):
            _estimator(normal, first, entries, m, flux, inverse, left, b, d, flux_rows)
            _times(flux_rows, spread[d], flux_turned)
            for s in range(n_src):
                t = outcome.partner[s]
                if t >= 0:
                    outcome.pair_cov[s, b] += dot(flux_turned[s], flux_rows[t])
            for c in range(b, n_flux):
                others = flux_rows
                if c != b:
                    others = flux_others
                    _estimator(normal, first, entries, m, flux, inverse, left, c, d, others)
                for s in range(n_src):
                    v = dot(flux_turned[s], others[s])
                    outcome.flux_cov[s, b, c] += v
                    if c != b:
                        outcome.flux_cov[s, c, b] += v


@lean_exact_kernel
def _white(normal, m, inverse, left, outcome):
    """Fill covariances for white noise."""
    n_flux, n_src = inverse.shape[0], inverse.shape[1]
    for s in range(n_src):
        for b in range(n_flux):
            for d in range(b, n_flux):
                v = dot(left[b, s], normal.gain[d, s, :m])
                if b == d:
                    v += inverse[b, s, s]
                outcome.flux_cov[s, b, d] = v
                outcome.flux_cov[s, d, b] = v


@lean_exact_kernel
def _partners(normal, first, anchor, m, inverse, left, outcome, worst, cov):
    """Find the neighbour whose fluxes are most correlated with those of each member.

    Components of a composite are each other's.  ``worst`` (n,) and ``cov`` (F,) are room.
    """
    n_flux, n_src = inverse.shape[0], inverse.shape[1]
    worst[:] = 0.0
    for s in range(n_src):
        for t in range(s):
            tied = anchor[s] == t or anchor[t] == s
            coupled = tied
            for b in range(n_flux):
                coupled = coupled or normal.gram[b, first[s], first[t]] != 0.0
            if not coupled:
                continue
            largest = 2.0 if tied else 0.0  # correlations are at most 1
            for b in range(n_flux):
                cov[b] = inverse[b, s, t] + dot(left[b, s], normal.gain[b, t, :m])
                norm = outcome.flux_cov[s, b, b] * outcome.flux_cov[t, b, b]
                if norm > 0.0:
                    largest = max(largest, abs(cov[b]) / np.sqrt(norm))
            for me, other in ((s, t), (t, s)):
                if largest > worst[me]:
                    worst[me] = largest
                    outcome.partner[me] = other
                    for b in range(n_flux):
                        outcome.pair_cov[me, b] = cov[b]


@lean_exact_kernel
def _sky(normal, first, entries, m, flux, images, inverse, left, covariance, outcome, push):
    """Fill how fluxes answer to sky levels, and the information that the sources take from them.

    ``push`` (m,) is room.
    """
    n_src, n_flux = flux.shape
    outcome.response[:] = 0.0
    outcome.absorbed[:] = 0.0
    for level in range(outcome.absorbed.shape[0]):
        push[:] = 0.0  # sum over the images of E^T h
        for i in range(images.key.shape[0]):
            if images.sky[i] == level:
                h, d = normal.sky[i], images.key[i]
                for k in range(entries.shape[1]):
                    at = first[entries[0, k]] + 1 + entries[1, k]
                    push[entries[2, k]] += scale_of(entries, k, flux, d) * h[at]
                for s in range(n_src):
                    add_scaled(push, -h[first[s]], normal.gain[d, s, :m])
        for s in range(n_src):
            for b in range(n_flux):
                outcome.response[s, b, level] = dot(left[b, s], push)
        for i in range(images.key.shape[0]):
            if images.sky[i] == level:
                h, d = normal.sky[i], images.key[i]
                for s in range(n_src):
                    v = 0.0
                    for t in range(n_src):
                        v += inverse[d, s, t] * h[first[t]]
                    outcome.response[s, d, level] -= v
                    for j in range(images.key.shape[0]):
                        if images.sky[j] == level and images.key[j] == d:
                            outcome.absorbed[level] += v * normal.sky[j, first[s]]
        for k in range(m):
            outcome.absorbed[level] += push[k] * dot(covariance[k], push)


@lean_exact_kernel
def _departures(entries, problem, loose, step, inner, departure):
    """Fill what the pixels say about loose indices, see `_loosen`; ``inner`` is C_LL.

    With W the inverse variances of the priors of L, the step is ``(1 - C W)`` times the truth plus
    noise of variance ``C - C W C``.
    """
    for i in range(loose.shape[0]):
        s, at = entries[0, loose[i]], 0
        if entries[3, loose[i]] >= 0:
            at = 3 + 6 * entries[3, loose[i]] + (3 if entries[1, loose[i]] == 5 else 0)
        w = _prior(problem, entries, loose[i])
        answer, noise = 0.0, w * inner[i, i]
        for j in range(loose.shape[0]):
            other = _prior(problem, entries, loose[j])
            part = w * other * inner[i, j] ** 2
            noise -= part
            if j == i:
                answer += (1.0 - w * inner[i, i]) ** 2
            elif entries[0, loose[j]] == s:
                answer += part
        departure[s, at] = np.sqrt(w) * step[i]
        departure[s, at + 1], departure[s, at + 2] = answer, noise


@exact_kernel
def _loosen(theta, normal, entries, m, problem, covariance, shift, departure):
    """Fill what loose Sersic indices, and shapes of single bands, do to the fluxes, to first order.

    With C the covariance of all parameters, g the gradient with that of the priors, and L the loose
    ones, the step ``d = C g`` is ``C_L C_LL^-1 d_L`` away from the step with these held.
    Only this difference is taken: how well the fit has converged does not enter.

    ``departure`` (n, 3 + 6 F) gets the step of each loose index over the width of its prior; and of
    what its mean square consists: the sum of the squared answers to the galaxy's own loose
    parameters, each over the width of its prior, and the variance that white noise gives it.  The
    same for ln r, then for n, of each band.
    """
    shift[:] = 0.0
    departure[:] = 0.0
    n_loose = 0
    loose = np.empty(m, np.int64)
    slope = np.empty(m)
    for k in range(m):
        s, c = entries[0, k], entries[1, k]
        slope[k] = normal.g[k]
        if entries[3, k] < 0:
            slope[k] -= problem.w[s, c] * (theta[s, c] - problem.mu[s, c])
        else:
            scale = theta[s, c] if c == 5 else 1.0
            slope[k] += problem.band_w[s, c] * scale * problem.band_mu[entries[3, k], c]
        if entries[3, k] >= 0 or (c == 5 and problem.loose[s]):
            loose[n_loose] = k
            n_loose += 1
    if n_loose == 0:
        return
    inner, step = np.empty((n_loose, n_loose)), np.empty(n_loose)
    for i in range(n_loose):
        step[i] = dot(covariance[loose[i]], slope)
        for j in range(n_loose):
            inner[i, j] = covariance[loose[i], loose[j]]
    _departures(entries, problem, loose[:n_loose], step, inner, departure)
    cholesky(inner, np.zeros(n_loose), np.empty(n_loose, np.bool_))
    forward(inner, step)
    backward(inner, step)
    move = np.zeros(m)
    for i in range(n_loose):
        add_scaled(move, step[i], covariance[loose[i]])
    for b in range(shift.shape[1]):
        for s in range(shift.shape[0]):
            shift[s, b] = -dot(normal.gain[b, s, :m], move)


@exact_kernel
def covariances(
    members,
    theta,
    flux,
    tables,
    images,
    scratch,
    normal,
    entries,
    m,
    problem,
    correlation,
    outcome,
    where,
):
    """Fill the marginal covariances of every member, and what links its fluxes to others.

    ``where`` is the address of `correlated_products`.
    """
    first = scratch.first
    n_src, n_flux = flux.shape
    outcome.singular[:] = False  # what was degenerate at a trial point does not count
    outcome.partner[:] = -1
    outcome.pair_cov[:] = 0.0
    covariance, inverse = np.empty((m, m)), np.empty((n_flux, n_src, n_src))
    left = np.empty((n_flux, n_src, m))
    _parameter_covariance(theta, normal, entries, m, problem, make_step_room(n_src, m), covariance)
    _loosen(theta, normal, entries, m, problem, covariance, outcome.shift, outcome.departure)
    room = make_room(n_src, entries.shape[1])
    _inverse_fluxes(normal, first, problem.flux_w, outcome.singular, room, inverse)
    for b in range(n_flux):
        _times(normal.gain[b, :, :m], covariance, left[b])
    _white(normal, m, inverse, left, outcome)
    _partners(normal, first, members.anchor, m, inverse, left, outcome, room.step, np.empty(n_flux))
    _sky(normal, first, entries, m, flux, images, inverse, left, covariance, outcome, np.empty(m))
    theta_cov = covariance
    if correlation.used.any():
        n_units = normal.gram.shape[1]
        spread = np.zeros((n_flux, n_units, n_units))
        call_at(
            correlated_products,
            where,
            (members, theta, tables, images, scratch, correlation, spread),
        )
        outcome.flux_cov[:] = 0.0
        outcome.pair_cov[:] = 0.0
        theta_cov = np.empty((m, m))
        _sandwich(
            normal, first, entries, m, flux, inverse, left, covariance, spread, problem, outcome,
            theta_cov, np.empty((m, n_units)), np.empty((m, n_units)), np.empty((n_src, n_units)),
            np.empty((n_src, n_units)), np.empty((n_src, n_units)),
        )  # fmt: skip
    outcome.param_cov[:] = 0.0
    for k in range(entries.shape[1]):
        for h in range(entries.shape[1]):
            if entries[0, k] == entries[0, h] and entries[3, k] < 0 and entries[3, h] < 0:
                v = theta_cov[entries[2, k], entries[2, h]]
                outcome.param_cov[entries[0, k], entries[1, k], entries[1, h]] = v
    for s in range(n_src):
        _mark_missing(normal.gram, first[s], outcome.singular[s], outcome.flux_cov[s])


@kernel_part
def _mark_missing(gram, unit, is_singular, flux_cov):
    """Put sentinels where a flux has no data or is degenerate, for NaN and infinity."""
    for b in range(gram.shape[0]):
        if gram[b, unit, unit] <= 0.0:
            flux_cov[b, :] = 0.0
            flux_cov[:, b] = 0.0
            flux_cov[b, b] = NO_DATA
        elif is_singular:
            flux_cov[b, b] = DEGENERATE

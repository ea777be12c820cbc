"""Compiled steps of the fit of a group: damped, inside the bounds, at times on trust."""

from __future__ import annotations

import numpy as np

from skyloom._jit import exact_kernel, lean_exact_kernel

from ._linear_nb import assign, backward, cholesky, forward
from ._records import StepRoom

REJECTIONS = 12  # in a row: damping has grown by 8**12, nothing will help


@lean_exact_kernel
def penalty(value, mu, w):
    """Return the chi-square of Gaussian priors."""
    total = 0.0
    for s in range(value.shape[0]):
        for c in range(value.shape[1]):
            if w[s, c] > 0.0:
                total += w[s, c] * (value[s, c] - mu[s, c]) ** 2
    return total


@lean_exact_kernel
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
def make_step_room(n_src, m):
    """Allocate what `downhill_step` needs."""
    return StepRoom(
        np.empty((m, m)),
        np.empty(m),
        np.zeros(m),
        np.empty(m, np.bool_),
        np.empty(m, np.bool_),
        np.empty(n_src, np.bool_),
    )


@lean_exact_kernel
def _damped_step(theta, normal, damping, entries, problem, room):
    """Solve ``(A + P + damping D) delta = g`` with parameters held that push against a bound."""
    owner, column = entries[0], entries[1]
    matrix, delta, held, walled = room.matrix, room.delta, room.held, room.walled
    m = delta.shape[0]
    held[:] = False
    walled[:] = False
    for _ in range(3):
        for k in range(m):
            s, c = owner[k], column[k]
            for h in range(k + 1, m):
                matrix[k, h] = 0.0 if held[k] or held[h] else normal.a[k, h]
            w = problem.w[s, c]
            delta[k] = 0.0 if held[k] else normal.g[k] - w * (theta[s, c] - problem.mu[s, c])
            d = normal.a[k, k] + w
            matrix[k, k] = 1.0 if held[k] else d + (damping + 1e-9) * max(d, 1e-6)
        for k in range(m - 1):
            if walled[owner[k]] and column[k] == 3 and column[k + 1] == 4:
                _stiffen(matrix, delta, k, theta[owner[k]])
        cholesky(matrix, room.floor, room.low)
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
            if c == 3 and k + 1 < m and column[k + 1] == 4 and not walled[s]:
                outward = theta[s, 3] * delta[k] + theta[s, 4] * delta[k + 1]
                modulus = np.sqrt(theta[s, 3] ** 2 + theta[s, 4] ** 2)
                if outward > 0.0 and modulus >= problem.g_max * (1.0 - 1e-9):
                    walled[s] = True
                    changed = True
        if not changed:
            break


@lean_exact_kernel
def _stiffen(matrix, delta, k, theta):
    """Let the ellipticity, parameters k and k + 1, move along the circle of its limit only."""
    modulus = np.sqrt(theta[3] ** 2 + theta[4] ** 2)
    x, y = theta[3] / modulus, theta[4] / modulus
    stiff = 1e6 * (matrix[k, k] + matrix[k + 1, k + 1])
    matrix[k, k] += stiff * x * x
    matrix[k, k + 1] += stiff * x * y
    matrix[k + 1, k + 1] += stiff * y * y
    radial = x * delta[k] + y * delta[k + 1]
    delta[k] -= x * radial
    delta[k + 1] -= y * radial


@lean_exact_kernel
def propose(theta, normal, damping, entries, m, problem, trial, room):
    """Fill a damped step inside the bounds; return the predicted decrease of chi-square."""
    owner, column, delta = entries[0], entries[1], room.delta
    _damped_step(theta, normal, damping, entries, problem, room)
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
    for k in range(m, owner.shape[0]):
        s, c, to = owner[k], column[k], entries[2, k]
        trial[s, c] = trial[owner[to], c]
    return predicted


@lean_exact_kernel
def mark_settled(theta, normal, entries, m, problem, tolerance, converged, outcome, room):
    """Tell which sources have come to rest, where their group has not.

    Where a group has to stop early, most of its sources may have arrived long ago.  Settled is who
    has no parameter whose next step, undamped, exceeds its error times the root of ``tolerance``.
    """
    outcome.settled[:] = True
    if converged:
        return
    owner, column, delta = entries[0], entries[1], room.delta
    _damped_step(theta, normal, 0.0, entries, problem, room)
    for k in range(owner.shape[0]):
        at = k if k < m else entries[2, k]  # positions that are shared move with their anchor's
        s, c = owner[at], column[at]
        if not delta[at] ** 2 <= tolerance * outcome.param_cov[s, c, c]:
            outcome.settled[owner[k]] = False


@lean_exact_kernel
def accept_on_trust(theta, flux, trial, normal, entries, m):
    """Take a step that is too small to be worth a pixel pass; the fluxes follow to first order."""
    for b in range(flux.shape[1]):
        for k in range(m):
            s, c = entries[0, k], entries[1, k]
            move = trial[s, c] - theta[s, c]
            for i in range(flux.shape[0]):
                flux[i, b] -= normal.gain[b, i, k] * move
    assign(theta, trial)


@lean_exact_kernel
def downhill_step(theta, normal, damping, rejected, entries, m, problem, trial, room):
    """Fill a step that is predicted to lower chi-square; return by how much, and the damping.

    Cut at a bound a step may point uphill; nearer to the gradient it does not.  ``room`` is from
    `make_step_room`.
    """
    predicted = propose(theta, normal, damping, entries, m, problem, trial, room)
    while predicted < 0.0 and rejected < REJECTIONS:
        damping, rejected = damping * 8.0, rejected + 1
        predicted = propose(theta, normal, damping, entries, m, problem, trial, room)
    return predicted, damping, rejected

"""Compiled solver of one blend group: variable projection and Levenberg-Marquardt.

The fluxes are linear and eliminated exactly, key by key; positions and shapes move on what is
left.  One pixel pass (`evaluate`) per trial point; everything else is algebra on its Gram matrix.
"""

from __future__ import annotations

import numpy as np

from skyloom._calls import call_at
from skyloom._jit import exact_kernel, lean_exact_kernel
from skyloom._types import Floats

from ._covariance_nb import covariances
from ._gram_nb import evaluate, make_scratch
from ._linear_nb import add_scaled, assign, make_room, project
from ._records import Addresses, Correlation, Images, Members, Normal, Outcome, Problem, Tables
from ._step_nb import (
    REJECTIONS,
    accept_on_trust,
    downhill_step,
    make_step_room,
    mark_settled,
    penalty,
)

FIRST_DAMPING = 1e-2
TRUST = 10.0  # a step predicted to gain less than this times the tolerance needs no pixel pass


@exact_kernel
def moving_parameters(members, problem, n_flux):
    """Return source, column, parameter number, flux key of everything that moves (4, entries).

    Each free parameter comes once, for all flux keys (-1); then those that differ from key to key;
    behind them stand the positions of members that share those of their anchor.
    """
    free = problem.free
    n_src = members.kind.shape[0]
    n = 0
    for s in range(n_src):
        for c in range(members.n_units[s] - 1):
            if free[s, c] or (members.anchor[s] != s and c < 2):
                n += 1
        for c in range(6):
            if problem.band_w[s, c] > 0.0:
                n += n_flux
    number = np.full((n_src, 6), -1)
    entries = np.full((4, n), -1)
    k = 0
    for s in range(n_src):
        for c in range(members.n_units[s] - 1):
            if free[s, c] and (members.anchor[s] == s or c > 1):
                entries[0, k], entries[1, k], entries[2, k] = s, c, k
                number[s, c] = k
                k += 1
    for s in range(n_src):
        for c in range(6):
            if problem.band_w[s, c] > 0.0:
                for b in range(n_flux):
                    entries[0, k], entries[1, k], entries[2, k], entries[3, k] = s, c, k, b
                    k += 1
    for s in range(n_src):
        if members.anchor[s] != s:
            for c in range(min(2, members.n_units[s] - 1)):
                if number[members.anchor[s], c] >= 0:
                    entries[0, k], entries[1, k] = s, c
                    entries[2, k] = number[members.anchor[s], c]
                    k += 1
    return entries[:, :k].copy()


@lean_exact_kernel
def n_moving(entries):
    """Return the number of parameters."""
    m = 0
    for k in range(entries.shape[1]):
        m = max(m, entries[2, k] + 1)
    return m


@exact_kernel
def make_normal(n_src, n_flux, n_units, n_images, n_entries):
    """Allocate normal equations."""
    return Normal(
        np.zeros((n_flux, n_units, n_units)),
        np.zeros((n_flux, n_units)),
        np.zeros((n_images, n_units)),
        np.zeros(n_flux),
        np.zeros((n_entries, n_entries)),
        np.zeros(n_entries),
        np.zeros((n_flux, n_src, n_entries)),
    )


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
    correlation: Correlation,
    outcome: Outcome,
    where: Addresses,
) -> None:
    """Fit one group in place.

    Parameters
    ----------
    theta, flux : ndarray, shapes (n, 6) and (n, F)
        Start and result.
    images : Images
        Data without the models of the start, which are put back.
    tolerance : float
        Stop when a step decreased chi-square by less.  A step that is predicted to gain less than
        ten times this is taken without looking at the pixels again: what it misses is of second
        order.
    outcome : Outcome
        Receives covariances, the chi-square before the last flux update, degeneracies, and how the
        fit went.
    """
    n_src, n_flux = flux.shape
    entries = moving_parameters(members, problem, n_flux)
    m = n_moving(entries)
    scratch = make_scratch(members, images)
    n_units, n_images = scratch.first[n_src], images.offset.shape[0]
    best = make_normal(n_src, n_flux, n_units, n_images, entries.shape[1])
    new = make_normal(n_src, n_flux, n_units, n_images, entries.shape[1])
    room, step_room = make_room(n_src, entries.shape[1]), make_step_room(n_src, m)
    trial, trial_flux = theta.copy(), flux.copy()
    evaluations, iterations, rejected = 0, 0, 0
    damping, last, current, gained = FIRST_DAMPING, 0.0, 0.0, 0.0
    converged = m == 0
    # The start is the first trial, so that the pixel pass is called, and compiled, in one place.
    while True:
        call_at(
            evaluate,
            where.evaluate,
            (members, trial, trial_flux, tables, images, scratch, new, evaluations == 0),
        )
        evaluations += 1
        before = penalty(trial_flux, problem.flux_mu, problem.flux_w)
        drop = project(
            scratch.first, entries, trial_flux, problem.flux_mu, problem.flux_w, new,
            outcome.singular, room,
        )  # fmt: skip
        value = before - drop + penalty(trial, problem.mu, problem.w) + new.chi2.sum()
        gained = value + drop if evaluations == 1 else gained
        if evaluations == 1 or value <= current:
            if evaluations > 1:
                last, damping = current - value, max(damping / 5.0, 1e-6)
                converged = last < tolerance
            current, rejected = value, 0
            assign(theta, trial)
            assign(flux, trial_flux)
            best, new = new, best
        else:
            damping, rejected = damping * 8.0, rejected + 1
        if m == 0 or iterations >= max_iterations or rejected >= REJECTIONS:
            break
        predicted, damping, rejected = downhill_step(
            theta, best, damping, rejected, entries, m, problem, trial, step_room
        )
        if converged or predicted < TRUST * tolerance:
            if 0.0 < predicted < TRUST * tolerance and rejected == 0:
                accept_on_trust(theta, flux, trial, best, entries, m)
                current -= predicted
            converged = True
            break
        iterations += 1
        assign(trial_flux, flux)
    call_at(
        covariances,
        where.covariances,
        (
            members, theta, flux, tables, images, scratch, best, entries, m, problem, correlation,
            outcome, where.correlated_products,
        ),
    )  # fmt: skip
    mark_settled(theta, best, entries, m, problem, tolerance, converged, outcome, step_room)
    how = evaluations, iterations, last, gained - current
    _report(outcome, best, scratch.first, members.n_units, flux, how)


@lean_exact_kernel
def _report(outcome, normal, first, count, flux, how):
    """Say how the fit went, and how chi-square answers to shifts in the images of one flux key."""
    evaluations, iterations, last, gained = how
    report = outcome.report
    report[0], report[1], report[2], report[3] = evaluations, iterations, last, gained
    add_scaled(outcome.chi2, 1.0, normal.chi2)
    slope, curvature = outcome.slope, outcome.curvature
    slope[:] = 0.0
    curvature[:] = 0.0
    for s in range(flux.shape[0]):
        if count[s] < 3:
            continue
        x, y = first[s] + 1, first[s] + 2
        for b in range(flux.shape[1]):
            f = flux[s, b]
            slope[s, b, 0] = f * normal.grad[b, x]
            slope[s, b, 1] = f * normal.grad[b, y]
            curvature[s, b, 0] = f * f * normal.gram[b, x, x]
            curvature[s, b, 1] = f * f * normal.gram[b, x, y]
            curvature[s, b, 2] = f * f * normal.gram[b, y, y]

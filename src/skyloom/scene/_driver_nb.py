"""Compiled fit of many blend groups: cut boxes, solve block by block, store what came out."""

from __future__ import annotations

import numpy as np

from skyloom._calls import call_at
from skyloom._jit import exact_kernel, lean_exact_kernel
from skyloom._types import Ints

from ._boxes_nb import extract_boxes, paste_boxes
from ._products_nb import SPARE
from ._records import Addresses, Correlation, Images, Members, Outcome, Problem, Results, Tables
from ._solver_nb import solve_group
from ._values_nb import subtract_models
from ._vector_nb import aligned


@lean_exact_kernel
def _outline(members, rows, low, shape):
    """Fill corners x, y (B, 2) and shapes (B, 2) of the boxes that hold all stamps of some rows."""
    origin, size = members.origin, members.size
    for b in range(low.shape[0]):
        for axis in range(2):
            first = last = origin[rows[0], b, axis]
            for s in rows:
                first = min(first, origin[s, b, axis])
                last = max(last, origin[s, b, axis] + size[s])
            low[b, axis] = first
            shape[b, 1 - axis] = last - first


@exact_kernel
def cut_boxes(images, corner, shape):
    """Return boxes with their corner x, y (B, 2), zero-padded outside the frame."""
    n_images = images.offset.shape[0]
    offset = np.empty(n_images, np.int64)
    length = 0
    for b in range(n_images):
        offset[b] = length
        length += shape[b, 0] * shape[b, 1]
    data, weight = aligned(length + SPARE), aligned(length + SPARE)
    data[:] = np.float32(0.0)
    weight[:] = np.float32(0.0)
    extract_boxes(images.data, images.offset, images.shape, corner, data, offset, shape)
    extract_boxes(images.weight, images.offset, images.shape, corner, weight, offset, shape)
    return Images(data, weight, offset, shape, images.key, images.sky)


@lean_exact_kernel
def _get_rows(table, rows, target):
    """Copy some rows of a table.

    Plain loops: numba compiles a loop much faster than an index that is an array.
    """
    for i in range(rows.shape[0]):
        for c in range(table.shape[1]):
            target[i, c] = table[rows[i], c]


@lean_exact_kernel
def _put_rows(table, rows, source):
    """Replace some rows of a table."""
    for i in range(rows.shape[0]):
        for c in range(table.shape[1]):
            table[rows[i], c] = source[i, c]


@lean_exact_kernel
def _put_entries(column, rows, value):
    """Set some entries of a column to one value."""
    for s in rows:
        column[s] = value


@exact_kernel
def _make_members(n, n_images, members):
    """Allocate the record of n members, with the PSFs of another."""
    n_terms = members.coefficients.shape[2]
    return Members(
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty((n, n_images, 2), np.int64),
        np.empty((n, n_images, 2)),
        np.empty((n, n_images, 4)),
        members.psf,
        np.empty((n, n_images), np.int64),
        members.terms,
        np.empty((n, n_images, n_terms)),
        np.empty((n, n_images), np.int64),
    )


@lean_exact_kernel
def _take(members, rows, corner, taken):
    """Fill the record of some rows, seen from boxes with these corners."""
    for i in range(rows.shape[0]):
        s = rows[i]
        taken.kind[i], taken.n_units[i], taken.size[i] = (
            members.kind[s],
            members.n_units[s],
            members.size[s],
        )
        taken.anchor[i] = i
        for j in range(rows.shape[0]):
            if rows[j] == members.anchor[s]:
                taken.anchor[i] = j
        for b in range(corner.shape[0]):
            for axis in range(2):
                taken.origin[i, b, axis] = members.origin[s, b, axis] - corner[b, axis]
                taken.pos[i, b, axis] = members.pos[s, b, axis]
            for k in range(4):
                taken.jac[i, b, k] = members.jac[s, b, k]
            taken.psf_offset[i, b], taken.fold[i, b] = members.psf_offset[s, b], members.fold[s, b]
            for k in range(members.coefficients.shape[2]):
                taken.coefficients[i, b, k] = members.coefficients[s, b, k]


@exact_kernel
def _make_problem(n, n_flux, g_max):
    """Allocate what a fit of n sources may change."""
    return Problem(
        np.empty((n, 6), np.bool_),
        np.empty((n, 6)),
        np.empty((n, 6)),
        np.empty((n, 6)),
        np.empty((n, 6)),
        np.empty((n, n_flux)),
        np.empty((n, n_flux)),
        g_max,
        np.empty(n, np.bool_),
        np.empty((n, 6)),
        np.empty((n_flux, 6)),
    )


@lean_exact_kernel
def _take_problem(problem, rows, task):
    """Fill what a fit of some rows may change."""
    for i in range(rows.shape[0]):
        for c in range(6):
            task.free[i, c] = problem.free[rows[i], c]
        task.loose[i] = problem.loose[rows[i]]
    for b in range(task.band_mu.shape[0]):
        for c in range(6):
            task.band_mu[b, c] = problem.band_mu[b, c]
    _get_rows(problem.lower, rows, task.lower)
    _get_rows(problem.upper, rows, task.upper)
    _get_rows(problem.mu, rows, task.mu)
    _get_rows(problem.w, rows, task.w)
    _get_rows(problem.band_w, rows, task.band_w)
    _get_rows(problem.flux_mu, rows, task.flux_mu)
    _get_rows(problem.flux_w, rows, task.flux_w)


@lean_exact_kernel
def _get_state(results, rows, theta, flux):
    """Copy the present parameters and fluxes of some rows."""
    _get_rows(results.theta, rows, theta)
    _get_rows(results.flux, rows, flux)


@exact_kernel
def make_outcome(n, n_flux, n_sky):
    """Allocate an outcome."""
    return Outcome(
        np.zeros((n, 6, 6)),
        np.zeros((n, n_flux, n_flux)),
        np.zeros((n, n_flux, n_sky)),
        np.zeros(n_sky),
        np.zeros(n, np.int64),
        np.zeros((n, n_flux)),
        np.zeros(n_flux),
        np.zeros(n, np.bool_),
        np.zeros(n, np.bool_),
        np.zeros(4),
        np.zeros((n, n_flux, 2)),
        np.zeros((n, n_flux, 3)),
        np.zeros((n, n_flux)),
        np.zeros((n, 3 + 6 * n_flux)),
    )


@lean_exact_kernel
def _all_finite(table):
    """Tell whether every number of a table is finite."""
    for i in range(table.shape[0]):
        for c in range(table.shape[1]):
            if not np.isfinite(table[i, c]):
                return False
    return True


@lean_exact_kernel
def _store(rows, own, theta, flux, outcome, move, results):
    """Store covariances, and where they may move parameters and fluxes, of the first rows."""
    healthy = _all_finite(theta) and _all_finite(flux)
    if healthy and move:
        _put_rows(results.theta, rows, theta)
        _put_rows(results.flux, rows, flux)
    n, m = results.theta.shape[0], rows.shape[0]
    n_flux, n_sky = flux.shape[1], results.absorbed.shape[1]
    for of_all, of_block, width in (
        (results.param_cov.reshape(-1), outcome.param_cov.reshape(-1), 36),
        (results.flux_cov.reshape(-1), outcome.flux_cov.reshape(-1), n_flux * n_flux),
        (results.response.reshape(-1), outcome.response.reshape(-1), n_flux * n_sky),
        (results.pair_cov.reshape(-1), outcome.pair_cov.reshape(-1), n_flux),
        (results.shift.reshape(-1), outcome.shift.reshape(-1), n_flux),
        (results.departure.reshape(-1), outcome.departure.reshape(-1), 3 + 6 * n_flux),
        (results.slope.reshape(-1), outcome.slope.reshape(-1), 2 * n_flux),
        (results.curvature.reshape(-1), outcome.curvature.reshape(-1), 3 * n_flux),
    ):
        _put_rows(of_all.reshape((n, width)), rows[:own], of_block.reshape((m, width)))
    for i in range(own):
        results.singular[rows[i]] = outcome.singular[i]
        results.partner[rows[i]] = rows[outcome.partner[i]] if outcome.partner[i] >= 0 else -1
    if move:
        for level in range(n_sky):
            results.absorbed[rows[0], level] = outcome.absorbed[level]
    _put_entries(results.healthy, rows[:own], healthy)
    report = outcome.report
    _put_entries(results.evaluations, rows[:own], int(report[0]))
    if move:
        _put_entries(results.iterations, rows, int(report[1]))
        for i in range(m):
            results.converged[rows[i]] = outcome.settled[i] and healthy
        _put_entries(results.last, rows, report[2])
        _put_entries(results.gained, rows, report[3])


@exact_kernel
def solve_groups(
    order: Ints,
    blocks: Ints,
    groups: Ints,
    members: Members,
    tables: Tables,
    images: Images,
    problem: Problem,
    tolerance: float,
    max_iterations: int,
    correlation: Correlation,
    results: Results,
    own: Ints,
    move: bool,
    where: Addresses,
) -> None:
    """Solve groups, each on the residual of everybody outside.

    Parameters
    ----------
    order : ndarray of int
        Rows of the members, block after block, group after group.
    blocks, groups : ndarray of int
        Where the blocks start in ``order``, and the groups in ``blocks``; with the ends.
    members, problem : Members, Problem
        All sources of the scene; stamp corners in the frame of ``images``.
    images : Images
        Residuals without any source, and weights; not changed.
    results : Results
        Start values of parameters and fluxes, replaced for the rows in ``order``.
    own : ndarray of int
        How many rows of each block, from its first, get results; the others are there for the
        covariances of these.
    move : bool
        False: the sources stay where they are, only covariances are stored.
    """
    n_images, n_flux = images.offset.shape[0], results.flux.shape[1]
    n_sky = results.absorbed.shape[1]
    corner, shape = np.empty((n_images, 2), np.int64), np.empty((n_images, 2), np.int64)
    for g in range(groups.shape[0] - 1):
        single = groups[g + 1] - groups[g] == 1
        everyone = order[blocks[groups[g]] : blocks[groups[g + 1]]]
        _outline(members, everyone, corner, shape)
        around = cut_boxes(images, corner, shape)
        for k in range(groups[g], groups[g + 1]):
            rows = order[blocks[k] : blocks[k + 1]]
            n = rows.shape[0]
            box, at, extent = around, corner.copy(), shape.copy()
            if not single:
                _outline(members, rows, at, extent)
                box = cut_boxes(around, at - corner, extent)
            taken, task = (
                _make_members(n, n_images, members),
                _make_problem(n, n_flux, problem.g_max),
            )
            theta, flux = np.empty((n, 6)), np.empty((n, n_flux))
            _take(members, rows, at, taken)
            _take_problem(problem, rows, task)
            _get_state(results, rows, theta, flux)
            outcome = make_outcome(n, n_flux, n_sky)
            call_at(
                solve_group,
                where.solve_group,
                (
                    taken, theta, flux, tables, box, task, tolerance, max_iterations, correlation,
                    outcome, where,
                ),
            )  # fmt: skip
            _store(rows, own[k], theta, flux, outcome, move, results)
            if move and not single:
                # The box is without the block's own models now; the rest of the group sees the new.
                _get_state(results, rows, theta, flux)
                call_at(
                    subtract_models,
                    where.subtract_models,
                    (box, taken, theta, flux, tables, 1.0),
                )
                paste_boxes(box.data, box.offset, extent, at - corner, around)

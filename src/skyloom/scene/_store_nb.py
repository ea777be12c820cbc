"""Compiled loops that put what the solver found into what is known of a scene."""

from __future__ import annotations

import math
from typing import NamedTuple

from skyloom._jit import lean_exact_kernel
from skyloom._types import Bools, Floats, Ints

from ._covariance_nb import DEGENERATE, NO_DATA
from ._records import Results


class Found(NamedTuple):
    """Arrays of a `SceneState` that a solution of covariances fills; see there."""

    flux: Floats
    theta_cov: Floats
    flux_cov: Floats
    evaluations: Ints
    singular: Bools
    partner: Ints
    pair_cov: Floats
    sky_response: Floats


class Moved(NamedTuple):
    """Arrays of a `SceneState` that a pass fills besides; see there."""

    theta: Floats
    iterations: Ints
    converged: Bools
    last_decrease: Floats
    gained: Floats
    sky_absorbed: Floats
    started: Bools


@lean_exact_kernel
def store_covariances(rows: Ints, results: Results, found: Found) -> None:
    """Store covariances of some rows: NaN without data, infinite where degenerate."""
    n_flux = results.flux.shape[1]
    for r in rows:
        healthy = results.healthy[r]
        for b in range(n_flux):
            for c in range(n_flux):
                found.flux_cov[r, b, c] = results.flux_cov[r, b, c] if healthy else math.nan
            variance = results.flux_cov[r, b, b]
            if variance == NO_DATA:
                variance = math.nan
            elif variance == DEGENERATE:
                variance = math.inf
            if math.isnan(variance):
                found.flux[r, b] = math.nan
            if healthy:
                found.flux_cov[r, b, b] = variance
            found.pair_cov[r, b] = results.pair_cov[r, b]
            for level in range(results.response.shape[2]):
                found.sky_response[r, b, level] = results.response[r, b, level]
        for i in range(6):
            for j in range(6):
                found.theta_cov[r, i, j] = results.param_cov[r, i, j] if healthy else math.nan
        found.evaluations[r] += results.evaluations[r]
        found.singular[r] = results.singular[r]
        found.partner[r] = results.partner[r]


@lean_exact_kernel
def store_solution(
    rows: Ints, results: Results, reference: Floats, moved: Moved, found: Found
) -> None:
    """Store what a pass did to some rows; ``reference`` (n, 2) is where positions count from."""
    for r in rows:
        for i in range(6):
            moved.theta[r, i] = results.theta[r, i] + (reference[r, i] if i < 2 else 0.0)
        for b in range(results.flux.shape[1]):
            found.flux[r, b] = results.flux[r, b]
        moved.iterations[r] += results.iterations[r]
        moved.converged[r] = results.converged[r]
        moved.last_decrease[r] = results.last[r]
        moved.gained[r] = results.gained[r]
        for level in range(results.absorbed.shape[1]):
            moved.sky_absorbed[r, level] = results.absorbed[r, level]
        moved.started[r] = True
    store_covariances(rows, results, found)

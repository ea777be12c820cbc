"""Compile the kernels that call each other by address, and find out where they are."""

from __future__ import annotations

from functools import cache

import numpy as np

from skyloom._calls import address_of

from ._correlated_nb import correlated_products
from ._covariance_nb import covariances
from ._gram_nb import evaluate
from ._records import (
    Addresses,
    Correlation,
    Images,
    Normal,
    Outcome,
    Problem,
    Scratch,
    Work,
    sample_members,
)
from ._solver_nb import solve_group
from ._values_nb import subtract_models
from .transforms import kernel_tables

__all__ = ["kernel_addresses"]


@cache
def kernel_addresses() -> Addresses:
    """Return the addresses, for this process; the arrays below only tell types."""
    tables = kernel_tables()
    number, flag, line = np.zeros(1, np.int64), np.zeros(1, np.bool_), np.zeros(1)
    pixels, table, cube = np.zeros(1, np.float32), np.zeros((1, 1)), np.zeros((1, 1, 1))
    numbers, plane = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32)
    members = sample_members()
    images = Images(pixels, pixels, number, numbers, number, number)
    work = Work(plane, pixels, plane, pixels, pixels.view(np.int32), pixels, plane, plane)
    scratch = Scratch(work, number, number, number, pixels, pixels, pixels, table)
    normal = Normal(cube, table, table, line, table, line, cube)
    problem = Problem(
        np.zeros((1, 6), np.bool_), table, table, table, table, table, table, 1.0, flag, table,
        table,
    )  # fmt: skip
    correlation = Correlation(flag, np.zeros((1, 1, 1), np.float32))
    outcome = Outcome(
        param_cov=cube, flux_cov=cube, response=cube, absorbed=line, partner=number,
        pair_cov=table, chi2=line, singular=flag, settled=flag, report=line, slope=cube,
        curvature=cube, shift=table, departure=table,
    )  # fmt: skip
    spread = address_of(
        correlated_products, members, table, tables, images, scratch, correlation, cube
    )
    models = address_of(subtract_models, images, members, table, table, tables, 1.0)
    passes = address_of(evaluate, members, table, table, tables, images, scratch, normal, True)
    errors = address_of(
        covariances, members, table, table, tables, images, scratch, normal, numbers, 1, problem,
        correlation, outcome, 1,
    )  # fmt: skip
    known = Addresses(0, passes, errors, spread, models)
    solve = address_of(
        solve_group, members, table, table, tables, images, problem, 1.0, 1, correlation, outcome,
        known,
    )  # fmt: skip
    return known._replace(solve_group=solve)

"""Bilinear and quadratic fields over the working frame: cells, nodes, and their algebra.

Matrices of nodes are symmetric and lower banded, as `scipy.linalg.cholesky_banded` has them: row k
holds the entries k below the diagonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats

__all__ = ["CELL", "bilinear", "cells", "fractions", "hats", "quadratics", "ties", "times"]

CELL = 256  # pix: wider than any stamp that is fitted freely


def cells(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the number of cells along y and x."""
    return max(1, round(shape[0] / CELL)), max(1, round(shape[1] / CELL))


def fractions(at: Floats, length: int, number: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the cell of positions along an axis, and where they lie in it, 0 to 1."""
    scaled = np.clip(at / max(length - 1, 1), 0.0, 1.0) * number
    cell = np.minimum(scaled.astype(np.int64), number - 1)
    return cell, scaled - cell


def hats(at: npt.NDArray[Any], length: int, nodes: int) -> Floats:
    """Return the linear weight of each node at positions along an axis, (n, nodes)."""
    cell, t = fractions(np.nan_to_num(np.asarray(at, dtype=np.float64)), length, nodes - 1)
    table = np.zeros((len(cell), nodes))
    rows = np.arange(len(cell))
    table[rows, cell] = 1.0 - t
    table[rows, cell + 1] = t
    return table


def quadratics(at: npt.NDArray[Any], length: int, number: int) -> Floats:
    """Return the weight of each quadratic spline at positions along an axis, (n, number)."""
    cell, t = fractions(np.nan_to_num(np.asarray(at, dtype=np.float64)), length, number - 2)
    table = np.zeros((len(cell), number))
    rows = np.arange(len(cell))
    table[rows, cell] = 0.5 * (1.0 - t) ** 2
    table[rows, cell + 1] = 0.5 + t * (1.0 - t)
    table[rows, cell + 2] = 0.5 * t**2
    return table


def bilinear(x: Floats, y: Floats, shape: tuple[int, int]) -> Floats:
    """Return the weight of each node at positions, (n, (gy + 1) (gx + 1))."""
    gy, gx = cells(shape)
    wy, wx = hats(y, shape[0], gy + 1), hats(x, shape[1], gx + 1)
    return np.asarray((wy[:, :, None] * wx[:, None, :]).reshape(len(wy), -1))


def ties(nodes: tuple[int, ...]) -> Floats:
    """Return the matrix of squared differences between neighbouring nodes, lower banded."""
    ny, nx = nodes
    banded = np.zeros((nx + 2, ny * nx))
    number = np.arange(ny * nx).reshape(ny, nx)
    for first, second in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        a, b = first.ravel(), second.ravel()
        np.add.at(banded, (np.zeros_like(a), a), 1.0)
        np.add.at(banded, (np.zeros_like(b), b), 1.0)
        np.add.at(banded, (b - a, a), -1.0)
    return banded


def times(banded: Floats, vector: Floats) -> Floats:
    """Multiply a symmetric matrix, lower banded, with a vector."""
    out = banded[0] * vector
    for k in range(1, len(banded)):
        out[k:] += banded[k, : len(vector) - k] * vector[:-k]
        out[:-k] += banded[k, : len(vector) - k] * vector[k:]
    return np.asarray(out)

"""Whether magnitudes are flat over a field: smooth trends, means in cells, steps at borders.

Residuals are measured minus true magnitudes of stars.  Everything is relative to their mean over
the field: a zero point that is wrong as a whole is no trend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats

__all__ = ["Flatness", "Step", "border_step", "field_flatness"]

_MAD = 1.4826
_CLIP = 4.0  # robust sigma: a star with an unknown neighbour is not the field's fault
_WEIGHTED = 20  # rounds of the fit that clipping starts from


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """How flat a field is; in the unit of the residuals."""

    n: int  # stars used
    trend: float  # rms over the field of the smooth surface, its own noise taken off
    trend_noise: float  # rms that noise alone gives
    cells: Floats  # (k, k) mean of the stars in each cell, about the mean of the field
    cell_errors: Floats  # (k, k) their standard errors; NaN without stars

    @property
    def largest(self) -> tuple[float, float]:
        """Mean of the cell that deviates most, and its standard error."""
        size = np.where(np.isfinite(self.cell_errors), np.abs(self.cells), -1.0)
        place = np.unravel_index(np.argmax(size), size.shape)
        return float(self.cells[place]), float(self.cell_errors[place])


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A jump of the residuals at a border; in their unit."""

    at: float  # pix
    n: int  # stars used
    step: float  # beyond minus before
    error: float


def field_flatness(
    x: Floats,
    y: Floats,
    residual: Floats,
    *,
    shape: tuple[int, int],
    cells: int = 4,
    order: int = 3,
) -> Flatness:
    """Measure trends of residuals over a field.

    Parameters
    ----------
    x, y, residual : ndarray, shape (n,)
        Positions [pix] and residuals of stars of similar error, any unit.
    shape : tuple of int
        ``(ny, nx)`` of the field.
    cells : int
        Cells per axis.
    order : int
        Of the polynomial that stands for a smooth trend.

    Returns
    -------
    Flatness
        Stars beyond four robust deviations from the surface are left out.

    Raises
    ------
    ValueError
        If there are fewer than two stars per term of the polynomial.
    """
    ny, nx = shape
    terms = _terms(2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1, order)
    if len(x) < 2 * terms.shape[1]:
        raise ValueError(f"{len(x)} stars cannot tell a trend of {terms.shape[1]} terms from noise")
    keep, coefficients = _robust_fit(terms, residual)
    used, design = residual[keep], terms[keep]
    scatter = float(np.std(used - design @ coefficients) * np.sqrt(_freedom(design)))
    v, u = np.mgrid[-1:1:33j, -1:1:33j]
    grid = _terms(u.ravel(), v.ravel(), order)
    grid = grid - grid.mean(axis=0)
    covariance = scatter**2 * np.linalg.inv(design.T @ design)
    noise2 = float(np.trace(grid @ covariance @ grid.T) / len(grid))
    power = float(np.mean((grid @ coefficients) ** 2))
    means, errors = _cell_means(x[keep], y[keep], used - used.mean(), shape, cells)
    return Flatness(
        n=int(keep.sum()),
        trend=float(np.sqrt(max(0.0, power - noise2))),
        trend_noise=float(np.sqrt(noise2)),
        cells=means,
        cell_errors=errors,
    )


def border_step(position: Floats, residual: Floats, *, at: float, reach: float) -> Step:
    """Measure the jump of residuals across a border, on top of a linear trend.

    Parameters
    ----------
    position, residual : ndarray, shape (n,)
        Coordinate across the border [pix], and residuals.
    at, reach : float
        The border, and the distance from it within which stars count [pix].

    Returns
    -------
    Step
        NaN with fewer than eight stars or none on one side.
    """
    distance = position - at
    near = np.abs(distance) < reach
    d, r = distance[near], residual[near]
    beyond = d > 0
    if len(d) < 8 or beyond.all() or not beyond.any():
        return Step(at=at, n=len(d), step=np.nan, error=np.nan)
    terms = np.stack([np.ones_like(d), d / reach, beyond.astype(np.float64)], axis=1)
    keep, coefficients = _robust_fit(terms, r)
    design = terms[keep]
    scatter = float(np.std(r[keep] - design @ coefficients) * np.sqrt(_freedom(design)))
    error = scatter * float(np.sqrt(np.linalg.inv(design.T @ design)[2, 2]))
    return Step(at=at, n=int(keep.sum()), step=float(coefficients[2]), error=error)


def _terms(u: Floats, v: Floats, order: int) -> Floats:
    powers = [(i, d - i) for d in range(order + 1) for i in range(d, -1, -1)]
    return np.stack([u**i * v**j for i, j in powers], axis=1)


def _freedom(design: Floats) -> float:
    """Return what turns the variance of residuals into that of the data."""
    n, m = design.shape
    return float(n / max(n - m, 1))


def _robust_fit(terms: Floats, values: Floats) -> tuple[Bools, Floats]:
    """Fit by least squares, clipping at four robust deviations until nothing changes.

    It begins with the least absolute deviations: a star off by a magnitude bends least squares.
    """
    rounding = 1e-9 * float(np.abs(values).max()) + 1e-300
    coefficients = _least_absolute(terms, values, rounding)
    keep = np.zeros(len(values), dtype=np.bool_)
    for _ in range(10):
        rest = np.abs(values - terms @ coefficients)
        middle = np.median(rest[keep]) if keep.any() else np.median(rest)
        new = rest <= _CLIP * _MAD * middle + rounding
        if np.array_equal(new, keep):
            break
        keep = new
        coefficients = np.asarray(np.linalg.lstsq(terms[keep], values[keep], rcond=None)[0])
    return keep, coefficients


def _least_absolute(terms: Floats, values: Floats, rounding: float) -> Floats:
    """Return the fit with small absolute deviations, by least squares weighted again and again."""
    weight: Floats = np.ones(len(values))
    for _ in range(_WEIGHTED):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq(terms * root[:, None], values * root, rcond=None)[0]
        rest = np.abs(values - terms @ coefficients)
        weight = 1.0 / (rest + 0.1 * np.median(rest) + rounding)
    return np.asarray(coefficients)


def _cell_means(
    x: Floats, y: Floats, residual: Floats, shape: tuple[int, int], cells: int
) -> tuple[Floats, Floats]:
    column = np.clip((x * cells / shape[1]).astype(int), 0, cells - 1)
    row = np.clip((y * cells / shape[0]).astype(int), 0, cells - 1)
    index, n = row * cells + column, cells**2
    count = np.bincount(index, minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(index, residual, n) / count
        rest = residual - mean[index]
        # One scatter for all cells: that of a few stars in one of them says little.
        scatter2 = (rest**2).sum() / max(len(rest) - np.count_nonzero(count), 1)
        error = np.sqrt(scatter2 / count)
    error[count == 0] = np.nan
    return mean.reshape(cells, cells), error.reshape(cells, cells)

"""Means of values that scatter more than their errors say.

Stars differ from a zero point by the noise of their fluxes and by more: flat field, PSF, the
reference magnitudes.  Weights ``1 / err**2`` alone let the few brightest stars decide.  With an
intrinsic scatter ``s`` of its own the weights become ``1 / (err**2 + s**2)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats

__all__ = ["ScatterFit", "effective_number", "fit_scatter", "weighted_median_error"]

_GRID = 300
"""Steps of the intrinsic scatter, from 0 to three standard deviations of the values."""
_FLOOR = 1e-6
"""Least standard deviation [mag]: identical values without errors stay defined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScatterFit:
    """A mean with intrinsic scatter; all in the unit of the values."""

    mean: float
    mean_err: float  # standard error
    intrinsic: float  # scatter beyond the errors
    is_used: Bools  # values that entered


def fit_scatter(
    values: Floats, errors: Floats, *, clip_sigma: float = math.inf, max_iters: int = 10
) -> ScatterFit:
    """Fit a mean and an intrinsic scatter; what the scatter may be counts in the error.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Measurements; NaN is left out.
    errors : ndarray, shape (n,)
        Their standard errors; values without a finite positive one are left out, unless no value
        has one: then all errors count as 0.
    clip_sigma : float
        Values farther from the mean than this many total deviations are dropped.
    max_iters : int
        Most rounds of dropping.

    Returns
    -------
    ScatterFit
        NaN where no value is left.

    Notes
    -----
    With ``v = errors**2 + s**2`` the restricted likelihood of a scatter ``s`` is
    ``-2 ln L = sum(ln v) + sum((x - m)**2 / v) + ln sum(1 / v)``, ``m`` the mean weighted by
    ``1 / v`` (Patterson & Thompson 1971, Biometrika, 58, 545).  Where few precise values decide,
    its maximum is often 0 by chance; so ``m`` and ``s`` are means over the likelihood, with equal
    prior for all ``s``, and the error of ``m`` includes the spread of ``m(s)``.
    """
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(errors) & (errors > 0)
    finite = np.isfinite(values)
    if not (valid & finite).any():
        valid, errors = np.ones(len(values), dtype=bool), np.zeros(len(values))
    start = finite & valid
    used = start.copy()
    for _ in range(max(max_iters, 1)):
        mean, mean_err, s = _restricted(values[used], errors[used])
        if not math.isfinite(clip_sigma) or not used.any():
            break
        total = np.sqrt(np.where(start, errors, 0.0) ** 2 + s**2 + _FLOOR**2)
        new = start & (np.abs(np.where(start, values, mean) - mean) <= clip_sigma * total)
        if np.array_equal(new, used) or new.sum() < 3:
            break
        used = new
    return ScatterFit(mean=mean, mean_err=mean_err, intrinsic=s, is_used=used)


def _restricted(values: Floats, errors: Floats) -> tuple[float, float, float]:
    """Return mean, its error and the intrinsic scatter of values that all count."""
    if not len(values):
        return math.nan, math.nan, math.nan
    if len(values) == 1:
        return float(values[0]), float(errors[0]), 0.0
    s = np.linspace(0.0, 3.0 * float(np.std(values)) + _FLOOR, _GRID)
    variance = errors[None, :] ** 2 + s[:, None] ** 2 + _FLOOR**2
    weight = np.sum(1.0 / variance, axis=1)
    mean = np.sum(values / variance, axis=1) / weight
    chi2 = np.sum((values - mean[:, None]) ** 2 / variance, axis=1)
    deviance = np.sum(np.log(variance), axis=1) + chi2 + np.log(weight)
    likelihood = np.exp(-0.5 * (deviance - deviance.min()))
    likelihood /= likelihood.sum()
    middle = float(likelihood @ mean)
    error = math.sqrt(float(likelihood @ (1.0 / weight + (mean - middle) ** 2)))
    return middle, error, float(likelihood @ s)


def weighted_median_error(errors: Floats, *, intrinsic: float) -> float:
    """Return the standard error of a median with weights ``1 / errors**2``.

    Parameters
    ----------
    errors : ndarray, shape (n,)
        Standard errors behind the weights; all finite and positive, or all 0 for equal weights.
    intrinsic : float
        Scatter of the values beyond the errors.

    Notes
    -----
    The asymptotic ``sqrt(sum w**2) / (2 sum w f)``, ``f`` the density of a normal value with
    variance ``errors**2 + intrinsic**2`` at its centre.  With equal weights it is
    ``1.2533 sigma / sqrt(n)``.
    """
    if not len(errors):
        return math.nan
    weight = np.ones(len(errors)) if not errors.any() else errors**-2.0
    total = np.sqrt(errors**2 + intrinsic**2 + _FLOOR**2)
    density = 1.0 / (math.sqrt(2.0 * math.pi) * total)
    return float(np.sqrt(np.sum(weight**2)) / (2.0 * np.sum(weight * density)))


def effective_number(weights: Floats) -> float:
    """Return ``(sum w)**2 / sum w**2``: how many equal values would weigh as much."""
    total = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / total if total > 0 else 0.0

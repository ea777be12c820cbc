"""Robust numbers about differences: median with its error, scatter, pulls, running bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats

__all__ = ["Differences", "Pulls", "differences", "pulls", "running"]

_SIGMA = 1.482602  # of a normal distribution, in MADs
_MEDIAN_ERROR = 1.2533  # error of a median, in errors of a mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Where differences lie and how far they spread; NaN where too few were measured."""

    n: int
    median: float
    stderr: float  # of the median
    scatter: float  # 1.4826 MAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulls:
    """Differences in units of their errors; 0 and 1 are expected of independent noise."""

    n: int
    mean: float  # after 5-sigma clipping at the robust width
    mean_err: float
    width: float  # 1.4826 MAD
    beyond_3: float  # fraction of |pull| > 3
    beyond_5: float


def differences(values: Floats) -> Differences:
    """Return median, its standard error, and robust scatter of the finite values."""
    good = values[np.isfinite(values)]
    if not good.size:
        return Differences(n=0, median=np.nan, stderr=np.nan, scatter=np.nan)
    median = float(np.median(good))
    scatter = _SIGMA * float(np.median(np.abs(good - median))) if good.size > 1 else np.nan
    stderr = _MEDIAN_ERROR * scatter / float(np.sqrt(good.size))
    return Differences(n=int(good.size), median=median, stderr=stderr, scatter=scatter)


def pulls(values: Floats) -> Pulls:
    """Return mean, width and outlier fractions of the finite pulls."""
    good = values[np.isfinite(values)]
    if not good.size:
        nan = float("nan")
        return Pulls(n=0, mean=nan, mean_err=nan, width=nan, beyond_3=nan, beyond_5=nan)
    spread = differences(good)
    reach = 5.0 * (spread.scatter if spread.scatter > 0 else np.inf)
    kept = good[np.abs(good - spread.median) <= reach]
    mean_err = float(kept.std(ddof=1) / np.sqrt(kept.size)) if kept.size > 1 else float("nan")
    return Pulls(
        n=int(good.size),
        mean=float(kept.mean()),
        mean_err=mean_err,
        width=spread.scatter,
        beyond_3=float(np.mean(np.abs(good) > 3.0)),
        beyond_5=float(np.mean(np.abs(good) > 5.0)),
    )


def running(
    x: Floats, y: Floats, edges: Floats, *, fewest: int = 5
) -> list[tuple[int, Differences]]:
    """Return differences in bins of x: (bin number, numbers) of those with enough values."""
    good = np.isfinite(x) & np.isfinite(y)
    number = np.digitize(x[good], edges) - 1
    inside = [k for k in range(len(edges) - 1) if np.count_nonzero(number == k) >= fewest]
    return [(k, differences(y[good][number == k])) for k in inside]

"""Stretches: from pixel values to shades, 0 for black to 1 for white; undefined stays NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import WrongValue

__all__ = ["STRETCHES", "gamma_shades", "stretched"]

Values = npt.NDArray[Any]


def gamma_shades(values: Values, gamma: float = 0.25) -> Floats:
    """Return (value - minimum) / (maximum - minimum) to the power gamma.

    Parameters
    ----------
    values : ndarray
        Pixels of any shape; those that are not finite become NaN.  A constant image is black.
    gamma : float
        Below 1 the faint is lifted.
    """
    values = _finite_or_nan(values)
    good = values[np.isfinite(values)]
    low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 0.0)
    return np.asarray(_between(values, low, high) ** gamma, np.float64)


def _asinh(values: Floats) -> Floats:
    from skyloom.plots.raster import asinh_scaled  # noqa: PLC0415 - slow: matplotlib

    good = values[np.isfinite(values)]
    if good.size and good.min() == good.max():
        return _between(values, 0.0, 0.0)
    return np.clip(asinh_scaled(values), 0.0, 1.0)


def _minmax(values: Floats) -> Floats:
    return gamma_shades(values, 1.0)


def _percentile(values: Floats) -> Floats:
    good = values[np.isfinite(values)]
    low, high = np.percentile(good, [0.5, 99.5]) if good.size else (0.0, 0.0)
    return _between(values, float(low), float(high))


def _zscale(values: Floats) -> Floats:
    from astropy.visualization import ZScaleInterval  # noqa: PLC0415 - slow: matplotlib

    good = values[np.isfinite(values)]
    low, high = ZScaleInterval().get_limits(good) if good.size else (0.0, 0.0)
    return _between(values, float(low), float(high))


STRETCHES: Final[dict[str, Callable[[Floats], Floats]]] = {
    "asinh": _asinh,
    "gamma": gamma_shades,
    "minmax": _minmax,
    "percentile": _percentile,
    "zscale": _zscale,
}
"""Stretches by name.

``asinh``: linear in the noise, logarithmic in the stars.  ``zscale``: linear, the sky and its
structure.  ``percentile``: linear from 0.5 to 99.5 per cent.  ``gamma``: minimum to maximum, to the
power 1/4.  ``minmax``: minimum to maximum, linear.
"""


def stretched(values: Values, stretch: str = "asinh") -> Floats:
    """Return the shades of an image, 0 for black to 1 for white; NaN where it is undefined.

    Parameters
    ----------
    values : ndarray
        Pixels of any shape; those that are not finite are undefined.
    stretch : str
        Key of `STRETCHES`.

    Raises
    ------
    WrongValue
        If there is no such stretch.
    """
    if stretch not in STRETCHES:
        raise WrongValue(
            f"stretch = {stretch!r} is unknown; it is one of {', '.join(sorted(STRETCHES))}",
            stretch=stretch,
        )
    return STRETCHES[stretch](_finite_or_nan(values))


def _finite_or_nan(values: Values) -> Floats:
    doubles = np.array(values, np.float64)
    doubles[~np.isfinite(doubles)] = np.nan
    return doubles


def _between(values: Floats, low: float, high: float) -> Floats:
    """Return 0 at low and 1 at high, clipped; all 0 where there is no range."""
    if not high > low:
        return np.where(np.isnan(values), np.nan, 0.0)
    return np.clip((values - low) / (high - low), 0.0, 1.0)

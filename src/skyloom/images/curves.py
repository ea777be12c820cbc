"""Curves through points, in the kinds that backgrounds of afw know, continued beyond their ends."""

from __future__ import annotations

from typing import Final

import numpy as np

from skyloom._types import Floats

__all__ = ["CURVES", "Curve", "simpler_curve"]

CURVES: Final = {"constant": 1, "linear": 2, "natural_spline": 3, "cubic_spline": 3, "akima": 5}
"""Kinds of curves, and how many points each needs; the two splines are the same."""

_SIMPLER: Final = {1: "constant", 2: "linear", 3: "cubic_spline", 4: "cubic_spline"}


def simpler_curve(kind: str, points: int) -> str:
    """Return a kind of curve that so many points are enough for: this one, if they are."""
    return kind if points >= CURVES[kind] else _SIMPLER[points]


class Curve:
    """Curves through the points of several columns.

    Beyond the first and the last point a curve goes on with its slope and curvature there.

    Parameters
    ----------
    kind : str
        One of `CURVES`; with too few points, a simpler one is taken.
    x : ndarray, shape (n,)
        Positions, increasing.
    y : ndarray, shape (n, m)
        Values, one curve a column.
    """

    def __init__(self, kind: str, x: Floats, y: Floats) -> None:
        self.kind = simpler_curve(kind, x.size)
        self.x, self.y = x, y
        if self.kind != "constant":
            self._coefficients = _pieces(self.kind, x, y)

    def __call__(self, at: Floats) -> Floats:
        """Return the values at some positions, shape (k, m)."""
        at = np.asarray(at, dtype=np.float64)
        if self.kind == "constant":
            nearest = np.searchsorted((self.x[1:] + self.x[:-1]) / 2, at, side="right")
            constant: Floats = self.y[nearest]
            return constant
        piece = np.clip(np.searchsorted(self.x, at, side="right") - 1, 0, self.x.size - 2)
        a, b, c, d = (part[piece] for part in self._coefficients)
        t = (at - self.x[piece])[:, None]
        values = a + t * (b + t * (c + t * d))
        first, last = at < self.x[0], at > self.x[-1]
        if first.any():
            values[first] = (a + t * (b + t * c))[first]
        if last.any():
            values[last] = self._beyond(at[last])
        return values

    def _beyond(self, at: Floats) -> Floats:
        """Return values after the last point: its value, slope and curvature go on."""
        _, b, c, d = (part[-1] for part in self._coefficients)
        h = self.x[-1] - self.x[-2]
        slope, bend = b + h * (2 * c + 3 * h * d), c + 3 * h * d
        t = (at - self.x[-1])[:, None]
        return np.asarray(self.y[-1] + t * (slope + t * bend))


def _pieces(kind: str, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the coefficients of the cubics between points: value, slope, ... at their start."""
    h = np.diff(x)[:, None]
    slopes = np.diff(y, axis=0) / h
    if kind == "linear":
        return y[:-1], slopes, np.zeros_like(slopes), np.zeros_like(slopes)
    if kind == "akima":
        after, before = _akima_slopes(slopes)
        start, end = after[:-1], before[1:]
        return (
            y[:-1],
            start,
            (3 * slopes - 2 * start - end) / h,
            (start + end - 2 * slopes) / h**2,
        )
    from scipy.interpolate import CubicSpline  # noqa: PLC0415 - takes a while to load

    d, c, b, a = CubicSpline(x, y, bc_type="natural").c
    return a, b, c, d


def _akima_slopes(slopes: Floats) -> tuple[Floats, Floats]:
    """Return the slopes of an Akima curve at its points, after and before them.

    They differ where the curve is straight on either side: there each piece keeps its own.

    References
    ----------
    Akima 1970, J. ACM, 17, 589.
    """
    low1 = 2 * slopes[0] - slopes[1]
    high1 = 2 * slopes[-1] - slopes[-2]
    m = np.concatenate(
        [[2 * low1 - slopes[0], low1], slopes, [high1, 2 * high1 - slopes[-1]]], axis=0
    )
    left, right = m[1:-2], m[2:-1]  # of the pieces that meet in a point
    change_right, change_left = np.abs(m[3:] - m[2:-1]), np.abs(m[1:-2] - m[:-3])
    total = change_right + change_left
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (change_right * left + change_left * right) / total
    return np.where(total > 0, mean, right), np.where(total > 0, mean, left)

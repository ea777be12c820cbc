"""Ellipses: second moments and semi-axes, one or many.

``theta`` is in radians, counter-clockwise from the x axis.  In array form a row whose moments are
those of no ellipse gives NaN; `Quadrupole.normalize` refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Axes", "Quadrupole"]


@dataclass(frozen=True, slots=True)
class Quadrupole:
    """Second moments [pix**2]; mind the order: ``ixx, iyy, ixy``."""

    ixx: Any  # float, or ndarray
    iyy: Any
    ixy: Any

    @property
    def determinant(self) -> Any:
        """``ixx iyy - ixy**2`` [pix**4]; negative where the moments are those of no ellipse."""
        return np.asarray(self.ixx) * self.iyy - np.square(self.ixy)

    @property
    def is_ellipse(self) -> Any:
        """True where determinant and trace are not negative."""
        return (self.determinant >= 0) & (np.asarray(self.ixx) + self.iyy >= 0)

    @property
    def determinant_radius(self) -> Any:
        """Fourth root of the determinant [pix]: the geometric mean of the semi-axes."""
        return _number(np.sqrt(np.sqrt(_valid(self, self.determinant))))

    @property
    def trace_radius(self) -> Any:
        """Square root of half the trace [pix]."""
        return _number(np.sqrt(_valid(self, (np.asarray(self.ixx) + self.iyy) / 2)))

    def axes(self) -> Axes:
        """Return the semi-axes; NaN where the moments are those of no ellipse."""
        ixx, iyy, ixy = (np.asarray(v, dtype=np.float64) for v in (self.ixx, self.iyy, self.ixy))
        trace = _valid(self, ixx + iyy)
        major = (trace + np.hypot(ixx - iyy, 2 * ixy)) / 2
        # b**2 = det / a**2: without the cancellation of (t - d) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            minor = np.where(major > 0, self.determinant / major, major)
        theta = np.where(np.isnan(trace), np.nan, np.arctan2(2 * ixy, ixx - iyy) / 2)
        return Axes(_number(np.sqrt(major)), _number(np.sqrt(minor)), _number(theta))

    def normalize(self) -> Quadrupole:
        """Return the moments, or refuse them.

        Raises
        ------
        ValueError
            If the determinant or the trace is negative or not a number.
        """
        bad = np.flatnonzero(~np.asarray(self.is_ellipse))
        if bad.size:
            first = [
                np.ravel(v)[bad[0] if np.ndim(v) else 0] for v in (self.ixx, self.iyy, self.ixy)
            ]
            raise ValueError(
                "moments (ixx, iyy, ixy) = ({:g}, {:g}, {:g}) are those of no ellipse: determinant "
                "or trace is negative; leave the source out".format(*first)
            )
        return self

    def __len__(self) -> int:
        return len(self.ixx)

    def __getitem__(self, key: Any) -> Quadrupole:
        return Quadrupole(self.ixx[key], self.iyy[key], self.ixy[key])


@dataclass(frozen=True, slots=True)
class Axes:
    """Semi-axes [pix] and position angle [rad], counter-clockwise from x."""

    a: Any  # float, or ndarray
    b: Any
    theta: Any

    def quadrupole(self) -> Quadrupole:
        """Return the second moments."""
        a2, b2 = np.square(self.a), np.square(self.b)
        cos, sin = np.cos(self.theta), np.sin(self.theta)
        return Quadrupole(
            _number(a2 * cos**2 + b2 * sin**2),
            _number(a2 * sin**2 + b2 * cos**2),
            _number((a2 - b2) * sin * cos),
        )

    @property
    def determinant_radius(self) -> Any:
        """Geometric mean of the semi-axes [pix]."""
        return _number(np.sqrt(np.multiply(self.a, self.b)))

    @property
    def trace_radius(self) -> Any:
        """Square root of half the sum of the squared semi-axes [pix]."""
        return _number(np.sqrt((np.square(self.a) + np.square(self.b)) / 2))

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, key: Any) -> Axes:
        return Axes(self.a[key], self.b[key], self.theta[key])


def _valid(moments: Quadrupole, values: Any) -> Any:
    """Return the values, with NaN where there is no ellipse."""
    return np.where(moments.is_ellipse, values, np.nan)


def _number(values: Any) -> Any:
    """Return a float for one value, the array for many."""
    return float(values) if np.ndim(values) == 0 else np.asarray(values)

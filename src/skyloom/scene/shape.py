r"""From the engine's shape parameters to what catalogues print, and back.

The engine uses :math:`\rho = \ln r_c` with the circularised half-light radius
:math:`r_c = \sqrt{a b}` and :math:`g = (a-b)/(a+b)` with components along x and along the diagonal:
analytic at round shapes, where a semi-major axis has no derivative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats

__all__ = ["EllipseShape", "ellipse_from_parameters", "parameters_from_ellipse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EllipseShape:
    """Half-light ellipses with errors, one entry per source.

    ``a`` half-light radius along the major axis [pix]; ``ab`` axis ratio b/a; ``theta`` major axis,
    degrees counter-clockwise from +x, in [-90, 90); ``*_err`` standard errors.
    """

    a: Floats
    ab: Floats
    theta: Floats
    a_err: Floats
    ab_err: Floats
    theta_err: Floats


def parameters_from_ellipse(a: Floats, ab: Floats, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Return r_c [pix], g1, g2 of ellipses with semi-major half-light radius a and axis ratio ab.

    ``theta`` is the major axis in degrees, counter-clockwise from +x.
    """
    g = (1.0 - ab) / (1.0 + ab)
    angle = 2.0 * np.radians(theta)
    return a * np.sqrt(ab), g * np.cos(angle), g * np.sin(angle)


def ellipse_from_parameters(log_r: Floats, g1: Floats, g2: Floats, cov: Floats) -> EllipseShape:
    """Convert with the delta method.

    Parameters
    ----------
    log_r, g1, g2 : ndarray, shape (n,)
    cov : ndarray, shape (n, 3, 3)
        Covariance of (ln r, g1, g2).

    Notes
    -----
    ``a = r_c sqrt((1+g)/(1-g))`` has a cone at g = 0; there the error of r_c is given, and the
    angle, which is undefined, has an error of 90 degrees.
    """
    g = np.hypot(g1, g2)
    round_ = g < 1e-6
    safe = np.where(round_, 1.0, g)
    cos, sin = np.where(round_, 1.0, g1 / safe), np.where(round_, 0.0, g2 / safe)
    r = np.exp(log_r)
    a = r * np.sqrt((1.0 + g) / (1.0 - g))
    zero = np.zeros_like(g)
    slope = np.where(round_, 0.0, a / (1.0 - g**2))
    a_err = _propagate(cov, np.stack([a, slope * cos, slope * sin], -1))
    dab = -2.0 / (1.0 + g) ** 2
    ab_err = _propagate(cov, np.stack([zero, dab * cos, dab * sin], -1))
    theta_err = np.degrees(_propagate(cov, np.stack([zero, -sin, cos], -1)) / (2.0 * safe))
    theta = np.degrees(0.5 * np.arctan2(g2, g1))
    return EllipseShape(
        a=a,
        ab=(1.0 - g) / (1.0 + g),
        theta=np.where(theta >= 90.0, theta - 180.0, theta),
        a_err=a_err,
        ab_err=ab_err,
        theta_err=np.where(round_, 90.0, np.minimum(theta_err, 90.0)),
    )


def _propagate(cov: Floats, jacobian: Floats) -> Floats:
    """Return sqrt(J C J^T) per source."""
    variance = np.einsum("ni,nij,nj->n", jacobian, cov, jacobian)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

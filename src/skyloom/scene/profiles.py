r"""Radial profiles as one-dimensional tables of their Fourier transform.

The transform of a circular profile of unit flux and unit half-light radius depends on
:math:`q = |k|^2` only, so every galaxy model is a table of :math:`f(q)`, and the rendering kernels
know nothing about profiles.

Table
-----
The variable is :math:`t = 1 + Q_0 q` with :math:`Q_0 = 4096`; each octave of t is cut into 16 equal
intervals, each with a cubic in the fraction u of the interval, for f and, separately, for
:math:`df/dq`.  Interval and fraction are bits of the single-precision number t: no logarithm is
needed.

Sources: Sersic 1968; Ciotti & Bertin 1999 (b_n); Hamilton 2000, MNRAS, 312, 257 (FFTLog); Hogg &
Lang 2013, PASP, 125, 719 (mixtures ``hl13``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.fft import fht, fhtoffset
from scipy.interpolate import CubicSpline
from scipy.special import gamma, gammaincinv

from skyloom._types import Floats, Pixels

__all__ = [
    "N_SERSIC_MAX",
    "N_SERSIC_MIN",
    "Q0",
    "mixture_transform",
    "profile_table",
    "sersic_bn",
    "sersic_table_grid",
    "sersic_transform",
]

Q0 = 4096.0
OCTAVES = 32
PER_OCTAVE = 16
N_INTERVALS = OCTAVES * PER_OCTAVE
N_SERSIC_MIN = 0.29
N_SERSIC_MAX = 8.0
Q_ZERO = 1e-10  # f = 1 within 1e-6 (n = 8); the log-Hankel transform wraps around at k = 1e-6
N_NODES = 64  # in ln n over 0.29-8: spline error of f below 3e-7, see tests/scene/test_profiles.py

# Published amplitudes and variances (units of r_e**2); amplitudes are normalised on use.
_HL13 = {
    "exp": (
        (0.00234853813, 0.030799526, 0.223364214, 1.17949102, 4.3387375, 5.9982077),
        (0.00120078965, 0.00884526493, 0.0391463084, 0.139976817, 0.4609625, 1.50159566),
    ),
    "dev": (
        (
            *(0.0426347652, 0.240127183, 0.685907632, 1.5193735),
            *(2.83627243, 4.46467501, 5.7244083, 5.60989349),
        ),
        (
            *(0.000223759216, 0.00100220099, 0.00418731126, 0.0169432589),
            *(0.068485048, 0.28720708, 1.33320254, 8.40215071),
        ),
    ),
}

Transform = Callable[[Floats], Floats]


def sersic_bn(n: float) -> float:
    """Return b_n of ``exp(-b_n r**(1/n))``, so that half of the flux lies inside r = 1."""
    return float(gammaincinv(2.0 * n, 0.5))


@cache
def _hankel(n: float) -> CubicSpline:
    """Spline of f(ln k) of the Sersic law by a fast log-Hankel transform on 16384 points."""
    size = 16384
    log_r = np.linspace(np.log(1e-9), np.log(1e9), size)
    dln = float(log_r[1] - log_r[0])
    r = np.exp(log_r)
    bn = sersic_bn(n)
    # Zero bias and analytic normalisation: other biases, or scaling to the smallest k, lose flux.
    norm = n * bn ** (-2.0 * n) * gamma(2.0 * n)
    with np.errstate(under="ignore", over="ignore"):
        profile = r * np.exp(-bn * r ** (1.0 / n)) / norm
    offset = fhtoffset(dln, mu=0.0, initial=0.0)
    k = np.exp(offset) / r[::-1]
    return CubicSpline(np.log(k), fht(profile, dln, mu=0.0, offset=offset) / k)


def sersic_transform(n: float) -> Transform:
    """Return f(q), the transform of the infinite Sersic law of index n (half-light radius 1).

    Closed forms for n = 0.5 and n = 1; otherwise accurate to about 1e-7 (n <= 6).
    """
    if n == 0.5:
        sigma2 = 1.0 / (2.0 * sersic_bn(0.5))
        return lambda q: np.exp(-0.5 * sigma2 * q)
    if n == 1.0:
        b2 = sersic_bn(1.0) ** 2
        return lambda q: (1.0 + q / b2) ** -1.5
    spline = _hankel(n)

    def transform(q: Floats) -> Floats:
        value = spline(0.5 * np.log(np.maximum(q, Q_ZERO)))
        return np.where(q <= Q_ZERO, 1.0, value)

    return transform


def mixture_transform(name: str) -> Transform:
    """Return f(q) of the published Gaussian mixture ``exp`` or ``dev`` (Hogg & Lang 2013)."""
    amplitudes, variances = (np.asarray(column) for column in _HL13[name])
    amplitudes = amplitudes / amplitudes.sum()

    def transform(q: Floats) -> Floats:
        return np.asarray(np.exp(-0.5 * np.multiply.outer(q, variances)) @ amplitudes)

    return transform


def _interval_edges() -> tuple[Floats, Floats]:
    """Return the lower edge and the width in t of every table interval."""
    octave = 2.0 ** np.repeat(np.arange(OCTAVES), PER_OCTAVE)
    lower = octave * (1.0 + np.tile(np.arange(PER_OCTAVE), OCTAVES) / PER_OCTAVE)
    return lower, octave / PER_OCTAVE


@cache
def _node_algebra() -> tuple[Floats, Floats, Floats]:
    """Return the q of all fit nodes and the matrices that turn node values into cubics."""
    # Eight Chebyshev nodes fix a degree-7 interpolant; its values and slopes are economised to
    # cubics, so that f and df/dq are each near the best cubic.
    nodes = 0.5 * (1.0 - np.cos((2 * np.arange(8) + 1) * np.pi / 16))
    inverse = np.linalg.inv(np.vander(nodes, 8, increasing=True))
    derivative = np.vander(nodes, 8, increasing=True)[:, :7] * np.arange(1, 8)
    slopes = derivative @ inverse[1:]
    cubic = np.linalg.pinv(np.vander(nodes, 4, increasing=True))
    lower, width = _interval_edges()
    q = (lower[:, None] + width[:, None] * nodes - 1.0) / Q0
    return q, np.asarray(cubic, np.float64), np.asarray(cubic @ slopes, np.float64)


def profile_table(transform: Transform) -> Pixels:
    """Tabulate a transform.

    Parameters
    ----------
    transform : callable
        f(q) for q >= 0, vectorised.

    Returns
    -------
    ndarray of float32, shape (512, 8)
        Per interval the cubic coefficients (constant first) of f and of df/dq.
    """
    q, cubic, cubic_slope = _node_algebra()
    values = transform(q)
    _, width = _interval_edges()
    table = np.empty((N_INTERVALS, 8))
    table[:, :4] = values @ cubic.T
    table[:, 4:] = (values @ cubic_slope.T) * (Q0 / width)[:, None]
    return table.astype(np.float32)


@cache
def sersic_table_grid() -> tuple[Floats, Pixels]:
    """Return ln n of the nodes and their tables as a cubic spline in ln n.

    Returns
    -------
    log_n : ndarray, shape (64,)
        Equally spaced nodes of ln n over 0.29-8.
    spline : ndarray of float32, shape (63, 4, 512, 8)
        Per node interval the coefficients (constant first) in ``ln n - log_n[i]``.
    """
    log_n = np.linspace(np.log(N_SERSIC_MIN), np.log(N_SERSIC_MAX), N_NODES)
    q, cubic, cubic_slope = _node_algebra()
    _, width = _interval_edges()
    tables = np.empty((N_NODES, N_INTERVALS, 8))
    for i, ln in enumerate(log_n):
        values = sersic_transform(float(np.exp(ln)))(q)
        tables[i, :, :4] = values @ cubic.T
        tables[i, :, 4:] = (values @ cubic_slope.T) * (Q0 / width)[:, None]
    spline = CubicSpline(log_n, tables, axis=0)
    return log_n, np.ascontiguousarray(spline.c[::-1].swapaxes(0, 1)).astype(np.float32)


@cache
def fixed_table(name: str, variant: str) -> Pixels:
    """Return the table of ``exp`` or ``dev`` in the variant ``exact`` or ``hl13``."""
    if variant == "hl13":
        return profile_table(mixture_transform(name))
    return profile_table(sersic_transform({"exp": 1.0, "dev": 4.0}[name]))

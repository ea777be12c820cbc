"""Compiled kernels: pixel-integrated elliptical Moffat profiles and their normal equations.

The profile of unit total flux is

    I = (beta - 1) / (pi alpha**2) (1 + rho)**(-beta),   rho = d^T Q d,
    Q = [[1 - e1, -e2], [-e2, 1 + e1]] / (alpha**2 sqrt(1 - e1**2 - e2**2)).

Its mean over a block of pixels is a 3 x 3 Gauss-Legendre sum where the profile is curved
(rho of the centre below a limit), and the value plus second
derivatives times variances of the block elsewhere.  The derivatives by parameters ignore that
second term: they only steer a fit.
"""

from __future__ import annotations

import math

import numpy as np

from skyloom._jit import kernel, kernel_part, lean_kernel
from skyloom._types import Floats

__all__ = ["moffat_fill", "moffat_normal", "moffat_values"]

_NODE = math.sqrt(0.6) / 2.0
_OUTER, _MIDDLE = 5.0 / 18.0, 8.0 / 18.0
_CURVED = 4.0  # rho below which a pixel is integrated: beyond, the mean is good to 1e-5 of peak


@kernel_part
def _point(
    dx: float, dy: float, e1: float, e2: float, beta: float, inv_area: float, norm: float
) -> tuple[float, float, float, float, float]:
    """Return value, d value/d rho, rho, and Q d without its area."""
    ax = (1.0 - e1) * dx - e2 * dy
    ay = (1.0 + e1) * dy - e2 * dx
    rho = (ax * dx + ay * dy) * inv_area
    value = norm * math.exp(-beta * math.log1p(rho))
    return value, -beta * value / (1.0 + rho), rho, ax, ay


@kernel_part
def _bend(
    rho: float, ax: float, ay: float, e1: float, beta: float, inv_area: float, vx: float, vy: float
) -> float:
    """Return the relative change of the value by averaging over variances vx, vy [pix**2]."""
    w = 1.0 + rho
    gx, gy = 2.0 * ax * inv_area, 2.0 * ay * inv_area
    square = beta * (beta + 1.0) * (gx * gx * vx + gy * gy * vy) / (w * w)
    return 0.5 * (square - 2.0 * beta * inv_area * ((1.0 - e1) * vx + (1.0 + e1) * vy) / w)


@lean_kernel
def moffat_fill(
    x: Floats,
    y: Floats,
    shape: Floats,
    beta: float,
    centre: Floats,
    width: Floats,
    value: Floats,
    by_x: Floats,
    by_y: Floats,
) -> None:
    """Fill (n, m, m) arrays with the profile and its derivatives by the position of the star."""
    for s in range(x.size):
        ln_alpha, e1, e2 = shape[s, 0], shape[s, 1], shape[s, 2]
        inv_area = math.exp(-2.0 * ln_alpha) / math.sqrt(1.0 - e1 * e1 - e2 * e2)
        norm = (beta - 1.0) / math.pi * math.exp(-2.0 * ln_alpha)
        for j in range(centre.size):
            dy = centre[j] - y[s]
            for i in range(centre.size):
                dx = centre[i] - x[s]
                v, slope, rho, ax, ay = _point(dx, dy, e1, e2, beta, inv_area, norm)
                if rho > _CURVED:
                    vx, vy = width[i] * width[i] / 12.0, width[j] * width[j] / 12.0
                    value[s, j, i] = v * (1.0 + _bend(rho, ax, ay, e1, beta, inv_area, vx, vy))
                    by_x[s, j, i] = -2.0 * slope * ax * inv_area
                    by_y[s, j, i] = -2.0 * slope * ay * inv_area
                    continue
                v_sum, x_sum, y_sum = 0.0, 0.0, 0.0
                for q in range(3):
                    wq = _MIDDLE if q == 1 else _OUTER
                    for p in range(3):
                        weight = wq * (_MIDDLE if p == 1 else _OUTER)
                        v, slope, rho, ax, ay = _point(
                            dx + (p - 1) * _NODE * width[i],
                            dy + (q - 1) * _NODE * width[j],
                            e1,
                            e2,
                            beta,
                            inv_area,
                            norm,
                        )
                        v_sum += weight * v
                        x_sum -= weight * 2.0 * slope * ax * inv_area
                        y_sum -= weight * 2.0 * slope * ay * inv_area
                value[s, j, i] = v_sum
                by_x[s, j, i] = x_sum
                by_y[s, j, i] = y_sum


@lean_kernel
def moffat_values(shape: Floats, beta: float, centre: Floats, width: Floats, value: Floats) -> None:
    """Fill (n, m, m) with profiles about (0, 0), on blocks that are symmetric about it."""
    m = centre.size
    for s in range(shape.shape[0]):
        ln_alpha, e1, e2 = shape[s, 0], shape[s, 1], shape[s, 2]
        inv_area = math.exp(-2.0 * ln_alpha) / math.sqrt(1.0 - e1 * e1 - e2 * e2)
        norm = (beta - 1.0) / math.pi * math.exp(-2.0 * ln_alpha)
        for j in range((m + 1) // 2):  # the other half is the same, seen from the other side
            for i in range(m):
                dx, dy = centre[i], centre[j]
                total, _, rho, ax, ay = _point(dx, dy, e1, e2, beta, inv_area, norm)
                if rho > _CURVED:
                    vx, vy = width[i] * width[i] / 12.0, width[j] * width[j] / 12.0
                    total *= 1.0 + _bend(rho, ax, ay, e1, beta, inv_area, vx, vy)
                else:
                    total = 0.0
                    for q in range(3):
                        wq = _MIDDLE if q == 1 else _OUTER
                        for p in range(3):
                            weight = wq * (_MIDDLE if p == 1 else _OUTER)
                            x, y = dx + (p - 1) * _NODE * width[i], dy + (q - 1) * _NODE * width[j]
                            total += weight * _point(x, y, e1, e2, beta, inv_area, norm)[0]
                value[s, j, i] = total
                value[s, m - 1 - j, m - 1 - i] = total


@kernel_part
def _gradient(
    dx: float,
    dy: float,
    e1: float,
    e2: float,
    beta: float,
    inv_area: float,
    inv_free: float,
    norm: float,
    scale: float,
    out: Floats,
) -> float:
    """Add ``scale`` times value and derivatives by x, y, ln alpha, e1, e2, beta; return rho."""
    v, slope, rho, ax, ay = _point(dx, dy, e1, e2, beta, inv_area, norm)
    out[0] += scale * v
    out[2] -= scale * 2.0 * slope * ax * inv_area
    out[3] -= scale * 2.0 * slope * ay * inv_area
    out[4] -= scale * 2.0 * (v + slope * rho)
    out[5] += scale * slope * ((dy * dy - dx * dx) * inv_area + rho * e1 * inv_free)
    out[6] += scale * slope * (-2.0 * dx * dy * inv_area + rho * e2 * inv_free)
    out[7] += scale * v * (1.0 / (beta - 1.0) - math.log1p(rho))
    return rho


@lean_kernel
def _normal(
    data: Floats,
    ivar: Floats,
    par: Floats,
    beta: float,
    source_variance: float,
    model_error: float,
    normal: Floats,
    right: Floats,
    loss: Floats,
    jac: Floats,
    own: Floats,
) -> None:
    m = data.shape[1]
    half = m // 2
    for s in range(data.shape[0]):
        flux, pedestal = par[s, 0], par[s, 1]
        e1, e2 = par[s, 5], par[s, 6]
        inv_free = 1.0 / (1.0 - e1 * e1 - e2 * e2)
        inv_area = math.exp(-2.0 * par[s, 4]) * math.sqrt(inv_free)
        norm = (beta - 1.0) / math.pi * math.exp(-2.0 * par[s, 4])
        loss[s] = 0.0
        right[s] = 0.0
        own[:] = 0.0
        for j in range(m):
            dy = j - half - par[s, 3]
            for i in range(m):
                w = ivar[s, j, i]
                if w <= 0.0:
                    continue
                dx = i - half - par[s, 2]
                jac[:] = 0.0
                ax = (1.0 - e1) * dx - e2 * dy
                ay = (1.0 + e1) * dy - e2 * dx
                rho = (ax * dx + ay * dy) * inv_area
                if rho > _CURVED:
                    _gradient(dx, dy, e1, e2, beta, inv_area, inv_free, norm, 1.0, jac)
                    third = 1.0 / 12.0
                    jac[0] *= 1.0 + _bend(rho, ax, ay, e1, beta, inv_area, third, third)
                else:
                    for q in range(3):
                        wq = _MIDDLE if q == 1 else _OUTER
                        for p in range(3):
                            _gradient(
                                dx + (p - 1) * _NODE,
                                dy + (q - 1) * _NODE,
                                e1,
                                e2,
                                beta,
                                inv_area,
                                inv_free,
                                norm,
                                wq * (_MIDDLE if p == 1 else _OUTER),
                                jac,
                            )
                light = max(flux * jac[0], 0.0)
                extra = source_variance * light + (model_error * light) ** 2
                log_term = math.log1p(w * extra)
                w = w / (1.0 + w * extra)
                residual = data[s, j, i] - flux * jac[0] - pedestal
                jac[1] = 1.0
                for q in range(2, 8):
                    jac[q] *= flux
                loss[s] += w * residual * residual + log_term
                for a in range(8):
                    wa = w * jac[a]
                    right[s, a] += wa * residual
                    for b in range(8):
                        own[a, b] += wa * jac[b]
        for a in range(8):
            for b in range(8):
                normal[s, a, b] = own[a, b]


@kernel
def moffat_normal(
    data: Floats,
    ivar: Floats,
    par: Floats,
    beta: float,
    source_variance: float,
    model_error: float,
    normal: Floats,
    right: Floats,
    loss: Floats,
) -> None:
    """Fill the normal equations of each star: flux, pedestal, x, y, ln alpha, e1, e2, beta.

    Single pixels.  The variance is that of the sky plus the model's own light, with the relative
    model error; the loss holds its logarithm, or a bright model would hide its own misfit.
    """
    buffers = np.empty(8), np.empty((8, 8))
    _normal(data, ivar, par, beta, source_variance, model_error, normal, right, loss, *buffers)

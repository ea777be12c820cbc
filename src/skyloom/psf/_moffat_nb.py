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

from ._power_nb import PowerRoom, log1p_row, make_power_room, powers

__all__ = ["moffat_fill", "moffat_normal", "moffat_values"]

_NODE = math.sqrt(0.6) / 2.0
_OUTER, _MIDDLE = 5.0 / 18.0, 8.0 / 18.0
_CURVED = 4.0  # rho below which a pixel is integrated: beyond, the mean is good to 1e-5 of peak


@kernel_part
def _node(k: int) -> tuple[float, float, float]:
    """Return weight and place (x, y) [blocks] of one of the nine Gauss-Legendre nodes."""
    q, p = k // 3, k % 3
    weight = (_MIDDLE if q == 1 else _OUTER) * (_MIDDLE if p == 1 else _OUTER)
    return weight, (p - 1) * _NODE, (q - 1) * _NODE


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
def _rho_row(
    centre: Floats, dx: float, dy: float, shape: Floats, inv_area: float, rho: Floats
) -> None:
    """Fill rho along a row of blocks; ``dx`` is taken from their centres along x."""
    e1, e2 = shape[1], shape[2]
    for i in range(centre.size):
        x = centre[i] - dx
        ax, ay = (1.0 - e1) * x - e2 * dy, (1.0 + e1) * dy - e2 * x
        rho[i] = (ax * x + ay * dy) * inv_area


@lean_kernel
def _curved_part(rho: Floats) -> tuple[int, int]:
    """Return where a row begins and ends to be curved: an ellipse leaves no gap."""
    first, last = rho.shape[0], 0
    for i in range(rho.shape[0]):
        if rho[i] <= _CURVED:
            first, last = min(first, i), i + 1
    return first, max(first, last)


@lean_kernel
def _fill(
    x: Floats,
    y: Floats,
    shape: Floats,
    beta: float,
    centre: Floats,
    width: Floats,
    value: Floats,
    by_x: Floats,
    by_y: Floats,
    rho: Floats,
    spare: Floats,
    room: PowerRoom,
) -> None:
    m = centre.size
    for s in range(x.size):
        ln_alpha, e1, e2 = shape[s, 0], shape[s, 1], shape[s, 2]
        inv_area = math.exp(-2.0 * ln_alpha) / math.sqrt(1.0 - e1 * e1 - e2 * e2)
        norm = (beta - 1.0) / math.pi * math.exp(-2.0 * ln_alpha)
        for j in range(m):
            dy, v, vx, vy = centre[j] - y[s], value[s, j], by_x[s, j], by_y[s, j]
            _rho_row(centre, x[s], dy, shape[s], inv_area, rho)
            powers(rho, -beta, room, v)
            wy = width[j] * width[j] / 12.0
            for i in range(m):
                dx = centre[i] - x[s]
                ax, ay = (1.0 - e1) * dx - e2 * dy, (1.0 + e1) * dy - e2 * dx
                light = norm * v[i]
                slope = -beta * light / (1.0 + rho[i])
                wx = width[i] * width[i] / 12.0
                v[i] = light * (1.0 + _bend(rho[i], ax, ay, e1, beta, inv_area, wx, wy))
                vx[i] = -2.0 * slope * ax * inv_area
                vy[i] = -2.0 * slope * ay * inv_area
            first, last = _curved_part(rho)
            for i in range(first, last):
                v[i] = vx[i] = vy[i] = 0.0
            near, power = rho[first:last], spare[first:last]
            for k in range(9 if last > first else 0):
                weight, qx, qy = _node(k)
                y0 = dy + qy * width[j]
                for i in range(first, last):
                    x0 = centre[i] - x[s] + qx * width[i]
                    ax, ay = (1.0 - e1) * x0 - e2 * y0, (1.0 + e1) * y0 - e2 * x0
                    rho[i] = (ax * x0 + ay * y0) * inv_area
                powers(near, -beta, room, power)
                for i in range(first, last):
                    x0 = centre[i] - x[s] + qx * width[i]
                    ax, ay = (1.0 - e1) * x0 - e2 * y0, (1.0 + e1) * y0 - e2 * x0
                    light = weight * norm * spare[i]
                    slope = -2.0 * inv_area * (-beta * light / (1.0 + rho[i]))
                    v[i] += light
                    vx[i] += slope * ax
                    vy[i] += slope * ay


@kernel
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
    rho, spare = np.empty(centre.size), np.empty(centre.size)
    room = make_power_room(centre.size)
    _fill(x, y, shape, beta, centre, width, value, by_x, by_y, rho, spare, room)


@lean_kernel
def _values(
    shape: Floats,
    beta: float,
    centre: Floats,
    width: Floats,
    value: Floats,
    rho: Floats,
    spare: Floats,
    room: PowerRoom,
) -> None:
    m = centre.size
    for s in range(shape.shape[0]):
        ln_alpha, e1, e2 = shape[s, 0], shape[s, 1], shape[s, 2]
        inv_area = math.exp(-2.0 * ln_alpha) / math.sqrt(1.0 - e1 * e1 - e2 * e2)
        norm = (beta - 1.0) / math.pi * math.exp(-2.0 * ln_alpha)
        for j in range((m + 1) // 2):  # the other half is the same, seen from the other side
            dy, row, other = centre[j], value[s, j], value[s, m - 1 - j]
            _rho_row(centre, 0.0, dy, shape[s], inv_area, rho)
            powers(rho, -beta, room, row)
            vy = width[j] * width[j] / 12.0
            for i in range(m):
                dx = centre[i]
                ax, ay = (1.0 - e1) * dx - e2 * dy, (1.0 + e1) * dy - e2 * dx
                vx = width[i] * width[i] / 12.0
                row[i] *= norm * (1.0 + _bend(rho[i], ax, ay, e1, beta, inv_area, vx, vy))
            first, last = _curved_part(rho)
            for i in range(first, last):
                row[i] = 0.0
            near, power = rho[first:last], spare[first:last]
            for k in range(9 if last > first else 0):
                weight, qx, qy = _node(k)
                y0 = dy + qy * width[j]
                for i in range(first, last):
                    x0 = centre[i] + qx * width[i]
                    ax, ay = (1.0 - e1) * x0 - e2 * y0, (1.0 + e1) * y0 - e2 * x0
                    rho[i] = (ax * x0 + ay * y0) * inv_area
                powers(near, -beta, room, power)
                for i in range(first, last):
                    row[i] += weight * norm * spare[i]
            for i in range(m):
                other[m - 1 - i] = row[i]


@kernel
def moffat_values(shape: Floats, beta: float, centre: Floats, width: Floats, value: Floats) -> None:
    """Fill (n, m, m) with profiles about (0, 0), on blocks that are symmetric about it."""
    rho, spare = np.empty(centre.size), np.empty(centre.size)
    _values(shape, beta, centre, width, value, rho, spare, make_power_room(centre.size))


@lean_kernel
def _add_gradient(
    jac: Floats, first: int, last: int, x0: float, dy: float, par: Floats, beta: float,
    inv_area: float, scale: float, power: Floats, rho: Floats, log: Floats, start: int,
) -> None:  # fmt: skip
    """Add ``scale`` times value and derivatives by x, y, ln alpha, e1, e2, beta along a row.

    ``power``, ``rho`` are those of the pixels, ``log`` the same from ``start`` on.
    """
    e1, e2 = par[5], par[6]
    inv_free = 1.0 / (1.0 - e1 * e1 - e2 * e2)
    for i in range(first, last):
        dx = i - x0
        ax, ay = (1.0 - e1) * dx - e2 * dy, (1.0 + e1) * dy - e2 * dx
        v = scale * power[i]
        slope = -beta * v / (1.0 + rho[i])
        jac[0, i] += v
        jac[2, i] -= 2.0 * slope * ax * inv_area
        jac[3, i] -= 2.0 * slope * ay * inv_area
        jac[4, i] -= 2.0 * (v + slope * rho[i])
        jac[5, i] += slope * ((dy * dy - dx * dx) * inv_area + rho[i] * e1 * inv_free)
        jac[6, i] += slope * (-2.0 * dx * dy * inv_area + rho[i] * e2 * inv_free)
        jac[7, i] += v * (1.0 / (beta - 1.0) - log[i - start])


@lean_kernel
def _rho_of_pixels(
    first: int, last: int, x0: float, dy: float, par: Floats, inv_area: float, rho: Floats
) -> None:
    """Fill rho of some pixels of a row."""
    e1, e2 = par[5], par[6]
    for i in range(first, last):
        dx = i - x0
        ax, ay = (1.0 - e1) * dx - e2 * dy, (1.0 + e1) * dy - e2 * dx
        rho[i] = (ax * dx + ay * dy) * inv_area


@lean_kernel
def _gradient_row(
    jac: Floats, dy: float, x0: float, par: Floats, beta: float, inv_area: float, norm: float,
    rho: Floats, power: Floats, room: PowerRoom,
) -> None:  # fmt: skip
    """Fill value and derivatives of the unit profile along a row of pixels."""
    m, third = jac.shape[1], 1.0 / 12.0
    for k in range(8):
        for i in range(m):
            jac[k, i] = 0.0
    _rho_of_pixels(0, m, x0, dy, par, inv_area, rho)
    powers(rho, -beta, room, power)
    first, last = _curved_part(rho)
    _add_gradient(jac, 0, first, x0, dy, par, beta, inv_area, norm, power, rho, room.log, 0)
    _add_gradient(jac, last, m, x0, dy, par, beta, inv_area, norm, power, rho, room.log, 0)
    for i in range(m):
        if i < first or i >= last:
            dx = i - x0
            ax, ay = (1.0 - par[5]) * dx - par[6] * dy, (1.0 + par[5]) * dy - par[6] * dx
            jac[0, i] *= 1.0 + _bend(rho[i], ax, ay, par[5], beta, inv_area, third, third)
    for k in range(9 if last > first else 0):
        weight, qx, qy = _node(k)
        _rho_of_pixels(first, last, x0 - qx, dy + qy, par, inv_area, rho)
        powers(rho[first:last], -beta, room, power[first:last])
        _add_gradient(
            jac, first, last, x0 - qx, dy + qy, par, beta, inv_area, weight * norm, power, rho,
            room.log, first,
        )  # fmt: skip


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
    rows: Floats,
    room: PowerRoom,
) -> None:
    m = data.shape[1]
    half = m // 2
    rho, weight, residual, extra = rows[0], rows[1], rows[2], rows[3]
    for s in range(data.shape[0]):
        flux, pedestal = par[s, 0], par[s, 1]
        e1, e2 = par[s, 5], par[s, 6]
        inv_area = math.exp(-2.0 * par[s, 4]) / math.sqrt(1.0 - e1 * e1 - e2 * e2)
        norm = (beta - 1.0) / math.pi * math.exp(-2.0 * par[s, 4])
        loss[s] = 0.0
        right[s] = 0.0
        normal[s] = 0.0
        for j in range(m):
            dy, x0 = j - half - par[s, 3], half + par[s, 2]
            _gradient_row(jac, dy, x0, par[s], beta, inv_area, norm, rho, extra, room)
            for i in range(m):
                w = max(ivar[s, j, i], 0.0)
                light = max(flux * jac[0, i], 0.0)
                extra[i] = w * (source_variance * light + (model_error * light) ** 2)
                weight[i] = w / (1.0 + extra[i])
                residual[i] = data[s, j, i] - flux * jac[0, i] - pedestal if w > 0.0 else 0.0
                jac[1, i] = 1.0
                for q in range(2, 8):
                    jac[q, i] *= flux
            log1p_row(extra, room)
            total = 0.0
            for i in range(m):
                total += weight[i] * residual[i] * residual[i] + room.log[i]
            loss[s] += total
            for a in range(8):
                left = jac[a]
                total = 0.0
                for i in range(m):
                    extra[i] = weight[i] * left[i]
                    total += extra[i] * residual[i]
                right[s, a] += total
                for b in range(a + 1):
                    other, product = jac[b], 0.0
                    for i in range(m):
                        product += extra[i] * other[i]
                    normal[s, a, b] += product
        for a in range(8):
            for b in range(a):
                normal[s, b, a] = normal[s, a, b]


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
    m = data.shape[1]
    _normal(
        data, ivar, par, beta, source_variance, model_error, normal, right, loss, np.empty((8, m)),
        np.empty((4, m)), make_power_room(m),
    )  # fmt: skip

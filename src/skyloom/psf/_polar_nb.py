"""Compiled kernels of the polar correction: fill star models, accumulate normal equations.

Function b is  I(x, y) B(t(r) - j) s_m(r) {cos m phi, sin m phi}  with the star's own Moffat I,
quadratic B-splines in t = 4 asinh(r / (4 h)), mirrored at t = 0, and
s_m = (r^2 / (r^2 + h^2))^(m/2), which keeps the multipoles regular at the centre.
The functions of spline j are ``offset[j]`` to ``offset[j + 1]``: cos 0, then cos m, sin m rising.
"""

from __future__ import annotations

import math

import numpy as np

from skyloom._jit import kernel, kernel_part, lean_kernel
from skyloom._types import Floats, Ints

from ._power_nb import PowerRoom, log1p_row, make_power_room

__all__ = ["polar_fill", "polar_fill_centred", "polar_functions", "polar_normal"]


@kernel_part
def _spline(u: float) -> float:
    u = abs(u)
    if u < 0.5:
        return 0.75 - u * u
    if u < 1.5:
        return 0.5 * (1.5 - u) ** 2
    return 0.0


@lean_kernel
def _polar_row(
    centre: Floats, x: float, dy: float, spacing: float, rows: Floats, room: PowerRoom
) -> None:
    """Fill t along a row, and s_1 cos phi, s_1 sin phi, for a star at ``x``, ``dy`` below.

    ``rows`` (4, m); its last is room.
    """
    t, cosine, sine, spare = rows[0], rows[1], rows[2], rows[3]
    for i in range(centre.size):
        dx = centre[i] - x
        r2 = dx * dx + dy * dy
        z2 = r2 / (16.0 * spacing * spacing)
        spare[i] = math.sqrt(z2) + math.sqrt(z2 + 1.0) - 1.0
        inner = 1.0 / math.sqrt(r2 + spacing * spacing)
        cosine[i] = dx * inner
        sine[i] = dy * inner
    log1p_row(spare, room)
    for i in range(centre.size):
        t[i] = 4.0 * room.log[i]


@kernel_part
def _active(
    t: float, cosine: float, sine: float, light: float, offset: Ints, angle: Floats, value: Floats
) -> tuple[int, int, int]:
    """Fill ``value`` with the functions that are not zero; return spline, first and number."""
    n_radial = offset.size - 1
    first = max(math.floor(t + 0.5) - 1, 0)
    last = min(first + 3, n_radial)
    if first >= last:
        return 0, 0, 0
    most = 0
    for j in range(first, last):
        most = max(most, offset[j + 1] - offset[j])
    cm, sm = 1.0, 0.0
    angle[0] = light
    for k in range(1, most, 2):
        cm, sm = cm * cosine - sm * sine, cm * sine + sm * cosine
        angle[k] = light * cm
        angle[k + 1] = light * sm
    n = 0
    for j in range(first, last):
        b = _spline(t - j)
        if j > 0:
            b += _spline(t + j)
        for k in range(offset[j + 1] - offset[j]):
            value[n] = b * angle[k]
            n += 1
    return first, offset[first], n


@lean_kernel
def _fill(
    x: Floats,
    y: Floats,
    coefficient: Floats,
    spacing: float,
    offset: Ints,
    centre: Floats,
    unit: Floats,
    angle: Floats,
    value: Floats,
    rows: Floats,
    room: PowerRoom,
) -> None:
    for s in range(x.size):
        for q in range(centre.size):
            _polar_row(centre, x[s], centre[q] - y[s], spacing, rows, room)
            for p in range(centre.size):
                light = unit[s, q, p]
                _, first, n = _active(
                    rows[0, p], rows[1, p], rows[2, p], light, offset, angle, value
                )
                for a in range(n):
                    light += coefficient[s, first + a] * value[a]
                unit[s, q, p] = light


@kernel
def polar_fill(
    x: Floats,
    y: Floats,
    coefficient: Floats,
    spacing: float,
    offset: Ints,
    centre: Floats,
    unit: Floats,
) -> None:
    """Multiply the Moffat ``unit`` (n, m, m) by one plus the correction (n, B) of each star."""
    rows, room = np.empty((4, centre.size)), make_power_room(centre.size)
    angle, value = np.empty(64), np.empty(256)
    _fill(x, y, coefficient, spacing, offset, centre, unit, angle, value, rows, room)


@lean_kernel
def _fill_centred(
    coefficient: Floats,
    spacing: float,
    offset: Ints,
    centre: Floats,
    unit: Floats,
    angle: Floats,
    value: Floats,
    first: Ints,
    number: Ints,
    rows: Floats,
    room: PowerRoom,
) -> None:
    m = centre.size
    for q in range(m):
        _polar_row(centre, 0.0, centre[q], spacing, rows, room)
        for p in range(m):
            _, first[p], number[p] = _active(
                rows[0, p], rows[1, p], rows[2, p], 1.0, offset, angle, value[p]
            )
        for s in range(coefficient.shape[0]):
            for p in range(m):
                factor = 1.0
                for a in range(number[p]):
                    factor += coefficient[s, first[p] + a] * value[p, a]
                unit[s, q, p] *= factor


@kernel
def polar_fill_centred(
    coefficient: Floats, spacing: float, offset: Ints, centre: Floats, unit: Floats
) -> None:
    """Do what `polar_fill` does for stars at (0, 0): the functions are the same for all."""
    m = centre.size
    value, first, number = np.empty((m, 256)), np.empty(m, np.int64), np.empty(m, np.int64)
    rows, room = np.empty((4, m)), make_power_room(m)
    _fill_centred(
        coefficient, spacing, offset, centre, unit, np.empty(64), value, first, number, rows, room
    )


@lean_kernel
def _functions(
    spacing: float,
    offset: Ints,
    centre: Floats,
    moffat: Floats,
    out: Floats,
    angle: Floats,
    value: Floats,
    rows: Floats,
    room: PowerRoom,
) -> None:
    out[:] = 0.0
    for q in range(centre.size):
        _polar_row(centre, 0.0, centre[q], spacing, rows, room)
        for p in range(centre.size):
            _, first, n = _active(
                rows[0, p], rows[1, p], rows[2, p], moffat[q, p], offset, angle, value
            )
            for a in range(n):
                out[first + a, q, p] = value[a]


@kernel
def polar_functions(
    spacing: float, offset: Ints, centre: Floats, moffat: Floats, out: Floats
) -> None:
    """Fill ``out`` (B, m, m) with the functions for one star at the centre, Moffat (m, m)."""
    rows, room = np.empty((4, centre.size)), make_power_room(centre.size)
    _functions(spacing, offset, centre, moffat, out, np.empty(64), np.empty(256), rows, room)


@lean_kernel
def _normal(
    x: Floats,
    y: Floats,
    flux: Floats,
    residual: Floats,
    weight: Floats,
    moffat: Floats,
    unit: Floats,
    by_x: Floats,
    by_y: Floats,
    spacing: float,
    offset: Ints,
    centre: Floats,
    normal: Floats,
    cross: Floats,
    nuisance: Floats,
    right: Floats,
    nuisance_right: Floats,
    angle: Floats,
    value: Floats,
    other: Floats,
    rows: Floats,
    room: PowerRoom,
) -> None:
    for s in range(x.size):
        normal[s] = 0.0
        cross[s] = 0.0
        nuisance[s] = 0.0
        right[s] = 0.0
        nuisance_right[s] = 0.0
        for q in range(centre.size):
            _polar_row(centre, x[s], centre[q] - y[s], spacing, rows, room)
            for p in range(centre.size):
                w = weight[s, q, p]
                if w <= 0.0:
                    continue
                light = flux[s] * moffat[s, q, p]
                spline, first, n = _active(
                    rows[0, p], rows[1, p], rows[2, p], light, offset, angle, value
                )
                other[0] = unit[s, q, p]
                other[1] = 1.0
                other[2] = flux[s] * by_x[s, q, p]
                other[3] = flux[s] * by_y[s, q, p]
                r = w * residual[s, q, p]
                # Functions of one spline and those before it: the other half is the mirror image.
                done = 0
                while done < n:
                    stop = offset[spline + 1] - first
                    for a in range(done, stop):
                        wa = w * value[a]
                        row = normal[s, first + a, first : first + stop]
                        for b in range(stop):
                            row[b] += wa * value[b]
                        right[s, first + a] += r * value[a]
                    done = stop
                    spline += 1
                for a in range(4):
                    wa = w * other[a]
                    row = cross[s, a, first : first + n]
                    for b in range(n):
                        row[b] += wa * value[b]
                    for b in range(4):
                        nuisance[s, a, b] += wa * other[b]
                    nuisance_right[s, a] += r * other[a]
        for a in range(normal.shape[1]):
            for b in range(a):
                normal[s, b, a] = normal[s, a, b]


@kernel
def polar_normal(
    x: Floats,
    y: Floats,
    flux: Floats,
    residual: Floats,
    weight: Floats,
    moffat: Floats,
    unit: Floats,
    by_x: Floats,
    by_y: Floats,
    spacing: float,
    offset: Ints,
    centre: Floats,
    normal: Floats,
    cross: Floats,
    nuisance: Floats,
    right: Floats,
    nuisance_right: Floats,
) -> None:
    """Fill the normal equations of B functions and 4 nuisance parameters of each star.

    The nuisance parameters are flux, pedestal, x, y: ``unit`` is the model of unit flux with
    derivatives ``by_x, by_y``, ``moffat`` the same without correction.
    """
    _normal(
        x, y, flux, residual, weight, moffat, unit, by_x, by_y, spacing, offset, centre, normal,
        cross, nuisance, right, nuisance_right, np.empty(64), np.empty(256), np.empty(4),
        np.empty((4, centre.size)), make_power_room(centre.size),
    )  # fmt: skip

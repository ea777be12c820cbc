"""Compiled sums over the pixels around a star that tell of the wings of the PSF."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from skyloom._jit import lean_kernel
from skyloom._types import Floats, Pixels

__all__ = ["ring_weights", "wing_sums"]


@lean_kernel
def ring_weights(
    data: Pixels,
    weight: Pixels,
    light: Floats,
    x: float,
    y: float,
    inner: float,
    outer: float,
    w: Floats,
    values: Pixels,
) -> int:
    """Fill ``w`` (S, S) with the weights in a ring, ``values`` with its data; return their number.

    ``light`` (S, S) is the variance that the star adds to that of the sky, ``1 / weight``.
    """
    n = 0
    for q in range(data.shape[0]):
        dy2 = (q - y) * (q - y)
        for p in range(data.shape[1]):
            r2 = (p - x) * (p - x) + dy2
            w[q, p] = 0.0
            if weight[q, p] > 0.0 and inner * inner < r2 <= outer * outer:
                w[q, p] = weight[q, p] / (1.0 + weight[q, p] * light[q, p])
                values[n] = data[q, p]
                n += 1
    return n


@lean_kernel
def wing_sums(
    data: Pixels,
    w: Floats,
    level: float,
    clip: float,
    x: float,
    y: float,
    radius: Floats,
    is_odd: npt.NDArray[np.uint8],
    own: Floats,
    cross: Floats,
    sums: Floats,
) -> tuple[float, float]:
    """Fill the sums of functions that are linear between R radii, over the pixels around (x, y).

    ``own`` (R, R) holds their products with each other, ``cross`` (R,) with one, ``sums`` (R,) with
    the data; the sums of weights, and of weighted data, are returned.  Pixels ``clip`` sigma off
    ``level`` are left out, and the pixels around high ones, for which ``is_odd`` (S, S) is room.
    """
    side, last = data.shape[0], radius.size - 2
    is_odd[:] = 0
    own[:] = 0.0
    cross[:] = 0.0
    sums[:] = 0.0
    for q in range(side):
        for p in range(side):
            if w[q, p] > 0.0:
                pull = (data[q, p] - level) * math.sqrt(w[q, p])
                if pull < -clip:
                    is_odd[q, p] = 1
                elif pull > clip:
                    for b in range(max(q - 1, 0), min(q + 2, side)):
                        for a in range(max(p - 1, 0), min(p + 2, side)):
                            is_odd[b, a] = 1
    total, total_value = 0.0, 0.0
    for q in range(side):
        for p in range(side):
            weight = w[q, p]
            if weight <= 0.0 or is_odd[q, p]:
                continue
            distance = math.sqrt((p - x) * (p - x) + (q - y) * (q - y))
            k = 0
            while k < last and distance > radius[k + 1]:
                k += 1
            t = (distance - radius[k]) / (radius[k + 1] - radius[k])
            near, far, value = weight * (1.0 - t), weight * t, data[q, p]
            own[k, k] += near * (1.0 - t)
            own[k, k + 1] += near * t
            own[k + 1, k + 1] += far * t
            cross[k] += near
            cross[k + 1] += far
            sums[k] += near * value
            sums[k + 1] += far * value
            total += weight
            total_value += weight * value
    for k in range(last + 1):
        own[k + 1, k] = own[k, k + 1]
    return total, total_value

"""Compiled Gauss-Newton step of many stars in flux, pedestal, x and y."""

from __future__ import annotations

from skyloom._jit import lean_kernel
from skyloom._types import Floats

__all__ = ["star_equations", "stepped"]


@lean_kernel
def star_equations(
    data: Floats,
    ivar: Floats,
    unit: Floats,
    by_x: Floats,
    by_y: Floats,
    flux: Floats,
    pedestal: Floats,
    source_variance: float,
    model_error: float,
    light: Floats,
    residual: Floats,
    weight: Floats,
    normal: Floats,
    right: Floats,
) -> None:
    """Fill images (n, m, m) of light, residual and weight, and normal equations (n, 4, 4), (n, 4).

    ``unit`` is the model of unit flux with its derivatives ``by_x, by_y``.  The variance is that of
    the sky, ``1 / ivar``, plus the model's own light, with the relative model error.
    """
    m = data.shape[1]
    for s in range(data.shape[0]):
        f, level = flux[s], pedestal[s]
        n00, n01, n02, n03, n11, n12, n13 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        n22, n23, n33, r0, r1, r2, r3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for q in range(m):
            for p in range(m):
                u = unit[s, q, p]
                x, y = f * by_x[s, q, p], f * by_y[s, q, p]
                own = f * u
                star = max(own, 0.0)
                v = ivar[s, q, p]
                w = v / (1.0 + v * (source_variance * star + (model_error * star) ** 2))
                left = data[s, q, p] - own - level
                light[s, q, p] = own
                residual[s, q, p] = left
                weight[s, q, p] = w
                wu, wx, wy = w * u, w * x, w * y
                n00 += wu * u
                n01 += wu
                n02 += wu * x
                n03 += wu * y
                n11 += w
                n12 += wx
                n13 += wy
                n22 += wx * x
                n23 += wx * y
                n33 += wy * y
                r0 += wu * left
                r1 += w * left
                r2 += wx * left
                r3 += wy * left
        normal[s, 0, 0] = n00
        normal[s, 1, 1] = n11
        normal[s, 2, 2] = n22
        normal[s, 3, 3] = n33
        normal[s, 0, 1] = normal[s, 1, 0] = n01
        normal[s, 0, 2] = normal[s, 2, 0] = n02
        normal[s, 0, 3] = normal[s, 3, 0] = n03
        normal[s, 1, 2] = normal[s, 2, 1] = n12
        normal[s, 1, 3] = normal[s, 3, 1] = n13
        normal[s, 2, 3] = normal[s, 3, 2] = n23
        right[s, 0] = r0
        right[s, 1] = r1
        right[s, 2] = r2
        right[s, 3] = r3


@lean_kernel
def stepped(
    unit: Floats,
    by_x: Floats,
    by_y: Floats,
    flux: Floats,
    step: Floats,
    light: Floats,
    residual: Floats,
) -> None:
    """Change light and residual (n, m, m) in place by a step (n, 4), to first order."""
    m = unit.shape[1]
    for s in range(unit.shape[0]):
        a, level, x, y = step[s, 0], step[s, 1], flux[s] * step[s, 2], flux[s] * step[s, 3]
        for q in range(m):
            for p in range(m):
                change = a * unit[s, q, p] + x * by_x[s, q, p] + y * by_y[s, q, p]
                light[s, q, p] += change
                residual[s, q, p] -= change + level

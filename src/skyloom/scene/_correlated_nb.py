"""Compiled products of unit images under correlated noise: ``U^T W C W U`` per flux key.

The covariance of two pixels is ``C_ij = sigma_i sigma_j rho(i - j)``, with sigma**2 = 1 / W and rho
the correlation at their distance.  Unit images are divided by the noise, spread by rho within
their stamp, and multiplied.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel, kernel_part

from ._gram_nb import render_all
from ._products_nb import SPARE, pair_products


@kernel_part
def _divide_by_noise(members, b, images, scratch):
    """Multiply all unit images by the square root of the weight."""
    width = images.shape[b, 1]
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        for p in range(members.n_units[s]):
            for i in range(n):
                at = scratch.start[s] + (p * n + i) * n
                line = scratch.units[at : at + n]
                start = images.offset[b] + (y0 + i) * width + x0
                w = images.weight[start : start + n]
                for c in range(n):
                    line[c] *= np.sqrt(w[c])


@kernel_part
def _spread_planes(members, rho, units, start, spread):
    """Convolve all unit images with ``rho``, inside their stamps."""
    lags = rho.shape[0] // 2
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        for p in range(members.n_units[s]):
            for i in range(n):
                at = start[s] + (p * n + i) * n
                to = spread[at : at + n]
                to[:] = np.float32(0.0)
                for dy in range(max(-lags, -i), min(lags, n - 1 - i) + 1):
                    for dx in range(-lags, lags + 1):
                        r = rho[lags + dy, lags + dx]
                        if r == 0.0:
                            continue
                        left, right = max(0, -dx), min(n, n - dx)
                        line = units[at + dy * n + left + dx : at + dy * n + right + dx]
                        inner = to[left:right]
                        for c in range(right - left):
                            inner[c] += r * line[c]


@kernel_part
def _add_spread_products(members, b, scratch, spread, ones, block, out):
    """Add the products of all unit images with all spread ones."""
    first, start = scratch.first, scratch.start
    for s in range(members.kind.shape[0]):
        n, ns = members.size[s], members.n_units[s]
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        for t in range(s + 1):
            side, nt = members.size[t], members.n_units[t]
            xt, yt = members.origin[t, b, 0], members.origin[t, b, 1]
            xa, xb = max(x0, xt), min(x0 + n, xt + side)
            ya, yb = max(y0, yt), min(y0 + n, yt + side)
            if xb <= xa or yb <= ya:
                continue
            pair_products(
                scratch.units, start[s] + (ya - y0) * n + xa - x0, n * n, n, ns,
                spread, start[t] + (ya - yt) * side + xa - xt, side * side, side, nt,
                ones, 0, 0, yb - ya, xb - xa, block,
            )  # fmt: skip
            for p in range(ns):
                for q in range(nt):
                    out[first[s] + p, first[t] + q] += block[p, q]
                    if s != t:
                        out[first[t] + q, first[s] + p] += block[p, q]


@kernel
def correlated_products(members, theta, tables, images, scratch, correlation, out):
    """Add ``U^T W C W U`` of every flux key to ``out`` (F, T, T)."""
    spread = np.zeros(scratch.units.shape[0], np.float32)
    widest = 0
    for s in range(members.size.shape[0]):
        widest = max(widest, members.size[s])
    ones = np.ones(widest + SPARE, np.float32)
    for b in range(images.offset.shape[0]):
        render_all(members, b, theta, tables, scratch)
        _divide_by_noise(members, b, images, scratch)
        source = scratch.units
        if correlation.used[b]:
            _spread_planes(members, correlation.rho[b], scratch.units, scratch.start, spread)
            source = spread
        _add_spread_products(members, b, scratch, source, ones, scratch.block, out[images.key[b]])

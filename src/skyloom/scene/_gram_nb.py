"""Compiled evaluation of a blend group: unit images, residual, gradient and Gram matrix.

For every image b of the group with inverse variance W and unit images U (values and derivatives of
all members), fills ``G = U^T W U`` and ``c = U^T W (d - model)`` where the model uses the
fluxes passed in, and the chi-square of that model.  Taking c from the residual, not from the
data, keeps single-precision noise out of chi-square differences.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel, kernel_part
from skyloom._types import Floats

from ._records import STAR, Images, Members, Scratch, Tables
from ._render_nb import (
    grid_side,
    make_work,
    n_parameters,
    render_member,
    same_view,
    widest_grid,
    widest_stamp,
)

CHUNK = 4096  # single-precision partial sums over at most this many pixels, then double


@kernel_part
def _dot33(a0, a1, a2, b0, b1, b2, out):
    """Add the nine products of three rows with three rows to ``out`` (3, 3), double."""
    s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = np.float32(0.0)
    for k in range(a0.shape[0]):
        u0, u1, u2 = a0[k], a1[k], a2[k]
        v0, v1, v2 = b0[k], b1[k], b2[k]
        s00 += u0 * v0
        s01 += u0 * v1
        s02 += u0 * v2
        s10 += u1 * v0
        s11 += u1 * v1
        s12 += u1 * v2
        s20 += u2 * v0
        s21 += u2 * v1
        s22 += u2 * v2
    out[0, 0] += s00
    out[0, 1] += s01
    out[0, 2] += s02
    out[1, 0] += s10
    out[1, 1] += s11
    out[1, 2] += s12
    out[2, 0] += s20
    out[2, 1] += s21
    out[2, 2] += s22


@kernel
def _dot(a, b):
    """Return the product of two rows; double sums of single-precision chunks."""
    total = 0.0
    for start in range(0, a.shape[0], CHUNK):
        s = np.float32(0.0)
        part_a, part_b = a[start : start + CHUNK], b[start : start + CHUNK]
        for k in range(part_a.shape[0]):
            s += part_a[k] * part_b[k]
        total += s
    return total


@kernel_part
def _dot_rows(a, pa, b, pb, length, symmetric, tile, out):
    """Fill ``out[:pa, :pb]`` with all products of rows; if ``symmetric`` the lower blocks only."""
    for i in range(0, pa, 3):
        for j in range(0, min(i + 3, pb) if symmetric else pb, 3):
            if i + 3 <= pa and j + 3 <= pb:
                tile[:] = 0.0
                for start in range(0, length, CHUNK):
                    stop = min(start + CHUNK, length)
                    _dot33(
                        a[i, start:stop],
                        a[i + 1, start:stop],
                        a[i + 2, start:stop],
                        b[j, start:stop],
                        b[j + 1, start:stop],
                        b[j + 2, start:stop],
                        tile,
                    )
                for p in range(3):
                    for q in range(3):
                        out[i + p, j + q] = tile[p, q]
            else:
                for p in range(i, min(i + 3, pa)):
                    for q in range(j, min(j + 3, pb)):
                        out[p, q] = _dot(a[p, :length], b[q, :length])


@kernel
def _copy_rectangle(src, x0, x1, y0, y1, dst):
    """Copy ``src[y0:y1, x0:x1]`` into the flat row ``dst``."""
    wide = x1 - x0
    for i in range(y1 - y0):
        line = src[y0 + i, x0:x1]
        to = dst[i * wide : (i + 1) * wide]
        for c in range(wide):
            to[c] = line[c]


@kernel_part
def _weighted_square(resid, wgt):
    """Return sum(W R**2): rows in single, their sum in double precision."""
    total = 0.0
    for i in range(resid.shape[0]):
        line = np.float32(0.0)
        for c in range(resid.shape[1]):
            line += resid[i, c] * resid[i, c] * wgt[i, c]
        total += line
    return total


@kernel
def make_scratch(members):
    """Allocate what `evaluate` needs for these members."""
    n_src = members.kind.shape[0]
    first = np.zeros(n_src + 1, np.int64)
    start = np.zeros(n_src + 1, np.int64)
    plane_start = np.zeros(n_src + 1, np.int64)
    for s in range(n_src):
        area = members.size[s] ** 2
        npar = n_parameters(members.kind[s])
        first[s + 1] = first[s] + npar
        start[s + 1] = start[s] + npar * area
        side = 0 if members.kind[s] == STAR else grid_side(members, s)
        plane_start[s + 1] = plane_start[s] + 5 * side * side
    widest = widest_stamp(members.size)
    return Scratch(
        make_work(widest_grid(members)),
        first,
        start,
        plane_start,
        np.empty(start[n_src], np.float32),
        np.empty(start[n_src], np.float32),
        np.empty(plane_start[n_src], np.float32),
        np.empty((7, widest * widest), np.float32),
        np.empty((7, widest * widest), np.float32),
        np.empty((3, 3)),
        np.empty((7, 7)),
    )


@kernel_part
def _subtract_members(members, b, theta, flux, tables, resid, wgt, scratch):
    """Render all members in image b, subtract their models and keep W times their unit images."""
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        npar = n_parameters(members.kind[s])
        begin, end = scratch.start[s], scratch.start[s + 1]
        u = scratch.units[begin:end].reshape((npar, n * n))
        w = scratch.weighted[begin:end].reshape((npar, n * n))
        m = scratch.planes[scratch.plane_start[s] : scratch.plane_start[s + 1]]
        fresh = b == 0 or not same_view(members, s, b - 1, b)
        render_member(members, s, b, theta[s], tables, scratch.work, m, fresh, u)
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        f = np.float32(flux[s])
        for i in range(n):
            line = resid[y0 + i, x0 : x0 + n]
            scale = wgt[y0 + i, x0 : x0 + n]
            row = slice(i * n, (i + 1) * n)
            value = u[0, row]
            for c in range(n):
                line[c] -= f * value[c]
            for p in range(npar):
                unit, weighted = u[p, row], w[p, row]
                for c in range(n):
                    weighted[c] = unit[c] * scale[c]


@kernel_part
def _add_products(members, b, resid, scratch, grad, gram):
    """Add the products of all unit images in image b with the residual and with each other."""
    first, start = scratch.first, scratch.start
    rows_a, rows_b, block = scratch.rows_a, scratch.rows_b, scratch.block
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        ns = n_parameters(members.kind[s])
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        ws = scratch.weighted[start[s] : start[s + 1]].reshape((ns, n, n))
        flat = ws.reshape((ns, n * n))
        _copy_rectangle(resid, x0, x0 + n, y0, y0 + n, rows_b[0])
        for p in range(ns):
            grad[first[s] + p] += _dot(flat[p], rows_b[0, : n * n])
        for t in range(s + 1):
            side = members.size[t]
            nt = n_parameters(members.kind[t])
            ut = scratch.units[start[t] : start[t + 1]].reshape((nt, side, side))
            xt, yt = members.origin[t, b, 0], members.origin[t, b, 1]
            xa, xb = max(x0, xt), min(x0 + n, xt + side)
            ya, yb = max(y0, yt), min(y0 + n, yt + side)
            if xb <= xa or yb <= ya:
                continue
            left, right = rows_a, rows_b
            if t == s:
                left, right = flat, ut.reshape((nt, n * n))
            else:
                for p in range(ns):
                    _copy_rectangle(ws[p], xa - x0, xb - x0, ya - y0, yb - y0, rows_a[p])
                for p in range(nt):
                    _copy_rectangle(ut[p], xa - xt, xb - xt, ya - yt, yb - yt, rows_b[p])
            _dot_rows(left, ns, right, nt, (xb - xa) * (yb - ya), t == s, scratch.tile, block)
            for p in range(ns):
                for q in range(p + 1 if t == s else nt):
                    gram[first[s] + p, first[t] + q] += block[p, q]
                    if t != s or q != p:
                        gram[first[t] + q, first[s] + p] += block[p, q]


@kernel
def evaluate(
    members: Members,
    theta: Floats,
    flux: Floats,
    tables: Tables,
    images: Images,
    scratch: Scratch,
    gram: Floats,
    grad: Floats,
    chi2: Floats,
) -> None:
    """Fill Gram matrices, gradients and chi-squares of a group; see the module docstring.

    Parameters
    ----------
    members, tables, images : Members, Tables, Images
        Stamp corners must lie inside the boxes: boxes are padded with zero weight.
    theta, flux : ndarray, shapes (n, 6) and (n, F)
    scratch : Scratch
        From `make_scratch`.
    gram, grad, chi2 : ndarray
        Outputs, shapes (F, T, T), (F, T), (F,); T counts all unit images, F the fluxes of a
        source: images with the same ``images.key`` share one.
    """
    gram[:] = 0.0
    grad[:] = 0.0
    chi2[:] = 0.0
    for b in range(images.offset.shape[0]):
        key = images.key[b]
        height, width = images.shape[b, 0], images.shape[b, 1]
        off = images.offset[b]
        resid = images.data[off : off + height * width].copy().reshape((height, width))
        wgt = images.weight[off : off + height * width].reshape((height, width))
        _subtract_members(members, b, theta, flux[:, key], tables, resid, wgt, scratch)
        chi2[key] += _weighted_square(resid, wgt)
        _add_products(members, b, resid, scratch, grad[key], gram[key])

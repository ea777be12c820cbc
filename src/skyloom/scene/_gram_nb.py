"""Compiled evaluation of a blend group: unit images, residual, gradient and Gram matrix.

For every image b of the group with inverse variance W and unit images U (values and derivatives of
all members), fills ``G = U^T W U`` and ``c = U^T W (d - model)`` where the model uses the
fluxes passed in, and the chi-square of that model.  Taking c from the residual, not from the
data, keeps single-precision noise out of chi-square differences.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from ._fft_nb import JIT
from ._render_nb import make_work, n_parameters, render_member, same_jacobian

CHUNK = 4096  # single-precision partial sums over at most this many pixels, then double


@nb.njit(**JIT)
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


@nb.njit(**JIT)
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


@nb.njit(**JIT)
def _dot_rows(a, pa, b, pb, length, symmetric, tile, out):
    """Fill ``out[:pa, :pb]`` with all products of rows; if ``symmetric`` the lower blocks only."""
    for i in range(0, pa, 3):
        for j in range(0, i + 3 if symmetric else pb, 3):
            if j >= pb:
                break
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


@nb.njit(**JIT)
def _copy_rectangle(src, count, xa, xb, ya, yb, x0, y0, dst):
    """Copy a common rectangle of ``count`` stamp images with corner (x0, y0) into flat rows."""
    wide = xb - xa
    for p in range(count):
        for i in range(yb - ya):
            line = src[p, i + ya - y0, xa - x0 : xb - x0]
            to = dst[p, i * wide : (i + 1) * wide]
            for c in range(line.shape[0]):
                to[c] = line[c]


@nb.njit(**JIT)
def evaluate(members, theta, flux, tables, images, gram, grad, chi2):
    """Fill Gram matrices, gradients and chi-squares of a group; see the module docstring.

    Parameters
    ----------
    members, tables, images : Members, Tables, Images
        Stamp corners must lie inside the boxes: boxes are padded with zero weight.
    theta, flux : ndarray, shapes (n, 6) and (n, F)
    gram, grad, chi2 : ndarray
        Outputs, shapes (F, T, T), (F, T), (F,); T counts all unit images, F the fluxes of a
        source: images with the same ``images.key`` share one.
    """
    n_src = members.kind.shape[0]
    n_img = images.offset.shape[0]
    first = np.zeros(n_src + 1, np.int64)
    start = np.zeros(n_src + 1, np.int64)
    plane_start = np.zeros(n_src + 1, np.int64)
    n_max = 0
    for s in range(n_src):
        n = members.size[s]
        npar = n_parameters(members.kind[s])
        first[s + 1] = first[s] + npar
        start[s + 1] = start[s] + npar * n * n
        plane_start[s + 1] = plane_start[s] + 5 * n * n
        n_max = max(n_max, n)
    units = np.empty(start[n_src], np.float32)
    weighted = np.empty(start[n_src], np.float32)
    planes = np.empty(plane_start[n_src], np.float32)
    work = make_work(n_max)
    buf_a = np.empty((7, n_max * n_max), np.float32)
    buf_b = np.empty((7, n_max * n_max), np.float32)
    tile = np.empty((3, 3))
    block = np.empty((7, 7))
    gram[:] = 0.0
    grad[:] = 0.0
    chi2[:] = 0.0
    for b in range(n_img):
        key = images.key[b]
        height, width = images.shape[b, 0], images.shape[b, 1]
        off = images.offset[b]
        resid = images.data[off : off + height * width].copy().reshape((height, width))
        wgt = images.weight[off : off + height * width].reshape((height, width))
        for s in range(n_src):
            n = members.size[s]
            npar = n_parameters(members.kind[s])
            u = units[start[s] : start[s + 1]].reshape((npar, n, n))
            w = weighted[start[s] : start[s + 1]].reshape((npar, n, n))
            fresh = b == 0 or not same_jacobian(members.jac, s, b - 1, b)
            m = planes[plane_start[s] : plane_start[s + 1]].reshape((5, n, n))
            render_member(members, s, b, theta[s], tables, work, m, fresh, True, u)
            x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
            f = np.float32(flux[s, key])
            for i in range(n):
                line = resid[y0 + i, x0 : x0 + n]
                scale = wgt[y0 + i, x0 : x0 + n]
                for c in range(n):
                    line[c] -= f * u[0, i, c]
                for p in range(npar):
                    for c in range(n):
                        w[p, i, c] = u[p, i, c] * scale[c]
        chi2[key] += _weighted_square(resid, wgt)
        for s in range(n_src):
            n = members.size[s]
            npar = n_parameters(members.kind[s])
            x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
            w2 = weighted[start[s] : start[s + 1]].reshape((npar, n * n))
            u2 = units[start[s] : start[s + 1]].reshape((npar, n * n))
            _copy_rectangle(
                resid.reshape((1, height, width)), 1, x0, x0 + n, y0, y0 + n, 0, 0, buf_b
            )
            for p in range(npar):
                grad[key, first[s] + p] += _dot(w2[p], buf_b[0, : n * n])
            _dot_rows(w2, npar, u2, npar, n * n, True, tile, block)
            for p in range(npar):
                gram[key, first[s] + p, first[s] + p] += block[p, p]
                for q in range(p):
                    gram[key, first[s] + p, first[s] + q] += block[p, q]
                    gram[key, first[s] + q, first[s] + p] += block[p, q]
            for t in range(s):
                nt = members.size[t]
                xt, yt = members.origin[t, b, 0], members.origin[t, b, 1]
                xa, xb = max(x0, xt), min(x0 + n, xt + nt)
                ya, yb = max(y0, yt), min(y0 + n, yt + nt)
                if xb <= xa or yb <= ya:
                    continue
                npt = n_parameters(members.kind[t])
                w3 = weighted[start[s] : start[s + 1]].reshape((npar, n, n))
                u3 = units[start[t] : start[t + 1]].reshape((npt, nt, nt))
                _copy_rectangle(w3, npar, xa, xb, ya, yb, x0, y0, buf_a)
                _copy_rectangle(u3, npt, xa, xb, ya, yb, xt, yt, buf_b)
                _dot_rows(buf_a, npar, buf_b, npt, (xb - xa) * (yb - ya), False, tile, block)
                for p in range(npar):
                    for q in range(npt):
                        gram[key, first[s] + p, first[t] + q] += block[p, q]
                        gram[key, first[t] + q, first[s] + p] += block[p, q]


@nb.njit(**JIT)
def _weighted_square(resid, wgt):
    """Return sum(W R**2): rows in single, their sum in double precision."""
    total = 0.0
    for i in range(resid.shape[0]):
        line = np.float32(0.0)
        for c in range(resid.shape[1]):
            line += resid[i, c] * resid[i, c] * wgt[i, c]
        total += line
    return total

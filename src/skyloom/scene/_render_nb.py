"""Compiled rendering: profile multipliers, packed spectra, unit-flux stamps and derivatives.

Spectra are stored ``[kx, ky]``, images ``[y, x]``; see `_fft_nb`.  Formulas: docs/scene.md and the
docstring of `skyloom.scene.render`, whose `render_reference` is the readable twin.
"""

from __future__ import annotations

from collections import namedtuple

import numba as nb
import numpy as np

from ._fft_nb import JIT, ifft2_transposed

STAR, EXP, DEV, SERSIC = 0, 1, 2, 3

# Records that kernels share; numba wants plain named tuples of arrays.
Tables = namedtuple("Tables", "exp dev log_n spline k1 cos sin")
Tables.__doc__ = """Profile tables, Sersic spline, and per log2(N) wave numbers and twiddles."""

Members = namedtuple("Members", "kind size origin pos jac psf psf_offset")
Members.__doc__ = """Sources as seen by images: model (n,), stamp side (n,), stamp corner (n, B, 2),
stamp position of the reference (n, B, 2), Jacobian (n, B, 4), flat PSF transforms and where those
of (source, image) start (n, B): a real plane, then an imaginary plane, each ``[kx, ky]``."""

Images = namedtuple("Images", "data weight offset shape key")
Images.__doc__ = (
    """Pixel boxes, flat and float32, with start (B,) shape (B, 2) and flux number (B,) of each."""
)

Work = namedtuple("Work", "er ei zr zi spare row bits cy sy table slope")
Work.__doc__ = """Scratch arrays of one rendering thread."""


@nb.njit(**JIT)
def n_parameters(kind):
    """Return the number of unit images of a model: value, x, y [, ln r, g1, g2 [, n]]."""
    if kind == STAR:
        return 3
    if kind == SERSIC:
        return 7
    return 6


@nb.njit(**JIT)
def sersic_table(log_n, grid_log_n, spline, table, slope):
    """Fill ``table`` (512, 8) and its derivative by n, ``slope`` (512, 4), at index exp(log_n)."""
    step = grid_log_n[1] - grid_log_n[0]
    i = int((log_n - grid_log_n[0]) / step)
    i = min(max(i, 0), spline.shape[0] - 1)
    d = np.float32(log_n - grid_log_n[i])
    per_n = np.float32(np.exp(-log_n))  # d ln n / d n
    for r in range(table.shape[0]):
        for c in range(8):
            c0, c1, c2, c3 = (
                spline[i, 0, r, c],
                spline[i, 1, r, c],
                spline[i, 2, r, c],
                spline[i, 3, r, c],
            )
            table[r, c] = c0 + d * (c1 + d * (c2 + d * c3))
            if c < 4:
                slope[r, c] = (c1 + d * (np.float32(2.0) * c2 + np.float32(3.0) * d * c3)) * per_n


@nb.njit(**JIT)
def _profile_multipliers(m, kind, rho, g1, g2, j, k1, table, slope, work, bits):
    """Fill the real-even multipliers of E(k), shared by all images with the same Jacobian.

    ``m[0] = f``; ``m[1:4] = f' k^T (dS/dtheta) k`` for ln r, g1, g2; ``m[4] = df/dn``.
    ``work`` (N,) float32 and ``bits``, the same memory seen as int32, hold one row of t.
    """
    n = k1.shape[0]
    gg = g1 * g1 + g2 * g2
    a = np.exp(2.0 * rho) / (1.0 - gg)
    sxx, sxy, syy = a * (1.0 + gg + 2.0 * g1), a * 2.0 * g2, a * (1.0 + gg - 2.0 * g1)
    w1, w2 = 2.0 * g1 / (1.0 - gg), 2.0 * g2 / (1.0 - gg)
    # dS/dg1 and dS/dg2
    p1xx, p1xy, p1yy = w1 * sxx + a * (2 * g1 + 2), w1 * sxy, w1 * syy + a * (2 * g1 - 2)
    p2xx, p2xy, p2yy = w2 * sxx + a * 2 * g2, w2 * sxy + 2 * a, w2 * syy + a * 2 * g2
    # quadratic forms in the frame of the image: T = J S J^T with kappa = J^T k
    q0 = np.float32(4096.0)
    t_max = np.float32(4.0e9)
    unit = np.float32(1.0 / 524288.0)
    one = np.float32(1.0)
    fj00, fj01, fj10, fj11 = np.float32(j[0]), np.float32(j[1]), np.float32(j[2]), np.float32(j[3])
    fxx, fxy, fyy = np.float32(sxx), np.float32(2 * sxy), np.float32(syy)
    a1, b1, c1 = np.float32(p1xx), np.float32(2 * p1xy), np.float32(p1yy)
    a2, b2, c2 = np.float32(p2xx), np.float32(2 * p2xy), np.float32(p2yy)
    two = np.float32(2.0)
    for i in range(n // 2 + 1):
        kx = k1[i]
        for c in range(n):
            u = fj00 * kx + fj10 * k1[c]
            v = fj01 * kx + fj11 * k1[c]
            work[c] = min(one + q0 * (fxx * u * u + fxy * u * v + fyy * v * v), t_max)
        for c in range(n):
            b = bits[c]
            r = (b >> 19) - 2032
            h = np.float32(b & 0x7FFFF) * unit
            f = table[r, 0] + h * (table[r, 1] + h * (table[r, 2] + h * table[r, 3]))
            fp = table[r, 4] + h * (table[r, 5] + h * (table[r, 6] + h * table[r, 7]))
            m[0, i, c] = f
            m[1, i, c] = fp
            if kind == SERSIC:
                m[4, i, c] = slope[r, 0] + h * (slope[r, 1] + h * (slope[r, 2] + h * slope[r, 3]))
        for c in range(n):
            u = fj00 * kx + fj10 * k1[c]
            v = fj01 * kx + fj11 * k1[c]
            uu, uv, vv = u * u, u * v, v * v
            fp = m[1, i, c]
            m[1, i, c] = fp * two * (fxx * uu + fxy * uv + fyy * vv)
            m[2, i, c] = fp * (a1 * uu + b1 * uv + c1 * vv)
            m[3, i, c] = fp * (a2 * uu + b2 * uv + c2 * vv)
    planes = 5 if kind == SERSIC else 4
    for p in range(planes):
        for i in range(n // 2 + 1, n):
            m[p, i, 0] = m[p, n - i, 0]
            for c in range(1, n):
                m[p, i, c] = m[p, n - i, n - c]


@nb.njit(**JIT)
def _phased_psf(er, ei, pr, pi, x, y, k1, cy, sy):
    """Fill E = P exp(-i k.x0) / N**2 for a source at stamp position (x, y)."""
    n = k1.shape[0]
    scale = 1.0 / (n * n)
    for c in range(n):
        cy[c] = np.cos(k1[c] * y)
        sy[c] = -np.sin(k1[c] * y)
    for i in range(n):
        cx = np.float32(np.cos(k1[i] * x) * scale)
        sx = np.float32(-np.sin(k1[i] * x) * scale)
        for c in range(n):
            ar = cx * cy[c] - sx * sy[c]
            ai = cx * sy[c] + sx * cy[c]
            er[i, c] = pr[i, c] * ar - pi[i, c] * ai
            ei[i, c] = pr[i, c] * ai + pi[i, c] * ar


@nb.njit(**JIT)
def _unit_images(u, kind, m, er, ei, j, k1, wr, wi, zr, zi, spare, derivatives):
    """Render value and derivatives of a unit-flux source into ``u`` (npar, N, N).

    Two real images travel in each complex transform.  ``derivatives=False`` fills only ``u[0]``
    (and, as a by-product of the packing, ``u[1]``).
    """
    n = k1.shape[0]
    j00, j01, j10, j11 = np.float32(j[0]), np.float32(j[1]), np.float32(j[2]), np.float32(j[3])
    one = np.float32(1.0)
    star = kind == STAR
    for i in range(n):
        kx = k1[i]
        for c in range(n):
            g = one + j00 * kx + j10 * k1[c]
            if not star:
                g *= m[0, i, c]
            zr[i, c] = g * er[i, c]
            zi[i, c] = g * ei[i, c]
    ifft2_transposed(zr, zi, u[0], u[1], wr, wi)
    if not derivatives:
        return
    for i in range(n):
        kx = k1[i]
        for c in range(n):
            g = -(j01 * kx + j11 * k1[c])
            if not star:
                g = g * m[0, i, c] + m[1, i, c]
            zr[i, c] = -g * ei[i, c]
            zi[i, c] = g * er[i, c]
    if star:
        ifft2_transposed(zr, zi, u[2], spare, wr, wi)
        return
    ifft2_transposed(zr, zi, u[2], u[3], wr, wi)
    for i in range(n):
        for c in range(n):
            zr[i, c] = m[2, i, c] * er[i, c] - m[3, i, c] * ei[i, c]
            zi[i, c] = m[2, i, c] * ei[i, c] + m[3, i, c] * er[i, c]
    ifft2_transposed(zr, zi, u[4], u[5], wr, wi)
    if kind == SERSIC:
        for i in range(n):
            for c in range(n):
                zr[i, c] = m[4, i, c] * er[i, c]
                zi[i, c] = m[4, i, c] * ei[i, c]
        ifft2_transposed(zr, zi, u[6], spare, wr, wi)


@nb.njit(**JIT)
def log2_of(n):
    """Return the exponent of a power of two."""
    e = 0
    while (1 << e) < n:
        e += 1
    return e


@nb.njit(**JIT)
def make_work(n_max):
    """Allocate scratch arrays for stamps up to n_max."""
    row = np.empty(n_max, np.float32)
    area = n_max * n_max
    return Work(
        np.empty(area, np.float32),
        np.empty(area, np.float32),
        np.empty(area, np.float32),
        np.empty(area, np.float32),
        np.empty(area, np.float32),
        row,
        row.view(np.int32),
        np.empty(n_max, np.float32),
        np.empty(n_max, np.float32),
        np.empty((512, 8), np.float32),
        np.empty((512, 4), np.float32),
    )


@nb.njit(**JIT)
def render_member(members, s, b, theta, tables, work, planes, fresh, derivatives, u):
    """Render member s in image b into ``u`` (npar, N, N), flux one.

    ``theta`` is the row of the member: x, y offsets, ln r_c, g1, g2, n.  ``planes`` (5, N, N)
    holds its multipliers, recomputed where ``fresh`` (new parameters or another Jacobian).
    """
    n = members.size[s]
    kind = members.kind[s]
    e = log2_of(n)
    k1 = tables.k1[e, :n]
    j = members.jac[s, b]
    x = members.pos[s, b, 0] + j[0] * theta[0] + j[1] * theta[1]
    y = members.pos[s, b, 1] + j[2] * theta[0] + j[3] * theta[1]
    if fresh and kind != STAR:
        if kind == SERSIC:
            sersic_table(np.log(theta[5]), tables.log_n, tables.spline, work.table, work.slope)
            table = work.table
        elif kind == EXP:
            table = tables.exp
        else:
            table = tables.dev
        _profile_multipliers(
            planes,
            kind,
            theta[2],
            theta[3],
            theta[4],
            j,
            k1,
            table,
            work.slope,
            work.row[:n],
            work.bits[:n],
        )
    area = n * n
    off = members.psf_offset[s, b]
    pr = members.psf[off : off + area].reshape((n, n))
    pi = members.psf[off + area : off + 2 * area].reshape((n, n))
    er = work.er[:area].reshape((n, n))
    ei = work.ei[:area].reshape((n, n))
    _phased_psf(er, ei, pr, pi, x, y, k1, work.cy[:n], work.sy[:n])
    _unit_images(
        u,
        kind,
        planes,
        er,
        ei,
        j,
        k1,
        tables.cos[e, :n],
        tables.sin[e, :n],
        work.zr[:area].reshape((n, n)),
        work.zi[:area].reshape((n, n)),
        work.spare[:area].reshape((n, n)),
        derivatives,
    )


@nb.njit(**JIT)
def add_models(images, members, theta, flux, tables, sign):
    """Add ``sign * model`` of all sources to ``images.data``, clipping stamps at the box edges."""
    n_src = members.kind.shape[0]
    n_img = images.offset.shape[0]
    n_max = 0
    for s in range(n_src):
        n_max = max(n_max, members.size[s])
    work = make_work(n_max)
    planes = np.empty(5 * n_max * n_max, np.float32)
    unit = np.empty(7 * n_max * n_max, np.float32)
    for s in range(n_src):
        n = members.size[s]
        u = unit[: 7 * n * n].reshape((7, n, n))
        last = -1
        for b in range(n_img):
            amount = flux[s, images.key[b]]
            if amount == 0.0:
                continue
            fresh = last < 0 or not same_jacobian(members.jac, s, last, b)
            last = b
            render_member(
                members,
                s,
                b,
                theta[s],
                tables,
                work,
                planes[: 5 * n * n].reshape((5, n, n)),
                fresh,
                False,
                u,
            )
            height, width = images.shape[b, 0], images.shape[b, 1]
            start = images.offset[b]
            img = images.data[start : start + height * width].reshape((height, width))
            x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
            f = np.float32(sign * amount)
            for i in range(max(0, -y0), min(n, height - y0)):
                for c in range(max(0, -x0), min(n, width - x0)):
                    img[y0 + i, x0 + c] += f * u[0, i, c]


@nb.njit(**JIT)
def same_jacobian(jac, s, a, b):
    """Tell whether source s has the same Jacobian in images a and b."""
    for c in range(4):  # noqa: SIM110 (numba has no generators)
        if jac[s, a, c] != jac[s, b, c]:
            return False
    return True


@nb.njit(**JIT)
def mix_psf(basis, coefficients, out):
    """Fill ``out`` with ``sum_k coefficients[k] basis[k]`` (flat transforms)."""
    for i in range(out.shape[0]):
        out[i] = np.float32(coefficients[0]) * basis[0, i]
    for k in range(1, basis.shape[0]):
        c = np.float32(coefficients[k])
        line = basis[k]
        for i in range(out.shape[0]):
            out[i] += c * line[i]

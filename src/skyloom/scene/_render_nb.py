"""Compiled rendering: profile multipliers, packed spectra, unit-flux stamps and derivatives.

Spectra are stored ``[kx, ky]``, images ``[y, x]``; see `_fft_nb`.  Formulas: docs/scene.md and the
docstring of `skyloom.scene.render`, whose `render_reference` is the readable twin.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel, kernel_part, lean_kernel

from ._fft_nb import ifft2_transposed
from ._records import EXP, REX, SERSIC, SINGLE_SIDE, STAR, Work
from ._vector_nb import LANES, aligned

# The table variable t = 1 + Q0 q; see `skyloom.scene.profiles`.
Q0 = np.float32(4096.0)
T_MAX = np.float32(4.0e9)
PER_FRACTION = np.float32(1.0 / 524288.0)

MIXED_AT_ONCE = 2048  # floats of a PSF, a part of the first-level cache


@lean_kernel
def log2_of(n):
    """Return the exponent of a power of two."""
    e = 0
    while (1 << e) < n:
        e += 1
    return e


@lean_kernel
def widest_stamp(size):
    """Return the largest stamp side."""
    widest = 0
    for s in range(size.shape[0]):
        widest = max(widest, size[s])
    return widest


@lean_kernel
def grid_side(members, s):
    """Return the side of the largest spectrum of a member: its stamp times the folding.

    It is 0 for galaxies that are rendered in levels.
    """
    if members.size[s] > SINGLE_SIDE:
        return 0
    fold = 1
    for b in range(members.fold.shape[1]):
        fold = max(fold, members.fold[s, b])
    return members.size[s] * fold


@lean_kernel
def widest_grid(members):
    """Return the side of the largest spectrum of all members."""
    widest = 0
    for s in range(members.size.shape[0]):
        widest = max(widest, grid_side(members, s))
    return widest


@kernel
def make_work(n_max):
    """Allocate scratch arrays for spectra up to side n_max."""
    row = np.empty(n_max, np.float32)
    return Work(
        aligned(8 * n_max * n_max).reshape((8, n_max * n_max)),
        aligned(2 * (n_max // 2 + 1) * n_max),
        np.empty((5, n_max), np.float32),
        row,
        row.view(np.int32),
        aligned(4 * LANES * n_max),
        np.empty((512, 8), np.float32),
        np.empty((512, 4), np.float32),
    )


@lean_kernel
def same_view(members, s, a, b):
    """Tell whether images a and b see a member with the same Jacobian and folding."""
    p, q = members.jac[s, a], members.jac[s, b]
    same = p[0] == q[0] and p[1] == q[1] and p[2] == q[2] and p[3] == q[3]
    return same and members.fold[s, a] == members.fold[s, b]


@kernel_part
def wave_numbers(members, s, b, tables, work):
    """Return the wave numbers of a spectrum [rad / pix], all aliases that its folding keeps."""
    fold = members.fold[s, b]
    m = members.size[s] * fold
    k1 = work.rows[0, :m]
    wave = tables.k1[log2_of(m)]
    for i in range(m):
        k1[i] = wave[i] * np.float32(fold)
    return k1


@kernel_part
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


@kernel_part
def profile_table(kind, theta, tables, work):
    """Return the table of a galaxy; that of a Sersic law is interpolated into ``work``."""
    table = tables.dev
    if kind == SERSIC:
        sersic_table(np.log(theta[5]), tables.log_n, tables.spline, work.table, work.slope)
        table = work.table
    elif kind in (EXP, REX):
        table = tables.exp
    return table


@lean_kernel
def shape_matrix(theta):
    """Return Sxx, Sxy, Syy of a half-light ellipse."""
    g1, g2 = theta[3], theta[4]
    gg = g1 * g1 + g2 * g2
    a = np.exp(2.0 * theta[2]) / (1.0 - gg)
    return a * (1.0 + gg + 2.0 * g1), a * 2.0 * g2, a * (1.0 + gg - 2.0 * g1)


@lean_kernel
def table_variable(kx, k1, jac, shape, row):
    """Fill ``row`` with t at wave numbers (kx, k1): q is that of J^T k in the reference frame."""
    j00, j01, j10, j11 = (
        np.float32(jac[0]),
        np.float32(jac[1]),
        np.float32(jac[2]),
        np.float32(jac[3]),
    )
    sxx, sxy, syy = np.float32(shape[0]), np.float32(2.0 * shape[1]), np.float32(shape[2])
    for c in range(k1.shape[0]):
        u = j00 * kx + j10 * k1[c]
        v = j01 * kx + j11 * k1[c]
        row[c] = min(np.float32(1.0) + Q0 * (sxx * u * u + sxy * u * v + syy * v * v), T_MAX)


@lean_kernel
def mirror(plane):
    """Complete a plane that is even in k from its lower half."""
    n = plane.shape[0]
    for i in range(n // 2 + 1, n):
        line, source = plane[i], plane[n - i]
        line[0] = source[0]
        for c in range(1, n):
            line[c] = source[n - c]


@kernel_part
def _derivative_factors(m, theta, jac, k1, elliptic):
    """Turn ``m[1] = df/dq`` into ``m[1:4] = f' k^T (dS/dtheta) k`` for ln r [, g1, g2]."""
    g1, g2 = theta[3], theta[4]
    gg = g1 * g1 + g2 * g2
    a = np.exp(2.0 * theta[2]) / (1.0 - gg)
    sxx, sxy, syy = shape_matrix(theta)
    w1, w2 = 2.0 * g1 / (1.0 - gg), 2.0 * g2 / (1.0 - gg)
    j00, j01, j10, j11 = (
        np.float32(jac[0]),
        np.float32(jac[1]),
        np.float32(jac[2]),
        np.float32(jac[3]),
    )
    a0, b0, c0 = np.float32(2.0 * sxx), np.float32(4.0 * sxy), np.float32(2.0 * syy)
    a1 = np.float32(w1 * sxx + a * (2.0 * g1 + 2.0))
    b1 = np.float32(2.0 * w1 * sxy)
    c1 = np.float32(w1 * syy + a * (2.0 * g1 - 2.0))
    a2 = np.float32(w2 * sxx + a * 2.0 * g2)
    b2 = np.float32(2.0 * (w2 * sxy + 2.0 * a))
    c2 = np.float32(w2 * syy + a * 2.0 * g2)
    n = k1.shape[0]
    for i in range(n // 2 + 1):
        by_r, by_g1, by_g2 = m[1, i], m[2, i], m[3, i]
        for c in range(n):
            u = j00 * k1[i] + j10 * k1[c]
            v = j01 * k1[i] + j11 * k1[c]
            uu, uv, vv = u * u, u * v, v * v
            slope = by_r[c]
            by_r[c] = slope * (a0 * uu + b0 * uv + c0 * vv)
            if elliptic:
                by_g1[c] = slope * (a1 * uu + b1 * uv + c1 * vv)
                by_g2[c] = slope * (a2 * uu + b2 * uv + c2 * vv)


@kernel_part
def _multipliers(members, s, b, theta, tables, k1, work, m):
    """Fill the real-even multipliers (5, N, N) of a galaxy, shared by all images with one view.

    ``m[0] = f``; ``m[1:4]`` its derivatives by ln r, g1, g2; ``m[4] = df/dn`` of a Sersic law;
    no more than the unit images ask for.
    """
    kind, count = members.kind[s], members.n_units[s]
    table = profile_table(kind, theta, tables, work)
    shape = shape_matrix(theta)
    n = k1.shape[0]
    row, bits, slope = work.row[:n], work.bits[:n], work.slope
    for i in range(n // 2 + 1):
        table_variable(k1[i], k1, members.jac[s, b], shape, row)
        for c in range(n):
            r = (bits[c] >> 19) - 2032
            h = np.float32(bits[c] & 0x7FFFF) * PER_FRACTION
            m[0, i, c] = table[r, 0] + h * (table[r, 1] + h * (table[r, 2] + h * table[r, 3]))
            if count > 3:
                m[1, i, c] = table[r, 4] + h * (table[r, 5] + h * (table[r, 6] + h * table[r, 7]))
            if count > 6:
                m[4, i, c] = slope[r, 0] + h * (slope[r, 1] + h * (slope[r, 2] + h * slope[r, 3]))
    if count > 3:
        _derivative_factors(m, theta, members.jac[s, b], k1, count > 4)
    for p in range(max(count - 2, 1)):
        mirror(m[p])


@lean_kernel
def phases(x, m, n, cos, sin):
    """Fill ``exp(-i k x)`` for the m wave numbers of a stamp of n pixels.

    They are multiples of 2 pi / n: powers of one complex number, double precision.
    """
    step_r, step_i = np.cos(2.0 * np.pi * x / n), -np.sin(2.0 * np.pi * x / n)
    cr, ci = 1.0, 0.0
    for c in range(m // 2 + 1):
        cos[c], sin[c] = cr, ci
        if c > 0:
            cos[m - c], sin[m - c] = cr, -ci
        cr, ci = cr * step_r - ci * step_i, cr * step_i + ci * step_r


@lean_kernel
def mix_psf(members, s, b, length, begin, end, out):
    """Fill a part of ``out`` with the transform of the PSF at a member: the sum over its basis.

    ``length`` floats belong to each basis image; those from ``begin`` to ``end`` are filled.
    """
    off = members.psf_offset[s, b]
    for at in range(begin, end, MIXED_AT_ONCE):
        stop = min(end, at + MIXED_AT_ONCE)
        to = out[at:stop]
        for k in range(members.terms[b]):
            c = np.float32(members.coefficients[s, b, k])
            line = members.psf[off + k * length + at : off + k * length + stop]
            if k == 0:
                for i in range(stop - at):
                    to[i] = c * line[i]
            else:
                for i in range(stop - at):
                    to[i] += c * line[i]


@lean_kernel
def phased_psf(members, s, b, theta, work, er, ei):
    """Fill E = P exp(-i k.x0) / N**2 of a member in image b; the rows of k are kx.

    The image is real, so that E(-k) is the conjugate of E(k): half of the rows are computed.
    """
    n = members.size[s]
    m = n * members.fold[s, b]
    j = members.jac[s, b]
    cx, sx, cy, sy = work.rows[1, :m], work.rows[2, :m], work.rows[3, :m], work.rows[4, :m]
    phases(members.pos[s, b, 0] + j[0] * theta[0] + j[1] * theta[1], m, n, cx, sx)
    phases(members.pos[s, b, 1] + j[2] * theta[0] + j[3] * theta[1], m, n, cy, sy)
    scale = np.float32(1.0 / (m * m))
    psf, off = members.psf, members.psf_offset[s, b]
    half = (m // 2 + 1) * m
    if members.terms[b] > 1 or members.coefficients[s, b, 0] != 1.0:
        psf, off = work.psf, 0
        mix_psf(members, s, b, 2 * half, 0, 2 * half, psf)
    for i in range(m // 2 + 1):
        at = off + i * m
        pr, pi = psf[at : at + m], psf[at + half : at + half + m]
        to_r, to_i = er[i * m : (i + 1) * m], ei[i * m : (i + 1) * m]
        c, d = scale * cx[i], scale * sx[i]
        for q in range(m):
            ar = c * cy[q] - d * sy[q]
            ai = c * sy[q] + d * cy[q]
            to_r[q] = pr[q] * ar - pi[q] * ai
            to_i[q] = pr[q] * ai + pi[q] * ar
    for i in range(m // 2 + 1, m):
        to_r, to_i = er[i * m : (i + 1) * m], ei[i * m : (i + 1) * m]
        pr, pi = er[(m - i) * m : (m - i + 1) * m], ei[(m - i) * m : (m - i + 1) * m]
        to_r[0], to_i[0] = pr[0], -pi[0]
        for q in range(1, m):
            to_r[q] = pr[m - q]
            to_i[q] = -pi[m - q]


@kernel_part
def _packed_spectrum(pair, kind, count, m, er, ei, j, k1, zr, zi):
    """Fill the spectrum ``Z = A + i B`` of the unit images A and B number 2 pair and 2 pair + 1.

    All images are real, so two travel in one complex transform: value and d/dx; d/dy and d/dln r;
    d/dg1 and d/dg2; d/dn alone.  With E the phased PSF, Z is a real or imaginary multiple of it,
    or (pair 2) a complex one.
    """
    n = k1.shape[0]
    j00, j01, j10, j11 = np.float32(j[0]), np.float32(j[1]), np.float32(j[2]), np.float32(j[3])
    one = np.float32(1.0)
    star = kind == STAR
    for i in range(n):
        kx = k1[i]
        row = slice(i * n, (i + 1) * n)
        xr, xi, yr, yi = er[row], ei[row], zr[row], zi[row]
        if pair == 0:
            for c in range(n):
                g = one + j00 * kx + j10 * k1[c]
                if not star:
                    g *= m[0, i, c]
                yr[c] = g * xr[c]
                yi[c] = g * xi[c]
        elif pair == 1:
            for c in range(n):
                g = -(j01 * kx + j11 * k1[c])
                if not star:
                    g *= m[0, i, c]
                if count > 3:
                    g += m[1, i, c]
                yr[c] = -g * xi[c]
                yi[c] = g * xr[c]
        elif pair == 2:
            a, b = m[2, i], m[3, i]
            for c in range(n):
                yr[c] = a[c] * xr[c] - b[c] * xi[c]
                yi[c] = a[c] * xi[c] + b[c] * xr[c]
        else:
            a = m[4, i]
            for c in range(n):
                yr[c] = a[c] * xr[c]
                yi[c] = a[c] * xi[c]


@kernel_part
def _fold_aliases(zr, zi, fr, fi, n):
    """Add the four aliases of a spectrum of side 2 n: the image at every second sample."""
    for i in range(n):
        for z, f in ((zr, fr), (zi, fi)):
            to = f[i * n : (i + 1) * n]
            a, b = z[2 * i * n : 2 * i * n + n], z[2 * i * n + n : 2 * (i + 1) * n]
            for c in range(n):
                to[c] = a[c] + b[c]
            far = 2 * n * n + 2 * i * n
            a, b = z[far : far + n], z[far + n : far + 2 * n]
            for c in range(n):
                to[c] += a[c] + b[c]


@lean_kernel
def to_pixels(work, n, fold, tables, a, b):
    """Transform the spectrum in ``work`` into the flat images a and b, folding its aliases."""
    m = n * fold
    zr, zi = work.planes[2, : m * m], work.planes[3, : m * m]
    if fold > 1:
        fr, fi = work.planes[4, : n * n], work.planes[5, : n * n]
        _fold_aliases(zr, zi, fr, fi, n)
        zr, zi = fr, fi
    e = log2_of(n)
    ifft2_transposed(zr, zi, a, b, work.fft, n, tables.cos[e], tables.sin[e])


@kernel_part
def render_member(members, s, b, theta, tables, work, planes, fresh, u):
    """Render the unit images of member s in image b, as many as ``u`` (count, N N) takes.

    ``theta`` is the row of the member: x, y offsets, ln r_c, g1, g2, n.  ``planes`` (flat) holds
    its multipliers, recomputed where ``fresh`` (new parameters or another view).
    """
    n, fold, kind = members.size[s], members.fold[s, b], members.kind[s]
    m = n * fold
    k1 = wave_numbers(members, s, b, tables, work)
    count = 0 if kind == STAR else max(u.shape[0] - 2, 1)
    multipliers = planes[: count * m * m].reshape((count, m, m))
    if fresh and kind != STAR:
        _multipliers(members, s, b, theta, tables, k1, work, multipliers)
    er, ei = work.planes[0, : m * m], work.planes[1, : m * m]
    phased_psf(members, s, b, theta, work, er, ei)
    zr, zi = work.planes[2, : m * m], work.planes[3, : m * m]
    spare, jac = work.planes[6, : n * n], members.jac[s, b]
    for pair in range((u.shape[0] + 1) // 2):
        _packed_spectrum(pair, kind, u.shape[0], multipliers, er, ei, jac, k1, zr, zi)
        odd = u[2 * pair + 1] if 2 * pair + 1 < u.shape[0] else spare
        to_pixels(work, n, fold, tables, u[2 * pair], odd)

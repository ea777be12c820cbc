"""Compiled rendering: profile multipliers, packed spectra, unit-flux stamps and derivatives.

Spectra are stored ``[kx, ky]``, images ``[y, x]``; see `_fft_nb`.  Formulas: docs/scene.md and the
docstring of `skyloom.scene.render`, whose `render_reference` is the readable twin.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel, kernel_part
from skyloom._types import Floats, Pixels

from ._fft_nb import ifft2_transposed
from ._records import EXP, SERSIC, STAR, Images, Members, Tables, Work


@kernel
def n_parameters(kind):
    """Return the number of unit images of a model: value, x, y [, ln r, g1, g2 [, n]]."""
    if kind == STAR:
        return 3
    if kind == SERSIC:
        return 7
    return 6


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


@kernel_part
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


@kernel_part
def _packed_spectrum(pair, kind, m, er, ei, j, k1, zr, zi):
    """Fill the spectrum ``Z = A + i B`` of the unit images A and B number 2 pair and 2 pair + 1.

    All images are real, so two travel in one complex transform: value and d/dx; d/dy and d/dln r;
    d/dg1 and d/dg2; d/dn alone.
    """
    n = k1.shape[0]
    j00, j01, j10, j11 = np.float32(j[0]), np.float32(j[1]), np.float32(j[2]), np.float32(j[3])
    one = np.float32(1.0)
    star = kind == STAR
    for i in range(n):
        kx = k1[i]
        if pair == 0:
            for c in range(n):
                g = one + j00 * kx + j10 * k1[c]
                if not star:
                    g *= m[0, i, c]
                zr[i, c] = g * er[i, c]
                zi[i, c] = g * ei[i, c]
        elif pair == 1:
            for c in range(n):
                g = -(j01 * kx + j11 * k1[c])
                if not star:
                    g = g * m[0, i, c] + m[1, i, c]
                zr[i, c] = -g * ei[i, c]
                zi[i, c] = g * er[i, c]
        elif pair == 2:
            for c in range(n):
                zr[i, c] = m[2, i, c] * er[i, c] - m[3, i, c] * ei[i, c]
                zi[i, c] = m[2, i, c] * ei[i, c] + m[3, i, c] * er[i, c]
        else:
            for c in range(n):
                zr[i, c] = m[4, i, c] * er[i, c]
                zi[i, c] = m[4, i, c] * ei[i, c]


@kernel
def log2_of(n):
    """Return the exponent of a power of two."""
    e = 0
    while (1 << e) < n:
        e += 1
    return e


@kernel
def widest_stamp(size):
    """Return the largest stamp side."""
    widest = 0
    for s in range(size.shape[0]):
        widest = max(widest, size[s])
    return widest


@kernel
def grid_side(members, s):
    """Return the side of the largest spectrum of a member: its stamp times the folding."""
    fold = 1
    for b in range(members.fold.shape[1]):
        fold = max(fold, members.fold[s, b])
    return members.size[s] * fold


@kernel
def widest_grid(members):
    """Return the side of the largest spectrum of all members."""
    widest = 0
    for s in range(members.size.shape[0]):
        widest = max(widest, grid_side(members, s))
    return widest


@kernel_part
def _fold_aliases(zr, zi, fr, fi):
    """Add the four aliases of a spectrum of side 2 n: the image at every second sample."""
    n = fr.shape[0]
    for i in range(n):
        for z, f in ((zr, fr), (zi, fi)):
            a, b, to = z[i], z[i + n], f[i]
            for c in range(n):
                to[c] = a[c] + b[c]
            a, b = z[i, n:], z[i + n, n:]
            for c in range(n):
                to[c] += a[c] + b[c]


@kernel
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
        np.empty(area, np.float32),
        np.empty(area, np.float32),
        np.empty(n_max, np.float32),
        row,
        row.view(np.int32),
        np.empty(n_max, np.float32),
        np.empty(n_max, np.float32),
        np.empty((512, 8), np.float32),
        np.empty((512, 4), np.float32),
    )


@kernel_part
def _member_multipliers(members, s, b, theta, tables, k1, work, planes):
    """Fill the multipliers of a galaxy in image b; nothing for a star."""
    kind = members.kind[s]
    if kind == STAR:
        return
    table = tables.dev
    if kind == SERSIC:
        sersic_table(np.log(theta[5]), tables.log_n, tables.spline, work.table, work.slope)
        table = work.table
    elif kind == EXP:
        table = tables.exp
    _profile_multipliers(
        planes,
        kind,
        theta[2],
        theta[3],
        theta[4],
        members.jac[s, b],
        k1,
        table,
        work.slope,
        work.row[: k1.shape[0]],
        work.bits[: k1.shape[0]],
    )


@kernel
def render_member(members, s, b, theta, tables, work, planes, fresh, wanted, u):
    """Render the first ``wanted`` unit images of member s in image b into ``u`` (>= wanted, N, N).

    ``theta`` is the row of the member: x, y offsets, ln r_c, g1, g2, n.  ``planes`` (flat) holds
    its multipliers, recomputed where ``fresh`` (new parameters or another view).
    ``u[1]`` is always written: it travels with the value.
    """
    n = members.size[s]
    e = log2_of(n)
    fold = members.fold[s, b]
    m = n * fold  # side of the spectrum
    k1 = work.k1[:m]
    wave = tables.k1[log2_of(m)]
    for i in range(m):
        k1[i] = wave[i] * np.float32(fold)
    j = members.jac[s, b]
    multipliers = planes[: min(5 * m * m, planes.shape[0])]
    if members.kind[s] == STAR:
        multipliers = work.spare[:0]
    multipliers = multipliers.reshape((5 if multipliers.shape[0] else 0, m, m))
    if fresh:
        _member_multipliers(members, s, b, theta, tables, k1, work, multipliers)
    area = m * m
    off = members.psf_offset[s, b]
    er = work.er[:area].reshape((m, m))
    ei = work.ei[:area].reshape((m, m))
    _phased_psf(
        er,
        ei,
        members.psf[off : off + area].reshape((m, m)),
        members.psf[off + area : off + 2 * area].reshape((m, m)),
        members.pos[s, b, 0] + j[0] * theta[0] + j[1] * theta[1],
        members.pos[s, b, 1] + j[2] * theta[0] + j[3] * theta[1],
        k1,
        work.cy[:m],
        work.sy[:m],
    )
    zr = work.zr[:area].reshape((m, m))
    zi = work.zi[:area].reshape((m, m))
    fr = work.fr[: n * n].reshape((n, n))
    fi = work.fi[: n * n].reshape((n, n))
    spare = work.spare[: n * n].reshape((n, n))
    for pair in range((wanted + 1) // 2):
        _packed_spectrum(pair, members.kind[s], multipliers, er, ei, j, k1, zr, zi)
        odd = u[2 * pair + 1] if 2 * pair + 1 < u.shape[0] else spare
        if fold == 1:
            ifft2_transposed(zr, zi, u[2 * pair], odd, tables.cos[e, :n], tables.sin[e, :n])
        else:
            _fold_aliases(zr, zi, fr, fi)
            ifft2_transposed(fr, fi, u[2 * pair], odd, tables.cos[e, :n], tables.sin[e, :n])


@kernel
def _add_stamp(u, amount, x0, y0, img):
    """Add ``amount * u`` to an image, its corner at (x0, y0), clipped at the edges."""
    n = u.shape[0]
    left, right = max(0, -x0), min(n, img.shape[1] - x0)
    if right <= left:
        return
    for i in range(max(0, -y0), min(n, img.shape[0] - y0)):
        line = img[y0 + i, x0 + left : x0 + right]
        value = u[i, left:right]
        for c in range(right - left):
            line[c] += amount * value[c]


@kernel
def add_models(
    images: Images, members: Members, theta: Floats, flux: Floats, tables: Tables, sign: float
) -> None:
    """Add ``sign * model`` of all sources to ``images.data``, clipping stamps at the box edges."""
    n_max = widest_stamp(members.size)
    widest = widest_grid(members)
    work = make_work(widest)
    planes = np.empty(5 * widest * widest, np.float32)
    unit = np.empty(2 * n_max * n_max, np.float32)
    value_only = np.int64(1)
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        u = unit[: 2 * n * n].reshape((2, n, n))
        fresh = True
        drawn = 0
        for b in range(images.offset.shape[0]):
            amount = flux[s, images.key[b]]
            if amount == 0.0:
                continue
            if not fresh:
                fresh = not same_view(members, s, drawn, b)
            render_member(members, s, b, theta[s], tables, work, planes, fresh, value_only, u)
            fresh, drawn = False, b
            height, width = images.shape[b, 0], images.shape[b, 1]
            start = images.offset[b]
            img = images.data[start : start + height * width].reshape((height, width))
            x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
            _add_stamp(u[0], np.float32(sign * amount), x0, y0, img)


@kernel
def same_view(members, s, a, b):
    """Tell whether images a and b see a member with the same Jacobian and folding."""
    p, q = members.jac[s, a], members.jac[s, b]
    same = p[0] == q[0] and p[1] == q[1] and p[2] == q[2] and p[3] == q[3]
    return same and members.fold[s, a] == members.fold[s, b]


@kernel
def mix_psf(basis: Pixels, coefficients: Floats, out: Pixels) -> None:
    """Fill ``out`` with ``sum_k coefficients[k] basis[k]`` (flat transforms)."""
    for i in range(out.shape[0]):
        out[i] = np.float32(coefficients[0]) * basis[0, i]
    for k in range(1, basis.shape[0]):
        c = np.float32(coefficients[k])
        line = basis[k]
        for i in range(out.shape[0]):
            out[i] += c * line[i]

"""Compiled weighted products of unit images over the rectangle that two stamps share.

All arrays are flat; an image is known by where its first common pixel lies and by the length of its
rows.  Sums run in sixteen lanes of single precision over a limited number of rows, then in double.
Reading goes up to 15 floats beyond a row, where the weight is taken as zero: arrays end with that
many spare, finite floats.
"""

from __future__ import annotations

from skyloom._jit import lean_exact_kernel

from ._vector_nb import LANES, first_lanes, fma, load, product, splat, total

SPARE = LANES  # floats that every array read here has beyond its last pixel
CHUNK = 16384  # pixels summed in single precision, 1024 per lane


@lean_exact_kernel
def _rows_at_once(width):
    """Return how many rows of a rectangle are summed in single precision."""
    return max(1, CHUNK // max(width, 1))


@lean_exact_kernel
def products33(ua, a, da, la, ub, b, db, lb, w, at, lw, height, width, out, i, j):
    """Add the nine products of three images with three to ``out[i:i+3, j:j+3]``.

    The images of ``ua`` start at ``a``, ``a + da``, ``a + 2 da`` and have rows of ``la`` floats;
    likewise ``ub``; the weight starts at ``w[at]``.
    """
    zero = splat(w[0] - w[0])
    step = _rows_at_once(width)
    for begin in range(0, height, step):
        s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = zero
        for r in range(begin, min(height, begin + step)):
            p, q, t = a + r * la, b + r * lb, at + r * lw
            for c in range(0, width, LANES):
                v = first_lanes(load(w, t + c), width - c)
                b0, b1, b2 = load(ub, q + c), load(ub, q + db + c), load(ub, q + 2 * db + c)
                x = product(v, load(ua, p + c))
                s00, s01, s02 = fma(x, b0, s00), fma(x, b1, s01), fma(x, b2, s02)
                y = product(v, load(ua, p + da + c))
                s10, s11, s12 = fma(y, b0, s10), fma(y, b1, s11), fma(y, b2, s12)
                z = product(v, load(ua, p + 2 * da + c))
                s20, s21, s22 = fma(z, b0, s20), fma(z, b1, s21), fma(z, b2, s22)
        out[i, j] += total(s00)
        out[i, j + 1] += total(s01)
        out[i, j + 2] += total(s02)
        out[i + 1, j] += total(s10)
        out[i + 1, j + 1] += total(s11)
        out[i + 1, j + 2] += total(s12)
        out[i + 2, j] += total(s20)
        out[i + 2, j + 1] += total(s21)
        out[i + 2, j + 2] += total(s22)


@lean_exact_kernel
def products44(ua, a, da, la, ub, b, db, lb, w, at, lw, height, width, out, i, j):
    """Add the products of four images with four to ``out[i:i+4, j:j+4]``; see `products33`."""
    zero = splat(w[0] - w[0])
    step = _rows_at_once(width)
    for begin in range(0, height, step):
        s00 = s01 = s02 = s03 = zero
        s10 = s11 = s12 = s13 = zero
        s20 = s21 = s22 = s23 = zero
        s30 = s31 = s32 = s33 = zero
        for r in range(begin, min(height, begin + step)):
            p, q, t = a + r * la, b + r * lb, at + r * lw
            for c in range(0, width, LANES):
                v = first_lanes(load(w, t + c), width - c)
                b0, b1 = load(ub, q + c), load(ub, q + db + c)
                b2, b3 = load(ub, q + 2 * db + c), load(ub, q + 3 * db + c)
                x = product(v, load(ua, p + c))
                s00, s01 = fma(x, b0, s00), fma(x, b1, s01)
                s02, s03 = fma(x, b2, s02), fma(x, b3, s03)
                x = product(v, load(ua, p + da + c))
                s10, s11 = fma(x, b0, s10), fma(x, b1, s11)
                s12, s13 = fma(x, b2, s12), fma(x, b3, s13)
                x = product(v, load(ua, p + 2 * da + c))
                s20, s21 = fma(x, b0, s20), fma(x, b1, s21)
                s22, s23 = fma(x, b2, s22), fma(x, b3, s23)
                x = product(v, load(ua, p + 3 * da + c))
                s30, s31 = fma(x, b0, s30), fma(x, b1, s31)
                s32, s33 = fma(x, b2, s32), fma(x, b3, s33)
        out[i, j] += total(s00)
        out[i, j + 1] += total(s01)
        out[i, j + 2] += total(s02)
        out[i, j + 3] += total(s03)
        out[i + 1, j] += total(s10)
        out[i + 1, j + 1] += total(s11)
        out[i + 1, j + 2] += total(s12)
        out[i + 1, j + 3] += total(s13)
        out[i + 2, j] += total(s20)
        out[i + 2, j + 1] += total(s21)
        out[i + 2, j + 2] += total(s22)
        out[i + 2, j + 3] += total(s23)
        out[i + 3, j] += total(s30)
        out[i + 3, j + 1] += total(s31)
        out[i + 3, j + 2] += total(s32)
        out[i + 3, j + 3] += total(s33)


@lean_exact_kernel
def products43(ua, a, da, la, ub, b, db, lb, w, at, lw, height, width, out, i, j, turned):
    """Add the products of four images with three to ``out[i:i+4, j:j+3]``, or turned."""
    zero = splat(w[0] - w[0])
    step = _rows_at_once(width)
    for begin in range(0, height, step):
        s00 = s01 = s02 = zero
        s10 = s11 = s12 = zero
        s20 = s21 = s22 = zero
        s30 = s31 = s32 = zero
        for r in range(begin, min(height, begin + step)):
            p, q, t = a + r * la, b + r * lb, at + r * lw
            for c in range(0, width, LANES):
                v = first_lanes(load(w, t + c), width - c)
                b0, b1 = load(ub, q + c), load(ub, q + db + c)
                b2 = load(ub, q + 2 * db + c)
                x = product(v, load(ua, p + c))
                s00, s01 = fma(x, b0, s00), fma(x, b1, s01)
                s02 = fma(x, b2, s02)
                x = product(v, load(ua, p + da + c))
                s10, s11 = fma(x, b0, s10), fma(x, b1, s11)
                s12 = fma(x, b2, s12)
                x = product(v, load(ua, p + 2 * da + c))
                s20, s21 = fma(x, b0, s20), fma(x, b1, s21)
                s22 = fma(x, b2, s22)
                x = product(v, load(ua, p + 3 * da + c))
                s30, s31 = fma(x, b0, s30), fma(x, b1, s31)
                s32 = fma(x, b2, s32)
        if turned:
            out[j, i] += total(s00)
            out[j + 1, i] += total(s01)
            out[j + 2, i] += total(s02)
            out[j, i + 1] += total(s10)
            out[j + 1, i + 1] += total(s11)
            out[j + 2, i + 1] += total(s12)
            out[j, i + 2] += total(s20)
            out[j + 1, i + 2] += total(s21)
            out[j + 2, i + 2] += total(s22)
            out[j, i + 3] += total(s30)
            out[j + 1, i + 3] += total(s31)
            out[j + 2, i + 3] += total(s32)
        else:
            out[i, j] += total(s00)
            out[i, j + 1] += total(s01)
            out[i, j + 2] += total(s02)
            out[i + 1, j] += total(s10)
            out[i + 1, j + 1] += total(s11)
            out[i + 1, j + 2] += total(s12)
            out[i + 2, j] += total(s20)
            out[i + 2, j + 1] += total(s21)
            out[i + 2, j + 2] += total(s22)
            out[i + 3, j] += total(s30)
            out[i + 3, j + 1] += total(s31)
            out[i + 3, j + 2] += total(s32)


@lean_exact_kernel
def products13(ua, a, la, ub, b, db, lb, w, at, lw, height, width, out, i, j, turned):
    """Add the products of one image with three to ``out[i, j:j+3]``, or ``out[j:j+3, i]``."""
    zero = splat(w[0] - w[0])
    step = _rows_at_once(width)
    for begin in range(0, height, step):
        s0 = s1 = s2 = zero
        for r in range(begin, min(height, begin + step)):
            p, q, t = a + r * la, b + r * lb, at + r * lw
            for c in range(0, width, LANES):
                x = product(first_lanes(load(w, t + c), width - c), load(ua, p + c))
                s0 = fma(x, load(ub, q + c), s0)
                s1 = fma(x, load(ub, q + db + c), s1)
                s2 = fma(x, load(ub, q + 2 * db + c), s2)
        if turned:
            out[j, i] += total(s0)
            out[j + 1, i] += total(s1)
            out[j + 2, i] += total(s2)
        else:
            out[i, j] += total(s0)
            out[i, j + 1] += total(s1)
            out[i, j + 2] += total(s2)


@lean_exact_kernel
def product11(ua, a, la, ub, b, lb, w, at, lw, height, width):
    """Return the product of one image with one."""
    step = _rows_at_once(width)
    result = 0.0
    for begin in range(0, height, step):
        s = splat(w[0] - w[0])
        for r in range(begin, min(height, begin + step)):
            p, q, t = a + r * la, b + r * lb, at + r * lw
            for c in range(0, width, LANES):
                x = product(first_lanes(load(w, t + c), width - c), load(ua, p + c))
                s = fma(x, load(ub, q + c), s)
        result += total(s)
    return result


@lean_exact_kernel
def _part(count, done):
    """Return how many of the remaining images the next block takes: 7 = 4 + 3, 6 = 3 + 3."""
    left = count - done
    if left in (4, 7):
        return 4
    return 3 if left >= 3 else 1


@lean_exact_kernel
def pair_products(ua, a, da, la, na, ub, b, db, lb, nb, w, at, lw, height, width, out):
    """Fill ``out[:na, :nb]`` with the products of ``na`` images with ``nb`` images."""
    plain = na - na  # numbers that are written out would each compile the blocks anew
    turned = plain + 1
    for p in range(na):
        for q in range(nb):
            out[p, q] = 0.0
    p = plain
    while p < na:
        m, q, ap = _part(na, p), plain, a + p * da
        while q < nb:
            n, bq = _part(nb, q), b + q * db
            if m == 4 and n == 4:
                products44(ua, ap, da, la, ub, bq, db, lb, w, at, lw, height, width, out, p, q)
            elif m == 3 and n == 3:
                products33(ua, ap, da, la, ub, bq, db, lb, w, at, lw, height, width, out, p, q)
            elif m == 4 and n == 3:
                products43(
                    ua, ap, da, la, ub, bq, db, lb, w, at, lw, height, width, out, p, q, plain
                )
            elif m == 3 and n == 4:
                products43(
                    ub, bq, db, lb, ua, ap, da, la, w, at, lw, height, width, out, q, p, turned
                )
            elif m == 1 and n >= 3:
                for k in range(q, q + n - n % 3, 3):
                    bk = b + k * db
                    products13(
                        ua, ap, la, ub, bk, db, lb, w, at, lw, height, width, out, p, k, plain
                    )
                for k in range(q + n - n % 3, q + n):
                    bk = b + k * db
                    out[p, k] = product11(ua, ap, la, ub, bk, lb, w, at, lw, height, width)
            elif m >= 3:
                for k in range(p, p + m - m % 3, 3):
                    ak = a + k * da
                    products13(
                        ub, bq, lb, ua, ak, da, la, w, at, lw, height, width, out, q, k, turned
                    )
                for k in range(p + m - m % 3, p + m):
                    ak = a + k * da
                    out[k, q] = product11(ua, ak, la, ub, bq, lb, w, at, lw, height, width)
            else:
                out[p, q] = product11(ua, ap, la, ub, bq, lb, w, at, lw, height, width)
            q += n
        p += m


@lean_exact_kernel
def _self66(u, a, da, n, w, at, lw, out):
    """Fill the lower triangle of ``out[:6, :6]``: products of six images with each other."""
    zero = splat(w[0] - w[0])
    step = _rows_at_once(n)
    for p in range(6):
        for q in range(p + 1):
            out[p, q] = 0.0
    for begin in range(0, n, step):
        s00 = s10 = s11 = s20 = s21 = s22 = s30 = s31 = s32 = s33 = zero
        s40 = s41 = s42 = s43 = s44 = s50 = s51 = s52 = s53 = s54 = s55 = zero
        for r in range(begin, min(n, begin + step)):
            p, t = a + r * n, at + r * lw
            for c in range(0, n, LANES):
                v = load(w, t + c)
                u0, u1, u2 = load(u, p + c), load(u, p + da + c), load(u, p + 2 * da + c)
                x = product(v, u0)
                s00 = fma(x, u0, s00)
                x = product(v, u1)
                s10, s11 = fma(x, u0, s10), fma(x, u1, s11)
                x = product(v, u2)
                s20, s21, s22 = fma(x, u0, s20), fma(x, u1, s21), fma(x, u2, s22)
                u3 = load(u, p + 3 * da + c)
                x = product(v, u3)
                s30, s31, s32 = fma(x, u0, s30), fma(x, u1, s31), fma(x, u2, s32)
                s33 = fma(x, u3, s33)
                u4 = load(u, p + 4 * da + c)
                x = product(v, u4)
                s40, s41, s42 = fma(x, u0, s40), fma(x, u1, s41), fma(x, u2, s42)
                s43, s44 = fma(x, u3, s43), fma(x, u4, s44)
                u5 = load(u, p + 5 * da + c)
                x = product(v, u5)
                s50, s51, s52 = fma(x, u0, s50), fma(x, u1, s51), fma(x, u2, s52)
                s53, s54, s55 = fma(x, u3, s53), fma(x, u4, s54), fma(x, u5, s55)
        out[0, 0] += total(s00)
        out[1, 0] += total(s10)
        out[1, 1] += total(s11)
        out[2, 0] += total(s20)
        out[2, 1] += total(s21)
        out[2, 2] += total(s22)
        out[3, 0] += total(s30)
        out[3, 1] += total(s31)
        out[3, 2] += total(s32)
        out[3, 3] += total(s33)
        out[4, 0] += total(s40)
        out[4, 1] += total(s41)
        out[4, 2] += total(s42)
        out[4, 3] += total(s43)
        out[4, 4] += total(s44)
        out[5, 0] += total(s50)
        out[5, 1] += total(s51)
        out[5, 2] += total(s52)
        out[5, 3] += total(s53)
        out[5, 4] += total(s54)
        out[5, 5] += total(s55)


@lean_exact_kernel
def self_products(u, a, n, count, w, at, lw, out):
    """Fill the lower triangle of ``out[:count, :count]`` with the products of a stamp's images."""
    da = n * n
    if count < 6:
        pair_products(u, a, da, n, count, u, a, da, n, count, w, at, lw, n, n, out)
        return
    _self66(u, a, da, n, w, at, lw, out)
    for p in range(6, count):
        for q in range(p + 1):
            out[p, q] = product11(u, a + p * da, n, u, a + q * da, n, w, at, lw, n, n)


@lean_exact_kernel
def gradients(u, a, n, count, wr, w, at, lw, by_residual, by_sky):
    """Add the sums of ``u wr`` and of ``u w`` over a stamp for each of its images."""
    da = n * n
    step = _rows_at_once(n)
    zero = splat(w[0] - w[0])
    for begin in range(0, n, step):
        end = min(n, begin + step)
        for k in range(0, count - count % 3, 3):
            s0 = s1 = s2 = e0 = e1 = e2 = zero
            for r in range(begin, end):
                p, t = a + k * da + r * n, at + r * lw
                for c in range(0, n, LANES):
                    x, v = load(wr, t + c), load(w, t + c)
                    y = load(u, p + c)
                    s0, e0 = fma(x, y, s0), fma(v, y, e0)
                    y = load(u, p + da + c)
                    s1, e1 = fma(x, y, s1), fma(v, y, e1)
                    y = load(u, p + 2 * da + c)
                    s2, e2 = fma(x, y, s2), fma(v, y, e2)
            by_residual[k] += total(s0)
            by_residual[k + 1] += total(s1)
            by_residual[k + 2] += total(s2)
            by_sky[k] += total(e0)
            by_sky[k + 1] += total(e1)
            by_sky[k + 2] += total(e2)
        for k in range(count - count % 3, count):
            s0 = e0 = zero
            for r in range(begin, end):
                p, t = a + k * da + r * n, at + r * lw
                for c in range(0, n, LANES):
                    y = load(u, p + c)
                    s0, e0 = fma(load(wr, t + c), y, s0), fma(load(w, t + c), y, e0)
            by_residual[k] += total(s0)
            by_sky[k] += total(e0)

"""Two-dimensional inverse FFT of small power-of-two stamps, single precision.

Stockham autosort passes (radix 8 and 4, one radix-2 pass where needed) along the first axis, for
sixteen columns at a time: they stay in the first-level cache from the first pass to the last.  On
the way out of the first axis blocks are transposed, so that the second axis becomes the first.
Sign convention and scaling: ``x[n] = sum_k X[k] exp(+2 pi i k n / N)``, not divided by ``N**2``
(the caller folds that in).

Source of the method: Stockham 1966; the pass structure follows the textbook decimation in
frequency.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel_part, lean_kernel
from skyloom._types import Pixels

from ._vector_nb import LANES, fma, fms, load, product, splat, store, transpose_block


@lean_kernel
def _store_turned(yr, yi, o, ar, ai, wr, wi):
    """Store ``(ar + i ai) (wr + i wi)``."""
    store(yr, o, fms(ar, wr, product(ai, wi)))
    store(yi, o, fma(ar, wi, product(ai, wr)))


@kernel_part
def _radix4(xr, xi, start, pitch, yr, yi, to, to_pitch, m, stride, wr, wi):
    """One pass: ``m`` twiddles, ``stride`` butterflies each; rows are ``pitch`` floats apart."""
    d, e = pitch * stride * m, to_pitch * stride
    for p in range(m):
        w = p * stride
        w1r, w2r, w3r = splat(wr[w]), splat(wr[2 * w]), splat(wr[3 * w])
        w1i, w2i, w3i = splat(wi[w]), splat(wi[2 * w]), splat(wi[3 * w])
        for q in range(stride):
            i = start + pitch * (q + stride * p)
            o = to + to_pitch * (q + 4 * stride * p)
            ar, br, cr, dr = load(xr, i), load(xr, i + d), load(xr, i + 2 * d), load(xr, i + 3 * d)
            ai, bi, ci, di = load(xi, i), load(xi, i + d), load(xi, i + 2 * d), load(xi, i + 3 * d)
            even_r, even_i, odd_r, odd_i = ar + cr, ai + ci, ar - cr, ai - ci
            # inverse transform: +i (b - d)
            sum_r, sum_i, turn_r, turn_i = br + dr, bi + di, di - bi, br - dr
            store(yr, o, even_r + sum_r)
            store(yi, o, even_i + sum_i)
            _store_turned(yr, yi, o + e, odd_r + turn_r, odd_i + turn_i, w1r, w1i)
            _store_turned(yr, yi, o + 2 * e, even_r - sum_r, even_i - sum_i, w2r, w2i)
            _store_turned(yr, yi, o + 3 * e, odd_r - turn_r, odd_i - turn_i, w3r, w3i)


@lean_kernel
def _quarter(e0, e1, e2, e3, f0, f1, f2, f3):
    """Return the four-point transform of ``e + i f``: real parts, then imaginary parts."""
    ar, br, cr, dr = e0 + e2, e1 + e3, e0 - e2, e1 - e3
    ai, bi, ci, di = f0 + f2, f1 + f3, f0 - f2, f1 - f3
    return ar + br, cr - di, ar - br, cr + di, ai + bi, ci + dr, ai - bi, ci - dr


@kernel_part
def _radix8(xr, xi, start, pitch, yr, yi, to, to_pitch, m, stride, wr, wi):
    """Like `_radix4`, of eight rows: two four-point transforms, of sums and of differences."""
    d, e = pitch * stride * m, to_pitch * stride
    half = splat(np.float32(0.70710678118654752))
    for p in range(m):
        w = p * stride
        for q in range(stride):
            i = start + pitch * (q + stride * p)
            o = to + to_pitch * (q + 8 * stride * p)
            ar, br = load(xr, i), load(xr, i + 4 * d)
            ai, bi = load(xi, i), load(xi, i + 4 * d)
            s0, d0, t0, u0 = ar + br, ar - br, ai + bi, ai - bi
            ar, br = load(xr, i + d), load(xr, i + 5 * d)
            ai, bi = load(xi, i + d), load(xi, i + 5 * d)
            s1, t1, br, bi = ar + br, ai + bi, ar - br, ai - bi
            d1, u1 = product(br - bi, half), product(br + bi, half)  # times exp(i pi / 4)
            ar, br = load(xr, i + 2 * d), load(xr, i + 6 * d)
            ai, bi = load(xi, i + 2 * d), load(xi, i + 6 * d)
            s2, t2, d2, u2 = ar + br, ai + bi, bi - ai, ar - br  # times i
            ar, br = load(xr, i + 3 * d), load(xr, i + 7 * d)
            ai, bi = load(xi, i + 3 * d), load(xi, i + 7 * d)
            s3, t3, br, bi = ar + br, ai + bi, br - ar, bi - ai
            d3, u3 = product(br + bi, half), product(bi - br, half)  # times exp(3 i pi / 4)
            r0, r2, r4, r6, i0, i2, i4, i6 = _quarter(s0, s1, s2, s3, t0, t1, t2, t3)
            store(yr, o, r0)
            store(yi, o, i0)
            _store_turned(yr, yi, o + 2 * e, r2, i2, splat(wr[2 * w]), splat(wi[2 * w]))
            _store_turned(yr, yi, o + 4 * e, r4, i4, splat(wr[4 * w]), splat(wi[4 * w]))
            _store_turned(yr, yi, o + 6 * e, r6, i6, splat(wr[6 * w]), splat(wi[6 * w]))
            r1, r3, r5, r7, i1, i3, i5, i7 = _quarter(d0, d1, d2, d3, u0, u1, u2, u3)
            _store_turned(yr, yi, o + e, r1, i1, splat(wr[w]), splat(wi[w]))
            _store_turned(yr, yi, o + 3 * e, r3, i3, splat(wr[3 * w]), splat(wi[3 * w]))
            _store_turned(yr, yi, o + 5 * e, r5, i5, splat(wr[5 * w]), splat(wi[5 * w]))
            _store_turned(yr, yi, o + 7 * e, r7, i7, splat(wr[7 * w]), splat(wi[7 * w]))


@kernel_part
def _radix2(xr, xi, start, pitch, yr, yi, to, to_pitch, m, stride, wr, wi):
    """Like `_radix4`, of two rows."""
    d, e = pitch * stride * m, to_pitch * stride
    for p in range(m):
        w1r, w1i = splat(wr[p * stride]), splat(wi[p * stride])
        for q in range(stride):
            i = start + pitch * (q + stride * p)
            o = to + to_pitch * (q + 2 * stride * p)
            ar, br, ai, bi = load(xr, i), load(xr, i + d), load(xi, i), load(xi, i + d)
            store(yr, o, ar + br)
            store(yi, o, ai + bi)
            _store_turned(yr, yi, o + e, ar - br, ai - bi, w1r, w1i)


@lean_kernel
def radix_of(length):
    """Return how many rows the first pass over a length combines: as few passes as can be."""
    if length % 8 == 0 and length != 16:
        return 8
    return 4 if length % 4 == 0 else 2


@lean_kernel
def ifft2_transposed(sr, si, br, bi, work, n, wr, wi):
    """Transform a spectrum stored as ``[kx, ky]`` into an image stored as ``[y, x]``.

    All arrays are flat: the spectrum ``sr + i si`` (N * N,), which stays as it is, the image
    ``br + i bi``, and ``work`` (64 N,).  ``wr, wi`` are the `twiddles`.
    """
    area = LANES * n
    for axis in range(2):
        ar, ai = (sr, si) if axis == 0 else (br, bi)
        for c in range(0, n, LANES):
            xr, xi, start, pitch = ar, ai, c, n
            length, stride, half = n, 1, 0
            while length > 1:
                yr = work[2 * half * area : (2 * half + 1) * area]
                yi = work[(2 * half + 1) * area : (2 * half + 2) * area]
                to, to_pitch = 0, LANES
                radix = radix_of(length)
                if length == radix and axis == 1:
                    yr, yi, to, to_pitch = br, bi, c, n
                if radix == 8:
                    length //= 8
                    _radix8(xr, xi, start, pitch, yr, yi, to, to_pitch, length, stride, wr, wi)
                    stride *= 8
                elif radix == 4:
                    length //= 4
                    _radix4(xr, xi, start, pitch, yr, yi, to, to_pitch, length, stride, wr, wi)
                    stride *= 4
                else:
                    length //= 2
                    _radix2(xr, xi, start, pitch, yr, yi, to, to_pitch, length, stride, wr, wi)
                    stride *= 2
                xr, xi, start, pitch = yr, yi, 0, LANES
                half = 1 - half
            if axis == 0:
                for r in range(0, n, LANES):
                    transpose_block(xr, LANES * r, LANES, br, n * c + r, n)
                    transpose_block(xi, LANES * r, LANES, bi, n * c + r, n)


def twiddles(n: int) -> tuple[Pixels, Pixels]:
    """Return cos and sin of ``2 pi p / n`` for ``p < n``, single precision."""
    angle = 2.0 * np.pi * np.arange(n) / n
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

"""Two-dimensional inverse FFT of small power-of-two stamps, single precision.

Stockham autosort passes (radix 4, one radix-2 pass where needed) along the first axis, for sixteen
columns at a time: they stay in the first-level cache from the first pass to the last.  On the way
out of the first axis blocks are transposed, so that the second axis becomes the first.
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
                if length <= 4 and axis == 1:
                    yr, yi, to, to_pitch = br, bi, c, n
                if length % 4 == 0:
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

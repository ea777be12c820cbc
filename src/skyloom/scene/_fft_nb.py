"""Two-dimensional inverse FFT of small power-of-two stamps, single precision.

Stockham autosort passes (radix 4, one radix-2 pass where needed) along the first axis, with whole
rows as elements, so that the innermost loop runs over contiguous columns.  A transposition turns
the second axis into the first.  Sign convention and scaling:
``x[n] = sum_k X[k] exp(+2 pi i k n / N)``, not divided by ``N**2`` (the caller folds that in).

Source of the method: Stockham 1966; the pass structure follows the textbook decimation in
frequency.
"""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel, kernel_part
from skyloom._types import Pixels


@kernel_part
def _passes(ar, ai, br, bi, n, wr, wi):
    """Transform along axis 0; return True where the result ended in (br, bi)."""
    cols = ar.shape[1]
    length = n
    stride = 1
    in_b = False
    while length > 1:
        if in_b:
            xr, xi, yr, yi = br, bi, ar, ai
        else:
            xr, xi, yr, yi = ar, ai, br, bi
        step = n // length
        if length % 4 == 0:
            m = length // 4
            for p in range(m):
                w1r, w1i = wr[p * step], wi[p * step]
                w2r, w2i = wr[2 * p * step], wi[2 * p * step]
                w3r, w3i = wr[3 * p * step], wi[3 * p * step]
                for q in range(stride):
                    i0 = q + stride * p
                    i1 = i0 + stride * m
                    i2 = i1 + stride * m
                    i3 = i2 + stride * m
                    o0 = q + stride * 4 * p
                    o1 = o0 + stride
                    o2 = o1 + stride
                    o3 = o2 + stride
                    for j in range(cols):
                        apc_r = xr[i0, j] + xr[i2, j]
                        apc_i = xi[i0, j] + xi[i2, j]
                        amc_r = xr[i0, j] - xr[i2, j]
                        amc_i = xi[i0, j] - xi[i2, j]
                        bpd_r = xr[i1, j] + xr[i3, j]
                        bpd_i = xi[i1, j] + xi[i3, j]
                        # inverse transform: +i (b - d)
                        jr = xi[i3, j] - xi[i1, j]
                        ji = xr[i1, j] - xr[i3, j]
                        yr[o0, j] = apc_r + bpd_r
                        yi[o0, j] = apc_i + bpd_i
                        tr = amc_r + jr
                        ti = amc_i + ji
                        yr[o1, j] = tr * w1r - ti * w1i
                        yi[o1, j] = tr * w1i + ti * w1r
                        tr = apc_r - bpd_r
                        ti = apc_i - bpd_i
                        yr[o2, j] = tr * w2r - ti * w2i
                        yi[o2, j] = tr * w2i + ti * w2r
                        tr = amc_r - jr
                        ti = amc_i - ji
                        yr[o3, j] = tr * w3r - ti * w3i
                        yi[o3, j] = tr * w3i + ti * w3r
            length //= 4
            stride *= 4
        else:
            m = length // 2
            for p in range(m):
                w1r, w1i = wr[p * step], wi[p * step]
                for q in range(stride):
                    i0 = q + stride * p
                    i1 = i0 + stride * m
                    o0 = q + stride * 2 * p
                    o1 = o0 + stride
                    for j in range(cols):
                        tr = xr[i0, j] - xr[i1, j]
                        ti = xi[i0, j] - xi[i1, j]
                        yr[o0, j] = xr[i0, j] + xr[i1, j]
                        yi[o0, j] = xi[i0, j] + xi[i1, j]
                        yr[o1, j] = tr * w1r - ti * w1i
                        yi[o1, j] = tr * w1i + ti * w1r
            length //= 2
            stride *= 2
        in_b = not in_b
    return in_b


@kernel
def _transpose(src, dst, n):
    """Copy ``src.T`` into ``dst`` in blocks that stay in the first-level cache."""
    block = 16
    for i0 in range(0, n, block):
        for j0 in range(0, n, block):
            for i in range(i0, i0 + block):
                for j in range(j0, j0 + block):
                    dst[i, j] = src[j, i]


@kernel
def ifft2_transposed(ar, ai, br, bi, wr, wi):
    """Transform a spectrum stored as ``[kx, ky]`` into an image stored as ``[y, x]``.

    The spectrum ``ar + i ai`` (N, N) is destroyed; the image arrives in ``br + i bi``, whatever
    N: an odd number of passes ends in the other buffer, an even number in the same one, and the
    transposition between the two axes makes up for it.  ``wr, wi`` are the `twiddles`.
    """
    n = ar.shape[0]
    sr, si, tr, ti = ar, ai, br, bi
    # A loop, not two calls: code that is inlined once compiles in half the time.
    for axis in range(2):
        in_target = _passes(sr, si, tr, ti, n, wr, wi)
        if axis == 0:
            if in_target:
                sr, si, tr, ti = tr, ti, sr, si
            _transpose(sr, tr, n)
            _transpose(si, ti, n)
            sr, si, tr, ti = tr, ti, sr, si


def twiddles(n: int) -> tuple[Pixels, Pixels]:
    """Return cos and sin of ``2 pi p / n`` for ``p < n``, single precision."""
    angle = 2.0 * np.pi * np.arange(n) / n
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

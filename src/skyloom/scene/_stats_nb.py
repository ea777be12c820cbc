"""Compiled statistics of what a fit leaves behind, per source and image."""

from __future__ import annotations

import numba as nb
import numpy as np

from ._fft_nb import JIT
from ._render_nb import make_work, render_member, same_jacobian

MIN_PIXELS = 5  # fewer pixels above the noise: the core of the profile is used instead
CORE = 0.25  # of the peak, about the half-maximum region of a blurred source


@nb.njit(**JIT)
def footprint_statistics(members, theta, flux, tables, residual, bad, noise, out):
    """Fill ``out`` (n, B, 7) for every source and image.

    Columns: sum of residual**2 * weight over the footprint, its number of good pixels, the share
    of the profile's weight on bad pixels or outside the frame, the same for the core, sum(W v) and
    sum(W v**2) over the stamp, and the number of footprint pixels above the noise.
    The footprint is where the model exceeds ``noise`` [1 sigma of the sky, (B,)], or, if that
    is fewer than five pixels, where it exceeds a quarter of its peak.
    ``bad`` is flat like ``residual.data``; bad pixels also have zero weight.
    """
    n_src = members.kind.shape[0]
    n_img = residual.offset.shape[0]
    n_max = 0
    for s in range(n_src):
        n_max = max(n_max, members.size[s])
    work = make_work(n_max)
    planes = np.empty(5 * n_max * n_max, np.float32)
    unit = np.empty(7 * n_max * n_max, np.float32)
    for s in range(n_src):
        n = members.size[s]
        u = unit[: 7 * n * n].reshape((7, n, n))
        for b in range(n_img):
            fresh = b == 0 or not same_jacobian(members.jac, s, b - 1, b)
            m = planes[: 5 * n * n].reshape((5, n, n))
            render_member(members, s, b, theta[s], tables, work, m, fresh, False, u)
            height, width = residual.shape[b, 0], residual.shape[b, 1]
            start = residual.offset[b]
            res = residual.data[start : start + height * width].reshape((height, width))
            wgt = residual.weight[start : start + height * width].reshape((height, width))
            msk = bad[start : start + height * width].reshape((height, width))
            x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
            f = np.float32(flux[s, residual.key[b]])
            peak = np.float32(0.0)
            above = 0
            for i in range(n):
                for c in range(n):
                    peak = max(peak, u[0, i, c])
                    if f * u[0, i, c] > noise[b]:
                        above += 1
            limit = np.float32(noise[b] / f) if above >= MIN_PIXELS else np.float32(CORE) * peak
            chi2 = 0.0
            good = 0
            lost = total = core_lost = core_total = wv = wvv = 0.0
            for i in range(n):
                yy = y0 + i
                for c in range(n):
                    xx = x0 + c
                    v = u[0, i, c]
                    inside = yy >= 0 and yy < height and xx >= 0 and xx < width
                    usable = False
                    if inside:
                        usable = msk[yy, xx] == 0
                    vv = v * v
                    total += vv
                    core = v > np.float32(CORE) * peak
                    if core:
                        core_total += 1.0
                    if not usable:
                        lost += vv
                        if core:
                            core_lost += 1.0
                        continue
                    w = wgt[yy, xx]
                    wv += w * v
                    wvv += w * vv
                    if v > limit:
                        good += 1
                        chi2 += res[yy, xx] * res[yy, xx] * w
            out[s, b, 0] = chi2
            out[s, b, 1] = good
            out[s, b, 2] = lost / total if total > 0.0 else 1.0
            out[s, b, 3] = core_lost / core_total if core_total > 0.0 else 1.0
            out[s, b, 4] = wv
            out[s, b, 5] = wvv
            out[s, b, 6] = above

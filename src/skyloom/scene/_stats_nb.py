"""Compiled statistics of what a fit leaves behind, per source and image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel
from skyloom._types import Floats

from ._records import Images, Members, Tables
from ._render_nb import make_work, render_member, same_view, widest_grid, widest_stamp

MIN_PIXELS = 5  # fewer pixels above the noise: the core of the profile is used instead
CORE = 0.25  # of the peak, about the half-maximum region of a blurred source


@kernel
def footprint_statistics(
    members: Members,
    theta: Floats,
    flux: Floats,
    tables: Tables,
    residual: Images,
    bad: npt.NDArray[np.uint8],
    noise: Floats,
    out: Floats,
) -> None:
    """Fill ``out`` (n, B, 7) for every source and image.

    Columns: sum of residual**2 * weight over the footprint, its number of good pixels, the share
    of the profile's weight on bad pixels or outside the frame, the same for the core, sum(W v) and
    sum(W v**2) over the stamp, and the number of footprint pixels above the noise.
    The footprint is where the model exceeds ``noise`` [1 sigma of the sky, (B,)], or, if that
    is fewer than five pixels, where it exceeds a quarter of its peak.
    ``bad`` is flat like ``residual.data``; bad pixels also have zero weight.
    """
    n_max = widest_stamp(members.size)
    widest = widest_grid(members)
    work = make_work(widest)
    planes = np.empty(5 * widest * widest, np.float32)
    unit = np.empty(2 * n_max * n_max, np.float32)
    value_only = np.int64(1)
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        u = unit[: 2 * n * n].reshape((2, n, n))
        for b in range(residual.offset.shape[0]):
            fresh = b == 0 or not same_view(members, s, b - 1, b)
            render_member(members, s, b, theta[s], tables, work, planes, fresh, value_only, u)
            height, width = residual.shape[b, 0], residual.shape[b, 1]
            start = residual.offset[b]
            stop = start + height * width
            _stamp_statistics(
                u[0],
                np.float32(flux[s, residual.key[b]]),
                np.float32(noise[b]),
                members.origin[s, b],
                residual.data[start:stop].reshape((height, width)),
                residual.weight[start:stop].reshape((height, width)),
                bad[start:stop].reshape((height, width)),
                out[s, b],
            )


@kernel
def _stamp_statistics(v, flux, noise, corner, res, wgt, bad, out):
    """Fill the seven columns of one source in one image; ``v`` is its unit image."""
    n = v.shape[0]
    peak = np.float32(0.0)
    above = 0
    for i in range(n):
        for c in range(n):
            peak = max(peak, v[i, c])
            if flux * v[i, c] > noise:
                above += 1
    limit = noise / flux if above >= MIN_PIXELS else np.float32(CORE) * peak
    core = np.float32(CORE) * peak
    good = 0
    chi2 = lost = total = core_lost = core_total = wv = wvv = 0.0
    for i in range(n):
        y = corner[1] + i
        for c in range(n):
            x = corner[0] + c
            vv = v[i, c] * v[i, c]
            total += vv
            if v[i, c] > core:
                core_total += 1.0
            usable = False
            if y >= 0 and y < res.shape[0] and x >= 0 and x < res.shape[1]:
                usable = bad[y, x] == 0
            if not usable:
                lost += vv
                if v[i, c] > core:
                    core_lost += 1.0
                continue
            w = wgt[y, x]
            wv += w * v[i, c]
            wvv += w * vv
            if v[i, c] > limit:
                good += 1
                chi2 += res[y, x] * res[y, x] * w
    out[0] = chi2
    out[1] = good
    out[2] = lost / total if total > 0.0 else 1.0
    out[3] = core_lost / core_total if core_total > 0.0 else 1.0
    out[4] = wv
    out[5] = wvv
    out[6] = above

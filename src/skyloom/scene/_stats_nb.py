"""Compiled statistics of what a fit leaves behind, per source and image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel
from skyloom._types import Floats, Pixels

from ._records import Images, Members

MIN_PIXELS = 5  # fewer pixels above the noise: the core of the profile is used instead
CORE = 0.25  # of the peak, about the half-maximum region of a blurred source


@kernel
def footprint_statistics(
    members: Members,
    values: Pixels,
    flux: Floats,
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
    ``values`` come from `unit_values`; ``bad`` is flat like ``residual.data``; bad pixels also have
    zero weight.
    """
    begin = 0
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        for b in range(residual.offset.shape[0]):
            height, width = residual.shape[b, 0], residual.shape[b, 1]
            start = residual.offset[b]
            stop = start + height * width
            _stamp_statistics(
                values[begin : begin + n * n].reshape((n, n)),
                np.float32(flux[s, residual.key[b]]),
                np.float32(noise[b]),
                members.origin[s, b],
                residual.data[start:stop].reshape((height, width)),
                residual.weight[start:stop].reshape((height, width)),
                bad[start:stop].reshape((height, width)),
                out[s, b],
            )
            begin += n * n


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

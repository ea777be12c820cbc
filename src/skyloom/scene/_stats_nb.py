"""Compiled statistics of what a fit leaves behind, per source and image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel_part, lean_kernel
from skyloom._types import Floats, Pixels

from ._records import Images, Members

MIN_PIXELS = 5  # fewer pixels above the noise: the core of the profile is used instead
CORE = 0.25  # of the peak, about the half-maximum region of a blurred source
BOX = 1  # half side of the box of a residual's significance: 3 x 3 pixels, the core of a PSF


@lean_kernel
def footprint_statistics(
    members: Members,
    values: Pixels,
    flux: Floats,
    residual: Images,
    model: Pixels,
    bad: npt.NDArray[np.uint8],
    noise: Floats,
    out: Floats,
) -> None:
    """Fill ``out`` (n, B, 9) for every source and image.

    Columns: sum of residual**2 * weight over the footprint, its number of good pixels, the share
    of the profile's weight on bad pixels or outside the frame, the same for the core, sum(W v) and
    sum(W v**2) over the stamp, the number of footprint pixels above the noise, and over the good
    pixels of the stamp sum(v flux v), the source's own light, and sum(v M), that of all models.
    The footprint is where the model exceeds ``noise`` [1 sigma of the sky, (B,)], or, if that
    is fewer than five pixels, where it exceeds a quarter of its peak.
    ``values`` come from `unit_values`; ``model`` and ``bad`` are flat like ``residual.data``; bad
    pixels also have zero weight.
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
                model[start:stop].reshape((height, width)),
                bad[start:stop].reshape((height, width)),
                out[s, b],
            )
            begin += n * n


@lean_kernel
def _stamp_statistics(v, flux, noise, corner, res, wgt, model, bad, out):
    """Fill the nine columns of one source in one image; ``v`` is its unit image."""
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
    chi2 = lost = total = core_lost = core_total = wv = wvv = own = light = 0.0
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
            own += vv
            light += v[i, c] * model[y, x]
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
    out[7] = flux * own
    out[8] = light


@lean_kernel
def residual_peaks(residual: Images, centre: Floats, reach: Floats, out: Floats) -> None:
    """Fill ``out`` (n, B, 2): the most significant residual near a position, the boxes seen.

    The significance is that of the weighted mean in a 3 x 3 box of which more than half is usable,
    sum(w r) / sqrt(sum(w)), with its sign; boxes are those whose centre lies within ``reach``
    (n, B) of ``centre`` (n, B, 2; x, y) [pix].
    """
    for s in range(centre.shape[0]):
        for b in range(residual.offset.shape[0]):
            height, width = residual.shape[b, 0], residual.shape[b, 1]
            start = residual.offset[b]
            stop = start + height * width
            _peak_near(
                centre[s, b],
                reach[s, b],
                residual.data[start:stop].reshape((height, width)),
                residual.weight[start:stop].reshape((height, width)),
                out[s, b],
            )


@kernel_part
def _peak_near(centre, reach, res, wgt, out):
    """Fill the two columns of one position in one image."""
    height, width = res.shape
    peak = 0.0
    seen = 0
    for y in range(max(0, int(centre[1] - reach)), min(height, int(centre[1] + reach) + 2)):
        for x in range(max(0, int(centre[0] - reach)), min(width, int(centre[0] + reach) + 2)):
            if (x - centre[0]) ** 2 + (y - centre[1]) ** 2 > reach**2:
                continue
            usable = 0
            total = weighted = 0.0
            for j in range(max(0, y - BOX), min(height, y + BOX + 1)):
                for i in range(max(0, x - BOX), min(width, x + BOX + 1)):
                    w = wgt[j, i]
                    if w > 0.0:
                        usable += 1
                        total += w
                        weighted += w * res[j, i]
            if 2 * usable > (2 * BOX + 1) ** 2:
                seen += 1
                significance = weighted / np.sqrt(total)
                if abs(significance) > abs(peak):
                    peak = significance
    out[0] = peak
    out[1] = seen

"""Compiled statistics of what a fit leaves behind, per source and image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel, kernel_part, lean_kernel
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
def _profile_sums(v, core):
    """Return the sum of the squares of a row, and how many of its pixels belong to the core."""
    total, number = np.float32(0.0), 0
    for c in range(v.shape[0]):
        total += v[c] * v[c]
        number += 1 if v[c] > core else 0
    return total, number


@lean_kernel
def _stamp_statistics(v, flux, noise, corner, res, wgt, model, bad, out):
    """Fill the nine columns of one source in one image; ``v`` is its unit image.

    Rows are summed in single precision, without branches, so that they become vector code.
    """
    n = v.shape[0]
    zero, one = np.float32(0.0), np.float32(1.0)
    peak, above = zero, 0
    for i in range(n):
        line = v[i]
        for c in range(n):
            peak = max(peak, line[c])
            above += 1 if flux * line[c] > noise else 0
    limit = noise / flux if above >= MIN_PIXELS else np.float32(CORE) * peak
    core = np.float32(CORE) * peak
    left, right = max(0, -corner[0]), max(0, min(n, res.shape[1] - corner[0]))
    right = max(left, right)
    good = seen = core_lost = core_total = 0
    chi2 = lost = total = wv = wvv = own = light = 0.0
    for i in range(n):
        line, y = v[i], corner[1] + i
        squares, number = _profile_sums(line, core)
        total += squares
        core_total += number
        if y < 0 or y >= res.shape[0] or left >= n or right <= left:
            lost += squares
            core_lost += number
            continue
        for part in (line[:left], line[right:]):
            squares, number = _profile_sums(part, core)
            lost += squares
            core_lost += number
        x0, x1 = corner[0] + left, corner[0] + right
        inside, w, r = line[left:right], wgt[y, x0:x1], res[y, x0:x1]
        m, is_bad = model[y, x0:x1], bad[y, x0:x1]
        lost_row = wv_row = wvv_row = own_row = light_row = chi2_row = zero
        for c in range(right - left):
            keep = zero if is_bad[c] else one
            value, ratio = keep * inside[c], w[c]
            square = value * inside[c]
            own_row += square
            lost_row += (one - keep) * inside[c] * inside[c]
            wv_row += ratio * value
            wvv_row += ratio * square
            light_row += value * m[c]
            shines = keep if inside[c] > limit else zero
            chi2_row += shines * r[c] * r[c] * ratio
            good += 1 if shines > zero else 0
            seen += 0 if is_bad[c] else 1
            core_lost += 1 if is_bad[c] and inside[c] > core else 0
        lost += lost_row
        own += own_row
        wv += wv_row
        wvv += wvv_row
        light += light_row
        chi2 += chi2_row
    if seen == 0:
        lost = total  # but for rounding
    out[0] = chi2
    out[1] = good
    out[2] = lost / total if total > 0.0 else 1.0
    out[3] = core_lost / core_total if core_total > 0 else 1.0
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


@lean_kernel
def _blank_value(res, wgt, light, limit):
    """Return the residual in sigma where there is data and hardly any light, else NaN."""
    root = np.sqrt(wgt)
    blank = wgt > 0.0 and abs(light) * root < limit
    return res * root if blank else np.float32(np.nan)


@kernel
def blank_products(res: Pixels, wgt: Pixels, light: Pixels, limit: float) -> Floats:
    """Return number and sum (3, 2) of squares and of products with the next along x and along y.

    Of residuals in sigma, where the weight is positive and the models' light below ``limit`` sigma.
    """
    height, width = res.shape
    out = np.zeros((3, 2))
    row, last = np.full(width, np.float32(np.nan)), np.full(width, np.float32(np.nan))
    for y in range(height):
        row, last = last, row
        for x in range(width):
            row[x] = _blank_value(res[y, x], wgt[y, x], light[y, x], np.float32(limit))
        _add_products(row, row, out[0])
        _add_products(row[1:], row[: width - 1], out[1])
        _add_products(row, last, out[2])
    return out


@lean_kernel
def _add_products(a, b, out):
    """Add number and sum of the products that are no NaN."""
    number, total = 0, np.float32(0.0)
    for x in range(a.shape[0]):
        both = a[x] * b[x]
        known = not np.isnan(both)
        number += 1 if known else 0
        total += both if known else np.float32(0.0)
    out[0] += number
    out[1] += total

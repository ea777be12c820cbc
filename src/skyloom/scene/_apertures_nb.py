"""Compiled sums over circular apertures, pixels on the rim counted by the area inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel_part, lean_kernel
from skyloom._types import Floats, Pixels

from ._records import Images, Members

N_SUMS = 7


@lean_kernel
def aperture_sums(
    members: Members,
    values: Pixels,
    residual: Images,
    bad: npt.NDArray[np.uint8],
    centre: Floats,
    radius: Floats,
    out: Floats,
) -> None:
    """Fill ``out`` (n, B, 7) for every source and image.

    With a the share of a pixel's area inside the circle, v the unit image, r the residual and w the
    weight, columns: over usable pixels sum(a r), sum(a**2 / w), sum(a), sum(a v); over all pixels
    sum(a v); over usable pixels of the stamp sum(w v) and sum(w v**2).
    ``values`` come from `unit_values`, ``bad`` is flat like ``residual.data``, ``centre``
    (n, B, 2; x, y) and ``radius`` (B,) [pix].
    """
    begin = 0
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        for b in range(residual.offset.shape[0]):
            height, width = residual.shape[b, 0], residual.shape[b, 1]
            start = residual.offset[b]
            stop = start + height * width
            _of_one(
                values[begin : begin + n * n].reshape((n, n)),
                members.origin[s, b],
                residual.data[start:stop].reshape((height, width)),
                residual.weight[start:stop].reshape((height, width)),
                bad[start:stop].reshape((height, width)),
                centre[s, b],
                radius[b],
                out[s, b],
            )
            begin += n * n


@kernel_part
def _of_one(v, corner, res, wgt, bad, centre, radius, out):
    """Fill the seven columns of one source in one image."""
    height, width = res.shape
    n = v.shape[0]
    flux = variance = area = seen = inside = wv = wvv = 0.0
    for y in range(int(np.floor(centre[1] - radius)), int(np.ceil(centre[1] + radius)) + 1):
        for x in range(int(np.floor(centre[0] - radius)), int(np.ceil(centre[0] + radius)) + 1):
            a = disc_share(x - centre[0], y - centre[1], radius)
            if a <= 0.0:
                continue
            i, c = y - corner[1], x - corner[0]
            model = v[i, c] if 0 <= i < n and 0 <= c < n else np.float32(0.0)
            inside += a * model
            usable = 0 <= y < height and 0 <= x < width
            if usable:
                usable = bad[y, x] == 0
            if usable:
                flux += a * res[y, x]
                variance += a * a / wgt[y, x]
                area += a
                seen += a * model
    for i in range(n):
        y = corner[1] + i
        for c in range(n):
            x = corner[0] + c
            if 0 <= y < height and 0 <= x < width:
                w = wgt[y, x]
                wv += w * v[i, c]
                wvv += w * v[i, c] * v[i, c]
    out[0], out[1], out[2], out[3] = flux, variance, area, seen
    out[4], out[5], out[6] = inside, wv, wvv


@lean_kernel
def disc_share(x: float, y: float, radius: float) -> float:
    """Return the area of a unit pixel, centred at (x, y), inside a circle about the origin."""
    above = _corner(x + 0.5, y + 0.5, radius) - _corner(x - 0.5, y + 0.5, radius)
    below = _corner(x + 0.5, y - 0.5, radius) - _corner(x - 0.5, y - 0.5, radius)
    return float(above - below)


@lean_kernel
def _corner(x, y, radius):
    """Return the area of a disc between the axes and a corner, negative beyond one axis."""
    u, v = min(abs(x), radius), min(abs(y), radius)
    if u * u + v * v <= radius * radius:
        area = u * v
    else:
        # a rectangle up to where the circle has height v, then what lies below the circle
        begin = np.sqrt((radius - v) * (radius + v))
        area = begin * v + _under_arc(u, radius) - _under_arc(begin, radius)
    return area if (x >= 0.0) == (y >= 0.0) else -area


@lean_kernel
def _under_arc(u, radius):
    """Return the area below a quarter circle from 0 to u."""
    height = np.sqrt(max((radius - u) * (radius + u), 0.0))
    return 0.5 * (u * height + radius * radius * np.arctan2(u, height))

"""Compiled rendering of galaxies too large for one transform: a pyramid of small transforms.

Level l has a grid of N x N points, ``h = 2**l`` pixels apart.  With W a low-pass filter it carries
``f P (W(h k) - W(2 h k))``: no structure finer than four points, and none so broad that it would
leave the grid.  The levels add up to ``f P``; each is interpolated to twice its density and added
to the next finer one.  Formulas of the multipliers: the docstring of `skyloom.scene.render`;
filters: `skyloom.scene.wide`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel, kernel_part, lean_kernel
from skyloom._types import Floats, Pixels

from ._fft_nb import ifft2_transposed
from ._records import Members, Tables, WideFilter
from ._render_nb import PER_FRACTION, Q0, T_MAX, make_work, mix_psf, phases, profile_table
from ._vector_nb import aligned

WIDE_SIDE = 128  # N
N_TAPS = 5  # on each side of an interpolated point
EXTENT = 16  # stamp sides on the coarsest grid: 96 radii of a galaxy that has 6 in its stamp


class WideWork(NamedTuple):
    """Scratch of `render_wide`."""

    planes: Pixels  # (8, N N): spectra of four pairs of images, real and imaginary
    boxes: Pixels  # (levels, 8, N N): images of all levels
    phases: Pixels  # (4, 2 N): cos and sin along x, along y
    rows: Pixels  # (5, N): one row of the phased PSF (2), of f, df/dq, df/dn
    row: Pixels  # (N,), and the same memory as integers
    bits: npt.NDArray[np.int32]
    fft: Pixels  # (64 N,)
    fine: Pixels  # images at every second pixel; at every fourth
    coarse: Pixels
    line: Pixels


@lean_kernel
def canvas_of(level, pixels):
    """Return first index and length of what a level needs along an axis of a box: both even.

    Indices count steps of the level from pixel 0 of the box.
    """
    first, length = 0, pixels
    for _ in range(level):
        start = first // 2 - (N_TAPS - 1)
        end = (first + length) // 2 + N_TAPS
        first = start - start % 2
        length = end - first + (end - first) % 2
    return first, length


@kernel
def make_wide_work(width, height, levels):
    """Allocate scratch for boxes of one shape, or smaller, and up to a number of levels."""
    n = WIDE_SIDE
    half, quarter = canvas_of(1, width)[1], canvas_of(2, width)[1]
    row = np.empty(n, np.float32)
    return WideWork(
        aligned(8 * n * n).reshape((8, n * n)),
        np.empty((levels, 8, n * n), np.float32),
        np.empty((4, 2 * n), np.float32),
        np.empty((5, n), np.float32),
        row,
        row.view(np.int32),
        aligned(64 * n),
        np.empty(half * canvas_of(1, height)[1], np.float32),
        np.empty(quarter * canvas_of(2, height)[1], np.float32),
        np.empty(half, np.float32),
    )


@lean_kernel
def levels_of(side: int) -> int:
    """Return how many levels a stamp has: the coarsest grid is `EXTENT` times as large."""
    levels = 1
    while (WIDE_SIDE << (levels - 1)) < EXTENT * side:
        levels += 1
    return levels


@lean_kernel
def length_of(levels, fold):
    """Return how many floats the transform of a PSF has."""
    return 2 * WIDE_SIDE * WIDE_SIDE * (levels - 1 + fold * fold)


@lean_kernel
def _shape_terms(theta):
    """Return S (xx, 2 xy, yy) of a half-light ellipse and its derivatives by g1 and g2."""
    g1, g2 = theta[3], theta[4]
    gg = g1 * g1 + g2 * g2
    a = np.exp(2.0 * theta[2]) / (1.0 - gg)
    xx, xy, yy = a * (1.0 + gg + 2.0 * g1), 4.0 * a * g2, a * (1.0 + gg - 2.0 * g1)
    w1, w2 = 2.0 * g1 / (1.0 - gg), 2.0 * g2 / (1.0 - gg)
    return (
        (np.float32(xx), np.float32(xy), np.float32(yy)),
        (
            np.float32(w1 * xx + 2.0 * a * (g1 + 1.0)),
            np.float32(w1 * xy),
            np.float32(w1 * yy + 2.0 * a * (g1 - 1.0)),
        ),
        (
            np.float32(w2 * xx + 2.0 * a * g2),
            np.float32(w2 * xy + 4.0 * a),
            np.float32(w2 * yy + 2.0 * a * g2),
        ),
    )


@kernel_part
def _profile_row(count, table, slope, shape, jac, kx, k1, work):
    """Fill one row of f and, as the images need them, df/dq and df/dn."""
    sxx, sxy, syy = shape
    row, bits = work.row, work.bits
    for c in range(k1.shape[0]):
        u = jac[0] * kx + jac[2] * k1[c]
        v = jac[1] * kx + jac[3] * k1[c]
        row[c] = min(np.float32(1.0) + Q0 * (sxx * u * u + sxy * u * v + syy * v * v), T_MAX)
    f, by_q, by_n = work.rows[2], work.rows[3], work.rows[4]
    for c in range(k1.shape[0]):
        r = (bits[c] >> 19) - 2032
        h = np.float32(bits[c] & 0x7FFFF) * PER_FRACTION
        f[c] = table[r, 0] + h * (table[r, 1] + h * (table[r, 2] + h * table[r, 3]))
        if count > 1:
            by_q[c] = table[r, 4] + h * (table[r, 5] + h * (table[r, 6] + h * table[r, 7]))
        if count > 6:
            by_n[c] = slope[r, 0] + h * (slope[r, 1] + h * (slope[r, 2] + h * slope[r, 3]))


@kernel_part
def _psf_row(pr, pi, start, inner, outer, a, b, cx, sx, work):
    """Fill a row of the phased PSF (kx: phase cx + i sx) from ``start``, filtered by a W - b W."""
    n = pr.shape[0]
    inner, outer = inner[start : start + n], outer[start : start + n]
    cy, sy = work.phases[2, start : start + n], work.phases[3, start : start + n]
    er, ei = work.rows[0], work.rows[1]
    for c in range(n):
        w = a * inner[c] - b * outer[c]
        ar, ai = w * (cx * cy[c] - sx * sy[c]), w * (cx * sy[c] + sx * cy[c])
        er[c] = pr[c] * ar - pi[c] * ai
        ei[c] = pr[c] * ai + pi[c] * ar


@kernel_part
def _spectrum_rows(count, step, shape, by_g1, by_g2, jac, kx, k1, work, i):
    """Add to row i of the spectra ``Z = A + i B`` of pairs of real images A, B.

    Value and d/dx; d/dy and d/dln r; d/dg1 and d/dg2; d/dn alone.  The position derivatives are
    ``step`` times too large, so that both images of a pair have similar amplitudes.
    """
    n = k1.shape[0]
    er, ei, f, by_q, by_n = (
        work.rows[0],
        work.rows[1],
        work.rows[2],
        work.rows[3],
        work.rows[4],
    )
    z = work.planes[:, i * n : (i + 1) * n]
    if count == 1:
        for c in range(n):
            z[0, c] += f[c] * er[c]
            z[1, c] += f[c] * ei[c]
        return
    for c in range(n):
        u = jac[0] * kx + jac[2] * k1[c]
        v = jac[1] * kx + jac[3] * k1[c]
        uu, uv, vv = u * u, u * v, v * v
        g = f[c] * (np.float32(1.0) + step * u)
        z[0, c] += g * er[c]
        z[1, c] += g * ei[c]
        g = np.float32(2.0) * by_q[c] * (shape[0] * uu + shape[1] * uv + shape[2] * vv)
        g -= step * v * f[c]
        z[2, c] -= g * ei[c]
        z[3, c] += g * er[c]
        if count > 4:
            a = by_q[c] * (by_g1[0] * uu + by_g1[1] * uv + by_g1[2] * vv)
            b = by_q[c] * (by_g2[0] * uu + by_g2[1] * uv + by_g2[2] * vv)
            z[4, c] += a * er[c] - b * ei[c]
            z[5, c] += a * ei[c] + b * er[c]
        if count > 6:
            z[6, c] += by_n[c] * er[c]
            z[7, c] += by_n[c] * ei[c]


@kernel_part
def _render_level(level, levels, fold, count, theta, jac, px, py, psf, table, slope, wide, work):
    """Fill the images of one level, the aliases of the finest one folded."""
    n, step = WIDE_SIDE, 2.0**level
    shape, by_g1, by_g2 = _shape_terms(theta)
    per_step = (
        np.float32(jac[0] / step),
        np.float32(jac[1] / step),
        np.float32(jac[2] / step),
        np.float32(jac[3] / step),
    )
    x0, y0 = np.floor(px / step + 0.5) - n // 2, np.floor(py / step + 0.5) - n // 2
    m = fold * n if level == 0 else n
    phases(px / step - x0, m, n, work.phases[0], work.phases[1])
    phases(py / step - y0, m, n, work.phases[2], work.phases[3])
    grid = min(level, 1) if m == n else 2
    k1, inner, outer = wide.k1[grid], wide.inner[grid], wide.outer[grid]
    to_coarser = np.float32(0.0 if level == levels - 1 else 1.0)
    scale = np.float32(1.0 / (n * step) ** 2)
    at = 0 if level == 0 else length_of(level, fold)
    pairs = (count + 1) // 2
    work.planes[: 2 * pairs] = np.float32(0.0)
    for i in range(m):
        if inner[i] == 0.0:
            continue
        cx, sx = scale * work.phases[0, i], scale * work.phases[1, i]
        for start in range(0, m, n):
            columns = k1[start : start + n]
            _profile_row(count, table, slope, shape, per_step, k1[i], columns, work)
            real = at + i * m + start
            pr, pi = psf[real : real + n], psf[real + m * m : real + m * m + n]
            _psf_row(pr, pi, start, inner, outer, inner[i], to_coarser * outer[i], cx, sx, work)
            _spectrum_rows(
                count, np.float32(step), shape, by_g1, by_g2, per_step, k1[i], columns, work, i % n
            )
    for p in range(pairs):
        zr, zi = work.planes[2 * p], work.planes[2 * p + 1]
        to_r, to_i = work.boxes[level, 2 * p], work.boxes[level, 2 * p + 1]
        ifft2_transposed(zr, zi, to_r, to_i, work.fft, n, wide.cos, wide.sin)


@kernel_part
def _add_box(box, x0, y0, scale, image, width, height):
    """Add ``scale`` times a level's image, whose corner is at (x0, y0), to another."""
    n = WIDE_SIDE
    left, right = max(0, -x0), min(n, width - x0)
    if right <= left:
        return
    for i in range(max(0, -y0), min(n, height - y0)):
        at = (y0 + i) * width + x0
        to = image[at + left : at + right]
        line = box[i * n + left : i * n + right]
        for c in range(to.shape[0]):
            to[c] += scale * line[c]


@lean_kernel
def _between(a, b, c, d, e, f, g, h, i, j, taps):
    """Return what lies between e and f of ten equidistant samples."""
    near = taps[0] * (e + f) + taps[1] * (d + g)
    return near + (taps[2] * (c + h) + taps[3] * (b + i) + taps[4] * (a + j))


@lean_kernel
def _widen_row(line, start, taps, to):
    """Fill ``to``: its even points are ``line[start:]``, its odd points lie between."""
    half, s = to.shape[0] // 2, start
    a, b, c, d, e = line[s - 4 :], line[s - 3 :], line[s - 2 :], line[s - 1 :], line[s:]
    f, g, h, i, j = line[s + 1 :], line[s + 2 :], line[s + 3 :], line[s + 4 :], line[s + 5 :]
    for p in range(half):
        to[2 * p] = e[p]
        to[2 * p + 1] = _between(a[p], b[p], c[p], d[p], e[p], f[p], g[p], h[p], i[p], j[p], taps)


@kernel_part
def _double(source, n, x, y, image, width, height, scratch, weights):
    """Interpolate an image with rows of n to half its step; its point (x, y) becomes (0, 0)."""
    taps = (weights[0], weights[1], weights[2], weights[3], weights[4])
    line = scratch[:n]
    for q in range(height // 2):
        at = (y + q) * n
        to = image[2 * q * width : 2 * (q + 1) * width]
        _widen_row(source[at : at + n], x, taps, to[:width])
        a, b = source[at - 4 * n : at - 3 * n], source[at - 3 * n : at - 2 * n]
        c, d = source[at - 2 * n : at - n], source[at - n : at]
        e, f = source[at : at + n], source[at + n : at + 2 * n]
        g, h = source[at + 2 * n : at + 3 * n], source[at + 3 * n : at + 4 * n]
        i, j = source[at + 4 * n : at + 5 * n], source[at + 5 * n : at + 6 * n]
        for p in range(n):
            line[p] = _between(a[p], b[p], c[p], d[p], e[p], f[p], g[p], h[p], i[p], j[p], taps)
        _widen_row(line, x, taps, to[width:])


@kernel_part
def _assemble(number, levels, px, py, box_width, box_height, wide, work, image):
    """Add up the levels of one unit image, from the coarsest to the pixels."""
    below, n_below, x_below, y_below = work.coarse, 0, 0, 0
    for turn in range(levels):
        level = levels - 1 - turn
        step = 2.0**level
        x, width = canvas_of(level, box_width)
        y, height = canvas_of(level, box_height)
        to = image
        if level > 0:
            to = work.fine if level % 2 == 1 else work.coarse
        to = to[: width * height]
        if turn == 0:
            to[:] = np.float32(0.0)
        else:
            left, low = x // 2 - x_below, y // 2 - y_below
            _double(below, n_below, left, low, to, width, height, work.line, wide.taps)
        x0 = int(np.floor(px / step + 0.5)) - WIDE_SIDE // 2 - x
        y0 = int(np.floor(py / step + 0.5)) - WIDE_SIDE // 2 - y
        scale = np.float32(1.0 / step) if number in {1, 2} else np.float32(1.0)
        _add_box(work.boxes[level, number], x0, y0, scale, to, width, height)
        below, n_below, x_below, y_below = to, width, x, y


@kernel_part
def render_wide(
    count: int,
    theta: Floats,
    jac: Floats,
    px: float,
    py: float,
    width: int,
    levels: int,
    fold: int,
    psf: Pixels,
    table: Pixels,
    slope: Pixels,
    wide: WideFilter,
    work: WideWork,
    u: Pixels,
) -> None:
    """Fill ``u`` (count, height * width) with the unit images of a galaxy at pixel (px, py).

    ``count`` 1: the value; 4: and d/dx, d/dy, d/dln r; 6: and d/dg1, d/dg2; 7: and d/dn.  Width
    and height are even; the source may lie outside.  ``theta`` is the row of the member, its
    position unused; ``jac`` (4,) is d(pixel) / d(reference); ``psf`` starts with what
    `skyloom.scene.wide.psf_levels` returns for at least ``levels`` levels and this ``fold``: 1, or
    2 to fold the aliases of an undersampled PSF; ``table`` (512, 8) and ``slope`` (512, 4; read for
    d/dn) are the profile.
    """
    height = u.shape[1] // width
    for level in range(levels):
        _render_level(level, levels, fold, count, theta, jac, px, py, psf, table, slope, wide, work)
    for number in range(count):
        _assemble(number, levels, px, py, width, height, wide, work, u[number])


@kernel
def render_wide_member(
    members: Members, s: int, b: int, theta: Floats, tables: Tables, u: Pixels
) -> None:
    """Render the unit images of a large galaxy, member s, in image b: as many as ``u`` takes.

    Its work space is allocated here: such galaxies are rare, and their stamps differ.
    """
    side, fold, j = members.size[s], members.fold[s, b], members.jac[s, b]
    levels = levels_of(side)
    px = members.pos[s, b, 0] + j[0] * theta[0] + j[1] * theta[1]
    py = members.pos[s, b, 1] + j[2] * theta[0] + j[3] * theta[1]
    psf = members.psf[members.psf_offset[s, b] :]
    if members.terms[b] > 1 or members.coefficients[s, b, 0] != 1.0:
        length = length_of(levels, fold)
        psf = np.empty(length, np.float32)
        mix_psf(members, s, b, length, 0, length, psf)
    spare, work = make_work(1), make_wide_work(side, side, levels)
    table = profile_table(members.kind[s], theta, tables, spare)
    render_wide(
        u.shape[0], theta, j, px, py, side, levels, fold, psf, table, spare.slope, tables.wide,
        work, u,
    )  # fmt: skip

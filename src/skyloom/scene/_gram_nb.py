"""Compiled evaluation of a blend group: unit images, residual, gradient and Gram matrix.

For every image b of the group with inverse variance W and unit images U (values and derivatives of
all members), fills ``G = U^T W U`` and ``c = U^T W (d - model)`` where the model uses the
fluxes passed in, and the chi-square of that model.  Taking c from the residual, not from the
data, keeps single-precision noise out of chi-square differences.
"""

from __future__ import annotations

import numpy as np

from skyloom._calls import call_at
from skyloom._jit import kernel, kernel_part, lean_exact_kernel, lean_kernel
from skyloom._types import Floats

from ._products_nb import SPARE, gradients, pair_products, self_products
from ._records import SINGLE_SIDE, STAR, Images, Members, Normal, Scratch, Tables
from ._render_nb import grid_side, make_work, render_member, same_view, widest_grid
from ._vector_nb import aligned
from ._wide_nb import render_wide_member


@kernel
def make_scratch(members, images):
    """Allocate what `evaluate` needs for these members and boxes."""
    n_src = members.kind.shape[0]
    first = np.zeros(n_src + 1, np.int64)
    start = np.zeros(n_src + 1, np.int64)
    plane_start = np.zeros(n_src + 1, np.int64)
    for s in range(n_src):
        count = members.n_units[s]
        first[s + 1] = first[s] + count
        start[s + 1] = start[s] + count * members.size[s] ** 2
        side = 0 if members.kind[s] == STAR else grid_side(members, s)
        plane_start[s + 1] = plane_start[s] + max(count - 2, 1) * side * side
    area = 0
    for b in range(images.offset.shape[0]):
        area = max(area, images.shape[b, 0] * images.shape[b, 1])
    units, residual = aligned(start[n_src] + SPARE), aligned(area + SPARE)
    for i in range(SPARE):
        units[start[n_src] + i] = np.float32(0.0)
        residual[area + i] = np.float32(0.0)
    return Scratch(
        make_work(widest_grid(members)),
        first,
        start,
        plane_start,
        units,
        aligned(plane_start[n_src]),
        residual,
        np.empty((7, 7)),
    )


@lean_exact_kernel
def render_all(members, b, theta, tables, scratch):
    """Render the unit images of all members in image b."""
    for s in range(members.kind.shape[0]):
        n, count = members.size[s], members.n_units[s]
        begin = scratch.start[s]
        u = scratch.units[begin : begin + count * n * n].reshape((count, n * n))
        if n > SINGLE_SIDE:
            arguments = (members, s, b, theta[s], tables, u)
            call_at(render_wide_member, tables.render_wide, arguments)
            continue
        m = scratch.planes[scratch.plane_start[s] : scratch.plane_start[s + 1]]
        fresh = b == 0 or not same_view(members, s, b - 1, b)
        render_member(members, s, b, theta[s], tables, scratch.work, m, fresh, u)


@kernel_part
def _add_values(members, b, flux, scratch, plane, width, sign):
    """Add ``sign`` times the models of all members, as rendered, to a box."""
    for s in range(members.kind.shape[0]):
        n = members.size[s]
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        f = np.float32(sign * flux[s])
        for i in range(n):
            at, u = (y0 + i) * width + x0, scratch.start[s] + i * n
            line, value = plane[at : at + n], scratch.units[u : u + n]
            for c in range(n):
                line[c] += f * value[c]


@kernel_part
def _weigh(resid, wgt):
    """Turn a residual R into W R in place; return sum(W R**2), rows of it in single precision."""
    total = 0.0
    for i in range(0, resid.shape[0], 1024):
        line, w = resid[i : i + 1024], wgt[i : i + 1024]
        part = np.float32(0.0)
        for c in range(line.shape[0]):
            weighted = line[c] * w[c]
            part += line[c] * weighted
            line[c] = weighted
        total += part
    return total


@kernel_part
def _add_products(members, b, images, scratch, grad, sky, gram):
    """Add the products of all unit images in image b with the residual and with each other."""
    first, start, u, block = scratch.first, scratch.start, scratch.units, scratch.block
    height, width = images.shape[b, 0], images.shape[b, 1]
    off = images.offset[b]
    w = images.weight
    for s in range(members.kind.shape[0]):
        n, ns = members.size[s], members.n_units[s]
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        at = y0 * width + x0
        weight = w[off : off + height * width + SPARE]
        gradients(
            u, start[s], n, ns, scratch.residual, weight, at, width,
            grad[first[s] :], sky[first[s] :],
        )  # fmt: skip
        self_products(u, start[s], n, ns, w, off + at, width, block)
        for p in range(ns):
            for q in range(p + 1):
                gram[first[s] + p, first[s] + q] += block[p, q]
                if q != p:
                    gram[first[s] + q, first[s] + p] += block[p, q]
        for t in range(s):
            side, nt = members.size[t], members.n_units[t]
            xt, yt = members.origin[t, b, 0], members.origin[t, b, 1]
            xa, xb = max(x0, xt), min(x0 + n, xt + side)
            ya, yb = max(y0, yt), min(y0 + n, yt + side)
            if xb <= xa or yb <= ya:
                continue
            pair_products(
                u, start[s] + (ya - y0) * n + xa - x0, n * n, n, ns,
                u, start[t] + (ya - yt) * side + xa - xt, side * side, side, nt,
                w, off + ya * width + xa, width, yb - ya, xb - xa, block,
            )  # fmt: skip
            for p in range(ns):
                for q in range(nt):
                    gram[first[s] + p, first[t] + q] += block[p, q]
                    gram[first[t] + q, first[s] + p] += block[p, q]


@lean_kernel
def evaluate(
    members: Members,
    theta: Floats,
    flux: Floats,
    tables: Tables,
    images: Images,
    scratch: Scratch,
    normal: Normal,
    restore: bool,
) -> None:
    """Fill Gram matrices, gradients and chi-squares of a group; see the module docstring.

    Parameters
    ----------
    members, tables, images : Members, Tables, Images
        Stamp corners must lie inside the boxes: boxes are padded with zero weight.
    theta, flux : ndarray, shapes (n, 6) and (n, F)
    scratch : Scratch
        From `make_scratch`.
    normal : Normal
        Its ``gram``, ``grad``, ``sky`` and ``chi2`` are filled; T counts all unit images, F the
        fluxes of a source: images with the same ``images.key`` share one.
    restore : bool
        The models are already subtracted from the data, and are put back, there, by this call.
    """
    normal.gram[:] = 0.0
    normal.grad[:] = 0.0
    normal.sky[:] = 0.0
    normal.chi2[:] = 0.0
    for b in range(images.offset.shape[0]):
        key = images.key[b]
        width = images.shape[b, 1]
        area = images.shape[b, 0] * width
        data = images.data[images.offset[b] : images.offset[b] + area]
        resid = scratch.residual[:area]
        for i in range(area):
            resid[i] = data[i]
        render_all(members, b, theta, tables, scratch)
        if restore:
            _add_values(members, b, flux[:, key], scratch, data, width, 1.0)
        else:
            _add_values(members, b, flux[:, key], scratch, resid, width, -1.0)
        normal.chi2[key] += _weigh(resid, images.weight[images.offset[b] : images.offset[b] + area])
        _add_products(
            members, b, images, scratch, normal.grad[key], normal.sky[b], normal.gram[key]
        )

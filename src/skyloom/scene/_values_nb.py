"""Compiled models without derivatives: unit-flux stamps of many sources, and adding them up."""

from __future__ import annotations

import numpy as np

from skyloom._calls import call_at
from skyloom._jit import kernel, kernel_part, lean_kernel
from skyloom._types import Bools, Floats, Pixels

from ._records import SINGLE_SIDE, STAR, Images, Members, Tables
from ._render_nb import (
    PER_FRACTION,
    make_work,
    mirror,
    phased_psf,
    profile_table,
    same_view,
    shape_matrix,
    table_variable,
    to_pixels,
    wave_numbers,
    widest_grid,
    widest_stamp,
)
from ._vector_nb import aligned
from ._wide_nb import render_wide_member


@kernel_part
def _profile(members, s, b, theta, tables, work, f):
    """Fill the transform f of the profile of a galaxy on the wave numbers of image b, (N, N)."""
    k1 = wave_numbers(members, s, b, tables, work)
    table = profile_table(members.kind[s], theta, tables, work)
    shape = shape_matrix(theta)
    n = k1.shape[0]
    row, bits = work.row[:n], work.bits[:n]
    for i in range(n // 2 + 1):
        table_variable(k1[i], k1, members.jac[s, b], shape, row)
        for c in range(n):
            r = (bits[c] >> 19) - 2032
            h = np.float32(bits[c] & 0x7FFFF) * PER_FRACTION
            f[i, c] = table[r, 0] + h * (table[r, 1] + h * (table[r, 2] + h * table[r, 3]))
    mirror(f)


@kernel_part
def _partners(members, s, wanted, partner):
    """Choose which images of a source share a transform: pairs with the same folding.

    ``partner[b]`` is the other image, b itself if it is alone, -1 if there is nothing to do.
    """
    waiting = -1
    for b in range(partner.shape[0]):
        partner[b] = -1
        if not wanted[s, b]:
            continue
        if waiting >= 0 and members.fold[s, waiting] == members.fold[s, b]:
            partner[waiting] = b
            waiting = -1
        else:
            partner[b] = b
            waiting = b


@kernel_part
def _accumulate(turn, star, f, er, ei, zr, zi):
    """Set ``Z = f E``, or in the second turn add ``i f E``."""
    if star:
        for c in range(zr.shape[0]):
            if turn == 0:
                zr[c], zi[c] = er[c], ei[c]
            else:
                zr[c] -= ei[c]
                zi[c] += er[c]
        return
    for c in range(zr.shape[0]):
        if turn == 0:
            zr[c], zi[c] = f[c] * er[c], f[c] * ei[c]
        else:
            zr[c] -= f[c] * ei[c]
            zi[c] += f[c] * er[c]


@lean_kernel
def _source_values(members, s, theta, wanted, tables, work, partner, values):
    """Fill the unit-flux images of one source, B stamps one after the other.

    The images of two bands are real and travel as real and imaginary part of one transform.
    """
    n_img = members.fold.shape[1]
    n = members.size[s]
    if n > SINGLE_SIDE:
        for b in range(n_img):
            if wanted[s, b]:
                u = values[b * n * n : (b + 1) * n * n].reshape((1, n * n))
                arguments = (members, s, b, theta[s], tables, u)
                call_at(render_wide_member, tables.render_wide, arguments)
        return
    _partners(members, s, wanted, partner)
    held = n_img  # the image whose view of the profile is in the work space; none yet
    for first in range(n_img):
        if partner[first] < 0:
            continue
        fold = members.fold[s, first]
        area = (n * fold) ** 2
        er, ei = work.planes[0, :area], work.planes[1, :area]
        zr, zi = work.planes[2, :area], work.planes[3, :area]
        f = work.planes[7, :area]
        both = partner[first] != first
        for turn in range(2 if both else 1):
            b = partner[first] if turn else first
            if members.kind[s] != STAR and (held == n_img or not same_view(members, s, held, b)):
                plane = f.reshape((n * fold, n * fold))
                _profile(members, s, b, theta[s], tables, work, plane)
                held = b
            phased_psf(members, s, b, theta[s], work, er, ei)
            _accumulate(turn, members.kind[s] == STAR, f, er, ei, zr, zi)
        a = values[first * n * n : (first + 1) * n * n]
        other = work.planes[6, : n * n]
        if both:
            last = partner[first]
            other = values[last * n * n : (last + 1) * n * n]
        to_pixels(work, n, fold, tables, a, other)


@lean_kernel
def _add_stamp(images, members, s, values, flux, sign):
    """Add ``sign * flux * values`` of one source to ``images.data``, clipping at the box edges."""
    n = members.size[s]
    for b in range(images.offset.shape[0]):
        amount = np.float32(sign * flux[s, images.key[b]])
        height, width = images.shape[b, 0], images.shape[b, 1]
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        left, right = max(0, -x0), min(n, width - x0)
        if amount != 0.0 and right > left:
            for i in range(max(0, -y0), min(n, height - y0)):
                at = images.offset[b] + (y0 + i) * width + x0
                line = images.data[at + left : at + right]
                start = (b * n + i) * n
                value = values[start + left : start + right]
                for c in range(right - left):
                    line[c] += amount * value[c]


@kernel_part
def _is_seen(images, members, s):
    """Tell whether the stamp of a source reaches into any image."""
    n = members.size[s]
    for b in range(images.offset.shape[0]):
        x0, y0 = members.origin[s, b, 0], members.origin[s, b, 1]
        if -n < x0 < images.shape[b, 1] and -n < y0 < images.shape[b, 0]:
            return True
    return False


@lean_kernel
def _fill_values(members, theta, wanted, tables, work, partner, values):
    """Do what `unit_values` does, with room for it."""
    n_img = members.fold.shape[1]
    begin = 0
    for s in range(members.kind.shape[0]):
        end = begin + n_img * members.size[s] ** 2
        _source_values(members, s, theta, wanted, tables, work, partner, values[begin:end])
        begin = end


@kernel
def unit_values(
    members: Members, theta: Floats, wanted: Bools, tables: Tables, values: Pixels
) -> None:
    """Fill the unit-flux images of all sources where they are wanted.

    ``wanted`` (n, B); ``values`` is flat: B stamps of each source in turn.
    """
    work, partner = make_work(widest_grid(members)), np.empty(members.fold.shape[1], np.int64)
    _fill_values(members, theta, wanted, tables, work, partner, values)


@lean_kernel
def _subtract_all(images, members, theta, flux, tables, sign, work, partner, wanted, values):
    """Do what `subtract_models` does, with room for it."""
    for s in range(members.kind.shape[0]):
        # All images or none: which of them share a transform must not depend on the box.
        seen = _is_seen(images, members, s)
        for b in range(wanted.shape[1]):
            wanted[s, b] = seen and flux[s, images.key[b]] != 0.0
    for s in range(members.kind.shape[0]):
        _source_values(members, s, theta, wanted, tables, work, partner, values)
        _add_stamp(images, members, s, values, flux, -sign)


@kernel
def subtract_models(
    images: Images, members: Members, theta: Floats, flux: Floats, tables: Tables, sign: float
) -> None:
    """Subtract ``sign`` times the models of all sources from ``images.data``."""
    n_src, n_img = members.kind.shape[0], members.fold.shape[1]
    values = aligned(n_img * widest_stamp(members.size) ** 2)
    work, partner = make_work(widest_grid(members)), np.empty(n_img, np.int64)
    wanted = np.empty((n_src, n_img), np.bool_)
    _subtract_all(images, members, theta, flux, tables, sign, work, partner, wanted, values)

"""Means of square blocks of pixels, row by row, whatever the size of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Pixels

__all__ = ["ReadRows", "block_mean_rows", "scale_factor"]

ReadRows: TypeAlias = Callable[[int], npt.NDArray[Any]]
"""Returns the next ``n`` rows, shape (n, nx), in any number type and byte order."""

_SLAB: Final = 256 * 1024  # bytes summed at once; they stay in the cache of one core


def scale_factor(shape: tuple[int, int], dest_size: int) -> int:
    """Return the side of the blocks that bring an image to a size.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    dest_size : int
        Wished length of the longer axis [pix].

    Returns
    -------
    int
        ``longer // dest_size + 1``: 1000 pixels for 200 give 6, and 200 give 2, so the result is
        smaller than asked for.  Never more than the shorter axis, which would leave nothing.
    """
    if dest_size < 1:
        raise ValueError(f"dest_size = {dest_size} must be at least 1 [pix]")
    return max(1, min(max(shape) // dest_size + 1, *shape))


def block_mean_rows(
    read: ReadRows,
    *,
    shape: tuple[int, int],
    factor: int,
    bscale: float = 1.0,
    bzero: float = 0.0,
    blank: int | None = None,
) -> Iterator[Pixels]:
    """Yield the rows of an image reduced by an integer factor.

    A mean is that of the finite pixels of its block; NaN where there is none.  Incomplete blocks at
    the upper and right border are dropped.  Sums are made in double precision.

    Parameters
    ----------
    read : callable
        Gives the next rows of the image, as they are stored.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    factor : int
        Side of the blocks [pix].
    bscale, bzero : float
        Value = stored * bscale + bzero.
    blank : int, optional
        Stored value of undefined pixels.

    Yields
    ------
    ndarray of float32, shape (nx // factor,)
        Lowest row first.
    """
    ny, nx = shape
    width = nx // factor
    first = np.arange(width) * factor  # column where each block starts
    slab = max(1, min(factor, _SLAB // (8 * nx)))
    doubles = np.empty((slab, nx), np.float64)
    for _ in range(ny // factor if width else 0):
        sums, counts = np.zeros(nx), np.full(nx, float(factor))
        for start in range(0, factor, slab):
            rows = doubles[: min(slab, factor - start)]
            stored = read(len(rows))
            np.copyto(rows, stored, casting="unsafe")
            if blank is not None:
                rows[stored == blank] = np.nan
            _add(rows, sums, counts)
        sums, counts = (np.add.reduceat(v[: width * factor], first) for v in (sums, counts))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield (sums / counts * bscale + bzero).astype(np.float32)


def _add(rows: Floats, sums: Floats, counts: Floats) -> None:
    """Add rows to the sums of columns; undefined pixels lower the counts."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(rows, axis=0)
    if not np.isfinite(total).all():
        bad = ~np.isfinite(rows)
        rows[bad] = 0.0
        counts -= bad.sum(axis=0)
        total = np.add.reduce(rows, axis=0)
    sums += total

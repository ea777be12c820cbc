"""Cutouts on a grid that is coarse where stars are smooth.

Pixels of the core stay single; further out they are averaged over blocks of 2 and 4, along rows
and columns alike.  The models know the width of their blocks, so nothing is lost but time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints

__all__ = ["Grid", "fine_grid", "star_grid"]

_SINGLE, _DOUBLE = 1.8, 3.5  # FWHM; blocks of 1 pixel inside the first, of 2 inside the second


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Blocks of pixels along one axis; the same for rows and columns."""

    start: Ints  # first pixel of each block
    width: Floats  # pix
    centre: Floats  # pix from the central pixel

    @property
    def size(self) -> int:
        """Number of blocks along an axis."""
        return int(self.start.size)

    @property
    def radius(self) -> Floats:
        """Distance of the centre of each block from the central pixel [pix], (A, A)."""
        return np.hypot(self.centre[None, :], self.centre[:, None])

    def averaged(self, data: Floats, weight: Floats) -> tuple[Floats, Floats]:
        """Return weighted means over the blocks and the sums of the weights, (n, A, A).

        Blocks of which less than half is good get weight 0: their mean is not at their centre.
        """
        total = self._summed(weight)
        mean = self._summed(weight * data) / np.where(total > 0, total, 1.0)
        good = self._summed((weight > 0).astype(np.float64))
        area = self.width[:, None] * self.width[None, :]
        return mean, np.where(good > 0.5 * area, total, 0.0)

    def spread(self, mask: Bools) -> Bools:
        """Return a mask of blocks (n, A, A) as a mask of pixels (n, S, S)."""
        width = self.width.astype(np.int64)
        return mask.repeat(width, axis=1).repeat(width, axis=2)

    def _summed(self, images: Floats) -> Floats:
        # As products of matrices: several times faster than sums over slices.
        side = images.shape[-1]
        member = np.zeros((self.size, side))
        member[np.repeat(np.arange(self.size), self.width.astype(np.int64)), np.arange(side)] = 1.0
        return np.asarray(member @ (images @ member.T))


def fine_grid(side: int) -> Grid:
    """Return the grid of single pixels."""
    start = np.arange(side, dtype=np.int64)
    return Grid(start=start, width=np.ones(side), centre=start.astype(np.float64) - side // 2)


def star_grid(side: int, *, fwhm: float) -> Grid:
    """Return the grid for stars of a FWHM [pix] on cutouts of ``side`` pixels."""
    half = side // 2
    widths = [1] * min(half, int(np.ceil(_SINGLE * fwhm)))
    while sum(widths) < half:
        step = 2 if sum(widths) < _DOUBLE * fwhm else 4
        widths.append(min(step, half - sum(widths)))
    width = np.array([*widths[::-1], 1, *widths], dtype=np.float64)
    start = np.concatenate([[0.0], np.cumsum(width)[:-1]])
    return Grid(
        start=start.astype(np.int64), width=width, centre=start + 0.5 * (width - 1.0) - half
    )

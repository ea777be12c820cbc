"""Cutouts of stars: what the ePSF builder is fed with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.errors import WrongValue

__all__ = ["StarCutouts", "cut_stars"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarCutouts:
    """Square cutouts about stars, all of one odd side S.

    Parameters
    ----------
    data : ndarray of float32, shape (n, S, S)
        Background-subtracted pixels; pixels of weight 0 may hold anything.
    weight : ndarray of float32, shape (n, S, S)
        Inverse variance of the sky noise; 0 marks pixels that must not be used.
    x, y : ndarray of float, shape (n,)
        Approximate positions [pix] in the image, within about 1.5 pixels of the truth.
    x0, y0 : ndarray of int, shape (n,)
        Image position of element ``[0, 0]`` of each cutout.

    Raises
    ------
    WrongValue
        If the shapes do not agree or the side is even.
    """

    data: Pixels
    weight: Pixels
    x: Floats
    y: Floats
    x0: Ints
    y0: Ints

    def __post_init__(self) -> None:
        n, side = self.data.shape[0], self.data.shape[-1]
        good = (
            self.data.shape == (n, side, side)
            and self.weight.shape == self.data.shape
            and side % 2 == 1
            and all(a.shape == (n,) for a in (self.x, self.y, self.x0, self.y0))
        )
        if not good:
            raise WrongValue(
                f"StarCutouts: data {self.data.shape} and weight {self.weight.shape} must be "
                "(n, S, S) with S odd and one x, y, x0, y0 for each star; use cut_stars"
            )

    @property
    def side(self) -> int:
        """Side of the cutouts [pix]."""
        return int(self.data.shape[-1])

    def __len__(self) -> int:
        return int(self.data.shape[0])

    def rows(self, index: Ints | Bools) -> StarCutouts:
        """Return the chosen stars."""
        return StarCutouts(
            data=self.data[index],
            weight=self.weight[index],
            x=self.x[index],
            y=self.y[index],
            x0=self.x0[index],
            y0=self.y0[index],
        )

    def plus(self, image: Pixels) -> StarCutouts:
        """Return the cutouts of the sum with another image of the same frame."""
        return replace(self, data=self.data + _cut(image, self.x0, self.y0, self.side))


def cut_stars(
    image: Pixels, weight: Pixels, x: Floats, y: Floats, *, side: int = 61
) -> StarCutouts:
    """Cut squares about stars; the part outside the image gets weight 0.

    Parameters
    ----------
    image, weight : ndarray of float, shape (ny, nx)
        Background-subtracted image and inverse variance; pixels that are not finite are given
        weight 0.
    x, y : ndarray of float, shape (n,)
        Positions [pix], 0-based.
    side : int
        Side of the cutouts [pix], odd.

    Raises
    ------
    WrongValue
        If ``side`` is not odd and positive, or a position is not finite.
    """
    x, y = np.atleast_1d(np.asarray(x, np.float64)), np.atleast_1d(np.asarray(y, np.float64))
    if side < 1 or side % 2 == 0:
        raise WrongValue(
            f"cut_stars: side = {side} must be odd and positive; correct cutout_size", side=side
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        row = int(np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))[0])
        raise WrongValue(f"cut_stars: position of row {row} is not finite; drop the row", row=row)
    half = side // 2
    x0 = np.floor(x + 0.5).astype(np.int64) - half
    y0 = np.floor(y + 0.5).astype(np.int64) - half
    data = _cut(image, x0, y0, side)
    ivar = _cut(weight, x0, y0, side)
    bad = ~(np.isfinite(data) & np.isfinite(ivar) & (ivar > 0))
    data[bad] = 0.0
    ivar[bad] = 0.0
    return StarCutouts(data=data, weight=ivar, x=x, y=y, x0=x0, y0=y0)


def _cut(image: Pixels, x0: Ints, y0: Ints, side: int) -> Pixels:
    """Return squares with the given corners, (n, side, side); 0 outside the image."""
    out = np.zeros((x0.size, side, side), np.float32)
    ny, nx = image.shape
    for i in range(x0.size):
        left, right = max(0, x0[i]), min(nx, x0[i] + side)
        low, high = max(0, y0[i]), min(ny, y0[i] + side)
        if left < right and low < high:
            inner = slice(low - y0[i], high - y0[i]), slice(left - x0[i], right - x0[i])
            out[i][inner] = image[low:high, left:right]
    return out

"""Pixels that look like measurements and are none: regions of one and the same value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from skyloom._types import Floats, Pixels

__all__ = ["ConstantPixels", "constant_pixels"]

_SIDE: Final = 8  # pix; noise does not repeat a value 64 times, not even in coarse integers
_ROWS: Final = 64  # of blocks at a time
_FEWEST: Final = 4  # blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantPixels:
    """The value that fills whole regions of an image, as stacking programs write it."""

    value: float  # in the units of the image
    n_pixels: int
    share: float  # of all pixels


def constant_pixels(image: Pixels) -> ConstantPixels | None:
    """Find regions of one value: no data, rather than sky.

    Blocks of 8 x 8 pixels are looked at. Values above the maxima of most blocks do not count:
    they are the flat tops of saturated stars.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels in any unit; NaN is no value.

    Returns
    -------
    ConstantPixels or None
        The value of most such blocks; None for fewer than four of them.
    """
    ny, nx = (n // _SIDE * _SIDE for n in image.shape)
    tops: list[Floats] = []
    constant: list[Floats] = []
    for y in range(0, ny, _SIDE * _ROWS):
        part = image[y : min(ny, y + _SIDE * _ROWS), :nx]
        blocks = part.reshape(-1, _SIDE, nx // _SIDE, _SIDE)
        low, high = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))  # NaN if a pixel is
        tops.append(high[np.isfinite(high)])
        constant.append(low[low == high])
    if not constant or sum(map(len, constant)) < _FEWEST:
        return None
    values = np.concatenate(constant)
    values = values[values <= np.median(np.concatenate(tops))]
    if len(values) < _FEWEST:
        return None
    found, counts = np.unique(values, return_counts=True)
    most = int(np.argmax(counts))
    n = int(counts[most]) * _SIDE**2
    if counts[most] < _FEWEST:
        return None
    return ConstantPixels(value=float(found[most]), n_pixels=n, share=n / image.size)

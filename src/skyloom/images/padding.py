"""Images that end before the frame they lie in: beyond their pixels there is no data."""

from __future__ import annotations

import numpy as np

from skyloom._types import Pixels
from skyloom.geometry import Box
from skyloom.images.fits import FitsImage

__all__ = ["common_shape", "read_padded"]


def common_shape(shapes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the least shape (ny, nx) that holds all shapes, their lower left corners at one."""
    return max(ny for ny, _ in shapes), max(nx for _, nx in shapes)


def read_padded(image: FitsImage, box: Box, *, fill: float = np.nan) -> Pixels:
    """Read a box of pixels; those beyond the image are ``fill``.

    Parameters
    ----------
    image : FitsImage
        The image, in the lower left corner of the frame.
    box : Box
        Region of the frame.
    fill : float
        Value where there is no image.
    """
    inner = box.clipped(Box.of_shape(image.shape))
    if inner == box:
        return image.read(box)
    out = np.full(box.shape, fill, np.float32)
    if not inner.is_empty:
        out[inner.shifted(-box.x0, -box.y0).slices] = image.read(inner)
    return out

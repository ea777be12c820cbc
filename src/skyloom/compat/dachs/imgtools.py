"""Old names for pictures: ``from gavo.utils import imgtools``."""

# ruff: noqa: N802 - old names

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyloom.process.previews import color_jpeg_from_arrays, jpeg_from_array

__all__ = ["colorJpegFromNumpyArrays", "jpegFromNumpyArray"]


def jpegFromNumpyArray(pixels: npt.ArrayLike, gamma: float = 0.25) -> bytes:
    """See `skyloom.process.previews.jpeg_from_array`."""
    return jpeg_from_array(np.asarray(pixels), gamma)


def colorJpegFromNumpyArrays(
    rPix: npt.ArrayLike, gPix: npt.ArrayLike, bPix: npt.ArrayLike, gamma: float = 0.25
) -> bytes:
    """See `skyloom.process.previews.color_jpeg_from_arrays`."""
    return color_jpeg_from_arrays(np.asarray(rPix), np.asarray(gPix), np.asarray(bPix), gamma)

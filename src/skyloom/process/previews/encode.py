"""Pictures as bytes: JPEG, PNG or WebP of grey and colour images."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom.errors import Unprocessable, WrongValue

from .color import stacked
from .stretch import gamma_shades

__all__ = ["FORMATS", "color_jpeg_from_arrays", "jpeg_from_array", "picture_bytes"]

FORMATS: Final = {"jpeg": ".jpeg", "png": ".png", "webp": ".webp"}
"""Formats of pictures, with the extensions of their files."""

_LONGEST: Final = {"jpeg": 65_500, "webp": 16_383, "png": 1_000_000}  # pixels per side, by format
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "jpeg": {"quality": 85},
    "png": {"compress_level": 6},
    "webp": {"quality": 85, "method": 2},
}


def picture_bytes(shades: npt.NDArray[Any], picture_format: str = "jpeg") -> bytes:
    """Return an image as a picture file; its first row is the lowest, as in FITS.

    Parameters
    ----------
    shades : ndarray, shape (ny, nx) or (ny, nx, 3)
        Grey, or red, green and blue: 0 for black to 1 for full; NaN is black.
    picture_format : str
        Key of `FORMATS`.

    Raises
    ------
    WrongValue
        If there is no such format.
    Unprocessable
        If the format cannot hold a picture of that size.
    """
    from PIL import Image  # noqa: PLC0415 - a dependency that few modules need

    if picture_format not in FORMATS:
        raise WrongValue(
            f"format = {picture_format!r} is unknown; it is one of {', '.join(FORMATS)}",
            format=picture_format,
        )
    longest = _LONGEST[picture_format]
    if max(shades.shape[:2]) > longest or 0 in shades.shape:
        raise Unprocessable(
            f"a picture of {shades.shape[1]} x {shades.shape[0]} pixels cannot be a "
            f"{picture_format} file; its sides are 1 to {longest}, scale the image",
            shape=shades.shape,
        )
    levels = (np.nan_to_num(np.clip(shades, 0.0, 1.0)) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(levels[::-1]))
    picture.save(buffer, picture_format, **_OPTIONS[picture_format])
    return buffer.getvalue()


def jpeg_from_array(a: npt.NDArray[Any], gamma: float = 0.25) -> bytes:
    """Return a grey JPEG of an image: minimum to maximum, to the power gamma.

    Parameters
    ----------
    a : ndarray, shape (ny, nx)
        Pixels, the first row lowest; what is not finite is drawn black.
    gamma : float
        Below 1 the faint is lifted.
    """
    return picture_bytes(gamma_shades(a, gamma))


def color_jpeg_from_arrays(
    r: npt.NDArray[Any], g: npt.NDArray[Any], b: npt.NDArray[Any], gamma: float = 0.25
) -> bytes:
    """Return a colour JPEG of three images, each scaled by itself as in `jpeg_from_array`.

    Raises
    ------
    Mismatch
        If the shapes differ.
    """
    return picture_bytes(stacked(*(gamma_shades(channel, gamma) for channel in (r, g, b))))

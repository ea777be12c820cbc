"""From pixels to a preview: the choices that make a picture, and their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom.errors import WrongValue

from .encode import FORMATS, picture_bytes
from .plates import plate_area
from .stretch import STRETCHES, stretched

__all__ = ["PictureStyle", "draw_image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureStyle:
    """How previews of images look; a choice that does not exist is refused at once."""

    size: int = 500  # pix, upper limit of the longer side
    stretch: str = "asinh"  # key of STRETCHES
    picture_format: str = "jpeg"  # key of FORMATS
    is_negative: bool = False  # a plate: stars are lower than the sky and are drawn bright
    is_cropped: bool = False  # a plate: without margins and labels
    white_sky: bool = False  # dark stars on white, as on paper

    def __post_init__(self) -> None:
        if self.size < 1:
            raise WrongValue(f"size = {self.size} must be at least 1 [pix]", size=self.size)
        for name, value, known in (
            ("stretch", self.stretch, STRETCHES),
            ("format", self.picture_format, FORMATS),
        ):
            if value not in known:
                raise WrongValue(
                    f"{name} = {value!r} is unknown; it is one of {', '.join(known)}",
                    **{name: value},
                )


def draw_image(values: npt.NDArray[Any], style: PictureStyle | None = None) -> bytes:
    """Return the picture of an image, its first row lowest.

    Parameters
    ----------
    values : ndarray, shape (ny, nx)
        Pixels, scaled to the size of the picture already; NaN is drawn as black.
    style : PictureStyle, optional
        How it looks.
    """
    style = style or PictureStyle()
    if style.is_cropped:
        values = values[plate_area(values).slices]
    shades = stretched(-values if style.is_negative else values, style.stretch)
    if style.white_sky:
        shades = 1.0 - shades
    return picture_bytes(np.asarray(shades), style.picture_format)

"""What is wrong with a pixel, as bits of an 8-bit mask."""

from __future__ import annotations

from skyloom.flags import QualityFlag

__all__ = ["MaskBit"]


class MaskBit(QualityFlag):
    """Reasons to ignore a pixel; a mask is a uint8 array of these bits."""

    NONFINITE = 1, "the pixel is NaN or infinite"
    SATURATED = 2, "the raw value reaches SATURATE / saturation_divisor"
    BRIGHT = 4, "inside the ellipse of a bright detection that the catalogue does not list"
    SPIKE = 8, "a diffraction spike or bleed trail of a bright star"

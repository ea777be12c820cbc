"""Images: FITS files, frames (one band of a tile) and pixel masks."""

from skyloom.images.fits import FitsImage, opened_fits
from skyloom.images.frame import (
    Frame,
    HeaderOverride,
    frame_wcs,
    nonfinite_and_saturated,
    read_frame,
    read_frames,
    read_pixels,
    scaled_pixels,
)
from skyloom.images.mask import MaskBit

__all__ = [
    "FitsImage",
    "Frame",
    "HeaderOverride",
    "MaskBit",
    "frame_wcs",
    "nonfinite_and_saturated",
    "opened_fits",
    "read_frame",
    "read_frames",
    "read_pixels",
    "scaled_pixels",
]

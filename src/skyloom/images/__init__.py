"""Images: FITS files, frames (one band of a tile) and pixel masks."""

from skyloom.images.dates import DATE_KEYWORDS, header_mjd
from skyloom.images.fits import FitsImage, opened_fits
from skyloom.images.frame import (
    Frame,
    frame_wcs,
    nonfinite_and_saturated,
    read_frame,
    read_frames,
    read_pixels,
    scaled_pixels,
)
from skyloom.images.mask import MaskBit

__all__ = [
    "DATE_KEYWORDS",
    "FitsImage",
    "Frame",
    "MaskBit",
    "frame_wcs",
    "header_mjd",
    "nonfinite_and_saturated",
    "opened_fits",
    "read_frame",
    "read_frames",
    "read_pixels",
    "scaled_pixels",
]

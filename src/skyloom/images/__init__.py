"""Images: FITS files, frames (one band of a tile) and pixel masks."""

from skyloom.images.dates import DATE_KEYWORDS, header_mjd
from skyloom.images.fits import FitsImage, opened_fits
from skyloom.images.frame import (
    Frame,
    HeaderOverride,
    frame_wcs,
    nonfinite_and_saturated,
    pixels_and_mask,
    read_frame,
    read_frames,
    read_pixels,
    scaled_pixels,
)
from skyloom.images.maps import MapFile, PixelMaps, check_maps
from skyloom.images.mask import UNUSABLE, MaskBit

__all__ = [
    "DATE_KEYWORDS",
    "UNUSABLE",
    "FitsImage",
    "Frame",
    "HeaderOverride",
    "MapFile",
    "MaskBit",
    "PixelMaps",
    "check_maps",
    "frame_wcs",
    "header_mjd",
    "nonfinite_and_saturated",
    "opened_fits",
    "pixels_and_mask",
    "read_frame",
    "read_frames",
    "read_pixels",
    "scaled_pixels",
]

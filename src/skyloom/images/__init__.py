"""Images: exposures and masks, FITS files, frames (one band of a tile) and pixel maps."""

from skyloom.images.dates import DATE_KEYWORDS, header_mjd
from skyloom.images.exposure import (
    COMPONENTS,
    Exposure,
    ExposureD,
    ExposureF,
    ExposureFactory,
    ExposureI,
    ExposureL,
    ExposureU,
)
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
from skyloom.images.image import Image, ImageD, ImageF, ImageFactory, ImageI, ImageL, ImageU
from skyloom.images.maps import MapFile, PixelMaps, check_maps
from skyloom.images.mask import UNUSABLE, MaskBit
from skyloom.images.masked_image import (
    MaskedImage,
    MaskedImageD,
    MaskedImageF,
    MaskedImageFactory,
    MaskedImageI,
    MaskedImageL,
    MaskedImageU,
)
from skyloom.images.planes import DEFAULT_PLANES, MASK_ALIASES, Mask

__all__ = [
    "COMPONENTS",
    "DATE_KEYWORDS",
    "DEFAULT_PLANES",
    "MASK_ALIASES",
    "UNUSABLE",
    "Exposure",
    "ExposureD",
    "ExposureF",
    "ExposureFactory",
    "ExposureI",
    "ExposureL",
    "ExposureU",
    "FitsImage",
    "Frame",
    "HeaderOverride",
    "Image",
    "ImageD",
    "ImageF",
    "ImageFactory",
    "ImageI",
    "ImageL",
    "ImageU",
    "MapFile",
    "Mask",
    "MaskBit",
    "MaskedImage",
    "MaskedImageD",
    "MaskedImageF",
    "MaskedImageFactory",
    "MaskedImageI",
    "MaskedImageL",
    "MaskedImageU",
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

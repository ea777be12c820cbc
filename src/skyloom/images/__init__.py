"""Images: exposures and masks, FITS files, frames (one band of a tile) and pixel maps."""

from skyloom.images.about import Amplifier, ArchivedObject, Detector, FilterLabel, VisitInfo
from skyloom.images.afw.read import read_component, read_metadata, read_psf
from skyloom.images.background import Background, BackgroundList, measure_background
from skyloom.images.coadd_psf import CoaddInput, CoaddPsf, GridPsf
from skyloom.images.dates import DATE_KEYWORDS, header_mjd
from skyloom.images.detector_frames import DetectorFrames
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
from skyloom.images.fields import (
    ApCorrMap,
    ChebyshevField,
    MappedField,
    PixelAreaField,
    ProductField,
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
    read_scaled_pixels,
    scaled_pixels,
)
from skyloom.images.image import Image, ImageD, ImageF, ImageFactory, ImageI, ImageL, ImageU
from skyloom.images.kernel_psf import (
    ChebyshevFunction,
    KernelPsf,
    PolynomialFunction,
    PsfexPsf,
)
from skyloom.images.legacy import read_psfex, read_sky
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
from skyloom.images.moments import adaptive_moments, psf_moments
from skyloom.images.mosaic import FFP_FORMAT, FluxFitParams, MosaicCalib
from skyloom.images.photo_calib import AB_ZERO_NJY, PhotoCalib, magnitude_errors
from skyloom.images.planes import DEFAULT_PLANES, MASK_ALIASES, Mask
from skyloom.images.sky_wcs import SkyWcs
from skyloom.images.spline_sky import SplineSky
from skyloom.images.statistics import PixelStatistics, pixel_statistics

__all__ = [
    "AB_ZERO_NJY",
    "COMPONENTS",
    "DATE_KEYWORDS",
    "DEFAULT_PLANES",
    "FFP_FORMAT",
    "MASK_ALIASES",
    "UNUSABLE",
    "Amplifier",
    "ApCorrMap",
    "ArchivedObject",
    "Background",
    "BackgroundList",
    "ChebyshevField",
    "ChebyshevFunction",
    "CoaddInput",
    "CoaddPsf",
    "Detector",
    "DetectorFrames",
    "Exposure",
    "ExposureD",
    "ExposureF",
    "ExposureFactory",
    "ExposureI",
    "ExposureL",
    "ExposureU",
    "FilterLabel",
    "FitsImage",
    "FluxFitParams",
    "Frame",
    "GridPsf",
    "HeaderOverride",
    "Image",
    "ImageD",
    "ImageF",
    "ImageFactory",
    "ImageI",
    "ImageL",
    "ImageU",
    "KernelPsf",
    "MapFile",
    "MappedField",
    "Mask",
    "MaskBit",
    "MaskedImage",
    "MaskedImageD",
    "MaskedImageF",
    "MaskedImageFactory",
    "MaskedImageI",
    "MaskedImageL",
    "MaskedImageU",
    "MosaicCalib",
    "PhotoCalib",
    "PixelAreaField",
    "PixelMaps",
    "PixelStatistics",
    "PolynomialFunction",
    "ProductField",
    "PsfexPsf",
    "SkyWcs",
    "SplineSky",
    "VisitInfo",
    "adaptive_moments",
    "check_maps",
    "frame_wcs",
    "header_mjd",
    "magnitude_errors",
    "measure_background",
    "nonfinite_and_saturated",
    "opened_fits",
    "pixel_statistics",
    "pixels_and_mask",
    "psf_moments",
    "read_component",
    "read_frame",
    "read_frames",
    "read_metadata",
    "read_pixels",
    "read_psf",
    "read_psfex",
    "read_scaled_pixels",
    "read_sky",
    "scaled_pixels",
]

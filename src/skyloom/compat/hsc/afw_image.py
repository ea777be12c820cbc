"""Old names of `skyloom.images`: ``lsst.afw.image``."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, final

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.compat.hsc._adapter import Adapter, new_of, old_of
from skyloom.compat.hsc._planes import Image, Mask, MaskedImage, Planes
from skyloom.compat.hsc.afw_coord import Coord, IcrsCoord
from skyloom.compat.hsc.afw_geom import (
    AffineTransform,
    Angle,
    AngleUnit,
    Box2I,
    Extent2I,
    LinearTransform,
    Point2D,
    arcseconds,
    degrees,
)
from skyloom.compat.hsc.ellipses import Quadrupole
from skyloom.compat.hsc.metadata import Metadata
from skyloom.errors import NotCalibrated
from skyloom.geometry import IcrsCoord as NewIcrsCoord
from skyloom.images import Exposure as NewExposure
from skyloom.images import FilterLabel, PhotoCalib, SkyWcs, psf_moments, read_metadata
from skyloom.images import Image as NewImage
from skyloom.images.kernel_psf import lanczos_weights

__all__ = [
    "LOCAL",
    "PARENT",
    "Calib",
    "Detector",
    "Exposure",
    "ExposureD",
    "ExposureF",
    "ExposureI",
    "ExposureU",
    "Filter",
    "Image",
    "ImageD",
    "ImageF",
    "ImageI",
    "ImageU",
    "Mask",
    "MaskU",
    "MaskX",
    "MaskedImage",
    "MaskedImageD",
    "MaskedImageF",
    "MaskedImageI",
    "Psf",
    "Wcs",
    "makeWcs",
    "readMetadata",
]

_LANCZOS = 5  # order, as afw moves its PSFs

PARENT, LOCAL = "PARENT", "LOCAL"
"""What boxes count from: the parent, as always here, or the first pixel of the array."""


@final
class Wcs(Adapter):
    """Sky positions of parent coordinates."""

    def pixelToSky(self, x: Any, y: float | None = None) -> IcrsCoord:
        """Use ``ra, dec = wcs.pixel_to_sky(x, y)`` [deg]."""
        at_x, at_y = x if y is None else (x, y)
        made: IcrsCoord = IcrsCoord.of(
            NewIcrsCoord.from_degrees(*self.new.pixel_to_sky(at_x, at_y))
        )
        return made

    def skyToPixel(self, coord: Any, dec: Any = None) -> Point2D:
        """Use ``x, y = wcs.sky_to_pixel(ra, dec)`` [deg]."""
        if isinstance(coord, Coord):
            coord, dec = coord.getRa(), coord.getDec()
        return Point2D(self.new.sky_to_pixel(coord.asDegrees(), dec.asDegrees()))

    def getPixelOrigin(self) -> Point2D:
        """Use ``wcs.to_astropy()``: its CRPIX, minus 1 [pix]."""
        return Point2D(tuple(self.new.to_astropy().wcs.crpix - 1.0))

    def getSkyOrigin(self) -> IcrsCoord:
        """Use ``wcs.to_astropy()``: its CRVAL [deg]."""
        made: IcrsCoord = IcrsCoord.of(
            NewIcrsCoord.from_degrees(*self.new.to_astropy().wcs.crval.tolist())
        )
        return made

    def pixelScale(self, point: Any = (0.0, 0.0)) -> Angle:
        """Use ``wcs.pixel_scale(x, y)`` [arcsec]."""
        return Angle(np.radians(self.new.pixel_scale(*point) / 3600.0))

    def getPixelScale(self, point: Any = (0.0, 0.0)) -> Angle:
        """Use ``wcs.pixel_scale(x, y)`` [arcsec]."""
        return self.pixelScale(point)

    def getLinearTransform(self) -> LinearTransform:
        """Use ``wcs.to_astropy().pixel_scale_matrix`` [deg/pix]."""
        return LinearTransform(self.new.to_astropy().pixel_scale_matrix)

    def getCdMatrix(self) -> Any:
        """Use ``wcs.to_astropy().pixel_scale_matrix`` [deg/pix]."""
        return self.getLinearTransform().matrix

    def linearizePixelToSky(self, place: Any, unit: AngleUnit = degrees) -> AffineTransform:
        """Use ``wcs.jacobian(x, y)`` [arcsec/pix]: east and north of steps along x and y."""
        x, y = self.skyToPixel(place) if isinstance(place, Coord) else place
        scale = (1.0 * arcseconds).asRadians() / (1.0 * unit).asRadians()
        matrix = scale * self.new.jacobian(x, y)
        sky = self.pixelToSky(x, y).getPosition(unit)
        return AffineTransform(matrix, np.array(tuple(sky)) - matrix @ np.array([x, y]))

    def linearizeSkyToPixel(self, place: Any, unit: AngleUnit = degrees) -> AffineTransform:
        """Use ``np.linalg.inv(wcs.jacobian(x, y))`` [pix/arcsec]."""
        return self.linearizePixelToSky(place, unit).inverted()

    def pixelToSkyArray(self, x: Any, y: Any, degrees: bool = False) -> tuple[Any, Any]:
        """Use ``ra, dec = wcs.pixel_to_sky(x, y)`` [deg]."""
        ra, dec = self.new.pixel_to_sky(x, y)
        return (ra, dec) if degrees else (np.radians(ra), np.radians(dec))

    def skyToPixelArray(self, ra: Any, dec: Any, degrees: bool = False) -> tuple[Any, Any]:
        """Use ``x, y = wcs.sky_to_pixel(ra, dec)`` [deg]."""
        if not degrees:
            ra, dec = np.degrees(ra), np.degrees(dec)
        x, y = self.new.sky_to_pixel(ra, dec)
        return x, y


@final
class Calib(Adapter):
    """The zero point."""

    new: PhotoCalib

    def __init__(self, metadata: Any) -> None:
        cards = new_of(metadata)
        found = cards if isinstance(cards, PhotoCalib) else PhotoCalib.from_metadata(cards)
        if found is None:
            raise NotCalibrated("the metadata have no FLUXMAG0; measure the zero point first")
        self.new = found

    def getFluxMag0(self) -> tuple[float, float]:
        """Use ``photo_calib.flux_mag0, photo_calib.flux_mag0_err``."""
        return self.new.flux_mag0, self.new.flux_mag0_err

    def getMagnitude(self, flux: Any, flux_err: Any = None) -> Any:
        """Use ``photo_calib.magnitude(flux)`` and ``magnitude_err(flux, flux_err)``."""
        mag = self.new.magnitude(flux)
        return mag if flux_err is None else (mag, self.new.magnitude_err(flux, flux_err))

    def getFlux(self, magnitude: Any) -> Any:
        """Use ``photo_calib.flux(magnitude)``."""
        return self.new.flux(magnitude)

    @staticmethod
    def setThrowOnNegativeFlux(raises: bool) -> None:
        """Use nothing: magnitudes of fluxes that are not positive are NaN."""

    def getInstFluxAtZeroMagnitude(self) -> float:
        """Use ``photo_calib.flux_mag0``."""
        return self.new.flux_mag0

    def getCalibrationMean(self) -> float:
        """Use ``photo_calib.mean`` [nJy]."""
        return self.new.mean

    def instFluxToMagnitude(self, flux: Any, point: Any = None) -> Any:
        """Use ``photo_calib.magnitude(flux, x, y)``."""
        return self.new.magnitude(flux, *(() if point is None else point))

    def instFluxToNanojansky(self, flux: Any, point: Any = None) -> Any:
        """Use ``photo_calib.nanojansky(flux, x, y)``."""
        return self.new.nanojansky(flux, *(() if point is None else point))


@final
class Psf(Adapter):
    """The point-spread function."""

    def computeKernelImage(self, point: Any = None) -> Image:
        """Use ``psf.at(x, y)``, an array with the star on its central pixel."""
        values = self.new.at(*self._place(point))
        half = values.shape[0] // 2
        made: Image = Image.of(NewImage(values, xy0=(-half, -half)))
        return made

    def computeImage(self, point: Any = None) -> Image:
        """Use ``psf.at(x, y)``; the old image has the star at a fraction of a pixel."""
        x, y = self._place(point)
        kernel = self.new.at(x, y)
        half = kernel.shape[0] // 2
        column, row = math.floor(x + 0.5), math.floor(y + 0.5)
        values = _shift(len(kernel), y - row) @ kernel @ _shift(len(kernel), x - column).T
        made: Image = Image.of(NewImage(values, xy0=(column - half, row - half)))
        return made

    def computeShape(self, point: Any = None) -> Quadrupole:
        """Use ``psf_moments(psf, x, y)``."""
        made: Quadrupole = Quadrupole.of(psf_moments(self.new, *self._place(point)))
        return made

    def _place(self, point: Any) -> tuple[float, float]:
        x, y = self.new.average_position if point is None else point
        return float(x), float(y)


def _shift(n: int, offset: float) -> Any:
    """Return the matrix that moves n samples by a part of a sample, with Lanczos weights."""
    samples = np.arange(n, dtype=np.float64)
    return lanczos_weights(samples[:, None] - samples[None, :] - offset, _LANCZOS)


@final
class Filter(Adapter):
    """The filter."""

    def __init__(self, metadata: Any) -> None:
        self.new = FilterLabel.from_name(str(new_of(metadata).get("FILTER", "")))

    def getName(self) -> str:
        """Use ``filter.band`` or ``filter.physical``."""
        return "_unknown_" if self.new is None else str(self.new)


@final
class Detector(Adapter):
    """The CCD."""

    def getName(self) -> Any:
        """Use ``detector.name``."""
        return self.new.name

    def getId(self) -> Any:
        """Use ``detector.number``."""
        return self.new.number

    def getSerial(self) -> Any:
        """Use ``detector.serial``."""
        return self.new.serial


@final
class Exposure(Planes):
    """A masked image with what is known about it."""

    new: NewExposure

    def __init__(self, source: Any, second: Any = None, origin: str = PARENT) -> None:
        box = second if isinstance(second, Box2I) else None
        if isinstance(source, (str, Path)):
            self.new = NewExposure.read(source, None if box is None else box.new)
            return
        if isinstance(source, (int, Extent2I, Box2I)):
            self.new = NewExposure(MaskedImage(source, second).new)
            return
        found = new_of(source)
        exposure = found if isinstance(found, NewExposure) else NewExposure(found)
        if box is not None:
            exposure = exposure[self.in_parent(exposure, box, origin)]
        self.new = exposure.copy() if second is True else exposure

    @classmethod
    def readFits(cls, path: str) -> Exposure:
        """Use ``Exposure.read(path)``."""
        return cls(path)

    def writeFits(self, path: str) -> None:
        """Use ``exposure.write(path, overwrite=True)``."""
        self.new.write(path, overwrite=True)

    def clone(self) -> Exposure:
        """Use ``exposure.copy()``."""
        return Exposure(self.new.copy())

    def getMaskedImage(self) -> MaskedImage:
        """Use ``exposure.masked_image`` (``exposure.image``, ``exposure.mask``)."""
        made: MaskedImage = MaskedImage.of(self.new.masked_image)
        return made

    @property
    def maskedImage(self) -> MaskedImage:
        """Use ``exposure.masked_image``."""
        return self.getMaskedImage()

    def getImage(self) -> Image:
        """Use ``exposure.image``."""
        return self.getMaskedImage().getImage()

    def getMask(self) -> Mask:
        """Use ``exposure.mask``."""
        return self.getMaskedImage().getMask()

    def getVariance(self) -> Image:
        """Use ``exposure.variance``."""
        return self.getMaskedImage().getVariance()

    @property
    def image(self) -> Image:
        """Use ``exposure.image``."""
        return self.getImage()

    @property
    def mask(self) -> Mask:
        """Use ``exposure.mask``."""
        return self.getMask()

    @property
    def variance(self) -> Image:
        """Use ``exposure.variance``."""
        return self.getVariance()

    def getInfo(self) -> Exposure:
        """Use the exposure itself: ``exposure.wcs``, ``exposure.visit_info``."""
        return self

    def getVisitInfo(self) -> Any:
        """Use ``exposure.visit_info``."""
        return self.new.visit_info

    def getApCorrMap(self) -> Any:
        """Use ``exposure.ap_corr_map``."""
        return self.new.ap_corr_map

    def setMaskedImage(self, masked_image: Any) -> None:
        """Use ``exposure.masked_image = masked_image``."""
        self.new.masked_image = new_of(masked_image)

    def getMetadata(self) -> Metadata:
        """Use ``exposure.metadata``."""
        made: Metadata = Metadata.of(self.new.metadata)
        return made

    def hasWcs(self) -> bool:
        """Use ``exposure.wcs is not None``."""
        return self.new.wcs is not None

    def getWcs(self) -> Any:
        """Use ``exposure.wcs``."""
        return old_of(self.new.wcs)

    def setWcs(self, wcs: Any) -> None:
        """Use ``exposure.wcs = wcs``."""
        self.new.wcs = new_of(wcs)

    def hasPsf(self) -> bool:
        """Use ``exposure.psf is not None``."""
        return self.new.psf is not None

    def getPsf(self) -> Any:
        """Use ``exposure.psf``."""
        return None if self.new.psf is None else Psf.of(self.new.psf)

    def getCalib(self) -> Any:
        """Use ``exposure.photo_calib``."""
        return old_of(self.new.photo_calib)

    def setCalib(self, calib: Any) -> None:
        """Use ``exposure.photo_calib = photo_calib``."""
        self.new.photo_calib = new_of(calib)

    def getPhotoCalib(self) -> Any:
        """Use ``exposure.photo_calib``."""
        return old_of(self.new.photo_calib)

    def setPsf(self, psf: Any) -> None:
        """Use ``exposure.psf = psf``."""
        self.new.psf = new_of(psf)

    def setMetadata(self, metadata: Any) -> None:
        """Use ``exposure.metadata = metadata``."""
        self.new.metadata = new_of(metadata)

    def getFilter(self) -> Any:
        """Use ``exposure.filter``."""
        return old_of(self.new.filter)

    def getDetector(self) -> Any:
        """Use ``exposure.detector``."""
        return old_of(self.new.detector)


ExposureF = ExposureD = ExposureI = ExposureU = Exposure


def readMetadata(path: str, hdu: int | None = None) -> Metadata:
    """Use ``read_metadata(path)``; with `hdu`, ``astropy.io.fits.getheader(path, hdu)``."""
    cards = read_metadata(path) if hdu is None else fits.getheader(path, hdu)
    made: Metadata = Metadata.of(cards)
    return made


def makeWcs(metadata: Any) -> Wcs:
    """Use ``SkyWcs.from_astropy(WCS(header))``; positions are parent coordinates (LTV1, LTV2)."""
    cards = new_of(metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keywords that astropy repairs
        found = WCS(cards)
    xy0 = (-round(cards.get("LTV1", 0)), -round(cards.get("LTV2", 0)))
    made: Wcs = Wcs.of(SkyWcs.from_astropy(found, xy0=xy0))
    return made


def ImageF(*source: Any) -> Image:
    """Make an image of float32 pixels; see `ImageD`."""
    return _image(np.float32, *source)


def ImageD(*source: Any) -> Image:
    """Make an image of float64 pixels: of a size, of a box, from a file or array, or of another."""
    return _image(np.float64, *source)


def ImageI(*source: Any) -> Image:
    """Make an image of int32 pixels; see `ImageD`."""
    return _image(np.int32, *source)


def ImageU(*source: Any) -> Image:
    """Make an image of uint16 pixels; see `ImageD`."""
    return _image(np.uint16, *source)


MaskU = MaskX = Mask
MaskedImageF = MaskedImageD = MaskedImageI = MaskedImage


def _image(dtype: Any, *source: Any) -> Image:
    image = Image(*source)
    if image.new.array.dtype == dtype:
        return image
    made: Image = Image.of(image.new.converted(dtype))
    return made

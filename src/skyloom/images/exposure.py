"""An exposure: a masked image and everything that is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from skyloom.geometry import Box
from skyloom.images.image import PIXEL_TYPES, Covered, Image, wrong_type
from skyloom.images.masked_image import MaskedImage, MaskedImageFactory
from skyloom.images.planes import Mask

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.nddata import CCDData

__all__ = [
    "COMPONENTS",
    "Exposure",
    "ExposureD",
    "ExposureF",
    "ExposureFactory",
    "ExposureI",
    "ExposureL",
    "ExposureU",
    "Stored",
]

COMPONENTS = ("wcs", "psf", "photo_calib", "filter", "ap_corr_map", "detector", "visit_info")
"""Parts of an exposure beside its pixels; attributes, and names of `read_component`."""


class Stored(Protocol):
    """Components as a file has them, decoded on request."""

    def component(self, name: str) -> Any:
        """Return a component, or None where the file has none."""
        ...


class Exposure(Covered):
    """A masked image with its WCS, PSF, calibration and metadata.

    Parameters
    ----------
    masked_image : MaskedImage, Image or array_like
        The pixels.
    wcs : SkyWcs or astropy.wcs.WCS, optional
        Sky positions; an astropy WCS counts from the first pixel of the array.
    psf, photo_calib, filter, ap_corr_map, detector, visit_info : optional
        The other components.
    metadata : astropy.io.fits.Header, optional
        Cards about the exposure, in order, duplicates included.

    Notes
    -----
    Components that were read are decoded when they are first asked for.  Positions are parent
    coordinates: those of the detector or tract, whatever part of it the array holds.
    """

    __slots__ = ("_decoded", "_set", "_stored", "masked_image", "metadata")

    masked_image: MaskedImage
    metadata: Header

    def __init__(
        self,
        masked_image: MaskedImage | Image | npt.ArrayLike,
        *,
        wcs: Any = None,
        psf: Any = None,
        photo_calib: Any = None,
        filter: Any = None,  # noqa: A002 - the astronomer's word
        ap_corr_map: Any = None,
        detector: Any = None,
        visit_info: Any = None,
        metadata: Header | None = None,
        stored: Stored | None = None,
    ) -> None:
        from astropy.io.fits import Header  # noqa: PLC0415 - takes 0.2 s

        if not isinstance(masked_image, MaskedImage):
            masked_image = MaskedImage(masked_image)
        self.masked_image = masked_image
        self.metadata = Header() if metadata is None else metadata
        self._stored = stored
        self._decoded: dict[str, Any] = {}
        self._set: dict[str, Any] = {}
        given = {
            "wcs": wcs,
            "psf": psf,
            "photo_calib": photo_calib,
            "filter": filter,
            "ap_corr_map": ap_corr_map,
            "detector": detector,
            "visit_info": visit_info,
        }
        for name, value in given.items():
            if value is not None:
                self._replace(name, value)

    @property
    def image(self) -> Image:
        """The pixels."""
        return self.masked_image.image

    @image.setter
    def image(self, value: Image) -> None:
        self.masked_image = self.masked_image.replaced(image=value)

    @property
    def mask(self) -> Mask:
        """The mask."""
        return self.masked_image.mask

    @mask.setter
    def mask(self, value: Mask) -> None:
        self.masked_image = self.masked_image.replaced(mask=value)

    @property
    def variance(self) -> Image:
        """The variance [square of the unit of the image]."""
        return self.masked_image.variance

    @variance.setter
    def variance(self, value: Image) -> None:
        self.masked_image = self.masked_image.replaced(variance=value)

    @property
    @override
    def box(self) -> Box:
        """The pixels that it covers, in parent coordinates."""
        return self.masked_image.box

    @property
    def wcs(self) -> Any:
        """Sky positions of parent coordinates (`SkyWcs`), or None."""
        return self._component("wcs")

    @wcs.setter
    def wcs(self, value: Any) -> None:
        self._replace("wcs", value)

    @property
    def psf(self) -> Any:
        """The point-spread function, or None."""
        return self._component("psf")

    @psf.setter
    def psf(self, value: Any) -> None:
        self._replace("psf", value)

    @property
    def photo_calib(self) -> Any:
        """The photometric calibration (`PhotoCalib`), or None.

        Raises
        ------
        NotCalibrated
            If the file says that its zero point is unknown (FLUXMAG0 = 0).
        """
        return self._component("photo_calib")

    @photo_calib.setter
    def photo_calib(self, value: Any) -> None:
        self._replace("photo_calib", value)

    @property
    def filter(self) -> Any:
        """The filter (`FilterLabel`), or None."""
        return self._component("filter")

    @filter.setter  # noqa: A003
    def filter(self, value: Any) -> None:
        self._replace("filter", value)

    @property
    def ap_corr_map(self) -> Any:
        """Aperture corrections by name (`ApCorrMap`), or None."""
        return self._component("ap_corr_map")

    @ap_corr_map.setter
    def ap_corr_map(self, value: Any) -> None:
        self._replace("ap_corr_map", value)

    @property
    def detector(self) -> Any:
        """The detector (`Detector`), or None."""
        return self._component("detector")

    @property
    def visit_info(self) -> Any:
        """When and where the exposure was taken (`VisitInfo`), or None."""
        return self._component("visit_info")

    @property
    def replaced(self) -> Mapping[str, Any]:
        """Components that were set since the exposure was made or read; None: removed."""
        return self._set

    @property
    def stored(self) -> Stored | None:
        """What the file had; see `Stored`."""
        return self._stored

    def __getitem__(self, box: Box) -> Self:
        """Return the part in a box of parent coordinates; its pixels share memory."""
        return self._with(self.masked_image[box])

    def copy(self) -> Self:
        """Return an exposure with pixels and metadata of its own."""
        copied = self._with(self.masked_image.copy())
        copied.metadata = self.metadata.copy()
        return copied

    @classmethod
    def read(cls, path: Path | str, bbox: Box | None = None) -> Exposure:
        """Read an exposure, or a box of it.

        Parameters
        ----------
        path : path
            A FITS file in the layout of afw, old or new.
        bbox : Box, optional
            The part to read, in parent coordinates; nothing else is read (of compressed planes,
            the tiles that touch it).

        Raises
        ------
        MissingFile, UnreadableFile, OutsideImage
            If the file is absent, damaged, or does not hold the box.
        """
        from skyloom.images.afw.read import read_exposure  # noqa: PLC0415

        return read_exposure(path, bbox)

    def write(
        self, path: Path | str, *, overwrite: bool = False, is_compressed: bool = False
    ) -> None:
        """Write it in the layout of afw, under a temporary name that is then renamed.

        Parameters
        ----------
        path : path
            The file.
        overwrite : bool
            Whether to replace a file that is there.
        is_compressed : bool
            Compress the planes without loss (GZIP_2 tiles).

        Raises
        ------
        OutputExists
            If there is a file, and `overwrite` does not allow to replace it.
        Unwritable
            If the file cannot be written.
        MissingComponent
            If a component was set that the layout has no place for.
        """
        from skyloom.images.afw.write import write_exposure  # noqa: PLC0415

        write_exposure(self, path, overwrite=overwrite, is_compressed=is_compressed)

    def to_ccddata(self, unit: Any = None, bad: tuple[str, ...] = ()) -> CCDData:
        """Return an astropy CCDData; see `skyloom.images.ccddata`."""
        from skyloom.images.ccddata import to_ccddata  # noqa: PLC0415

        return to_ccddata(self, unit=unit, bad=bad)

    @classmethod
    def from_ccddata(cls, ccd: CCDData) -> Exposure:
        """Make an exposure from an astropy CCDData; see `skyloom.images.ccddata`."""
        from skyloom.images.ccddata import from_ccddata  # noqa: PLC0415

        return from_ccddata(ccd)

    def __repr__(self) -> str:
        return (
            f"<Exposure {self.width} x {self.height} {self.image.array.dtype.name}, xy0={self.xy0}>"
        )

    def _component(self, name: str) -> Any:
        if name in self._set:
            return self._set[name]
        if name not in self._decoded:
            stored = self._stored
            self._decoded[name] = None if stored is None else stored.component(name)
        return self._decoded[name]

    def _replace(self, name: str, value: Any) -> None:
        if name == "wcs" and value is not None:
            from skyloom.images.sky_wcs import as_sky_wcs  # noqa: PLC0415

            value = as_sky_wcs(value, self.xy0)
        self._set[name] = value

    def _with(self, masked_image: MaskedImage) -> Self:
        made = type(self)(masked_image, metadata=self.metadata, stored=self._stored)
        made._decoded = self._decoded
        made._set = dict(self._set)
        return made


@dataclass(frozen=True, slots=True)
class ExposureFactory:
    """Makes exposures of one pixel type; called like `ImageFactory`."""

    letter: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels of the image."""
        return PIXEL_TYPES[self.letter]

    def __call__(
        self,
        source: int | Box | npt.ArrayLike | MaskedImage | Exposure,
        second: int | Box | None = None,
        *,
        xy0: tuple[int, int] = (0, 0),
    ) -> Exposure:
        """Make an exposure; pixels of another type raise `WrongType`."""
        if isinstance(source, Exposure):
            if not self.matches(source):
                raise wrong_type(f"Exposure{self.letter}", self.dtype, source.image.array.dtype)
            return source[second] if isinstance(second, Box) else source
        return Exposure(MaskedImageFactory(self.letter)(source, second, xy0=xy0))

    def matches(self, exposure: object) -> bool:
        """Tell whether something is an exposure of this pixel type."""
        return isinstance(exposure, Exposure) and exposure.image.array.dtype == self.dtype


ExposureF = ExposureFactory("F")
ExposureD = ExposureFactory("D")
ExposureI = ExposureFactory("I")
ExposureU = ExposureFactory("U")
ExposureL = ExposureFactory("L")

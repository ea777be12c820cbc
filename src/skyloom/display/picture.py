"""What can be shown, and what of it is shown: pixels, mask planes, WCS.

Images are recognised by what they have, not by their class: `HasArray` (an image), `HasPlanes` (a
mask), `HasImageAndMask` (a masked image), `HasMaskedImage` (an exposure), `HasPixelsOnDisk` (a FITS
image).
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools
from skyloom.errors import BadHeader, WrongType, WrongValue

__all__ = [
    "HasArray",
    "HasImageAndMask",
    "HasMaskedImage",
    "HasPixelsOnDisk",
    "HasPlanes",
    "Picture",
    "as_picture",
    "fits_bytes",
]

Array: TypeAlias = npt.NDArray[Any]


@runtime_checkable
class HasArray(Protocol):
    """An image: rows first, and where its first pixel is."""

    @property
    def array(self) -> Array:
        """Pixel values, shape (ny, nx)."""
        ...

    @property
    def xy0(self) -> tuple[int, int]:
        """Parent coordinates of pixel [0, 0]."""
        ...


@runtime_checkable
class HasPlanes(HasArray, Protocol):
    """A mask: an image of bits."""

    @property
    def planes(self) -> Mapping[str, int]:
        """Number of the bit of each plane."""
        ...


@runtime_checkable
class HasImageAndMask(Protocol):
    """A masked image."""

    @property
    def image(self) -> HasArray:
        """Pixel values."""
        ...

    @property
    def mask(self) -> HasPlanes:
        """What is wrong with them."""
        ...


@runtime_checkable
class HasMaskedImage(Protocol):
    """An exposure."""

    @property
    def masked_image(self) -> HasImageAndMask:
        """Pixels and mask."""
        ...

    @property
    def wcs(self) -> Any:
        """Sky positions of parent coordinates, or None."""
        ...


@runtime_checkable
class HasPixelsOnDisk(Protocol):
    """A FITS image that is read when it is shown."""

    def read(self) -> Array:
        """Read the pixels."""
        ...

    def wcs(self) -> Any:
        """Read the astropy WCS; BadHeader where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """What a back end gets to show."""

    pixels: Array  # (ny, nx), of a type that FITS viewers read
    xy0: tuple[int, int] = (0, 0)  # parent coordinates of pixel [0, 0]
    planes: Mapping[str, Bools] = field(default_factory=dict)  # those with a pixel set
    header: Any = None  # fits.Header of the WCS, for the array as stored
    title: str = ""


def as_picture(data: Any, *, wcs: Any = None, title: str = "") -> Picture:
    """Return what is to be shown of an image.

    Parameters
    ----------
    data : image, mask, masked image, exposure, background, FitsImage, Frame, or array (ny, nx)
        A mask is shown with its planes on top of an image of its values.
    wcs : SkyWcs or astropy.wcs.WCS, optional
        Sky positions, for data that bring none; an astropy WCS counts from the first pixel of the
        array.
    title : str
        Name of the picture.

    Raises
    ------
    WrongType
        If the data are none of these.
    WrongValue
        If an exposure and a WCS are given, or the array is not a picture.
    """
    if isinstance(data, HasMaskedImage):
        if wcs is not None:
            raise WrongValue("mtv: an exposure brings its own WCS; leave out wcs, or show its "
                             "masked_image")  # fmt: skip
        return as_picture(data.masked_image, wcs=data.wcs, title=title)
    if _is_frame(data):
        return _of_frame(data, title)
    if isinstance(data, HasPixelsOnDisk):
        return as_picture(data.read(), wcs=wcs or _wcs_on_disk(data), title=title)
    if callable(made := getattr(data, "image", None)):  # a background: it makes its image
        return as_picture(made(), wcs=wcs, title=title)
    planes: dict[str, Bools] = {}
    xy0 = (0, 0)
    if isinstance(data, HasImageAndMask):
        image, mask = data.image, data.mask
        if np.shape(image.array) != np.shape(mask.array):
            raise WrongValue(
                f"mtv: image {np.shape(image.array)} and mask {np.shape(mask.array)} differ in "
                "shape; cut both alike"
            )
        pixels, xy0, planes = image.array, image.xy0, set_planes(mask)
    elif isinstance(data, HasArray):
        pixels, xy0 = data.array, data.xy0
        if isinstance(data, HasPlanes):
            planes = set_planes(data)
    else:
        pixels = np.asanyarray(data)
        if pixels.dtype.kind not in "biuf":
            raise WrongType(
                f"mtv: {type(data).__name__} cannot be shown; give an Image, Mask, MaskedImage, "
                "Exposure, or an array of numbers"
            )
    x0, y0 = int(xy0[0]), int(xy0[1])
    return Picture(
        pixels=_viewable(np.asarray(pixels)),
        xy0=(x0, y0),
        planes=planes,
        header=None if wcs is None else _wcs_header(wcs, (x0, y0)),
        title=title,
    )


def _is_frame(data: Any) -> bool:
    module = sys.modules.get("skyloom.images.frame")  # nobody has a frame who has not loaded it
    return module is not None and isinstance(data, module.Frame)


def _of_frame(frame: Any, title: str) -> Picture:
    """Return the working region of a band with what is wrong with its pixels."""
    from skyloom.images import MaskBit, frame_wcs, pixels_and_mask  # noqa: PLC0415 - loaded

    pixels, bits = pixels_and_mask(frame)
    try:
        header = _wcs_header(frame_wcs(frame), (0, 0))
    except BadHeader:
        header = None
    planes = {str(bit.name): (bits & bit) != 0 for bit in MaskBit if np.any(bits & bit)}
    return Picture(pixels=pixels, planes=planes, header=header, title=title or frame.band)


def set_planes(mask: HasPlanes) -> dict[str, Bools]:
    """Return the planes of a mask that have a pixel set, lowest bit first."""
    values = np.ascontiguousarray(mask.array)
    bits = values.view(f"u{values.dtype.itemsize}")  # bit 31 of an int32 is its sign
    used = int(np.bitwise_or.reduce(bits, axis=None)) if bits.size else 0
    by_bit = sorted(mask.planes.items(), key=lambda item: item[1])
    return {
        name: (bits & bits.dtype.type(1 << bit)) != 0 for name, bit in by_bit if used >> bit & 1
    }


def _viewable(pixels: Array) -> Array:
    """Return pixels of a type that ds9 shows; of uint64 it shows zeros."""
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise WrongValue(
            f"mtv: an array of shape {pixels.shape} is no picture; two axes (ny, nx) are needed",
            shape=pixels.shape,
        )
    kind, size = pixels.dtype.kind, pixels.dtype.itemsize
    if kind == "b":
        return pixels.astype(np.uint8)
    if kind == "f":
        return pixels.astype(np.float32 if size <= 4 else np.float64, copy=False)
    if kind == "i" and size == 1:
        return pixels.astype(np.int16)
    if kind == "u" and size == 8:
        fits_int = pixels.max() <= np.iinfo(np.int64).max
        return pixels.astype(np.int64 if fits_int else np.float64)
    return pixels


def _wcs_on_disk(data: HasPixelsOnDisk) -> Any:
    try:
        return data.wcs()
    except BadHeader:  # a picture needs none
        return None


def _wcs_header(wcs: Any, xy0: tuple[int, int]) -> Any:
    """Return the header of a WCS for the stored array; None where it has no FITS form."""
    if hasattr(wcs, "fits_cards"):  # a SkyWcs counts in parent coordinates
        return wcs.fits_cards(xy0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keywords that astropy repairs
        return wcs.to_header(relax=True)


def fits_bytes(pixels: Array, *, picture: Picture | None = None) -> bytes:
    """Return a FITS file with one image.

    Parameters
    ----------
    pixels : ndarray, shape (ny, nx)
        What the file holds.
    picture : Picture, optional
        Gives its WCS, its title (OBJECT), and LTV1, LTV2, from which viewers show parent
        coordinates (as "physical", 1-based).
    """
    from astropy.io import fits  # noqa: PLC0415 - slow

    header = fits.Header()
    if picture is not None:
        if picture.header is not None:
            header.extend(picture.header.cards)
        if picture.title:
            header["OBJECT"] = picture.title.encode("ascii", "replace").decode()
        header["LTV1"], header["LTV2"] = -float(picture.xy0[0]), -float(picture.xy0[1])
    file = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(file)
    return file.getvalue()

"""An image: pixels, and where in its parent (detector or tract) the first of them is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from skyloom.errors import OutsideImage, WrongType
from skyloom.geometry import Box

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["PIXEL_TYPES", "Image", "ImageD", "ImageF", "ImageFactory", "ImageI", "ImageL", "ImageU"]

PIXEL_TYPES: dict[str, np.dtype[Any]] = {
    "F": np.dtype(np.float32),
    "D": np.dtype(np.float64),
    "I": np.dtype(np.int32),
    "U": np.dtype(np.uint16),
    "L": np.dtype(np.uint64),
}
"""Letter of a pixel type -> its numpy type."""


class Covered(ABC):
    """What covers a box of its parent: masked images and exposures."""

    __slots__ = ()

    @property
    @abstractmethod
    def box(self) -> Box:
        """The pixels that it covers, in parent coordinates."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        return self.box.shape

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.box.width

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.box.height

    @property
    def xy0(self) -> tuple[int, int]:
        """Parent coordinates (x, y) of the first pixel."""
        return self.box.x0, self.box.y0


class Plane:
    """Pixels with an origin: what images and masks have in common."""

    __slots__ = ("_metadata", "array", "xy0")

    array: npt.NDArray[Any]  # indexed [y, x]
    xy0: tuple[int, int]  # parent coordinates (x, y) of array[0, 0]

    def __init__(
        self,
        array: npt.ArrayLike,
        *,
        xy0: tuple[int, int] = (0, 0),
        metadata: Header | None = None,
    ) -> None:
        self.array = np.asarray(array)
        if self.array.ndim != 2:
            raise WrongType(f"an image has two axes, this array has {self.array.ndim}")
        self.xy0 = (int(xy0[0]), int(xy0[1]))
        self._metadata = metadata

    @property
    def metadata(self) -> Header:
        """Cards of its own (BUNIT, ...), without those that describe pixels and coordinates."""
        if self._metadata is None:
            from astropy.io.fits import Header  # noqa: PLC0415 - takes 0.2 s

            self._metadata = Header()
        return self._metadata

    @property
    def x0(self) -> int:
        """Parent column of the first column."""
        return self.xy0[0]

    @property
    def y0(self) -> int:
        """Parent row of the first row."""
        return self.xy0[1]

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.array.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the array."""
        return self.height, self.width

    @property
    def box(self) -> Box:
        """The pixels that it covers, in parent coordinates."""
        return Box.of_shape(self.shape).shifted(*self.xy0)

    def slices(self, box: Box) -> tuple[slice, slice]:
        """Return the index of a box of parent coordinates in the array.

        Raises
        ------
        OutsideImage
            If the box is empty or not inside.
        WrongType
            If it is no box.
        """
        check_box(box)
        if box.is_empty or box.clipped(self.box) != box:
            raise outside(box, self.box)
        return box.shifted(-self.x0, -self.y0).slices

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.width} x {self.height} {self.array.dtype.name}, "
            f"xy0={self.xy0}>"
        )


class Image(Plane):
    """Pixels of one kind of number.

    Parameters
    ----------
    array : array_like, shape (ny, nx)
        Pixel values; an ndarray is shared, not copied.
    xy0 : (int, int)
        Parent coordinates (x, y) of the first pixel.
    metadata : astropy.io.fits.Header, optional
        Cards of its own.

    Examples
    --------
    >>> image = Image([[1.0, 2.0], [3.0, 4.0]], xy0=(100, 200))
    >>> image[Box(101, 102, 200, 202)].array
    array([[2.],
           [4.]])
    """

    __slots__ = ()

    def __getitem__(self, box: Box) -> Self:
        """Return the part in a box of parent coordinates; it shares memory with the image."""
        return self._like(self.array[self.slices(box)], (box.x0, box.y0))

    def copy(self) -> Self:
        """Return an image with pixels of its own."""
        return self._like(self.array.copy(), self.xy0)

    def converted(self, dtype: npt.DTypeLike) -> Self:
        """Return a copy with pixels of another type, rounded towards zero where it has to be."""
        return self._like(self.array.astype(dtype), self.xy0)

    def convert_f(self) -> Self:
        """Return a copy with float32 pixels."""
        return self.converted(np.float32)

    def convert_d(self) -> Self:
        """Return a copy with float64 pixels."""
        return self.converted(np.float64)

    @classmethod
    def read(cls, path: Path | str, bbox: Box | None = None, *, hdu: int | None = None) -> Image:
        """Read an image from a FITS file; see `skyloom.images.afw.read.read_image`."""
        from skyloom.images.afw.read import read_image  # noqa: PLC0415

        return read_image(path, bbox, hdu=hdu)

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write it as a FITS file of one HDU, under a temporary name that is then renamed.

        Raises
        ------
        OutputExists
            If there is a file, and `overwrite` does not allow to replace it.
        Unwritable
            If the file cannot be written.
        """
        from skyloom.images.afw.write import write_image  # noqa: PLC0415

        write_image(self, path, overwrite=overwrite)

    def _like(self, array: npt.NDArray[Any], xy0: tuple[int, int]) -> Self:
        metadata = None if self._metadata is None else self._metadata.copy()
        return type(self)(array, xy0=xy0, metadata=metadata)


@dataclass(frozen=True, slots=True)
class ImageFactory:
    """Makes images of one pixel type: ``ImageF(width, height)``, ``ImageF(image, bbox)``...

    Call it with a width and a height (zeros), with a `Box` (zeros, in parent coordinates), with an
    array, or with an image of this type and optionally a box; the last shares memory.
    """

    letter: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return PIXEL_TYPES[self.letter]

    def __call__(
        self,
        source: int | Box | npt.ArrayLike | Image,
        second: int | Box | None = None,
        *,
        xy0: tuple[int, int] = (0, 0),
    ) -> Image:
        """Make an image.

        Raises
        ------
        WrongType
            If an image of another pixel type is given; convert it (`Image.converted`) first.
        OutsideImage
            If the box is not inside the image.
        """
        if isinstance(source, Image):
            if not self.matches(source):
                raise wrong_type(f"Image{self.letter}", self.dtype, source.array.dtype)
            return source[second] if isinstance(second, Box) else source
        made: Image = new_plane(Image, self.dtype, source, second, xy0)
        return made

    def matches(self, image: object) -> bool:
        """Tell whether something is an image of this pixel type."""
        return isinstance(image, Image) and image.array.dtype == self.dtype


def new_plane(
    make: Callable[..., Any],
    dtype: npt.DTypeLike,
    source: int | Box | npt.ArrayLike,
    height: int | Box | None,
    xy0: tuple[int, int],
) -> Any:
    """Make a plane from a width and a height, a box, or an array."""
    if isinstance(source, Box):
        return make(np.zeros(source.shape, dtype), xy0=(source.x0, source.y0))
    if isinstance(source, (int, np.integer)) and isinstance(height, (int, np.integer)):
        return make(np.zeros((int(height), int(source)), dtype), xy0=xy0)
    array = np.asarray(source)
    if array.dtype != np.dtype(dtype) and isinstance(source, np.ndarray):
        raise wrong_type("this image", np.dtype(dtype), array.dtype)
    return make(array.astype(dtype, copy=False), xy0=xy0)


def wrong_type(name: str, wanted: np.dtype[Any], given: np.dtype[Any]) -> WrongType:
    """Return the error for pixels of another type."""
    return WrongType(
        f"{name} holds {wanted.name}, pixels of {given.name} are given; convert them explicitly "
        "(converted, or astype)"
    )


def check_box(box: object) -> None:
    """Refuse what is no box.

    Raises
    ------
    WrongType
    """
    if not isinstance(box, Box):
        raise WrongType(
            f"{box!r} is no Box; give Box(x0, x1, y0, y1), half-open, in parent coordinates"
        )


def outside(box: Box, whole: Box) -> OutsideImage:
    """Return the error for a box that is not inside an image."""
    return OutsideImage(
        f"{box} is not inside the image, which covers x = {whole.x0} to {whole.x1 - 1} and "
        f"y = {whole.y0} to {whole.y1 - 1} of its parent; clip it (Box.clipped)",
        box=box,
        image_box=whole,
    )


ImageF = ImageFactory("F")
ImageD = ImageFactory("D")
ImageI = ImageFactory("I")
ImageU = ImageFactory("U")
ImageL = ImageFactory("L")

"""Image, mask and variance of the same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from skyloom.errors import Mismatch
from skyloom.geometry import Box
from skyloom.images.image import PIXEL_TYPES, Covered, Image, new_plane, wrong_type
from skyloom.images.planes import Mask

__all__ = [
    "MaskedImage",
    "MaskedImageD",
    "MaskedImageF",
    "MaskedImageFactory",
    "MaskedImageI",
    "MaskedImageL",
    "MaskedImageU",
]


class MaskedImage(Covered):
    """An image with its mask and its variance.

    Parameters
    ----------
    image : Image or array_like
        The pixels.
    mask : Mask, optional
        Default: no bit is set.
    variance : Image or array_like, optional
        Variance of the pixels [square of their unit], float32; default: zero.

    Raises
    ------
    Mismatch
        If the three do not cover the same box.
    """

    __slots__ = ("image", "mask", "variance")

    image: Image
    mask: Mask
    variance: Image

    def __init__(
        self,
        image: Image | npt.ArrayLike,
        mask: Mask | None = None,
        variance: Image | npt.ArrayLike | None = None,
    ) -> None:
        self.image = image if isinstance(image, Image) else Image(image)
        xy0 = self.image.xy0
        self.mask = Mask(np.zeros(self.image.shape, np.int32), xy0=xy0) if mask is None else mask
        if variance is None:
            variance = np.zeros(self.image.shape, np.float32)
        self.variance = variance if isinstance(variance, Image) else Image(variance, xy0=xy0)
        for name, plane in (("mask", self.mask), ("variance", self.variance)):
            if plane.box != self.image.box:
                raise Mismatch(
                    f"the {name} covers {plane.box}, the image {self.image.box}; all planes of a "
                    "masked image cover the same pixels"
                )

    @property
    @override
    def box(self) -> Box:
        """The pixels that it covers, in parent coordinates."""
        return self.image.box

    @property
    @override
    def xy0(self) -> tuple[int, int]:
        """Parent coordinates (x, y) of the first pixel; setting it moves all planes."""
        return self.image.xy0

    @xy0.setter
    def xy0(self, value: tuple[int, int]) -> None:
        for plane in (self.image, self.mask, self.variance):
            plane.xy0 = (int(value[0]), int(value[1]))

    def __getitem__(self, box: Box) -> Self:
        """Return the part in a box of parent coordinates; it shares memory."""
        return type(self)(self.image[box], self.mask[box], self.variance[box])

    def copy(self) -> Self:
        """Return a masked image with pixels of its own."""
        return type(self)(self.image.copy(), self.mask.copy(), self.variance.copy())

    def replaced(
        self, image: Image | None = None, mask: Mask | None = None, variance: Image | None = None
    ) -> Self:
        """Return a masked image with some planes replaced by others of the same box."""
        return type(self)(
            self.image if image is None else image,
            self.mask if mask is None else mask,
            self.variance if variance is None else variance,
        )

    @classmethod
    def read(cls, path: Path | str, bbox: Box | None = None) -> MaskedImage:
        """Read the three planes of a FITS file, or a box (parent coordinates) of them."""
        from skyloom.images.afw.read import read_masked_image  # noqa: PLC0415

        return read_masked_image(path, bbox)

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write it in the layout of afw, under a temporary name that is then renamed.

        Raises
        ------
        OutputExists
            If there is a file, and `overwrite` does not allow to replace it.
        Unwritable
            If the file cannot be written.
        """
        from skyloom.images.afw.write import write_masked_image  # noqa: PLC0415

        write_masked_image(self, path, overwrite=overwrite)

    def __repr__(self) -> str:
        return (
            f"<MaskedImage {self.width} x {self.height} {self.image.array.dtype.name}, "
            f"xy0={self.xy0}>"
        )


@dataclass(frozen=True, slots=True)
class MaskedImageFactory:
    """Makes masked images of one pixel type; called like `ImageFactory`."""

    letter: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels of the image; the variance is float32."""
        return PIXEL_TYPES[self.letter]

    def __call__(
        self,
        source: int | Box | npt.ArrayLike | MaskedImage,
        second: int | Box | None = None,
        *,
        xy0: tuple[int, int] = (0, 0),
    ) -> MaskedImage:
        """Make a masked image; one of another pixel type raises `WrongType`."""
        if isinstance(source, MaskedImage):
            if not self.matches(source):
                given = source.image.array.dtype
                raise wrong_type(f"MaskedImage{self.letter}", self.dtype, given)
            return source[second] if isinstance(second, Box) else source
        if isinstance(source, Image):
            return MaskedImage(source)
        return MaskedImage(new_plane(Image, self.dtype, source, second, xy0))

    def matches(self, image: object) -> bool:
        """Tell whether something is a masked image of this pixel type."""
        return isinstance(image, MaskedImage) and image.image.array.dtype == self.dtype


MaskedImageF = MaskedImageFactory("F")
MaskedImageD = MaskedImageFactory("D")
MaskedImageI = MaskedImageFactory("I")
MaskedImageU = MaskedImageFactory("U")
MaskedImageL = MaskedImageFactory("L")

"""Old names of images, masks and masked images; see `afw_image`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from pathlib import Path
from types import MethodType
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from skyloom.compat.hsc._adapter import Adapter, new_of
from skyloom.compat.hsc.afw_geom import Box2I, Extent2I, Point2I
from skyloom.errors import InputError, NotProvided
from skyloom.geometry import Box
from skyloom.images import Image as NewImage
from skyloom.images import Mask as NewMask
from skyloom.images import MaskedImage as NewMaskedImage

__all__ = ["Image", "Mask", "MaskedImage", "OnePlane", "Planes", "of_one_mask"]


class of_one_mask:  # noqa: N801 - a decorator
    """A method that the old class had too, for planes that all masks of a process shared."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        update_wrapper(self, method)

    def __get__(self, mask: Any, _owner: type) -> Any:
        if mask is None:
            raise NotProvided(
                f"Mask.{self._method.__name__} of the class has no counterpart: planes belong to a "
                "mask, and bits differ from file to file; ask one, as in "
                f"exposure.getMaskedImage().getMask().{self._method.__name__}(...)"
            )
        return MethodType(self._method, mask)

    def __call__(self, *arguments: Any) -> Any:
        return self._method(*arguments)


class Planes(Adapter):
    """What images, masks, masked images and exposures have in common."""

    def getWidth(self) -> int:
        """Use ``image.width``."""
        return int(self.new.width)

    def getHeight(self) -> int:
        """Use ``image.height``."""
        return int(self.new.height)

    def getDimensions(self) -> Extent2I:
        """Use ``image.width, image.height``."""
        return Extent2I(self.new.width, self.new.height)

    def getXY0(self) -> Point2I:
        """Use ``image.xy0``."""
        return Point2I(self.new.xy0)

    def getX0(self) -> int:
        """Use ``image.xy0[0]``."""
        return int(self.new.xy0[0])

    def getY0(self) -> int:
        """Use ``image.xy0[1]``."""
        return int(self.new.xy0[1])

    def getBBox(self, origin: str = "PARENT") -> Box2I:
        """Use ``image.box``."""
        box = self.new.box if origin == "PARENT" else Box.of_shape(self.new.shape)
        made: Box2I = Box2I.of(box)
        return made

    @property
    def Factory(self) -> Any:
        """Use ``image[box]`` (shared pixels) or ``image.copy()``."""
        return type(self)

    def __getitem__(self, key: tuple[slice, slice]) -> Self:
        """Return the part between columns and rows of the array, x first, with shared pixels."""
        columns, rows = (
            range(n)[part] for part, n in zip(key, (self.new.width, self.new.height), strict=True)
        )
        if (columns.step, rows.step) != (1, 1):
            raise InputError(f"{key}: images are cut by slices x0:x1, y0:y1 without steps")
        box = Box(columns.start, columns.stop, rows.start, rows.stop)
        made: Self = self.of(self.new[box.shifted(*self.new.xy0)])
        return made

    @staticmethod
    def in_parent(image: Any, box: Box2I, origin: str) -> Box:
        """Return a box in parent coordinates, whichever it was given in."""
        return box.new if origin == "PARENT" else box.new.shifted(*image.xy0)


class OnePlane(Planes):
    """An image or a mask."""

    kind: Any = NewImage
    dtype: npt.DTypeLike = np.float32

    def __init__(self, source: Any, second: Any = None, third: Any = None) -> None:
        self.new = self._made(new_of(source), second, third)

    def _made(self, source: Any, second: Any, third: Any) -> Any:
        """Understand the old arguments: file; width, height; size; box; image [, box] [, deep]."""
        if isinstance(source, (str, Path)):
            return self.kind.read(source)
        if isinstance(source, (self.kind, NewImage, NewMask)):
            image: Any = source
            if isinstance(second, Box2I):
                image = image[self.in_parent(image, second, third or "PARENT")]
                second = False
            return image.copy() if second is True else image
        if isinstance(source, Extent2I):
            return self.kind(np.zeros((source.y, source.x), self.dtype))
        if isinstance(source, Box):
            return self.kind(np.zeros(source.shape, self.dtype), xy0=(source.x0, source.y0))
        if isinstance(source, np.ndarray):
            return self.kind(source)
        return self.kind(np.zeros((int(second), int(source)), self.dtype))

    @classmethod
    def readFits(cls, path: str) -> Self:
        """Use ``Image.read(path)``."""
        return cls(path)

    def writeFits(self, path: str) -> None:
        """Use ``image.write(path, overwrite=True)``."""
        self.new.write(path, overwrite=True)

    def clone(self) -> Self:
        """Use ``image.copy()``."""
        made: Self = self.of(self.new.copy())
        return made

    def getArray(self) -> npt.NDArray[Any]:
        """Use ``image.array``."""
        array: npt.NDArray[Any] = self.new.array
        return array

    def get(self, x: int, y: int) -> Any:
        """Use ``image.array[y, x]``."""
        return self.new.array[y, x]

    def set(self, x: Any, y: int | None = None, value: Any = None) -> None:
        """Use ``image.array[y, x] = value``; with one value, ``image.array[:] = value``."""
        if y is None:
            self.new.array[:] = x
        else:
            self.new.array[y, x] = value

    def assign(self, other: Any) -> None:
        """Use ``image.array[:] = other.array``."""
        self.new.array[:] = _pixels(other)

    def __setitem__(self, key: Any, value: Any) -> None:
        part = self if key == slice(None) else self[key]
        part.new.array[:] = _pixels(value)


@final
class Image(OnePlane):
    """Pixels."""

    new: NewImage

    def __iadd__(self, other: Any) -> Self:
        self.new.array += _pixels(other)
        return self

    def __isub__(self, other: Any) -> Self:
        self.new.array -= _pixels(other)
        return self

    def __imul__(self, other: Any) -> Self:
        self.new.array *= _pixels(other)
        return self

    def __itruediv__(self, other: Any) -> Self:
        self.new.array /= _pixels(other)
        return self

    def convertF(self) -> Image:
        """Use ``image.convert_f()``."""
        made: Image = self.of(self.new.convert_f())
        return made


@final
class Mask(OnePlane):
    """Bits of pixels with named planes."""

    new: NewMask
    kind = NewMask
    dtype = np.int32

    @of_one_mask
    def getMaskPlaneDict(self) -> Mapping[str, int]:
        """Use ``mask.planes``."""
        return dict(self.new.planes)

    @of_one_mask
    def getMaskPlane(self, name: str) -> int:
        """Use ``mask.get_mask_plane(name)``."""
        return self.new.get_mask_plane(name)

    @of_one_mask
    def getPlaneBitMask(self, names: Any) -> int:
        """Use ``mask.get_plane_bit_mask(names)``; pixels: ``mask.is_set(names)``."""
        return self.new.get_plane_bit_mask(names)

    @of_one_mask
    def addMaskPlane(self, name: str) -> int:
        """Use ``mask.add_mask_plane(name)``; planes belong to one mask, not to the process."""
        return self.new.add_mask_plane(name)

    def clearMaskPlane(self, bit: int) -> None:
        """Use ``mask.clear_mask_plane(bit)``."""
        self.new.clear_mask_plane(bit)

    def removeAndClearMaskPlane(self, name: str, _remove_from_default: bool = False) -> None:
        """Use ``mask.remove_and_clear_mask_plane(name)``."""
        self.new.remove_and_clear_mask_plane(name)

    def conformMaskPlanes(self, planes: Mapping[str, int]) -> None:
        """Use ``mask.conform_mask_planes(planes)``."""
        self.new.conform_mask_planes(planes)

    def printMaskPlanes(self) -> None:
        """Use ``mask.planes``, printed."""
        for name, bit in sorted(self.new.planes.items(), key=lambda item: item[1]):
            print(f"Plane {bit} -> {name}")  # noqa: T201 - that is what it does

    def __ior__(self, other: Any) -> Self:
        self.new |= new_of(other)
        return self

    def __iand__(self, other: Any) -> Self:
        self.new &= new_of(other)
        return self

    def __ixor__(self, other: Any) -> Self:
        self.new ^= new_of(other)
        return self


@final
class MaskedImage(Planes):
    """Image, mask and variance."""

    new: NewMaskedImage

    def __init__(self, source: Any, second: Any = None, third: Any = None) -> None:
        found = new_of(source)
        if isinstance(source, (str, Path)):
            self.new = NewMaskedImage.read(source)
        elif isinstance(found, NewMaskedImage):
            if isinstance(second, Box2I):
                found = found[self.in_parent(found, second, third or "PARENT")]
                second = False
            self.new = found.copy() if second is True else found
        elif isinstance(found, NewImage):
            self.new = NewMaskedImage(found, new_of(second), new_of(third))
        else:
            self.new = NewMaskedImage(Image(source, second).new)

    def writeFits(self, path: str) -> None:
        """Use ``masked_image.write(path, overwrite=True)``."""
        self.new.write(path, overwrite=True)

    def clone(self) -> MaskedImage:
        """Use ``masked_image.copy()``."""
        return MaskedImage(self.new.copy())

    def getImage(self) -> Image:
        """Use ``masked_image.image``."""
        made: Image = Image.of(self.new.image)
        return made

    def getMask(self) -> Mask:
        """Use ``masked_image.mask``."""
        made: Mask = Mask.of(self.new.mask)
        return made

    def getVariance(self) -> Image:
        """Use ``masked_image.variance``."""
        made: Image = Image.of(self.new.variance)
        return made

    def __iadd__(self, other: Any) -> Self:
        self.new.image.array += self._operand(other)
        return self

    def __isub__(self, other: Any) -> Self:
        self.new.image.array -= self._operand(other)
        return self

    def __imul__(self, other: Any) -> Self:
        factor = self._operand(other)
        self.new.image.array *= factor
        self.new.variance.array *= np.square(factor)
        return self

    def __itruediv__(self, other: Any) -> Self:
        factor = self._operand(other)
        self.new.image.array /= factor
        self.new.variance.array /= np.square(factor)
        return self

    @staticmethod
    def _operand(other: Any) -> Any:
        """Return a number or the pixels of an image, which have no error of their own."""
        if isinstance(new_of(other), NewMaskedImage):
            raise InputError(
                "masked images are combined plane by plane here: image, variance, and masks by name"
            )
        return _pixels(other)

    @property
    def image(self) -> Image:
        """Use ``masked_image.image``."""
        return self.getImage()

    @property
    def mask(self) -> Mask:
        """Use ``masked_image.mask``."""
        return self.getMask()

    @property
    def variance(self) -> Image:
        """Use ``masked_image.variance``."""
        return self.getVariance()

    def getArrays(self) -> tuple[Any, Any, Any]:
        """Use ``masked_image.image.array`` and those of mask and variance."""
        return self.new.image.array, self.new.mask.array, self.new.variance.array


def _pixels(other: Any) -> Any:
    """Return the pixels of an image or a mask, or the number."""
    found = new_of(other)
    return found.array if isinstance(found, (NewImage, NewMask)) else found

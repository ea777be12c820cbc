"""Maps that the user gives beside an image, on its pixels: weight, noise, bad pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Pixels
from skyloom.errors import InputError, Mismatch, UnreadableFile
from skyloom.geometry import Box
from skyloom.images.fits import FitsImage
from skyloom.images.mask import MaskBit
from skyloom.images.padding import read_padded

__all__ = ["MapFile", "PixelMaps", "check_maps"]

_STRIP_PIXELS = 4_000_000  # read at once while looking for a usable pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFile:
    """A map on disk: a file, and which HDU of it."""

    path: Path
    hdu: int | str | None = None  # None: the first that holds an image

    @classmethod
    def parse(cls, text: str | Path) -> MapFile:
        """Read ``file.fits`` or ``file.fits[HDU]``, with the number or the name of an HDU."""
        name, bracket, rest = str(text).rpartition("[")
        if not bracket or not rest.endswith("]") or not name:
            return cls(path=Path(text))
        hdu = rest[:-1].strip()
        return cls(path=Path(name), hdu=int(hdu) if hdu.isdecimal() else hdu)

    @property
    def label(self) -> str:
        """File and HDU as the user writes them."""
        return str(self.path) if self.hdu is None else f"{self.path}[{self.hdu}]"

    def open(self) -> FitsImage:
        """Read the headers; see `FitsImage.open`."""
        return FitsImage.open(self.path, self.hdu)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMaps:
    """The maps of one image; boxes are those of the whole image.

    A pixel has no weight where the weight or the rms is not finite or not positive.
    """

    weight: MapFile | None = None  # ADU**-2, or any unit where relative
    rms: MapFile | None = None  # ADU
    mask: MapFile | None = None  # not zero: bad
    is_relative: bool = False  # the weight tells ratios only
    mask_bits: int | None = None  # bits of the mask that count; None: all

    @property
    def files(self) -> dict[str, MapFile]:
        """The maps that there are, by kind: weight, rms, mask."""
        kinds = {"weight": self.weight, "rms": self.rms, "mask": self.mask}
        return {kind: file for kind, file in kinds.items() if file is not None}

    @property
    def noise(self) -> MapFile | None:
        """The map that tells the noise."""
        return self.weight or self.rms

    @property
    def is_absolute(self) -> bool:
        """Tell whether the noise follows from the maps alone."""
        return self.noise is not None and not self.is_relative

    def sigma(self, box: Box) -> Pixels:
        """Return the noise of the pixels of a box [ADU; any unit if relative]; inf: no weight."""
        assert self.noise is not None
        sigma = read_padded(self.noise.open(), box)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.weight is not None:  # in place: a band of a tile may fill a gigabyte
                np.sqrt(sigma, out=sigma)
                np.divide(np.float32(1.0), sigma, out=sigma)
            sigma[~(np.isfinite(sigma) & (sigma > 0))] = np.inf
        return sigma

    def bits(self, box: Box) -> npt.NDArray[np.uint8] | None:
        """Return the mask bits MASKED and NO_WEIGHT of a box; None where there is no map."""
        if not self.files:
            return None
        bits = np.zeros(box.shape, np.uint8)
        if self.mask is not None:
            image = self.mask.open()
            inner = box.clipped(Box.of_shape(image.shape))  # beyond it there are no pixels
            if not inner.is_empty:
                is_bad = _is_bad(image.section(inner), self.mask_bits)
                here = bits[inner.shifted(-box.x0, -box.y0).slices]
                here[is_bad] |= np.uint8(MaskBit.MASKED)
        if self.noise is not None:
            bits[~np.isfinite(self.sigma(box))] |= np.uint8(MaskBit.NO_WEIGHT)
        return bits

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        files = {kind: [str(file.path), file.hdu] for kind, file in self.files.items()}
        return {**files, "is_relative": self.is_relative, "mask_bits": self.mask_bits}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PixelMaps:
        """Rebuild maps from `as_dict`."""
        files = {
            kind: MapFile(path=Path(values[kind][0]), hdu=values[kind][1])
            for kind in ("weight", "rms", "mask")
            if kind in values
        }
        return cls(
            weight=files.get("weight"),
            rms=files.get("rms"),
            mask=files.get("mask"),
            is_relative=values["is_relative"],
            mask_bits=values["mask_bits"],
        )


def _is_bad(values: npt.NDArray[Any], bits: int | None) -> npt.NDArray[np.bool_]:
    return np.asarray((values if bits is None else values & values.dtype.type(bits)) != 0)


def check_maps(
    maps: PixelMaps, *, shape: tuple[int, int], box: Box, keys: Mapping[str, str]
) -> list[InputError]:
    """Return what is wrong with maps: absent, of another shape, or without a usable pixel.

    Parameters
    ----------
    maps : PixelMaps
        The maps of an image.
    shape : tuple of int
        Of the image (ny, nx).
    box : Box
        Part of the image that is used.
    keys : mapping of str to str
        Kind of map -> the key of the configuration that names it, for messages.
    """
    problems: list[InputError] = []
    for kind, file in maps.files.items():
        try:
            _check_map(maps, kind, file, shape=shape, box=box)
        except InputError as error:
            problems.append(type(error)(f"{keys[kind]}: {error.message}", key=keys[kind]))
    return problems


def _check_map(
    maps: PixelMaps, kind: str, file: MapFile, *, shape: tuple[int, int], box: Box
) -> None:
    image = file.open()
    if image.shape != shape:
        raise Mismatch(
            f"{image.where} has {image.shape[1]} x {image.shape[0]} pixels, the image has "
            f"{shape[1]} x {shape[0]}; give a map on the pixels of the image"
        )
    if kind == "mask" and maps.mask_bits is not None:
        kept = image.section(Box(0, 1, 0, 1)).dtype
        if not np.issubdtype(kept, np.integer):
            raise UnreadableFile(
                f"{image.where} holds {kept.name} and has no bits; remove mask_bits, or write "
                "integers"
            )
        if maps.mask_bits > np.iinfo(kept).max:
            raise UnreadableFile(
                f"{image.where} holds {kept.name}: it has no bits as high as mask_bits = "
                f"{maps.mask_bits}; correct them"
            )
    box = box.clipped(Box.of_shape(shape))
    if box.is_empty:
        return  # the image has no pixel in the working frame either
    bit = MaskBit.MASKED if kind == "mask" else MaskBit.NO_WEIGHT
    for strip in _strips(box):
        bits = maps.bits(strip)
        if bits is not None and not ((bits & np.uint8(bit)) > 0).all():
            return
    reason = "marks every pixel as bad" if kind == "mask" else "has no finite value above zero"
    raise UnreadableFile(
        f"{image.where} {reason} inside the working frame; correct the map or its HDU"
    )


def _strips(box: Box) -> Iterator[Box]:
    rows = max(1, _STRIP_PIXELS // max(1, box.width))
    for y0 in range(box.y0, box.y1, rows):
        yield Box(box.x0, box.x1, y0, min(y0 + rows, box.y1))

"""FITS images and headers as datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io import fits

__all__ = ["Array", "FitsImages", "read_fits", "read_header", "write_fits"]

Array: TypeAlias = npt.NDArray[Any]

_STRUCTURE: Final = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "SIMPLE")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitsImages:
    """Images that share a header (usually the WCS).

    ``images`` maps extension names to arrays of shape (ny, nx); the name ``PRIMARY`` is the primary
    HDU.  The header is written to the primary HDU and to every image; no image at all is a file
    that is only a header.  FITS has no booleans: they become unsigned bytes.
    """

    header: fits.Header = field(default_factory=fits.Header)
    images: Mapping[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.images[name]


def read_fits(path: Path, *, hdu: int | None = None) -> FitsImages:
    """Read all images of a FITS file, or that of one HDU; compressed ones among them."""
    images = {}
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0 if hdu is None else hdu].header.copy()
        for index, unit in enumerate(hdus):
            if hdu not in {None, index} or not unit.is_image or unit.data is None:
                continue
            name = "PRIMARY" if index == 0 else unit.name or str(index)
            data = np.asarray(unit.data)
            images[name] = np.ascontiguousarray(data, data.dtype.newbyteorder("="))
    for card in _STRUCTURE:
        header.remove(card, ignore_missing=True)
    return FitsImages(header=header, images=images)


def write_fits(obj: object, path: Path) -> None:
    """Write a header and its images."""
    if not isinstance(obj, FitsImages):
        raise TypeError(f"fits_image holds FitsImages, not {type(obj).__name__}")
    hdus = fits.HDUList([fits.PrimaryHDU(_fits_array(obj.images.get("PRIMARY")), obj.header)])
    hdus.extend(
        fits.ImageHDU(_fits_array(array), obj.header, name=name)
        for name, array in obj.images.items()
        if name != "PRIMARY"
    )
    hdus.update_extend()  # a header that was read from a file without extensions lacks the card
    with path.open("wb") as file:
        hdus.writeto(file, output_verify="exception")


def _fits_array(array: Array | None) -> Array | None:
    return array.astype(np.uint8) if array is not None and array.dtype == np.bool_ else array


def read_header(path: Path) -> fits.Header:
    """Return the cards of the primary HDU and of the first with data; no pixel is read."""
    from skyloom.images import read_metadata  # noqa: PLC0415 - takes a while to load

    return read_metadata(path)

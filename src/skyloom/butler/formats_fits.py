"""FITS images and headers as datasets."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.errors import UnreadableFile

__all__ = ["Array", "FitsImages", "read_fits", "read_header", "read_header_of", "write_fits"]

Array: TypeAlias = npt.NDArray[Any]

_STRUCTURE: Final = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "SIMPLE")
_EXTENSION: Final = (*_STRUCTURE, "XTENSION", "PCOUNT", "GCOUNT", "INHERIT")
_BLOCK: Final = 2880  # byte


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
    """Return the cards of the primary HDU and of the first extension, which wins.

    No pixel is read: the file may be cut off behind the headers.

    Raises
    ------
    UnreadableFile
        If the primary header is damaged.
    """
    headers = _headers(path)
    try:
        merged = next(headers)
    except (OSError, ValueError, StopIteration) as error:
        raise UnreadableFile(f"{path}: has no FITS header ({error})", path=path) from error
    second = next(headers, None)
    for card in second.cards if second is not None else ():
        if card.keyword in _EXTENSION:
            continue
        if card.keyword in {"COMMENT", "HISTORY", ""}:
            merged.append(card, end=True)
        else:
            merged.set(card.keyword, card.value, card.comment)
    return merged


def read_header_of(path: Path, hdu: int) -> fits.Header:
    """Return the header of one HDU; no data are read.

    Raises
    ------
    UnreadableFile
        If the file has no such HDU.
    """
    found = next(itertools.islice(_headers(path), hdu, None), None)
    if found is None:
        raise UnreadableFile(f"{path}: has no HDU {hdu}", path=path)
    return found


def _headers(path: Path) -> Iterator[fits.Header]:
    """Yield the headers of a file, one after the other; none after one that is cut off."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if is_packed else path.open("rb") as opened:
        file = cast(BinaryIO, opened)
        first = True
        while True:
            try:
                header = fits.Header.fromfile(file)
            except (OSError, ValueError, EOFError):
                if first:
                    raise
                return
            yield header
            first = False
            file.seek(_data_size(header), 1)


def _data_size(header: fits.Header) -> int:
    """Return the length of the data behind a header, with its padding [byte]."""
    axes = [int(header[f"NAXIS{n + 1}"]) for n in range(int(header["NAXIS"]))]
    values = int(np.prod(axes, dtype=np.int64)) if axes else 0
    size = abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1))
    size *= values + int(header.get("PCOUNT", 0))
    return -(-size // _BLOCK) * _BLOCK

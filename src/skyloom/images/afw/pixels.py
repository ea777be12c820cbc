"""Pixels of an image HDU: all of them, or a box and nothing else."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from typing_extensions import override

from skyloom.errors import WrongType
from skyloom.geometry import Box
from skyloom.images.afw.hdus import BLOCK, Hdu, damaged, quiet
from skyloom.images.afw.unpack import unpacked_apart

__all__ = ["image_header", "image_shape", "is_image", "pixel_bytes", "read_pixels", "stored_form"]

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_CHUNK = 1 << 18  # byte; put into native order while still in the cache (1.1 times plain reading)
_MOST_FIELDS = 999  # of a table; FITS allows no more
# The unpacking of RICE_1 in C trusts these settings, that of HCOMPRESS_1 trusts the data: damaged
# ones would write outside their memory, so that is done in another process.
_APART = {"HCOMPRESS_1"}
_METHODS = {"GZIP_1", "GZIP_2", "NOCOMPRESS", "PLIO_1", "RICE_1", "RICE_ONE", *_APART}
_SETTINGS = {"BLOCKSIZE": {16, 32}, "BYTEPIX": {1, 2, 4}}
_MOST_SETTINGS = 20
_MOST_PACKED = 10_000  # pixels per byte of a packed image
_OFFSETS = {16: 1 << 15, 32: 1 << 31, 64: 1 << 63}  # BZERO of unsigned numbers


def is_image(hdu: Hdu) -> bool:
    """Tell whether an HDU holds pixels, in tiles or not."""
    if hdu.raw_header.startswith((b"SIMPLE", b"XTENSION= 'IMAGE")):
        return hdu.data_size > 0
    return hdu.raw_header.startswith(b"XTENSION= 'BINTABLE") and hdu.is_compressed


def image_shape(hdu: Hdu) -> tuple[int, int]:
    """Return the shape (ny, nx) of an image.

    Raises
    ------
    UnreadableFile
        If it has not two axes, or no pixels.
    """
    prefix = "Z" if hdu.is_compressed else ""
    naxis = hdu.integer(f"{prefix}NAXIS")
    if naxis != 2:
        raise hdu.error(f"the image has {naxis} axes, two are needed")
    nx, ny = hdu.integer(f"{prefix}NAXIS1"), hdu.integer(f"{prefix}NAXIS2")
    if nx <= 0 or ny <= 0:
        raise hdu.error(f"the image has {nx} x {ny} pixels", "there is nothing to read")
    return ny, nx


def image_header(hdu: Hdu) -> fits.Header:
    """Return the header of an image; of a compressed one, that of the image before."""
    if not hdu.is_compressed:
        return hdu.header
    _check_tiles(hdu)
    _check_tiles(hdu)
    with damaged(hdu.path, hdu.number), quiet():
        table = fits.BinTableHDU.fromstring(hdu.raw_header)
        header: fits.Header = fits.CompImageHDU(bintable=table).header
        return header


def read_pixels(file: BinaryIO, hdu: Hdu, box: Box | None = None) -> npt.NDArray[Any]:
    """Read pixels in native byte order, BSCALE and BZERO applied.

    Parameters
    ----------
    file : binary file
        The file, open for reading.
    hdu : Hdu
        The HDU of the pixels.
    box : Box, optional
        The part to read, counted from the first pixel of the array; default: all.

    Raises
    ------
    UnreadableFile
        If pixels are missing or cannot be unpacked.
    """
    shape = image_shape(hdu)
    part = Box.of_shape(shape) if box is None else box
    if part.is_empty or part.clipped(Box.of_shape(shape)) != part:
        raise ValueError(f"{hdu.where}: {part} is not inside the image of shape {shape}")
    if hdu.is_compressed:
        return _read_tiles(file, hdu, part)
    bitpix = hdu.integer("BITPIX")
    dtype = np.dtype(_TYPES[bitpix])
    size = part.width * part.height * dtype.itemsize
    available = _file_size(file) - hdu.data_start
    last = ((part.y1 - 1) * shape[1] + part.x1) * dtype.itemsize
    if last > available or size > hdu.data_size:
        raise hdu.error(f"the file is truncated: {max(0, available)} of {last} bytes are there")
    pixels = np.empty(part.shape, dtype.newbyteorder("="))
    if part.width == shape[1]:
        file.seek(hdu.data_start + part.y0 * shape[1] * dtype.itemsize)
        _fill(file, pixels.reshape(-1), dtype, hdu)
    else:
        for row in range(part.height):
            start = ((part.y0 + row) * shape[1] + part.x0) * dtype.itemsize
            file.seek(hdu.data_start + start)
            _fill(file, pixels[row], dtype, hdu)
    return _scaled(pixels, hdu, bitpix)


def stored_form(array: npt.NDArray[Any]) -> tuple[int, int, npt.NDArray[Any]]:
    """Return BITPIX, BZERO and the array whose numbers go to disk.

    Unsigned numbers are stored as signed ones with an offset, as FITS wants it.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f" and size in {4, 8}:
        return -8 * size, 0, array
    if array.dtype == np.uint8:
        return 8, 0, array
    if kind == "i" and size in {2, 4, 8}:
        return 8 * size, 0, array
    if kind == "u":
        offset = _OFFSETS[8 * size]
        signed = (array ^ array.dtype.type(offset)).view(np.dtype(f"i{size}"))
        return 8 * size, offset, signed
    raise WrongType(f"pixels of {array.dtype.name} have no place in FITS; convert them (astype)")


def pixel_bytes(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Write pixels in the byte order of FITS, filled up to whole blocks."""
    dtype = array.dtype.newbyteorder(">")
    rows = max(1, _CHUNK // max(1, array.shape[1] * array.dtype.itemsize))
    for y in range(0, array.shape[0], rows):
        file.write(np.ascontiguousarray(array[y : y + rows], dtype).data)
    file.write(b"\0" * (-array.size * array.dtype.itemsize % BLOCK))


def _fill(file: BinaryIO, pixels: npt.NDArray[Any], dtype: np.dtype[Any], hdu: Hdu) -> None:
    """Read a row of numbers of some byte order, through a buffer that stays in the cache."""
    step = min(_CHUNK // dtype.itemsize, pixels.size)
    buffer = np.empty(step, dtype)
    view = buffer.view(np.uint8).data
    for start in range(0, pixels.size, step):
        count = min(step, pixels.size - start)
        if file.readinto(view[: count * dtype.itemsize]) != count * dtype.itemsize:  # type: ignore[attr-defined]
            raise hdu.error("the file is truncated")
        pixels[start : start + count] = buffer[:count]


def _scaled(pixels: npt.NDArray[Any], hdu: Hdu, bitpix: int) -> npt.NDArray[Any]:
    scale, zero = _number(hdu, "BSCALE", 1.0), _number(hdu, "BZERO", 0.0)
    if scale == 1.0 and zero == 0.0:
        return pixels
    if scale == 1.0 and bitpix in _OFFSETS and zero == _OFFSETS[bitpix]:
        unsigned = pixels.view(np.dtype(f"u{bitpix // 8}"))
        unsigned ^= unsigned.dtype.type(_OFFSETS[bitpix])
        return unsigned
    wide = np.float32 if bitpix in {8, 16, -32} else np.float64
    return np.asarray(pixels * wide(scale) + wide(zero), wide)


def _number(hdu: Hdu, name: str, default: float) -> float:
    value = hdu.value(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise hdu.error(f"keyword {name} = {value!r} is not a number")
    return float(value)


def _read_tiles(file: BinaryIO, hdu: Hdu, part: Box) -> npt.NDArray[Any]:
    _check_tiles(hdu)
    if hdu.text("ZCMPTYPE") in _APART:
        pixels = unpacked_apart(hdu, hdu.read_data(file), part)
        if pixels.shape != part.shape:
            raise hdu.error(f"pixels of shape {pixels.shape} came out of the tiles")
        return pixels
    with damaged(hdu.path, hdu.number), quiet():
        table = fits.BinTableHDU.readfrom(_Window(file, hdu.start, hdu.stop))
        pixels = np.asarray(fits.CompImageHDU(bintable=table).section[part.slices])
        pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    if pixels.shape != part.shape:
        raise hdu.error(f"pixels of shape {pixels.shape} came out of the tiles")
    return pixels


def _check_tiles(hdu: Hdu) -> None:
    """Compare the size of the image with its tiles, before memory and time are taken for it."""
    if not 1 <= hdu.integer("TFIELDS") <= _MOST_FIELDS:
        raise hdu.error(f"TFIELDS = {hdu.integer('TFIELDS')} is impossible")
    method = hdu.text("ZCMPTYPE")
    if method not in _METHODS:
        raise hdu.error(
            f"ZCMPTYPE = {method!r} is none of {', '.join(sorted(_METHODS))}",
            "unpack the file first (funpack)",
        )
    for number in range(1, _MOST_SETTINGS + 1):
        name, value = hdu.text(f"ZNAME{number}"), hdu.value(f"ZVAL{number}")
        if value not in _SETTINGS.get(name, {value}):
            raise hdu.error(f"{name} = {value!r} is impossible for {method}")
    ny, nx = image_shape(hdu)
    tile_x, tile_y = hdu.integer("ZTILE1", nx), hdu.integer("ZTILE2", 1)
    if tile_x < 1 or tile_y < 1:
        raise hdu.error(f"tiles of {tile_x} x {tile_y} pixels are impossible")
    tiles = -(-nx // tile_x) * -(-ny // tile_y)
    if tiles != hdu.integer("NAXIS2") or nx * ny > _MOST_PACKED * (hdu.data_size + BLOCK):
        raise hdu.error(f"{nx} x {ny} pixels do not fit {hdu.integer('NAXIS2')} tiles")


class _Window(io.RawIOBase):
    """A part of an open file as a file of its own, which astropy may close."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        super().__init__()
        self._file, self._start, self._size = file, start, stop - start
        self._at = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._at

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size)
        return self._at

    @override
    def readinto(self, buffer: Any, /) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._start + self._at)
        done: int = self._file.readinto(memoryview(buffer)[:count])  # type: ignore[attr-defined]
        self._at += done
        return done


def _file_size(file: BinaryIO) -> int:
    return file.seek(0, 2)

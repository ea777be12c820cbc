"""The rows of an image as they are stored: from the file itself, or from compressed tiles."""

from __future__ import annotations

import lzma
import warnings
import zlib
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from .hdus import DAMAGE, File, ImageHdu, damaged, is_packed

__all__ = ["PlainRows", "TileRows"]

_BAND: Final = 64  # rows of a compressed image that are unpacked at once, at least
_MAPPED: Final = 64_000_000  # bytes of a mapped file that may become resident
_TYPES: Final = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@final
class PlainRows:
    """Reads the next rows of an uncompressed image into one buffer.

    Parameters
    ----------
    stream : binary file
        Where the pixels start.
    found : ImageHdu
        The image.
    plane : int
        Of a cube.
    """

    def __init__(self, stream: IO[bytes], found: ImageHdu, plane: int) -> None:
        if found.bitpix not in _TYPES:
            raise found.error(
                f"BITPIX = {found.bitpix} is unknown", f"it is one of {sorted(_TYPES)}"
            )
        self._stream: Any = stream
        self._found = found
        self._nx, self._ny = found.axes[:2]
        self._dtype = np.dtype(_TYPES[found.bitpix])
        self._buffer = np.empty((0, self._nx), self._dtype)
        self._row = 0
        stream.seek(plane * self._ny * self._nx * self._dtype.itemsize, 1)

    def read(self, n: int) -> npt.NDArray[Any]:
        """Return the next ``n`` rows; valid until the next call."""
        if len(self._buffer) < n:
            self._buffer = np.empty((n, self._nx), self._dtype)
        rows = self._buffer[:n]
        wanted = rows.reshape(-1).view(np.uint8).data
        got = 0
        try:
            while got < len(wanted):
                step = self._stream.readinto(wanted[got:])
                if not step:
                    raise EOFError  # noqa: TRY301 - as gzip has it
                got += step
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            row = self._row + got // (self._nx * self._dtype.itemsize)
            raise self._found.error(
                f"the file is truncated or damaged in row {row} of {self._ny}", "copy it again"
            ) from error
        self._row += n
        return rows

    def close(self) -> None:
        """Do nothing: the file is the caller's."""


@final
class TileRows:
    """Reads the next rows of a tile-compressed image, bands of tiles at a time.

    Parameters
    ----------
    stream : binary file
        The FITS file.
    found : ImageHdu
        The image.
    plane : int
        Of a cube.
    file : path or binary file
        What `stream` was opened from.
    """

    def __init__(self, stream: IO[bytes], found: ImageHdu, plane: int, file: File) -> None:
        self._found = found
        nx, self._ny = found.axes[:2]
        height = int(found.header.get("ZTILE2", 1))
        self._band = height * max(1, _BAND // height)
        above = np.unravel_index(plane, found.axes[:1:-1]) if len(found.axes) > 2 else ()
        self._above = tuple(int(k) for k in above)
        self._held: npt.NDArray[Any] = np.empty((0, nx), np.float32)
        self._row = 0  # next one to unpack
        # Mapped where possible, and again after a while: then the packed pixels that have been
        # read, which may be hundreds of megabytes, do not stay resident.
        self._is_mapped = isinstance(file, (str, Path)) and not is_packed(stream)
        self._source = str(file) if self._is_mapped else stream
        size = Path(str(file)).stat().st_size if self._is_mapped else 1
        self._again = max(self._band, self._ny * _MAPPED // size)  # rows per mapping
        self._reopen_at = self._again
        self._hdus = self._open()

    def _open(self) -> fits.HDUList:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if not isinstance(self._source, str):
                    self._source.seek(0)
                return fits.open(
                    self._source, memmap=self._is_mapped, mode="readonly",
                    do_not_scale_image_data=True,
                )  # fmt: skip
        except DAMAGE as error:
            raise damaged(self._found.where, error) from error

    def read(self, n: int) -> npt.NDArray[Any]:
        """Return the next ``n`` rows."""
        while len(self._held) < n:
            if self._is_mapped and self._row >= self._reopen_at:
                self._hdus.close()
                self._hdus = self._open()
                self._reopen_at = self._row + self._again
            box = (*self._above, slice(self._row, min(self._row + self._band, self._ny)))
            try:
                more = np.asarray(self._hdus[self._found.number].section[box])
            except MemoryError:
                raise
            except Exception as error:  # the codecs have types of their own
                raise self._found.error(
                    f"rows from {self._row} on cannot be unpacked ({error})", "copy the file again"
                ) from error
            self._held = more if not len(self._held) else np.concatenate([self._held, more])
            self._row += self._band
        rows, self._held = self._held[:n], self._held[n:]
        return rows

    def close(self) -> None:
        """Give the file and its mapping back."""
        self._hdus.close()

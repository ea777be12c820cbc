"""Find an image in a FITS file, plain or packed, by reading headers only."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
from astropy.io import fits

from skyloom.errors import MissingFile, UnreadableFile

__all__ = [
    "DAMAGE",
    "File",
    "ImageHdu",
    "NoImage",
    "damaged",
    "find_image",
    "is_packed",
    "name_of",
    "opened",
]

File: TypeAlias = str | Path | IO[bytes]

_BLOCK: Final = 2880  # bytes; FITS comes in these
_PACKERS: Final[dict[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}

DAMAGE: Final = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error, lzma.LZMAError,
    fits.VerifyError,
)  # fmt: skip
"""What damaged files raise, in several layers."""


class NoImage(UnreadableFile):
    """A sound FITS file without any image: a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHdu:
    """An image within a file: what its header says."""

    name: str  # of the file, for messages
    number: int  # of the HDU
    header: fits.Header
    primary: fits.Header

    @property
    def where(self) -> str:
        """File and HDU, as messages name them."""
        return f"{self.name}[{self.number}]"

    @property
    def is_compressed(self) -> bool:
        """Whether it is a table of compressed tiles."""
        return bool(self.header.get("ZIMAGE", False))

    @property
    def bitpix(self) -> int:
        """The number type of the pixels."""
        return int(self.header["ZBITPIX" if self.is_compressed else "BITPIX"])

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes [pix], fastest first."""
        z = "Z" if self.is_compressed else ""
        count = int(self.header.get(f"{z}NAXIS", 0))
        return tuple(int(self.header[f"{z}NAXIS{k + 1}"]) for k in range(count))

    @property
    def has_pixels(self) -> bool:
        """Whether this HDU is an image, and not an empty one."""
        is_image = self.is_compressed or self.header.get("XTENSION", "IMAGE").strip() == "IMAGE"
        return is_image and bool(self.axes) and min(self.axes) > 0

    def value(self, keyword: str) -> Any:
        """Return a header value of this HDU, or else of the primary one; None if unusable."""
        for header in (self.header, self.primary):
            try:
                value = header.get(keyword)
            except (fits.VerifyError, ValueError):  # a card that cannot be parsed
                continue
            if value is not None and value != "" and not isinstance(value, fits.card.Undefined):
                return value
        return None

    def scale(self, keyword: str, default: float) -> float:
        """Return a number that the pixels depend on, of this HDU.

        Raises
        ------
        UnreadableFile
            If it is there and is no number.
        """
        try:
            return float(self.header.get(keyword, default))
        except (fits.VerifyError, ValueError, TypeError):
            raise self.error(f"{keyword} is not a number", "correct the header") from None

    def error(self, what: str, remedy: str) -> UnreadableFile:
        """Return the error that this image cannot be used."""
        return UnreadableFile(f"{self.where}: {what}; {remedy}", file=self.name, hdu=self.number)


def name_of(file: File) -> str:
    """Return what messages call a file."""
    return str(file) if isinstance(file, (str, Path)) else str(getattr(file, "name", "the stream"))


def damaged(where: str, error: Exception) -> UnreadableFile:
    """Return the error that a file is no sound FITS."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableFile(
        f"{where}: cannot be read as FITS ({reason}); copy or write the file again", file=where
    )


@contextmanager
def opened(file: File) -> Iterator[IO[bytes]]:
    """Open a file, or take an open one; unpack it on the way where it is packed."""
    name = name_of(file)
    with ExitStack() as stack:
        if isinstance(file, (str, Path)):
            if not Path(file).is_file():
                raise MissingFile(f"{name}: no such file; correct the path", file=name)
            try:
                stream: Any = stack.enter_context(Path(file).open("rb", buffering=0))
            except OSError as error:
                raise damaged(name, error) from error
        else:
            stream = file
        start = stream.tell()
        magic = stream.read(6)
        stream.seek(start)
        for mark, opener in _PACKERS.items():
            if magic.startswith(mark):
                stream = stack.enter_context(opener(stream, "rb"))
        yield stream


def is_packed(stream: IO[bytes]) -> bool:
    """Tell whether `opened` unpacks what is read."""
    return isinstance(stream, (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile))


def find_image(stream: IO[bytes], name: str, ext: int | str) -> ImageHdu:
    """Read headers up to that of the wanted image, and stop where its pixels start.

    Parameters
    ----------
    stream : binary file
        At the start of the FITS file.
    name : str
        What messages call it.
    ext : int or str
        Number or EXTNAME of the HDU; 0: the first with an image.

    Raises
    ------
    UnreadableFile
        If the file is damaged or has no such image.
    """
    try:
        return _find(stream, name, ext)
    except UnreadableFile:
        raise
    except DAMAGE as error:
        raise damaged(name, error) from error


def _find(stream: IO[bytes], name: str, ext: int | str) -> ImageHdu:
    if stream.read(6) != b"SIMPLE":
        raise UnreadableFile(
            f"{name}: is not FITS; it must start with SIMPLE, or be packed with gzip, bzip2 or xz",
            file=name,
        )
    stream.seek(-6, 1)
    number = 0
    primary: fits.Header | None = None
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # letters beyond ASCII, as old plates have them
                header = fits.Header.fromfile(stream)
        except EOFError:
            if ext == 0:
                raise NoImage(
                    f"{name}: none of its HDUs holds an image; leave it out", file=name
                ) from None
            raise UnreadableFile(
                f"{name}: there is no HDU {ext!r} with an image; correct its number or name, the "
                f"last HDU is {number - 1}",
                file=name,
                hdu=ext,
            ) from None
        primary = primary or header
        found = ImageHdu(name=name, number=number, header=header, primary=primary)
        if _is_wanted(found, ext):
            if found.has_pixels:
                return found
            raise found.error("this HDU holds no image", "choose another")
        size = _data_size(header)
        stream.seek(size + -size % _BLOCK, 1)
        number += 1


def _is_wanted(found: ImageHdu, ext: int | str) -> bool:
    if isinstance(ext, str):
        return str(found.header.get("EXTNAME", "")).strip().upper() == ext.strip().upper()
    return found.has_pixels if ext == 0 else found.number == ext


def _data_size(header: fits.Header) -> int:
    """Return the length of an HDU's data, without filling [bytes]."""
    axes = [int(header[f"NAXIS{k + 1}"]) for k in range(int(header["NAXIS"]))]
    if axes and axes[0] == 0 and header.get("GROUPS", False):
        axes = axes[1:]  # random groups
    pixels = int(np.prod(axes, dtype=int)) if axes else 0
    groups, extra = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
    return abs(int(header["BITPIX"])) // 8 * groups * (extra + pixels) if axes else 0

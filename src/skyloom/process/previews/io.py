"""FITS images of any size as reduced rows: plain, scaled, tile-compressed, packed.

A plain image is read once, in slabs of a few hundred kilobytes, so memory does not grow with the
image; of a compressed one, a band of its tiles is held.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom._types import Pixels
from skyloom.errors import MissingFile, UnreadableFile

from .blocks import ReadRows, block_mean_rows, scale_factor

__all__ = ["iter_scaled_rows", "read_keywords", "read_scaled"]

_BLOCK: Final = 2880  # bytes; FITS comes in these
_PACKERS: Final[dict[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_BAND: Final = 64  # rows of a compressed image that are unpacked at once, at least
_TYPES: Final = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
# What damaged files raise, in several layers.
_DAMAGE: Final = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error,
                  lzma.LZMAError, fits.VerifyError)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An image within a file: its header, and where its pixels start."""

    name: str  # of the file, for messages
    number: int  # of the HDU
    header: fits.Header
    primary: fits.Header

    @property
    def where(self) -> str:
        return f"{self.name}[{self.number}]"

    @property
    def is_compressed(self) -> bool:
        return bool(self.header.get("ZIMAGE", False))

    @property
    def bitpix(self) -> int:
        """The number type of the pixels."""
        return int(self.header["ZBITPIX" if self.is_compressed else "BITPIX"])

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes, fastest first."""
        z = "Z" if self.is_compressed else ""
        count = int(self.header.get(f"{z}NAXIS", 0))
        return tuple(int(self.header[f"{z}NAXIS{k + 1}"]) for k in range(count))

    @property
    def has_pixels(self) -> bool:
        is_image = self.is_compressed or self.header.get("XTENSION", "IMAGE").strip() == "IMAGE"
        return is_image and bool(self.axes) and min(self.axes) > 0

    def error(self, what: str, remedy: str) -> UnreadableFile:
        return UnreadableFile(f"{self.where}: {what}; {remedy}", file=self.name, hdu=self.number)


def iter_scaled_rows(
    file: str | Path | IO[bytes],
    factor: int | None = None,
    dest_size: int | None = None,
    ext: int | str = 0,
    *,
    plane: int = 0,
) -> Iterator[Pixels]:
    """Yield the rows of a FITS image reduced by an integer factor, without holding the image.

    Parameters
    ----------
    file : path or binary file
        FITS, plain or tile-compressed, also packed with gzip, bzip2 or xz.
    factor : int, optional
        Side of the blocks of pixels that become one [pix]; wins when both are given.
    dest_size : int, optional
        Wished length of the longer axis [pix]; the factor is ``longer // dest_size + 1``.
    ext : int or str
        Number or EXTNAME of the HDU; 0 means the first one with an image where the primary HDU
        holds none.
    plane : int
        Which plane of a cube; those of all further axes are counted through.

    Returns
    -------
    iterator of ndarray of float32, shape (nx // factor,)
        Block means, lowest row first, with BSCALE, BZERO and BLANK applied; see `block_mean_rows`.

    Raises
    ------
    ValueError
        If neither `factor` nor `dest_size` is given, or one is below 1.
    MissingFile, UnreadableFile
        If there is no such file, it is not FITS, has no such image or is truncated.

    Examples
    --------
    >>> rows = np.array(list(iter_scaled_rows("night/m51.fits", dest_size=200)))  # doctest: +SKIP
    """
    if factor is None and dest_size is None:
        raise ValueError("how much to scale is not said; give factor or dest_size [pix]")
    if factor is not None and factor < 1:
        raise ValueError(f"factor = {factor} must be at least 1 [pix]")
    if factor is None and dest_size is not None and dest_size < 1:
        raise ValueError(f"dest_size = {dest_size} must be at least 1 [pix]")
    return _scaled_rows(file, factor, dest_size, ext, plane)


def read_scaled(
    file: str | Path | IO[bytes],
    factor: int | None = None,
    dest_size: int | None = None,
    ext: int | str = 0,
    *,
    plane: int = 0,
) -> Pixels:
    """Return what `iter_scaled_rows` yields as one image, shape (ny, nx).

    Raises
    ------
    UnreadableFile
        As `iter_scaled_rows`, and if the blocks are larger than the image.
    """
    rows = list(iter_scaled_rows(file, factor, dest_size, ext, plane=plane))
    if not rows or not rows[0].size:
        raise UnreadableFile(
            f"{_name(file)}: the image is smaller than one block of factor = {factor} [pix]; "
            "choose a smaller factor",
            file=_name(file),
            factor=factor,
        )
    return np.array(rows)


def read_keywords(
    file: str | Path | IO[bytes], names: Sequence[str], ext: int | str = 0
) -> dict[str, str | float | None]:
    """Return header values of an image: of its HDU or else of the primary one.

    Parameters
    ----------
    file, ext
        See `iter_scaled_rows`.
    names : sequence of str
        Keywords.

    Returns
    -------
    dict
        A value per keyword, in their order; None where it is absent or undefined.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no such file, or no such image in it.
    """
    name = _name(file)
    with _opened(file, name) as stream:
        found = _find_or_say(stream, name, ext)
    values: dict[str, str | float | None] = {}
    for keyword in names:
        headers = (found.header, found.primary)
        value = next((h[keyword] for h in headers if h.get(keyword) not in {None, ""}), None)
        is_plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        undefined = value is None or isinstance(value, fits.card.Undefined)
        values[keyword] = value if is_plain else None if undefined else str(value)
    return values


def _find_or_say(stream: IO[bytes], name: str, ext: int | str) -> _Found:
    """Find an image; damage is said to be damage."""
    try:
        return _find(stream, name, ext)
    except UnreadableFile:
        raise
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _scaled_rows(
    file: str | Path | IO[bytes],
    factor: int | None,
    dest_size: int | None,
    ext: int | str,
    plane: int,
) -> Iterator[Pixels]:
    name = _name(file)
    with _opened(file, name) as stream:
        found = _find_or_say(stream, name, ext)
        if len(found.axes) < 2:
            raise found.error(
                f"the image has {len(found.axes)} axis", "give one with two, or draw a spectrum"
            )
        shape, count = (found.axes[1], found.axes[0]), int(np.prod(found.axes[2:], dtype=int))
        if not 0 <= plane < count:
            raise found.error(f"there is no plane {plane}", f"planes are 0 to {count - 1}")
        if factor is None:
            assert dest_size is not None  # checked by the caller
            factor = scale_factor(shape, dest_size)
        header = found.header
        opener = _unpacked if found.is_compressed else _plain
        with opener(file, stream, found, plane) as read:
            yield from block_mean_rows(
                read,
                shape=shape,
                factor=factor,
                bscale=float(header.get("BSCALE", 1.0)),
                bzero=float(header.get("BZERO", 0.0)),
                blank=header.get("BLANK") if found.bitpix > 0 else None,
            )


def _name(file: str | Path | IO[bytes]) -> str:
    return str(file) if isinstance(file, (str, Path)) else str(getattr(file, "name", "the stream"))


@contextmanager
def _opened(file: str | Path | IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Open a file, or take an open one; unpack it on the way where it is packed."""
    with ExitStack() as stack:
        if isinstance(file, (str, Path)):
            if not Path(file).is_file():
                raise MissingFile(f"{name}: no such file; correct the path", file=name)
            try:
                stream: Any = stack.enter_context(Path(file).open("rb", buffering=0))
            except OSError as error:
                raise _damaged(name, error) from error
        else:
            stream = file
        start = stream.tell()
        magic = stream.read(6)
        stream.seek(start)
        for mark, opener in _PACKERS.items():
            if magic.startswith(mark):
                stream = stack.enter_context(opener(stream, "rb"))
        yield stream


def _find(stream: IO[bytes], name: str, ext: int | str) -> _Found:
    """Read headers up to that of the wanted image, and stop where its pixels start."""
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
            header = fits.Header.fromfile(stream)
        except EOFError:
            raise UnreadableFile(
                f"{name}: there is no HDU {ext!r} with an image; correct its number or name, the "
                f"last HDU is {number - 1}",
                file=name,
                hdu=ext,
            ) from None
        primary = primary or header
        found = _Found(name=name, number=number, header=header, primary=primary)
        if _is_wanted(found, ext):
            if found.has_pixels:
                return found
            raise found.error("this HDU holds no image", "choose another")
        size = _data_size(header)
        stream.seek(size + -size % _BLOCK, 1)
        number += 1


def _is_wanted(found: _Found, ext: int | str) -> bool:
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


@contextmanager
def _plain(_file: object, stream: IO[bytes], found: _Found, plane: int) -> Iterator[ReadRows]:
    """Give what reads the next rows of an uncompressed image into one buffer."""
    nx, ny = found.axes[:2]
    if found.bitpix not in _TYPES:
        raise found.error(f"BITPIX = {found.bitpix} is unknown", f"it is one of {sorted(_TYPES)}")
    dtype = np.dtype(_TYPES[found.bitpix])
    buffer = np.empty((0, nx), dtype)
    row = 0
    stream.seek(plane * ny * nx * dtype.itemsize, 1)

    def read(n: int) -> npt.NDArray[Any]:
        nonlocal buffer, row
        if len(buffer) < n:
            buffer = np.empty((n, nx), dtype)
        rows = buffer[:n]
        wanted = rows.reshape(-1).view(np.uint8).data
        got = 0
        try:
            while got < len(wanted):
                step = stream.readinto(wanted[got:])  # type: ignore[attr-defined]
                if not step:
                    raise EOFError  # noqa: TRY301 - as gzip has it
                got += step
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise found.error(
                f"the file is truncated or damaged in row {row + got // (nx * dtype.itemsize)} "
                f"of {ny}",
                "copy it again",
            ) from error
        row += n
        return rows

    yield read


@contextmanager
def _unpacked(
    file: str | Path | IO[bytes], stream: IO[bytes], found: _Found, plane: int
) -> Iterator[ReadRows]:
    """Open a tile-compressed image; what is given reads its next rows, tiles at a time."""
    is_plain_path = isinstance(file, (str, Path)) and not isinstance(
        stream, (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile)
    )
    ny = found.axes[1]
    height = int(found.header.get("ZTILE2", 1))
    band = height * max(1, _BAND // height)
    above = np.unravel_index(plane, found.axes[:1:-1]) if len(found.axes) > 2 else ()
    held: npt.NDArray[Any] = np.empty((0, found.axes[0]), np.float32)
    row = 0  # next one to unpack
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Mapped where possible: the packed pixels of a large image need no memory then.
            stream.seek(0)
            source = str(file) if is_plain_path else stream
            hdus = fits.open(
                source, memmap=is_plain_path, mode="readonly", do_not_scale_image_data=True
            )
    except _DAMAGE as error:
        raise _damaged(found.where, error) from error

    def read(n: int) -> npt.NDArray[Any]:
        nonlocal held, row
        while len(held) < n:
            box = (*(int(k) for k in above), slice(row, min(row + band, ny)))
            try:
                more = np.asarray(hdus[found.number].section[box])
            except MemoryError:
                raise
            except Exception as error:  # the codecs have types of their own
                raise found.error(
                    f"rows from {row} on cannot be unpacked ({error})", "copy the file again"
                ) from error
            held = more if not len(held) else np.concatenate([held, more])
            row += band
        rows, held = held[:n], held[n:]
        return rows

    with hdus:
        yield read


def _damaged(where: str, error: Exception) -> UnreadableFile:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableFile(
        f"{where}: cannot be read as FITS ({reason}); copy or write the file again", file=where
    )

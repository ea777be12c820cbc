"""FITS images: where the pixels are, what the header says, and reading a box of them.

The pixels are those of the primary HDU or, where it holds none, of the first image HDU,
tile-compressed ones included.  A keyword is looked for in the HDU of the pixels first, then in
the primary header.
"""

from __future__ import annotations

import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from skyloom._types import Pixels
from skyloom.errors import BadHeader, MissingFile, UnreadableFile
from skyloom.geometry import Box

__all__ = ["FitsImage", "opened_fits"]

# What astropy raises on damaged files, in several layers.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error)

# warnings.catch_warnings changes global state: one thread at a time.
_OPENING = threading.Lock()
_ROWS_AT_ONCE = 1 << 22  # pix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitsImage:
    """A two-dimensional FITS image on disk; holds its headers, not its pixels."""

    path: Path
    hdu: int
    shape: tuple[int, int]  # (ny, nx)
    header: fits.Header  # of the HDU that holds the pixels
    primary: fits.Header

    @property
    def where(self) -> str:
        """File and HDU, as error messages name them: ``night/r.fits[1]``."""
        return f"{self.path}[{self.hdu}]"

    @classmethod
    def open(cls, path: Path | str, hdu: int | str | None = None) -> FitsImage:
        """Find the pixels of a FITS file and read its headers.

        Parameters
        ----------
        path : path
            The file.
        hdu : int or str, optional
            Number or EXTNAME (in any case) of the HDU; default: the first that holds an image.

        Raises
        ------
        MissingFile
            If there is no such file.
        UnreadableFile
            If it is not FITS, is truncated, has no such HDU, or holds no two-dimensional image.
        """
        path = Path(path)
        with opened_fits(path) as hdus:
            number = _find_image(path, hdus, hdu)
            found = hdus[number]
            if len(found.shape) != 2 or 0 in found.shape:
                raise UnreadableFile(
                    f"{path}[{number}]: the image has axes {tuple(reversed(found.shape))}, but two "
                    "non-empty axes are needed; store one plane per file",
                    file=str(path),
                    hdu=number,
                    shape=tuple(found.shape),
                )
            _check_length(path, number, found)
            ny, nx = (int(n) for n in found.shape)
            return cls(
                path=path,
                hdu=number,
                shape=(ny, nx),
                header=found.header.copy(),
                primary=hdus[0].header.copy(),
            )

    def with_keywords(self, values: Mapping[str, float | str]) -> FitsImage:
        """Return the image with other values of some keywords; the file stays as it is."""
        if not values:
            return self
        header = self.header.copy()
        for name, value in values.items():
            header[name] = value
        return replace(self, header=header)

    def keyword(self, name: str) -> Any:
        """Return the value of a header keyword, or None where it is absent or undefined."""
        for header in (self.header, self.primary):
            value = header.get(name)
            if value is not None and not isinstance(value, fits.card.Undefined):
                return value
        return None

    def number(self, name: str) -> float | None:
        """Return a keyword as float; NaN where it is not a number, None where it is absent."""
        value = self.keyword(name)
        if value is None:
            return None
        if isinstance(value, bool):
            return float("nan")
        try:
            return float(value)
        except (TypeError, ValueError):
            return float("nan")

    def wcs(self) -> WCS:
        """Read the celestial WCS, distortions (SIP, tables) included.

        Raises
        ------
        BadHeader
            If neither header has a celestial WCS that can be used.
        """
        with opened_fits(self.path) as hdus:
            reason = "no celestial axes"
            for header in (self.header, self.primary):
                try:
                    with _OPENING, warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # repairs of old keywords
                        wcs = WCS(header, fobj=hdus).celestial
                        if wcs.has_celestial:
                            wcs.wcs.set()
                            return wcs
                except Exception as error:  # wcslib and astropy raise a dozen types here
                    reason = " ".join(str(error).split())
        raise BadHeader(
            f"Missing WCS in {self.where}: {reason}; solve the image and write CTYPE, CRVAL, "
            "CRPIX and CD into its header",
            file=str(self.path),
            hdu=self.hdu,
        )

    def read(self, box: Box | None = None) -> Pixels:
        """Read a box of pixels, or all of them; safe to call from several threads.

        Parameters
        ----------
        box : Box, optional
            Region inside the image; nothing else is read (of a compressed image, the tiles that
            touch it).

        Returns
        -------
        ndarray of float32, shape `box.shape`
            Pixel values with BSCALE, BZERO and BLANK applied, in native byte order.

        Raises
        ------
        UnreadableFile
            If the pixels cannot be read.
        """
        whole = Box.of_shape(self.shape)
        data = self.section(whole if box is None else box)
        return np.ascontiguousarray(data, dtype=np.float32)

    def section(self, box: Box) -> npt.NDArray[Any]:
        """Read a box of pixels in the type that they have on disk; see `read`."""
        whole = Box.of_shape(self.shape)
        if box.clipped(whole) != box or box.is_empty:
            raise ValueError(f"{self.where}: {box} is not inside the image {self.shape}")
        with opened_fits(self.path) as hdus:
            try:
                hdu = hdus[self.hdu]
                is_plain = not isinstance(hdu, fits.CompImageHDU)
                if is_plain and box.shape[0] * self.shape[1] <= _ROWS_AT_ONCE:
                    y, x = box.slices  # whole rows are one read, parts of them one each
                    return np.asarray(hdu.section[y])[:, x]
                return np.asarray(hdu.section[box.slices])
            except MemoryError:
                raise
            except Exception as error:  # the codecs of tile compression have types of their own
                raise _unreadable(self.path, error, hdu=self.hdu) from error


def _find_image(path: Path, hdus: fits.HDUList, wanted: int | str | None) -> int:
    """Return the number of the HDU that holds the pixels."""
    images = [n for n, h in enumerate(hdus) if getattr(h, "is_image", False) and h.shape]
    if wanted is None:
        if images:
            return images[0]
        raise UnreadableFile(
            f"{path}: no HDU holds an image; give a FITS file with pixels in the primary HDU or "
            "in an image extension",
            file=str(path),
        )
    for number, hdu in enumerate(hdus):
        is_it = wanted == number if isinstance(wanted, int) else _same(wanted, hdu.name)
        if is_it and number in images:
            return number
        if is_it:
            break
    listed = ", ".join(f"{n} {hdus[n].name}".strip() for n in images) or "none"
    raise UnreadableFile(
        f"{path}: there is no HDU {wanted!r} with an image; correct its number or name, the HDUs "
        f"with images are: {listed}",
        file=str(path),
        hdu=wanted,
    )


def _same(a: str, b: str) -> bool:
    return a.strip().upper() == b.strip().upper()


def _unreadable(path: Path, error: Exception, *, hdu: int | None = None) -> UnreadableFile:
    where = str(path) if hdu is None else f"{path}[{hdu}]"
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableFile(
        f"{where}: cannot be read as FITS ({reason}); copy or write the file again",
        file=str(path),
        hdu=hdu,
    )


@contextmanager
def opened_fits(path: Path) -> Iterator[fits.HDUList]:
    """Open a FITS file without memory mapping, safely in several threads.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent or cannot be opened as FITS.
    """
    if not path.exists():
        raise MissingFile(
            f"{path}: no such file; correct the path or the image list", file=str(path)
        )
    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdus = fits.open(path, memmap=False, mode="readonly")
            try:
                len(hdus)  # reads all headers now, under the lock
            except BaseException:
                hdus.close()
                raise
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    with hdus:
        yield hdus


def _check_length(path: Path, number: int, hdu: Any) -> None:
    """Compare the size of the file with what the header promises."""
    if path.suffix in {".gz", ".bz2", ".xz", ".zst", ".Z"}:
        return  # the length is that of the packed file
    info = hdu.fileinfo()
    if isinstance(hdu, fits.CompImageHDU):
        promised = info["datLoc"] + info["datSpan"] - 2879  # the padding may be absent
    else:
        promised = info["datLoc"] + int(np.prod(hdu.shape)) * abs(hdu.header["BITPIX"]) // 8
    found = path.stat().st_size
    if found < promised:
        raise UnreadableFile(
            f"{path}[{number}]: the file is truncated: {found} bytes, {promised} needed; copy "
            "it again",
            file=str(path),
            hdu=number,
            found=found,
            needed=int(promised),
        )

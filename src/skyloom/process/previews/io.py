"""FITS images of any size as reduced rows: plain, scaled, tile-compressed, packed.

A plain image is read once, in slabs of a few hundred kilobytes, so memory does not grow with the
image; of a compressed one, a band of its tiles is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np

from skyloom._types import Pixels
from skyloom.errors import UnreadableFile

from .blocks import block_mean_rows, scale_factor
from .hdus import File, find_image, name_of, opened
from .rows import PlainRows, TileRows

__all__ = ["iter_scaled_rows", "read_keywords", "read_scaled"]


def iter_scaled_rows(
    file: File,
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
    file: File,
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
            f"{name_of(file)}: the image is smaller than one block of factor = {factor} [pix]; "
            "choose a smaller factor",
            file=name_of(file),
            factor=factor,
        )
    return np.array(rows)


def read_keywords(
    file: File, names: Sequence[str], ext: int | str = 0
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
    with opened(file) as stream:
        found = find_image(stream, name_of(file), ext)
    values: dict[str, str | float | None] = {}
    for keyword in names:
        value = found.value(keyword)
        is_plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        values[keyword] = value if is_plain or value is None else str(value)
    return values


def _scaled_rows(
    file: File, factor: int | None, dest_size: int | None, ext: int | str, plane: int
) -> Iterator[Pixels]:
    with opened(file) as stream:
        found = find_image(stream, name_of(file), ext)
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
        is_tiled = found.is_compressed
        has_blank = found.bitpix > 0 and "BLANK" in found.header
        rows = TileRows(stream, found, plane, file) if is_tiled else PlainRows(stream, found, plane)
        with closing(rows):
            yield from block_mean_rows(
                rows.read,
                shape=shape,
                factor=factor,
                bscale=found.scale("BSCALE", 1.0),
                bzero=found.scale("BZERO", 0.0),
                blank=int(found.scale("BLANK", 0)) if has_blank else None,
            )

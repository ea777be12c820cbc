"""Old names for reading and writing headers."""

# ruff: noqa: N802 - old names

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from astropy.io import fits

from skyloom import process
from skyloom._types import Pixels
from skyloom.process import FITSError
from skyloom.process.cards import read_header_bytes
from skyloom.process.previews import iter_scaled_rows
from skyloom.process.sorting import CardSequence, Keep

__all__ = [
    "FITSError",
    "iterScaledRows",
    "readPrimaryHeaderQuick",
    "replacePrimaryHeaderInPlace",
    "serializeHeader",
    "sortHeaders",
]


def readPrimaryHeaderQuick(f: BinaryIO, maxHeaderBlocks: int = 80) -> fits.Header:
    """Read the header that an open file stands at."""
    return process.parse_header(read_header_bytes(f, max_blocks=maxHeaderBlocks))


def iterScaledRows(
    inFile: str | BinaryIO,
    factor: int | None = None,
    destSize: int | None = None,
    extInd: int = 0,
) -> Iterator[Pixels]:
    """See `skyloom.process.previews.iter_scaled_rows`."""
    return iter_scaled_rows(inFile, factor, destSize, extInd)


def serializeHeader(hdr: fits.Header) -> bytes:
    """See `skyloom.process.serialize_header`."""
    return process.serialize_header(hdr)


def replacePrimaryHeaderInPlace(fitsName: str, newHeader: fits.Header) -> None:
    """See `skyloom.process.replace_primary_header_in_place`."""
    process.replace_primary_header_in_place(fitsName, newHeader)


def sortHeaders(
    header: fits.Header,
    commentFilter: Keep | None = None,
    historyFilter: Keep | None = None,
    cardSequence: CardSequence | None = None,
) -> fits.Header:
    """See `skyloom.process.sort_headers`."""
    return process.sort_headers(header, commentFilter, historyFilter, cardSequence)

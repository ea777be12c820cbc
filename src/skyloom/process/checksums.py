"""The checksums of the FITS standard (version 4.0, appendix J)."""

from __future__ import annotations

from typing import BinaryIO, Final

import numpy as np

__all__ = ["add_sums", "data_sum", "encode_checksum", "stream_sum"]

_PIECE: Final = 1 << 20  # bytes read at once; a multiple of 4
_ALL_ONES: Final = 0xFFFFFFFF
_PUNCTUATION: Final = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


def data_sum(data: bytes) -> int:
    """Return the 32-bit ones' complement sum of big-endian words; blocks are filled with zeros."""
    if len(data) % 4:
        data = data + b"\0" * (-len(data) % 4)
    return _fold(int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64)))


def add_sums(*sums: int) -> int:
    """Return the ones' complement sum of sums."""
    return _fold(sum(sums))


def _fold(total: int) -> int:
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def stream_sum(file: BinaryIO, size: int) -> int:
    """Return the sum of the next ``size`` bytes of a file, read in pieces.

    Raises
    ------
    EOFError
        If the file has fewer.
    """
    total = 0
    while size > 0:
        piece = file.read(min(size, _PIECE))
        if not piece:
            raise EOFError(f"{size} bytes of data are missing")
        size -= len(piece)
        total = add_sums(total, data_sum(piece))
    return total


def encode_checksum(total: int) -> str:
    """Return the 16 characters that make the sum of an HDU all ones.

    Parameters
    ----------
    total : int
        Sum of the HDU, its CHECKSUM card holding sixteen zeros.
    """
    value = ~total & _ALL_ONES
    text = [""] * 16
    for i in range(4):
        byte = (value >> (24 - 8 * i)) & 0xFF
        codes = [byte // 4 + 0x30] * 4
        codes[0] += byte % 4
        while any(code in _PUNCTUATION for code in codes):
            for j in (0, 2):
                if codes[j] in _PUNCTUATION or codes[j + 1] in _PUNCTUATION:
                    codes[j] += 1
                    codes[j + 1] -= 1
        for j in range(4):
            text[4 * j + i] = chr(codes[j])
    return text[-1] + "".join(text[:-1])

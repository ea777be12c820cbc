"""FITS files for tests, made of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

ODD_CARDS = [
    "EXPTIME = 1.20E+02            / two digits, as written",
    "GAIN    =                  1.5/no blank before the comment",
    "LOWER   = 'a  '               / blanks in a value",
    "lowcase = 3",
    "BIGFLOAT=   1.234567890123456789E+10",
    "NOEQUALS 12 is no value",
    "HIERARCH ESO DET CHIP NAME = 'CCD 44' / of ESO",
    "ESO-LOGO=                    T",
    "SLASH   = 'a/b''c'            / text / END    / more",
    "HISTORY   two blanks before",
    "COMMENT END     is not the end",
    "        just text",
    "QUOTE   = 'never closed",
    "EXPTIME = 121",
]
"""What astropy would write differently, warn about, or refuse."""


def card_block(*cards: str) -> bytes:
    """Return a header of these cards, with END and blanks."""
    text = "".join(f"{card:80}" for card in [*cards, "END"])
    data = text.encode("latin1")
    return data.ljust(-(-len(data) // 2880) * 2880)


def odd_file(path: Path, n_cards: int = 0) -> bytes:
    """Write a 16-bit image with odd cards; return its data bytes."""
    pixels = np.arange(6 * 5, dtype=">i2").tobytes().ljust(2880, b"\0")
    mandatory = [
        "SIMPLE  =                    T / conforms",
        "BITPIX  =                   16",
        "NAXIS   =                    2",
        "NAXIS1  =                    6",
        "NAXIS2  =                    5",
        "BZERO   =            3.2768E+4 / odd float",
        "BSCALE  =                   1.",
    ]
    filler = [f"KEY{n:<5}= {n:>20}" for n in range(n_cards)]
    path.write_bytes(card_block(*mandatory, *ODD_CARDS, *filler) + pixels)
    return pixels


def uint16_image(
    path: Path, *, second: bool = False, checksum: bool = False, **keys: object
) -> None:
    """Write an unsigned image as astropy does, optionally with a second HDU."""
    rng = np.random.default_rng(5)
    primary = fits.PrimaryHDU(rng.integers(0, 65535, (30, 20)).astype(np.uint16))
    primary.header.update({"OBJECT": "M 31", "FILTER": "r", **keys})
    primary.header["COMMENT"] = "END     is part of this comment"
    hdus = [primary]
    if second:
        hdus.append(fits.ImageHDU(rng.normal(size=(7, 9)).astype(np.float32), name="SECOND"))
    fits.HDUList(hdus).writeto(path, checksum=checksum, overwrite=True)

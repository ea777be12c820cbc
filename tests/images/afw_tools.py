"""Makers of exposures and archives for the tests of afw files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.wcs import WCS, Sip

from skyloom.images import Exposure, FilterLabel, Image, Mask, MaskedImage, PhotoCalib

PLANES = {"BAD": 0, "SAT": 1, "CR": 3, "DETECTED": 5, "VERY_LONG_NAME_OF_A_PLANE": 31}


def sky(x0: int = 0, y0: int = 0) -> WCS:
    """Return a TAN-SIP WCS about pixel (40, 30) of an array with its first pixel at x0, y0."""
    wcs = WCS(naxis=2)
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [41.0 - x0, 31.0 - y0]
    wcs.wcs.cd = [[-4.6e-5, 1e-6], [1e-6, 4.6e-5]]
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[2, 0], b[0, 2] = 1e-6, -2e-6
    zero = np.zeros((3, 3))
    wcs.sip = Sip(a, b, zero, zero, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def sample(width: int = 50, height: int = 40, xy0: tuple[int, int] = (1000, -20)) -> Exposure:
    """Return an exposure with something in every part."""
    rng = np.random.default_rng(width)
    shape = (height, width)
    pixels = rng.normal(size=shape).astype(np.float32)
    pixels[0, 0], pixels[1, 1] = np.nan, np.inf
    bits = (rng.integers(0, 2, shape) << 31 | rng.integers(0, 64, shape)).astype(np.uint32)
    exposure = Exposure(
        MaskedImage(
            Image(pixels, xy0=xy0),
            Mask(bits.view(np.int32), planes=PLANES, xy0=xy0),
            Image(rng.uniform(1, 2, shape).astype(np.float32), xy0=xy0),
        ),
        wcs=sky(*xy0),
        photo_calib=PhotoCalib.from_zeropoint(27.0),
        filter=FilterLabel(band="i", physical="HSC-I2"),
    )
    exposure.image.metadata["BUNIT"] = "adu"
    fill_metadata(exposure)
    return exposure


def fill_metadata(exposure: Exposure) -> None:
    """Add cards of every kind, duplicates among them."""
    metadata = exposure.metadata
    metadata["OBJECT"] = ("M 31", "what it shows")
    metadata.append(("HIERARCH long keyword of theirs", 1.5), end=True)
    metadata["LONGTEXT"] = "much " * 40
    for text in ("first", "second", "first"):
        metadata.add_history(text)
        metadata.add_comment(text)
    metadata.append(("TWICE", 1), end=True)
    metadata.append(("BETWEEN", True), end=True)
    metadata.append(("TWICE", 2), end=True)
    metadata["FLUXMAG0"] = 5.0


def same_planes(a: Exposure, b: Exposure) -> bool:
    """Tell whether all planes agree byte for byte, in type and in place."""
    return all(
        getattr(a, name).array.tobytes() == getattr(b, name).array.tobytes()
        and getattr(a, name).array.dtype == getattr(b, name).array.dtype
        and getattr(a, name).box == getattr(b, name).box
        for name in ("image", "mask", "variance")
    )


def cards(header) -> list[str]:
    return [str(card) for card in header.cards]


def real(shared_data: Path, name: str) -> Path:
    """Return the path of a real afw file."""
    return shared_data / "astrometry" / "afw" / name

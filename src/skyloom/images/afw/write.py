"""Writing exposures and their parts in the layout of afw."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from skyloom.errors import MissingComponent, NotCalibrated, OutputExists, Unwritable
from skyloom.images.afw import encode_psf  # noqa: F401 - registers its classes
from skyloom.images.afw.archive import Archive
from skyloom.images.afw.components import FileComponents
from skyloom.images.afw.encode import encode
from skyloom.images.afw.encode_wcs import sky_wcs_text
from skyloom.images.afw.hdus import BLOCK
from skyloom.images.afw.layout import COMPONENT_KEYS, LAYOUT_VERSION
from skyloom.images.afw.pixels import pixel_bytes, stored_form
from skyloom.images.exposure import Exposure
from skyloom.images.image import Image, Plane
from skyloom.images.masked_image import MaskedImage
from skyloom.images.planes import Mask

__all__ = [
    "check_free",
    "renamed",
    "write_exposure",
    "write_image",
    "write_mask",
    "write_masked_image",
]

_ONLY_IN_HEADERS = {"visit_info"}  # set components that are written as cards
_FIRST_ID = 1
_TILE = 128  # pix, side of compressed tiles: 100 x 100 pixels touch four


def write_exposure(
    exposure: Exposure, path: Path | str, *, overwrite: bool = False, is_compressed: bool = False
) -> None:
    """Write an exposure; see `Exposure.write`."""
    archive, ids = _archive_of(exposure)
    sky = _sky_cards(exposure)
    has_archive = len(archive.sources) > 1 or bool(ids)
    primary = _primary_header()
    primary.append(("HIERARCH EXPINFO_V", LAYOUT_VERSION), end=True)
    if has_archive:
        comment = "HDU (1-indexed) containing the archive"
        primary.append(("AR_HDU", 5, comment), end=True)
    for key, value in ids.items():
        primary.append((key if len(key) <= 8 else f"HIERARCH {key}", value), end=True)
    _extend(primary, _metadata(exposure))
    planes = exposure.masked_image
    with renamed(path, overwrite=overwrite) as file:
        file.write(primary.tostring().encode("ascii"))
        _write_planes(file, planes, sky, is_compressed=is_compressed)
        if has_archive:
            file.write(archive.to_bytes())


def write_masked_image(image: MaskedImage, path: Path | str, *, overwrite: bool = False) -> None:
    """Write image, mask and variance, each in an HDU of its own."""
    with renamed(path, overwrite=overwrite) as file:
        file.write(_primary_header().tostring().encode("ascii"))
        _write_planes(file, image, fits.Header(), is_compressed=False)


def write_image(image: Image, path: Path | str, *, overwrite: bool = False) -> None:
    """Write an image as an extension of a FITS file."""
    with renamed(path, overwrite=overwrite) as file:
        file.write(_primary_header().tostring().encode("ascii"))
        _write_plane(file, image, "IMAGE", fits.Header(), is_compressed=False)


def write_mask(mask: Mask, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a mask with its planes as an extension of a FITS file."""
    with renamed(path, overwrite=overwrite) as file:
        file.write(_primary_header().tostring().encode("ascii"))
        _write_plane(file, mask, "MASK", fits.Header(), is_compressed=False)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that is there and may not be replaced.

    Raises
    ------
    OutputExists
    """
    if path.exists() and not overwrite:
        raise OutputExists(
            f"{path}: exists already; choose another name, or say overwrite=True", file=str(path)
        )


@contextmanager
def renamed(path: Path | str, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a file beside `path`, and rename it to `path` when all went well.

    Raises
    ------
    OutputExists
        If there is a file, and `overwrite` does not allow to replace it.
    Unwritable
        If the file cannot be made or filled.
    """
    path = Path(path)
    check_free(path, overwrite=overwrite)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Unwritable(
            f"{path}: cannot be written ({error.strerror or error}); choose another directory or "
            "make room",
            file=str(path),
        ) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_planes(
    file: BinaryIO, planes: MaskedImage, sky: fits.Header, *, is_compressed: bool
) -> None:
    _write_plane(file, planes.image, "IMAGE", sky, is_compressed=is_compressed)
    _write_plane(file, planes.mask, "MASK", sky, is_compressed=is_compressed)
    _write_plane(file, planes.variance, "VARIANCE", sky, is_compressed=is_compressed)


def _write_plane(
    file: BinaryIO, plane: Plane, kind: str, sky: fits.Header, *, is_compressed: bool
) -> None:
    header = fits.Header()
    bitpix, zero, stored = stored_form(plane.array)
    if not is_compressed:
        header["XTENSION"] = ("IMAGE", "IMAGE extension")
        header["BITPIX"] = (bitpix, "number of bits per data pixel")
        header["NAXIS"] = (2, "number of data axes")
        header["NAXIS1"] = (plane.width, "length of data axis 1")
        header["NAXIS2"] = (plane.height, "length of data axis 2")
        header["PCOUNT"] = (0, "required keyword; must = 0")
        header["GCOUNT"] = (1, "required keyword; must = 1")
        if zero:
            header["BZERO"] = (zero, "offset of unsigned numbers")
            header["BSCALE"] = (1, "default scaling factor")
    _extend(header, sky)
    header["LTV1"], header["LTV2"] = -plane.x0, -plane.y0
    header["INHERIT"] = True
    header["EXTTYPE"] = kind
    header["EXTNAME"] = kind
    if isinstance(plane, Mask):
        for name, bit in sorted(plane.planes.items()):
            key = f"MP_{name}"
            header.append((key if len(key) <= 8 else f"HIERARCH {key}", bit), end=True)
    for axis, origin in ((1, plane.x0), (2, plane.y0)):
        header[f"CTYPE{axis}A"] = ("LINEAR", "Type of projection")
        header[f"CRPIX{axis}A"] = (1, "Pixel coordinate of reference")
        header[f"CRVAL{axis}A"] = (origin, "Parent coordinate of reference pixel")
        header[f"CUNIT{axis}A"] = "PIXEL"
    _extend(header, plane.metadata)
    if is_compressed:
        _write_compressed(file, plane, header)
    else:
        file.write(header.tostring().encode("ascii"))
        pixel_bytes(file, stored)


def _write_compressed(file: BinaryIO, plane: Plane, header: fits.Header) -> None:
    """Write a plane as lossless square tiles, so that a cut-out unpacks few of them."""
    hdu = fits.CompImageHDU(
        np.ascontiguousarray(plane.array),
        header,
        compression_type="GZIP_2",
        tile_shape=(min(_TILE, plane.height), min(_TILE, plane.width)),
        quantize_level=0,
    )
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
    file.write(whole.getbuffer()[BLOCK:])  # without the primary HDU


def _primary_header() -> fits.Header:
    header = fits.Header()
    header["SIMPLE"] = (True, "file does conform to FITS standard")
    header["BITPIX"] = (8, "number of bits per data pixel")
    header["NAXIS"] = (0, "number of data axes")
    header["EXTEND"] = (True, "FITS dataset may contain extensions")
    return header


def _extend(header: fits.Header, cards: fits.Header) -> None:
    """Append cards as they are, duplicates and order included, but for mask planes of elsewhere.

    A stale ``MP_NAME`` would become a plane of the mask, whose header inherits the primary one.
    """
    for card in cards.cards:
        if not card.keyword.startswith("MP_"):
            header.append(card, end=True)


def _metadata(exposure: Exposure) -> fits.Header:
    """Return the metadata; FLUXMAG0 says what a calibration that was set says."""
    metadata = exposure.metadata
    if "photo_calib" not in exposure.replaced or "FLUXMAG0" not in metadata:
        return metadata
    metadata = metadata.copy()
    calibration = exposure.replaced["photo_calib"]
    metadata["FLUXMAG0"] = 0.0 if calibration is None else calibration.flux_mag0
    if "FLUXMAG0ERR" in metadata:
        metadata["FLUXMAG0ERR"] = 0.0 if calibration is None else calibration.flux_mag0_err
    return metadata


def _sky_cards(exposure: Exposure) -> fits.Header:
    wcs = exposure.wcs
    if wcs is None:
        return fits.Header()
    cards = wcs.fits_cards(exposure.xy0)
    if cards is None and "wcs" in exposure.replaced and sky_wcs_text(wcs) is None:
        raise MissingComponent(
            "the wcs that was set has neither a FITS form nor one in the archive and cannot be "
            "written; set one that is made from an astropy WCS",
            component="wcs",
        )
    return fits.Header() if cards is None else cards


def _archive_of(exposure: Exposure) -> tuple[Archive, dict[str, int]]:
    """Return the archive to write, and the keywords that point into it."""
    stored = exposure.stored
    archive, ids = Archive.empty(), {}
    if isinstance(stored, FileComponents) and stored.archive is not None:
        archive, ids = stored.archive, dict(stored.layout.id_cards)
    new: dict[str, Any] = {}
    for name, value in exposure.replaced.items():
        for key in COMPONENT_KEYS.get(name, ()):
            ids.pop(f"{key}_ID", None)
            ids.pop(f"ARCHIVE_ID_{key}", None)
        has_place = name not in _ONLY_IN_HEADERS
        if name == "wcs" and value is not None:
            has_place = sky_wcs_text(value) is not None  # else it is in the cards alone
        if value is not None and has_place:
            new[name] = value
    for name in ("photo_calib", "filter"):  # files of version 2 have these in the archive
        keys = COMPONENT_KEYS[name]
        if name not in exposure.replaced and not any(f"{key}_ID" in ids for key in keys):
            value = _of_header(exposure, name)
            if value is not None:
                new[name] = value
    if not new:
        return archive, ids
    next_id = max([*archive.entries, _FIRST_ID - 1]) + 1
    objects: list[tuple[int, str, str, Sequence[Any]]] = []
    for name, value in new.items():
        id_ = encode(name, value, objects, next_id)
        next_id = max(o[0] for o in objects) + 1
        key = COMPONENT_KEYS[name][0]
        ids[f"{key}_ID"] = ids[f"ARCHIVE_ID_{key}"] = id_
    try:
        return archive.extended(objects), ids
    except ValueError as error:
        parts = ", ".join(new)
        message = f"{parts} cannot be written ({error}); change what is set"
        raise MissingComponent(message, component=parts) from error


def _of_header(exposure: Exposure, name: str) -> Any:
    try:
        return getattr(exposure, name)
    except NotCalibrated:
        return None

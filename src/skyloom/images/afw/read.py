"""Reading exposures and their parts from afw files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from skyloom.errors import MissingComponent, OutsideImage
from skyloom.geometry import Box
from skyloom.images.afw.archive import archive_from
from skyloom.images.afw.components import FileComponents
from skyloom.images.afw.decode import Decoder
from skyloom.images.afw.hdus import Hdu, damaged, opened, quiet, scan
from skyloom.images.afw.layout import (
    Layout,
    find_layout,
    mask_planes,
    origin_of,
    own_cards,
    role_of,
)
from skyloom.images.afw.pixels import image_header, image_shape, is_image, read_pixels
from skyloom.images.exposure import COMPONENTS, Exposure
from skyloom.images.image import Image, check_box
from skyloom.images.masked_image import MaskedImage
from skyloom.images.planes import DEFAULT_PLANES, Mask

__all__ = [
    "read_component",
    "read_exposure",
    "read_image",
    "read_mask",
    "read_masked_image",
    "read_metadata",
    "read_psf",
]

_FIRST_SEVEN = dict(list(DEFAULT_PLANES.items())[:7])


def read_exposure(path: Path | str, bbox: Box | None = None) -> Exposure:
    """Read an exposure; see `Exposure.read`."""
    with _layout(path) as (file, layout):
        layout.version  # noqa: B018 - raises where it is not known
        planes = _masked_image(file, layout, bbox)
        stored = _components(file, layout)
        if layout.image.number == 0:
            planes.image.metadata.clear()  # they are those of the exposure
        return Exposure(planes, metadata=layout.metadata, stored=stored)


def read_masked_image(path: Path | str, bbox: Box | None = None) -> MaskedImage:
    """Read image, mask and variance, or a box of them in parent coordinates.

    A mask or variance that the file lacks is zero.
    """
    with _layout(path) as (file, layout):
        return _masked_image(file, layout, bbox)


def read_image(path: Path | str, bbox: Box | None = None, *, hdu: int | None = None) -> Image:
    """Read the image of a file, or a box of it in parent coordinates.

    Parameters
    ----------
    path : path
        The file.
    bbox : Box, optional
        The part to read; default: all.
    hdu : int, optional
        Number of the HDU, from 0; default: the image of the file.
    """
    with _layout(path) as (file, layout):
        chosen = layout.image
        if hdu is not None:
            if not 0 <= hdu < len(layout.hdus) or not is_image(layout.hdus[hdu]):
                raise layout.primary.error(f"HDU {hdu} holds no image", "correct its number")
            chosen = layout.hdus[hdu]
        return _image(file, chosen, bbox)


def read_mask(path: Path | str, bbox: Box | None = None) -> Mask:
    """Read the mask of a file; of a file with a single image HDU, that one."""
    path = Path(path)
    with opened(path) as file:
        images = [hdu for hdu in scan(file, path) if is_image(hdu)]
        masks = [hdu for hdu in images if role_of(hdu) == "MASK"]
        if not masks and len(images) > 1:
            layout = find_layout(path, images)
            masks = [] if layout.mask is None else [layout.mask]
        if not masks and len(images) == 1 and _holds_integers(images[0]):
            masks = images
        if not masks:
            raise MissingComponent(f"{path}: holds no mask; read another part", file=str(path))
        return _mask(file, masks[0], bbox)


def read_metadata(path: Path | str) -> fits.Header:
    """Read the headers of the primary and of the first HDU with data, merged; no pixels.

    Cards of the primary header come first, in their order, duplicates included; a keyword that
    both have is taken from the second.  Works on a file that ends within its pixels.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent or its headers are damaged.
    """
    path = Path(path)
    with opened(path) as file:
        hdus = scan(file, path, most=1)
        if not is_image(hdus[0]):
            hdus = scan(file, path, most=2)
    with damaged(path):
        if len(hdus) == 1:
            return hdus[0].header.copy()
        header = image_header(hdus[1]) if is_image(hdus[1]) else hdus[1].header
        return _merged(hdus[0].header, header)


def read_component(path: Path | str, name: str) -> Any:
    """Read one part of an exposure, and no pixels that it does not need.

    Parameters
    ----------
    path : path
        The file.
    name : str
        ``image``, ``mask``, ``variance``, ``metadata``, one of `COMPONENTS`, or the name of
        another archived component as its keyword has it (``coadd_inputs``, ``valid_polygon``).

    Returns
    -------
    object
        An `ArchivedObject` where the class of the component is not known.

    Raises
    ------
    MissingComponent
        If the file has no such part.
    MissingFile, UnreadableFile, NotCalibrated
        If the file is absent or damaged, or FLUXMAG0 is zero.
    """
    path = Path(path)
    if name == "metadata":
        return read_metadata(path)
    with _layout(path) as (file, layout):
        if name == "image":
            return _image(file, layout.image, None)
        plane = {"mask": layout.mask, "variance": layout.variance}.get(name)
        if name == "mask" and plane is not None:
            return _mask(file, plane, None)
        if name == "variance" and plane is not None:
            return _image(file, plane, None)
        component = _components(file, layout).component(name)
        if component is None:
            parts = ", ".join(("image", "mask", "variance", "metadata", *COMPONENTS))
            raise MissingComponent(
                f"{path}: has no {name}; exposures have {parts}", file=str(path), component=name
            )
        return component


def read_psf(path: Path | str) -> Any:
    """Read a PSF that has a file of its own, as in old reruns: an archive without pixels.

    Raises
    ------
    MissingComponent
        If the file holds no PSF, or one of a class that is not known.
    MissingFile, UnreadableFile
        If the file is absent or damaged.
    """
    path = Path(path)
    with opened(path) as file, damaged(path), quiet():
        hdus = scan(file, path)
        indices = [hdu.number for hdu in hdus if role_of(hdu) == "ARCHIVE_INDEX"]
        for number in indices[:1]:
            archive = archive_from(file, path, hdus, number)
            for id_ in sorted(archive.entries):
                name = archive.class_of(id_)
                if name.endswith("Psf"):
                    found = Decoder(archive).get(id_)
                    if hasattr(found, "at"):
                        return found
                    raise MissingComponent(
                        f"{path}[{number}]: a {name} is not understood; read the other parts",
                        component="psf",
                    )
    raise MissingComponent(f"{path}: holds no PSF; is it the right file?", component="psf")


@contextmanager
def _layout(path: Path | str) -> Iterator[tuple[BinaryIO, Layout]]:
    path = Path(path)
    with opened(path) as file:
        yield file, find_layout(path, scan(file, path))


def _components(file: BinaryIO, layout: Layout) -> FileComponents:
    number = layout.archive_hdu
    archive = None if number is None else archive_from(file, layout.path, layout.hdus, number)
    return FileComponents(layout=layout, archive=archive)


def _masked_image(file: BinaryIO, layout: Layout, bbox: Box | None) -> MaskedImage:
    layout.shape  # noqa: B018 - raises where the planes differ
    image = _image(file, layout.image, bbox)
    mask = variance = None
    if layout.mask is not None:
        mask = _mask(file, layout.mask, bbox, origin=layout.xy0)
    if layout.variance is not None:
        variance = _image(file, layout.variance, bbox, origin=layout.xy0)
    return MaskedImage(image, mask, variance)


def _part(
    hdu: Hdu, bbox: Box | None, origin: tuple[int, int] | None
) -> tuple[Box, tuple[int, int]]:
    """Return the box in the array, and the parent coordinates of its corner."""
    x0, y0 = origin_of(hdu) if origin is None else origin
    whole = Box.of_shape(image_shape(hdu))
    if bbox is None:
        return whole, (x0, y0)
    check_box(bbox)
    part = bbox.shifted(-x0, -y0)
    if part.is_empty or part.clipped(whole) != part:
        covered = whole.shifted(x0, y0)
        raise OutsideImage(
            f"{hdu.where}: {bbox} is not inside the image, which covers x = {covered.x0} to "
            f"{covered.x1 - 1} and y = {covered.y0} to {covered.y1 - 1} of its parent; clip it "
            "(Box.clipped)",
            file=str(hdu.path),
            box=bbox,
        )
    return part, (bbox.x0, bbox.y0)


def _image(
    file: BinaryIO,
    hdu: Hdu,
    bbox: Box | None,
    origin: tuple[int, int] | None = None,
) -> Image:
    with damaged(hdu.path, hdu.number):
        part, xy0 = _part(hdu, bbox, origin)
        return Image(read_pixels(file, hdu, part), xy0=xy0, metadata=own_cards(hdu))


def _mask(
    file: BinaryIO,
    hdu: Hdu,
    bbox: Box | None,
    origin: tuple[int, int] | None = None,
) -> Mask:
    with damaged(hdu.path, hdu.number):
        part, xy0 = _part(hdu, bbox, origin)
        pixels = read_pixels(file, hdu, part)
        if not np.issubdtype(pixels.dtype, np.integer):
            raise hdu.error(f"the mask holds {pixels.dtype.name}, it should hold integers")
        planes = mask_planes(hdu)
        for name, bit in planes.items():
            if not 0 <= bit < 8 * pixels.dtype.itemsize:
                raise hdu.error(f"MP_{name} = {bit}, but the mask holds {pixels.dtype.name}")
        metadata = own_cards(hdu)
    if not planes:
        message = f"{hdu.where}: has no MP_ cards; the seven oldest mask planes are assumed"
        warnings.warn(message, stacklevel=4)
        planes = dict(_FIRST_SEVEN)
    return Mask(pixels, planes=planes, xy0=xy0, metadata=metadata)


def _holds_integers(hdu: Hdu) -> bool:
    return hdu.integer("ZBITPIX" if hdu.is_compressed else "BITPIX") > 0


def _merged(first: fits.Header, second: fits.Header) -> fits.Header:
    merged = fits.Header()
    structure = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND"}
    commentary = {"COMMENT", "HISTORY", ""}
    for card in first.cards:
        is_second = card.keyword in second and card.keyword not in commentary
        if card.keyword not in structure and not is_second:
            merged.append(card, end=True)
    for card in second.cards:
        if card.keyword != "XTENSION":
            merged.append(card, end=True)
    return merged

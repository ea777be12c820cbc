"""The file of a list of backgrounds: for each, the levels of its cells in three HDUs, and cards."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from astropy.io import fits

from skyloom.geometry import Box
from skyloom.images.afw.hdus import Hdu, opened, scan
from skyloom.images.afw.layout import mask_planes
from skyloom.images.afw.pixels import image_shape, is_image, read_pixels
from skyloom.images.afw.write import renamed
from skyloom.images.background import Background
from skyloom.images.image import Image
from skyloom.images.masked_image import MaskedImage
from skyloom.images.planes import Mask

__all__ = ["read_backgrounds", "write_backgrounds"]

_STYLES: Final = ("constant", "linear", "natural_spline", "cubic_spline")
_AKIMA: Final = 5
_CURVES: Final = {
    **dict(enumerate(_STYLES)),
    _AKIMA: "akima",
}
"""INTERPSTYLE -> curve; 4 and 6 are periodic, as no background is."""
_CHEBYSHEV: Final = 0  # APPROXSTYLE
_HIGHEST_ORDER: Final = 50
_SHORT: Final = 5  # letters of a plane whose card needs no HIERARCH


def read_backgrounds(path: Path) -> list[Background]:
    """Read all backgrounds of a file.

    Raises
    ------
    MissingFile, UnreadableFile
        If it is absent, damaged, or holds no backgrounds.
    """
    with opened(path) as file:
        hdus = scan(file, path)
        planes = [hdu for hdu in hdus if is_image(hdu)]
        if not planes or len(planes) % 3:
            raise hdus[0].error(
                f"{len(planes)} images are no list of backgrounds, which has three for each",
                "correct the path, or write the file again",
            )
        return [_read(file, planes[i : i + 3]) for i in range(0, len(planes), 3)]


def write_backgrounds(
    backgrounds: Sequence[Background], path: Path, *, overwrite: bool = False
) -> None:
    """Write backgrounds as afw does, but for the first HDU, which has no pixels.

    Raises
    ------
    OutputExists, Unwritable
        If there is a file that may not be replaced, or it cannot be written.
    """
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for background in backgrounds:
        cards, planes = _cards(background), background.cells
        bits = cards.copy()
        for name, bit in sorted(planes.mask.planes.items()):
            bits.append((f"HIERARCH MP_{name}"[9 * (len(name) <= _SHORT) :], bit), end=True)
        hdus.append(fits.ImageHDU(planes.image.array, cards, name="IMAGE"))
        hdus.append(fits.ImageHDU(planes.mask.array, bits, name="MASK"))
        hdus.append(fits.ImageHDU(planes.variance.array, cards, name="VARIANCE"))
    whole = io.BytesIO()
    hdus.writeto(whole)
    with renamed(path, overwrite=overwrite) as file:
        file.write(whole.getbuffer())


def _read(file: BinaryIO, hdus: Sequence[Hdu]) -> Background:
    first = hdus[0]
    for hdu in hdus[1:]:
        if image_shape(hdu) != image_shape(first):
            raise hdu.error(f"{image_shape(hdu)} cells, the levels have {image_shape(first)}")
    levels, bits, variance = (read_pixels(file, hdu) for hdu in hdus)
    if bits.dtype.kind not in "iu":
        raise hdus[1].error("the second image is no mask: it does not hold whole numbers")
    x0, y0 = first.integer("BKGD_X0"), first.integer("BKGD_Y0")
    width, height = first.integer("BKGD_WIDTH"), first.integer("BKGD_HEIGHT")
    style = first.integer("INTERPSTYLE", _AKIMA)
    order = None
    if first.integer("APPROXSTYLE", -1) == _CHEBYSHEV:
        order = first.integer("APPROXORDERX", first.integer("APPROXORDER", -1))
        if not 0 <= order <= _HIGHEST_ORDER:
            raise first.error(f"a polynomial of order {order} is no background")
        if first.integer("APPROXORDERY", order) != order:
            raise first.error("a polynomial of different orders in x and y is not known")
    if style not in _CURVES and order is None:
        raise first.error(f"INTERPSTYLE = {style} is none of {', '.join(map(str, _CURVES))}")
    cells = MaskedImage(Image(levels), Mask(bits, planes=mask_planes(hdus[1])), Image(variance))
    try:
        return Background(
            cells=cells,
            box=Box(x0, x0 + width, y0, y0 + height),
            curve=_CURVES.get(style, "akima"),
            order=order,
            is_weighted=bool(first.value("APPROXWEIGHTING", True)),
        )
    except ValueError as error:  # more cells than pixels
        raise first.error(str(error)) from error


def _cards(background: Background) -> fits.Header:
    box, order = background.box, background.order
    style = _AKIMA if background.curve == "akima" else _STYLES.index(background.curve)
    cards = fits.Header()
    for key, value in (
        ("INTERPSTYLE", style),
        ("UNDERSAMPLESTYLE", 1),  # simpler curves where there are too few cells
        ("APPROXSTYLE", -1 if order is None else _CHEBYSHEV),
        ("APPROXORDERX", order or 0),
        ("APPROXORDERY", order or 0),
        ("APPROXWEIGHTING", background.is_weighted),
        ("BKGD_X0", box.x0),
        ("BKGD_Y0", box.y0),
        ("BKGD_WIDTH", box.width),
        ("BKGD_HEIGHT", box.height),
    ):
        cards.append((key if len(key) <= 8 else f"HIERARCH {key}", value), end=True)
    return cards

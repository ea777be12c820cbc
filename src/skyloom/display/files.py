"""Files that can be shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from skyloom.images import Exposure, FitsImage

__all__ = ["read_displayable"]

_NAMED_HDU: Final = re.compile(r"(?P<path>.+)\[(?P<hdu>[^\]]+)\]$")


def read_displayable(path: Path | str) -> Exposure | FitsImage:
    """Read a FITS file as what it is: an exposure with mask, or a single image.

    Parameters
    ----------
    path : path
        The file; ``file.fits[2]`` or ``file.fits[SCI]`` names one of its images.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent, damaged, or holds no image.
    """
    from skyloom.images import Exposure, FitsImage, opened_fits  # noqa: PLC0415 - slow

    named = _NAMED_HDU.match(str(path))
    if named is not None and not Path(path).exists():
        hdu = named["hdu"].strip()
        return FitsImage.open(named["path"], int(hdu) if hdu.isdigit() else hdu)
    with opened_fits(Path(path)) as hdus:
        kinds = {str(h.header.get("EXTTYPE") or h.name).strip().upper() for h in hdus[1:]}
    return Exposure.read(path) if "MASK" in kinds else FitsImage.open(path)

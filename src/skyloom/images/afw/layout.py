"""Which HDU of an afw file is what, and which cards of its headers mean what.

Planes are found by EXTTYPE or EXTNAME, else by position; old files hold the image in the primary
HDU.  Cards fall into those that describe the pixels, the sky, the origin and the mask planes, and
the rest, which is metadata and is kept in order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from astropy.io import fits

from skyloom.errors import UnreadableFile
from skyloom.geometry import Box
from skyloom.images.afw.hdus import Hdu
from skyloom.images.afw.pixels import image_shape, is_image

__all__ = [
    "COMPONENT_KEYS",
    "LAYOUT_VERSION",
    "Layout",
    "find_layout",
    "mask_planes",
    "origin_of",
    "own_cards",
    "role_of",
    "wcs_cards",
]

LAYOUT_VERSION = 2  # EXPINFO_V; 0 where it is absent

COMPONENT_KEYS = {
    "wcs": ("SKYWCS", "WCS"),
    "psf": ("PSF",),
    "photo_calib": ("PHOTOCALIB",),
    "filter": ("FILTER",),
    "ap_corr_map": ("AP_CORR_MAP",),
    "detector": ("DETECTOR",),
}
"""Component -> its names in keywords (``NAME_ID``, ``ARCHIVE_ID_NAME``), the newest first."""

_OTHER_KEYS = ("COADD_INPUTS", "VALID_POLYGON", "TRANSMISSION_CURVE", "SUMMARY_STATS")

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|BZERO|BSCALE|EXTTYPE|EXTNAME|EXTVER"
    r"|INHERIT|CHECKSUM|DATASUM|END"
)
_SKY = re.compile(
    r"WCSAXES|WCSNAME|(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CROTA)[12]|CD[12]_[12]|PC[12]_[12]"
    r"|PV[12]_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)"
)
_ORIGIN = re.compile(r"LTV[12]|(CTYPE|CRPIX|CRVAL|CDELT|CUNIT)[12]A|CD[12]_[12]A|WCSAXESA|WCSNAMEA")
_PACKED = re.compile(
    r"Z(IMAGE|TENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TILE\d|CMPTYPE|NAME\d+|VAL\d+)"
    r"|Z(QUANTIZ|DITHER0|BLANK|SCALE|ZERO|HECKSUM|DATASUM|MASKCMP)|TFIELDS|THEAP"
    r"|T(TYPE|FORM|NULL|SCAL|ZERO|UNIT|DISP|DIM)\d+"
)
_FITS_COMMENT = re.compile(
    rb"\s*(FITS \(Flexible Image Transport System\) format|and Astrophysics)"
)
_LARGEST_ORIGIN = 1e9  # pix


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The planes of a file, and its headers."""

    path: Path
    hdus: Sequence[Hdu]
    image: Hdu
    mask: Hdu | None
    variance: Hdu | None

    @property
    def primary(self) -> Hdu:
        """The primary HDU."""
        return self.hdus[0]

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the planes.

        Raises
        ------
        UnreadableFile
            If the planes differ.
        """
        shape = image_shape(self.image)
        for name, hdu in (("mask", self.mask), ("variance", self.variance)):
            if hdu is not None and image_shape(hdu) != shape:
                raise hdu.error(
                    f"the {name} has {image_shape(hdu)} pixels (ny, nx), the image {shape}"
                )
        return shape

    @cached_property
    def xy0(self) -> tuple[int, int]:
        """Parent coordinates (x, y) of the first pixel."""
        return origin_of(self.image)

    @cached_property
    def box(self) -> Box:
        """The pixels that the file holds, in parent coordinates."""
        return Box.of_shape(self.shape).shifted(*self.xy0)

    @cached_property
    def version(self) -> int:
        """Version of the layout.

        Raises
        ------
        UnreadableFile
            If it is newer than what is known here.
        """
        version = self.primary.value("EXPINFO_V", 0)
        if not isinstance(version, int) or not 0 <= version <= LAYOUT_VERSION:
            raise self.primary.error(
                f"EXPINFO_V = {version!r}, versions up to {LAYOUT_VERSION} are known",
                "write it with an older version of afw, or update this package",
            )
        return version

    @cached_property
    def archive_hdu(self) -> int | None:
        """Number of the HDU of the archive index, from 0."""
        number = self.primary.value("AR_HDU", 0)
        if number == 0:
            return None
        if isinstance(number, bool) or not isinstance(number, int):
            raise self.primary.error(f"AR_HDU = {number!r} is not the number of an HDU")
        return number - 1  # counts from 1

    @cached_property
    def id_cards(self) -> dict[str, int]:
        """Keywords that give ids of archived components, and the ids, in order."""
        if self.archive_hdu is None:
            return {}
        cards = [key for key, _ in self.primary.cards]
        named = {key[11:] for key in cards if key.startswith("ARCHIVE_ID_")}
        known = {key for keys in COMPONENT_KEYS.values() for key in keys}
        keys = {f"{name}_ID" for name in named | known | set(_OTHER_KEYS)}
        found = {}
        for key in cards:
            value = self.primary.value(key)
            is_id = key.startswith("ARCHIVE_ID_") or key in keys
            if is_id and isinstance(value, int) and not isinstance(value, bool):
                found[key] = value
        return found

    def component_id(self, name: str) -> int:
        """Return the archive id of a component; 0 where there is none."""
        for key in COMPONENT_KEYS.get(name, (name.upper(),)):
            for keyword in (f"ARCHIVE_ID_{key}", f"{key}_ID"):
                if self.id_cards.get(keyword, 0) > 0:
                    return self.id_cards[keyword]
        return 0

    @cached_property
    def metadata(self) -> fits.Header:
        """Cards of the primary header that are metadata."""
        return own_cards(self.primary, without={"AR_HDU", "EXPINFO_V", *self.id_cards})


def origin_of(hdu: Hdu) -> tuple[int, int]:
    """Return the parent coordinates (x, y) of the first pixel, from the header of a plane.

    Raises
    ------
    UnreadableFile
        If they are not whole numbers.
    """
    origin = []
    for axis in (1, 2):
        if hdu.text(f"CTYPE{axis}A") == "LINEAR" and f"CRVAL{axis}A" in hdu:
            reference = _whole(hdu, f"CRPIX{axis}A", 1)
            origin.append(_whole(hdu, f"CRVAL{axis}A", 0) + 1 - reference)
        else:
            origin.append(-_whole(hdu, f"LTV{axis}", 0))
    return origin[0], origin[1]


def find_layout(path: Path, hdus: Sequence[Hdu]) -> Layout:
    """Find image, mask and variance.

    Raises
    ------
    UnreadableFile
        If there is no image.
    """
    images = [hdu for hdu in hdus if is_image(hdu)]
    roles: dict[str, Hdu] = {}
    unnamed = []
    for hdu in images:
        role = role_of(hdu)
        if role in {"IMAGE", "MASK", "VARIANCE"}:
            roles.setdefault(role, hdu)
        else:
            unnamed.append(hdu)
    if "IMAGE" not in roles and not unnamed:
        raise UnreadableFile(
            f"{path}: no HDU holds an image; give a FITS file with pixels", file=str(path)
        )
    for role in ("IMAGE", "MASK", "VARIANCE"):
        if role not in roles and unnamed and not (role != "IMAGE" and _is_named(roles)):
            roles[role] = unnamed.pop(0)
    return Layout(
        path=path,
        hdus=hdus,
        image=roles["IMAGE"],
        mask=roles.get("MASK"),
        variance=roles.get("VARIANCE"),
    )


def own_cards(hdu: Hdu, *, without: Collection[str] = ()) -> fits.Header:
    """Return the cards that describe neither pixels, sky, origin nor mask planes, in order.

    Raises
    ------
    UnreadableFile
        If one of them cannot be read.
    """
    is_packed = hdu.is_compressed
    chosen = []
    for keyword, card in hdu.cards:
        if keyword in without or (is_packed and _PACKED.fullmatch(keyword)):
            continue
        if _is_own(keyword, card):
            chosen.append(card)
    return hdu.header_of(chosen)


def wcs_cards(hdu: Hdu) -> fits.Header:
    """Return the cards that describe the sky, in order."""
    return hdu.header_of([card for key, card in hdu.cards if _SKY.fullmatch(key)])


def mask_planes(hdu: Hdu) -> dict[str, int]:
    """Return the planes of a mask by name, in the order of the header.

    Raises
    ------
    UnreadableFile
        If a bit is not a whole number.
    """
    names = [key for key, _ in hdu.cards if key.startswith("MP_") and len(key) > 3]
    return {name[3:]: hdu.integer(name) for name in names}


def _whole(hdu: Hdu, name: str, default: int) -> int:
    value = hdu.value(name, default)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and abs(value) < _LARGEST_ORIGIN and value == round(value):
        return int(value)
    raise hdu.error(f"{name} = {value!r} is not a whole number of pixels")


def role_of(hdu: Hdu) -> str:
    """Return what an HDU says it is: IMAGE, MASK, ...; "" where it does not."""
    for key in ("EXTTYPE", "EXTNAME"):
        role = hdu.text(key).upper()
        if role:
            return role
    return ""


def _is_named(roles: dict[str, Hdu]) -> bool:
    """Whether the planes found so far are told apart by name."""
    return any(role_of(hdu) in {"IMAGE", "MASK", "VARIANCE"} for hdu in roles.values())


def _is_own(keyword: str, card: bytes) -> bool:
    if keyword == "COMMENT" and _FITS_COMMENT.match(card[8:]):
        return False
    if keyword == "":
        return bool(card.strip())
    patterns = (_STRUCTURE, _SKY, _ORIGIN)
    return not keyword.startswith("MP_") and not any(p.fullmatch(keyword) for p in patterns)

"""What a solver is told: its parameters, and what is known about a field beforehand."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from skyloom.errors import UnknownKey, WrongValue

__all__ = ["Hint", "SolverParameters", "hint_from_header"]

_SCALE_KEYS: Final = ("PIXSCALE", "SECPIX", "SECPIX1", "PIXSCAL1", "SCALE", "IMGSCALE")
_RA_KEYS: Final = ("RA_DEG", "RA", "OBJCTRA", "RA-ORIG", "TELRA", "CRVAL1")
_DEC_KEYS: Final = ("DEC_DEG", "DEC", "OBJCTDEC", "DEC-ORIG", "TELDEC", "CRVAL2")
_SLACK: Final = 1.25  # by which a scale of a header may be wrong
_RADIUS: Final = 5.0  # deg, by which a position of a header may be wrong
_ARCSEC_PER_RADIAN: Final = 206264.806


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverParameters:
    """Parameters of a solver, under the names of the class attributes ``sp_<name>``."""

    indices: tuple[Any, ...] = ()
    """Globs of index files, relative to the index path or absolute; empty: all."""
    total_timelimit: float = 600.0
    """Time for one image [s]."""
    fields: int = 1
    """Extension to solve, of a table of sources."""
    endob: int | None = None
    """Number of the last object that quads are made of, brightest first."""
    lower_pix: float | None = None
    """Smallest scale [arcsec / pix]."""
    upper_pix: float | None = None
    """Largest scale [arcsec / pix]."""
    tweak: bool = True
    """Whether distortion (SIP) may be fitted."""
    plots: bool = False
    """Whether solve-field draws its plots."""
    downsample: int | None = None
    """Factor by which the image is binned before stars are extracted: 2, 3, 4."""

    def __post_init__(self) -> None:
        if not self.total_timelimit > 0:
            raise WrongValue(f"sp_total_timelimit = {self.total_timelimit} must be > 0 [s]")
        if self.endob is not None and self.endob < 4:
            raise WrongValue(f"sp_endob = {self.endob} must be 4 or more: a quad has four stars")
        for name in ("lower_pix", "upper_pix"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise WrongValue(f"sp_{name} = {value} must be > 0 [arcsec/pix]")
        if self.lower_pix and self.upper_pix and self.lower_pix > self.upper_pix:
            raise WrongValue(
                f"sp_lower_pix = {self.lower_pix} is above sp_upper_pix = {self.upper_pix} "
                "[arcsec/pix]; exchange them"
            )
        if self.downsample is not None and self.downsample < 1:
            raise WrongValue(f"sp_downsample = {self.downsample} must be 1 or more")

    @classmethod
    def from_names(cls, values: Mapping[str, Any]) -> SolverParameters:
        """Make parameters from names with or without the prefix ``sp_``.

        Raises
        ------
        UnknownKey
            If a name is not a parameter.
        """
        known = [field.name for field in fields(cls)]
        found = {}
        for name, value in values.items():
            short = name.removeprefix("sp_")
            if short not in known:
                near = difflib.get_close_matches(short, known, n=1)
                hint = f"did you mean sp_{near[0]}?" if near else f"known: {', '.join(known)}"
                raise UnknownKey(f"sp_{short} is not a parameter of the solver; {hint}", key=name)
            found[short] = value
        indices = found.get("indices")
        if indices is not None:
            found["indices"] = (indices,) if isinstance(indices, str) else tuple(indices)
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What is known about a field; None: nothing."""

    ra: float | None = None  # deg
    dec: float | None = None  # deg
    radius: float = _RADIUS  # deg
    scale_low: float | None = None  # arcsec / pix
    scale_high: float | None = None  # arcsec / pix
    mirrored: bool | None = None

    def __post_init__(self) -> None:
        if (self.ra is None) != (self.dec is None):
            raise WrongValue("a position hint needs both --ra and --dec")
        if self.ra is not None and not np.isfinite(self.ra):
            raise WrongValue(f"ra = {self.ra} must be finite [deg]")
        if self.dec is not None and not abs(self.dec) <= 90.0:
            raise WrongValue(f"dec = {self.dec} must be in [-90, 90] [deg]")
        if not self.radius > 0:
            raise WrongValue(f"radius = {self.radius} must be > 0 [deg]")
        low, high = self.scale_low, self.scale_high
        if any(v is not None and not v > 0 for v in (low, high)):
            raise WrongValue("scales must be > 0 [arcsec/pix]")
        if low is not None and high is not None and low > high:
            raise WrongValue(f"the lower scale {low} is above the upper one {high} [arcsec/pix]")

    @property
    def has_position(self) -> bool:
        """Whether a place on the sky is known."""
        return self.ra is not None

    @property
    def has_scale(self) -> bool:
        """Whether the scale is limited."""
        return self.scale_low is not None or self.scale_high is not None

    def without_position(self) -> Hint:
        """Return what is left without the position."""
        return replace(self, ra=None, dec=None)

    def without_scale(self) -> Hint:
        """Return what is left without the scale."""
        return replace(self, scale_low=None, scale_high=None)

    def limited(self, other: Hint) -> Hint:
        """Return this hint, with what it does not say taken from another one."""
        found = self
        if not found.has_position and other.has_position:
            found = replace(found, ra=other.ra, dec=other.dec, radius=other.radius)
        if not found.has_scale:
            found = replace(found, scale_low=other.scale_low, scale_high=other.scale_high)
        if found.mirrored is None:
            found = replace(found, mirrored=other.mirrored)
        return found


def hint_from_header(header: Mapping[str, Any]) -> Hint:
    """Return what a header says about its field; nothing that is senseless.

    Parameters
    ----------
    header : mapping
        The FITS header. Position: RA_DEG, RA, OBJCTRA, RA-ORIG, TELRA, CRVAL1 and the like, in
        degrees or sexagesimal (then hours), precessed from EQUINOX (EQ-ORIG for RA-ORIG). Scale:
        the CD or CDELT of a celestial WCS, PIXSCALE, SECPIX, pixel size and focal length
        (XPIXSZ [um], FOCALLEN [mm]), plate scale and pixel size (PLTSCALE [arcsec/mm], PIXSIZE1
        [um]) or scan resolution (SCANRES1 [1/in]).
    """
    scale = _scale(header)
    place = _place(header)
    found = Hint()
    if scale is not None:
        found = replace(found, scale_low=scale / _SLACK, scale_high=scale * _SLACK)
    if place is not None:
        found = replace(found, ra=place[0], dec=place[1])
    return found


def _scale(header: Mapping[str, Any]) -> float | None:
    """Return arcsec / pix, where it lies between 1 mas and 1 deg."""
    for value in _scales(header):
        if value is not None and 1e-3 < value < 3600.0:
            return value
    return None


def _scales(header: Mapping[str, Any]) -> list[float | None]:
    found: list[float | None] = []
    if "RA" in str(header.get("CTYPE1", "")) or "DEC" in str(header.get("CTYPE1", "")):
        cd = [_number(header, f"CD{i}_{j}") for i in (1, 2) for j in (1, 2)]
        if cd[0] is not None and cd[3] is not None:
            a, b, c, d = (value or 0.0 for value in cd)
            found.append(3600.0 * float(np.sqrt(abs(a * d - b * c))))
        delta = _number(header, "CDELT1")
        found.append(None if delta is None else 3600.0 * abs(delta))
    found += [_number(header, key) for key in _SCALE_KEYS]
    pixel, focus = _number(header, "XPIXSZ"), _number(header, "FOCALLEN")
    if pixel and focus:
        found.append(_ARCSEC_PER_RADIAN * pixel * 1e-3 / focus)
    plate = _number(header, "PLTSCALE")
    size, dpi = _number(header, "PIXSIZE1"), _number(header, "SCANRES1")
    if plate and size:
        found.append(plate * size * 1e-3)
    elif plate and dpi:
        found.append(plate * 25.4 / dpi)
    return found


def _place(header: Mapping[str, Any]) -> tuple[float, float] | None:
    for ra_key, dec_key in zip(_RA_KEYS, _DEC_KEYS, strict=True):
        if ra_key == "CRVAL1" and "RA" not in str(header.get("CTYPE1", "")):
            continue
        ra, dec = _angle(header.get(ra_key), hours=True), _angle(header.get(dec_key), hours=False)
        if ra is None or dec is None or not -360.0 <= ra <= 360.0 or abs(dec) > 90.0:
            continue
        if ra == 0.0 and dec == 0.0:
            continue  # what many cameras write when they know nothing
        equinox = _number(header, "EQ-ORIG" if ra_key == "RA-ORIG" else "EQUINOX")
        return _precessed(ra % 360.0, dec, 2000.0 if equinox is None else equinox)
    return None


def _precessed(ra: float, dec: float, equinox: float) -> tuple[float, float]:
    if abs(equinox - 2000.0) < 0.5 or not 1800.0 < equinox < 2100.0:
        return ra, dec
    from astropy.coordinates import FK5, SkyCoord  # noqa: PLC0415 - slow, rarely needed

    moved = SkyCoord(ra, dec, unit="deg", frame=FK5(equinox=f"J{equinox}")).icrs
    return float(moved.ra.deg), float(moved.dec.deg)


def _number(header: Mapping[str, Any], key: str) -> float | None:
    value = header.get(key)
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) else None


def _angle(value: Any, *, hours: bool) -> float | None:
    """Return degrees of a number or of a sexagesimal text (``05 35 17.3``, ``5:35:17.3``)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if np.isfinite(value) else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    for letter in "hdms:'\"":
        text = text.replace(letter, " ")
    words = text.split()
    try:
        parts = [float(word) for word in words]
    except ValueError:
        return None
    if len(parts) == 1:
        return parts[0]
    if len(parts) not in (2, 3):
        return None
    size = sum(abs(part) / 60.0**n for n, part in enumerate(parts))
    sign = -1.0 if words[0].startswith("-") else 1.0
    return sign * size * (15.0 if hours else 1.0)

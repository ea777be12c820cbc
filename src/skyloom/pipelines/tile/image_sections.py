"""Settings of single images: what overrules their headers."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from skyloom.config import DEMAND, Config, Float, PositiveFloat, Unit

__all__ = ["ImageConfig"]


def _hdu(value: object) -> object:
    """Refuse what is neither a number nor a name of an HDU."""
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError(DEMAND, "the number or the name (EXTNAME) of an HDU, not empty")
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        raise PydanticCustomError(DEMAND, "the number or the name (EXTNAME) of an HDU")
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, str))):
        raise PydanticCustomError("hdu_type", "must be a number or a name")
    return value


def _band(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError(DEMAND, "the name of a band, not empty")
    return value.strip()


Hdu: TypeAlias = Annotated[int | str | None, BeforeValidator(_hdu)]


class ImageConfig(Config):
    """One image by its name; what is null here is what the header says."""

    filter: Annotated[str, AfterValidator(_band)] | None = None
    """Name of the band, instead of FILTER."""
    hdu: Hdu = None
    """HDU of the pixels and the WCS, by number (0 is the primary) or EXTNAME; null: the primary, or
    the first image HDU."""
    zp_auto: Annotated[Float | None, Unit("AB mag")] = None
    """Zero point, the magnitude of one ADU, instead of ZP_AUTO."""
    sky_sigma: Annotated[PositiveFloat | None, Unit("ADU")] = None
    """Rms of the sky in a pixel, instead of SKYSIG."""
    gain: Annotated[PositiveFloat | None, Unit("e-/ADU")] = None
    """Effective gain of the image as it is, instead of EGAIN; that of a mean of N exposures is N
    times the gain of one."""
    saturation: Annotated[PositiveFloat | None, Unit("ADU")] = None
    """Saturation level before it is divided by the saturation_divisor, instead of SATURATE."""
    fwhm_pix: Annotated[PositiveFloat | None, Unit("pix")] = None
    """FWHM of the stars, instead of PEEING and SEEING."""

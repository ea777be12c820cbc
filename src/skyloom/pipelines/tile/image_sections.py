"""Settings of single images: what overrules their headers."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from skyloom.config import DEMAND, Config, Float, PositiveFloat, PositiveInt, Unit, UserPath

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
    no_data: Annotated[Float | None, Unit("ADU")] = None
    """Value of regions without data, such as 0 beyond the edges of a stack: they are not used.
    Single pixels of that value are."""
    weight_map: UserPath | None = None
    """Map of the weight of each pixel, FILE or FILE[HDU]; zero, negative or NaN: the pixel is not
    used. Without the noise of sources."""
    weight_type: Literal["ivar", "relative"] = "ivar"
    """Unit of the weight: ivar, inverse variance [1/ADU**2]; relative, any unit, scaled so that the
    median noise is SKYSIG."""
    rms_map: UserPath | None = None
    """Map of the sky rms of each pixel [ADU], FILE or FILE[HDU], instead of SKYSIG; zero, negative
    or NaN: the pixel is not used. Without the noise of sources."""
    mask_map: UserPath | None = None
    """Map of bad pixels, FILE or FILE[HDU]: a pixel that is not zero is not used."""
    mask_bits: PositiveInt | None = None
    """Sum of the bits of mask_map that mean bad; null: all."""

    @property
    def states_noise(self) -> bool:
        """Tell whether a map tells the noise in ADU."""
        is_ivar = self.weight_map is not None and self.weight_type == "ivar"
        return is_ivar or self.rms_map is not None

    @model_validator(mode="after")
    def _check_maps(self) -> Self:
        if self.weight_map is not None and self.rms_map is not None:
            msg = "rms_map and weight_map both tell the noise; remove one of them"
            raise ValueError(msg)
        if self.states_noise and self.sky_sigma is not None:
            name = "rms_map" if self.weight_map is None else "weight_map"
            msg = f"sky_sigma and {name} both tell the noise; remove one of them"
            raise ValueError(msg)
        if self.weight_type == "relative" and self.weight_map is None:
            msg = "weight_type = 'relative' needs a weight_map"
            raise ValueError(msg)
        if self.mask_bits is not None and self.mask_map is None:
            msg = f"mask_bits = {self.mask_bits} needs a mask_map"
            raise ValueError(msg)
        return self

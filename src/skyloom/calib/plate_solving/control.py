"""Settings of the extraction of stars, and the SExtractor control texts that name them."""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from skyloom.errors import UnknownKey, WrongValue

__all__ = ["ExtractionSettings", "settings_from_control"]

_FORBIDDEN: Final = ("CATALOG_TYPE", "CATALOG_NAME", "PARAMETERS_NAME", "FILTER_NAME")
_WITHOUT_EFFECT: Final = frozenset(
    [
        "ANALYSIS_THRESH",
        "BACKPHOTO_THICK",
        "BACKPHOTO_TYPE",
        "CHECKIMAGE_NAME",
        "CHECKIMAGE_TYPE",
        "FITS_UNSIGNED",
        "GAIN",
        "GAIN_KEY",
        "HEADER_SUFFIX",
        "MAG_GAMMA",
        "MAG_ZEROPOINT",
        "MEMORY_BUFSIZE",
        "MEMORY_OBJSTACK",
        "MEMORY_PIXSTACK",
        "NTHREADS",
        "PATTERN_TYPE",
        "PHOT_APERTURES",
        "PHOT_AUTOAPERS",
        "PHOT_AUTOPARAMS",
        "PHOT_FLUXFRAC",
        "PHOT_PETROPARAMS",
        "PIXEL_SCALE",
        "PSF_NAME",
        "PSF_NMAX",
        "SATUR_KEY",
        "SEEING_FWHM",
        "SOM_NAME",
        "STARNNW_NAME",
        "VERBOSE_TYPE",
        "WRITE_XML",
        "XML_NAME",
        "XSL_URL",
    ]
)
"""Keywords that change no position of a star on one image."""
_NOT_HONOURED: Final = frozenset(
    [
        "ASSOCCOORD_TYPE",
        "ASSOCSELEC_TYPE",
        "ASSOC_DATA",
        "ASSOC_NAME",
        "ASSOC_PARAMS",
        "ASSOC_RADIUS",
        "ASSOC_TYPE",
        "BACK_FILTTHRESH",
        "DETECT_TYPE",
        "FILTER_THRESH",
        "FLAG_IMAGE",
        "FLAG_TYPE",
        "INTERP_MAXXLAG",
        "INTERP_MAXYLAG",
        "INTERP_TYPE",
        "MASK_TYPE",
        "RESCALE_WEIGHTS",
        "WEIGHT_GAIN",
        "WEIGHT_IMAGE",
        "WEIGHT_SUFFIX",
        "WEIGHT_THRESH",
        "WEIGHT_TYPE",
    ]
)
"""Keywords that would change what SExtractor finds, but not what is found here; warned of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSettings:
    """How stars are found; the names of SExtractor's keywords in small letters."""

    detect_minarea: int = 5  # connected pixels
    detect_maxarea: int = 0  # connected pixels; larger objects are left out; 0: no limit
    detect_thresh: float = 5.0  # sigma of the background, or its unit if thresh_is_absolute
    thresh_is_absolute: bool = False
    filter: bool = True  # 5 x 5 Gaussian of 2 pix FWHM
    deblend_nthresh: int = 32
    deblend_mincont: float = 0.005
    clean: bool = True
    clean_param: float = 1.0
    back_size: int = 64  # pix
    back_filtersize: int = 3  # meshes
    back_value: float | None = None  # level of a flat background [unit of the image]; None: a map
    satur_level: float | None = None  # objects that reach it are kept, but listed last
    max_elongation: float = 4.0  # longer objects are trails, scratches, charge bleeding
    order: Literal["flux", "peak"] = "flux"  # what "brightest" means; peaks ignore nebulae
    invert: bool = False  # stars are dark, as on a scanned negative

    def inverted(self) -> ExtractionSettings:
        """Return the settings for dark stars, or back."""
        return replace(self, invert=not self.invert)


def _yes(text: str) -> bool:
    if text.upper() not in {"Y", "N"}:
        raise ValueError
    return text.upper() == "Y"


def _whole(text: str) -> int:
    value = int(text.split(",", maxsplit=1)[0])
    if value < 1:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _number(text: str) -> float:
    value = float(text.split(",", maxsplit=1)[0])
    if not abs(value) < float("inf"):
        raise ValueError
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise ValueError
    return value


def _absolute(text: str) -> bool:
    if text.upper() not in {"RELATIVE", "ABSOLUTE"}:
        raise ValueError
    return text.upper() == "ABSOLUTE"


_READ: Final[dict[str, tuple[str, Any, str]]] = {
    "DETECT_MINAREA": ("detect_minarea", _whole, "a number of pixels, 1 or more"),
    "DETECT_MAXAREA": ("detect_maxarea", _count, "a number of pixels, 0 for no limit"),
    "DETECT_THRESH": ("detect_thresh", _positive, "a positive number"),
    "THRESH_TYPE": ("thresh_is_absolute", _absolute, "RELATIVE or ABSOLUTE"),
    "FILTER": ("filter", _yes, "Y or N"),
    "DEBLEND_NTHRESH": ("deblend_nthresh", _whole, "a number of levels, 1 or more"),
    "DEBLEND_MINCONT": ("deblend_mincont", _number, "a number"),
    "CLEAN": ("clean", _yes, "Y or N"),
    "CLEAN_PARAM": ("clean_param", _positive, "a positive number"),
    "BACK_SIZE": ("back_size", _whole, "a number of pixels, 1 or more"),
    "BACK_FILTERSIZE": ("back_filtersize", _whole, "a number of meshes, 1 or more"),
    "SATUR_LEVEL": ("satur_level", _number, "a number"),
}
_BACKGROUND: Final = ("BACK_TYPE", "BACK_VALUE")


def settings_from_control(
    text: str | None, base: ExtractionSettings | None = None
) -> ExtractionSettings:
    """Read the text of a SExtractor control file.

    Parameters
    ----------
    text : str or None
        Lines ``KEYWORD value``; ``#`` starts a comment. None or blank: nothing is changed.
    base : ExtractionSettings, optional
        What holds where the text says nothing.

    Raises
    ------
    UnknownKey
        If a keyword is not one of SExtractor's.
    WrongValue
        If a value cannot be used, or one of the four keywords that the solver sets is given.

    Warns
    -----
    UserWarning
        If a keyword would change what SExtractor finds, but changes nothing here.
    """
    found = base or ExtractionSettings()
    background: dict[str, str] = {}
    for number, line in enumerate((text or "").splitlines(), start=1):
        words = line.split("#")[0].split(None, 1)
        if not words:
            continue
        key, value = words[0].upper(), words[1].strip() if len(words) > 1 else ""
        where = f"source_extractor_control, line {number}"
        if key in _FORBIDDEN:
            raise WrongValue(f"{where}: {key} is set by the solver; remove the line", key=key)
        if key in _BACKGROUND:
            background[key] = value.split(",")[0].strip().upper()
        elif key in _READ:
            name, read, wanted = _READ[key]
            try:
                found = replace(found, **{name: read(value)})
            except ValueError:
                raise WrongValue(
                    f"{where}: {key} = {value!r} must be {wanted}", key=key, value=value
                ) from None
        elif key in _NOT_HONOURED:
            warnings.warn(
                f"source_extractor_control: {key} is not honoured by the extraction of stars here",
                stacklevel=2,
            )
        elif key not in _WITHOUT_EFFECT:
            raise _unknown(where, key)
    if background.get("BACK_TYPE") == "MANUAL":
        try:
            found = replace(found, back_value=float(background.get("BACK_VALUE", "0.0")))
        except ValueError:
            raise WrongValue(
                "source_extractor_control: BACK_VALUE must be a number", key="BACK_VALUE"
            ) from None
    return found


def _unknown(where: str, key: str) -> UnknownKey:
    known = [*_READ, *_BACKGROUND, *_WITHOUT_EFFECT, *_NOT_HONOURED]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; remove the line"
    return UnknownKey(f"{where}: {key} is not a SExtractor keyword{hint}", key=key)

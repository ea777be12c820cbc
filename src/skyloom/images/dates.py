"""When an image was taken, from its header."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from astropy.time import Time

__all__ = ["DATE_KEYWORDS", "header_mjd"]

DATE_KEYWORDS: Final = ("MJD-OBS", "MJD-AVG", "DATE-OBS", "DATE-AVG")
"""Keywords that say when an image was taken; the first that can be read counts."""

_RANGE: Final = (15020.0, 88069.0)  # MJD of the years 1900 and 2100: others are placeholders
_OLD: Final = re.compile(r"(\d\d)/(\d\d)/(\d\d)")  # DD/MM/YY, of the 20th century


def header_mjd(keyword: Callable[[str], Any]) -> float | None:
    """Return when an image was taken [MJD, UTC unless the header means another scale].

    Parameters
    ----------
    keyword : callable
        Gives the value of a header keyword or None, such as `FitsImage.keyword`.

    Returns
    -------
    float or None
        From the first of `DATE_KEYWORDS` with a usable value; None without one.  Time scales differ
        by a minute: that moves no star.
    """
    for name in DATE_KEYWORDS:
        value = keyword(name)
        found = _mjd_of_date(value) if name.startswith("DATE") else _number(value)
        if found is not None and _RANGE[0] < found < _RANGE[1]:
            return found
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _mjd_of_date(value: Any) -> float | None:
    """Read ``YYYY-MM-DD``, with or without a time, or the old ``DD/MM/YY``."""
    text = str(value).strip()
    old = _OLD.fullmatch(text)
    if old:
        day, month, year = old.groups()
        text = f"19{year}-{month}-{day}"
    try:
        return float(Time(text.rstrip("Z"), format="isot", scale="utc").mjd)
    except ValueError:
        return None

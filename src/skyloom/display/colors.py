"""Colours: those of mask planes, and names that ds9 and matplotlib understand alike."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final, TypeAlias, final

from skyloom.errors import WrongValue

__all__ = ["DEFAULT_PLANE_COLORS", "IGNORE", "PlaneColors", "checked_color", "rgb"]

Rgb: TypeAlias = tuple[float, float, float]

IGNORE: Final = "ignore"
"""In place of a plane's colour: the plane is not drawn."""

DEFAULT_PLANE_COLORS: Final = {
    "BAD": "red",
    "SAT": "green",
    "INTRP": "green",
    "CR": "magenta",
    "EDGE": "yellow",
    "DETECTED": "blue",
    "DETECTED_NEGATIVE": "cyan",
    "SUSPECT": "yellow",
    "NO_DATA": "orange",
}
"""Colours of the mask planes that every HSC image has."""

_CYCLE: Final = ("red", "green", "blue", "cyan", "magenta", "yellow", "orange")
_ALIASES: Final = {"SATURATED": "SAT", "INTERPOLATED": "INTRP"}

_X11: Final = {  # where X11, and so ds9, differs from the colours of the web
    "gray": "#BEBEBE",
    "grey": "#BEBEBE",
    "green": "#00FF00",
    "maroon": "#B03060",
    "purple": "#A020F0",
}
_STEPS: Final = {"1": 1.0, "2": 0.932, "3": 0.804, "4": 0.545}  # of X11's red1 ... red4
_HEX: Final = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
_GREY: Final = re.compile(r"gr[ae]y(\d{1,3})")


@final
class PlaneColors:
    """Which colour each mask plane has; planes without one get the next of a cycle."""

    def __init__(self) -> None:
        self._colors = dict(DEFAULT_PLANE_COLORS)
        self._free: Iterator[str] = itertools.cycle(_CYCLE)

    def __getitem__(self, plane: str) -> str:
        name = _ALIASES.get(plane, plane)
        if name not in self._colors:
            self._colors[name] = next(self._free)
        return self._colors[name]

    def __setitem__(self, plane: str, color: str) -> None:
        checked = IGNORE if color.lower() == IGNORE else checked_color(color)
        self._colors[_ALIASES.get(plane, plane)] = checked


def checked_color(name: str) -> str:
    """Return the name of a colour as ds9 takes it.

    Parameters
    ----------
    name : str
        ``white``, ``black``, ``red``, ``green``, ``blue``, ``cyan``, ``magenta``, ``yellow``,
        ``orange``, another name of X11 (``gold``, ``gray50``, ``red3``), or ``#rrggbb``.

    Raises
    ------
    WrongValue
        If it is none of these: ds9 would draw black without a word.
    """
    rgb(name)
    return str(name).strip().lower().replace(" ", "")


@functools.lru_cache(maxsize=256)
def rgb(name: str) -> Rgb:
    """Return red, green and blue, 0...1, of a colour as ds9 shows it; see `checked_color`."""
    from matplotlib.colors import CSS4_COLORS, to_rgb  # noqa: PLC0415 - slow

    key = str(name).strip().lower().replace(" ", "")
    if _HEX.fullmatch(key):
        return _three(to_rgb(key))
    grey = _GREY.fullmatch(key)
    if grey and int(grey[1]) <= 100:
        return (int(grey[1]) / 100,) * 3
    known = {**CSS4_COLORS, **_X11}
    if key in known:
        return _three(to_rgb(known[key]))
    if key[-1:] in _STEPS and key[:-1] in known:
        red, green, blue = to_rgb(known[key[:-1]])
        step = _STEPS[key[-1]]
        return red * step, green * step, blue * step
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "give a name as 'red' or '#rrggbb'"
    raise WrongValue(f"colour {name!r} is not known; {hint}", value=name)


def _three(color: tuple[float, float, float]) -> Rgb:
    return float(color[0]), float(color[1]), float(color[2])

"""What is drawn on an image: lines, circles, ellipses and text, and the symbols made of them.

Positions are parent coordinates [pix], 0-based, as in catalogues.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from skyloom.errors import WrongValue

__all__ = ["Circle", "Ellipse", "Line", "Mark", "Text", "polyline", "symbol_marks"]

log = logging.getLogger(__name__)

_ELLIPSE: Final = "@:"
_HALF_SQRT3: Final = math.sqrt(3.0) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line."""

    x0: float  # pix
    y0: float  # pix
    x1: float  # pix
    y1: float  # pix
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """A circle."""

    x: float  # pix
    y: float  # pix
    radius: float  # pix
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipse:
    """An ellipse."""

    x: float  # pix
    y: float  # pix
    a: float  # semi-major axis [pix]
    b: float  # semi-minor axis [pix]
    theta: float  # rad, counter-clockwise from x
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A line of text centred on a position."""

    x: float  # pix
    y: float  # pix
    text: str
    color: str


Mark: TypeAlias = Line | Circle | Ellipse | Text


def symbol_marks(
    symbol: str, x: float, y: float, *, size: float, color: str, silent: bool = True
) -> list[Mark]:
    """Return the marks that a symbol consists of.

    Parameters
    ----------
    symbol : str
        ``+``, ``x``, ``*``, ``o``; ``@:Ixx,Ixy,Iyy``, the ellipse of second moments [pix**2];
        anything else is text.
    x, y : float
        Position [pix].
    size : float
        Half the length of the strokes, or the radius of ``o`` [pix].
    color : str
        Colour.
    silent : bool
        What cannot be drawn is left out with a warning in the log, and moments of no ellipse
        become an ``x``.

    Raises
    ------
    WrongValue
        If the symbol starts with ``@:`` but has no three moments; with ``silent=False`` also if a
        position is not finite or the moments are those of no ellipse.
    """
    if not (math.isfinite(x) and math.isfinite(y)):
        _complain(f"symbol {symbol!r} at x = {x}, y = {y} has no place; leave it out", silent)
        return []
    if symbol.startswith(_ELLIPSE):
        return _ellipse(symbol, x, y, size=size, color=color, silent=silent)
    if symbol == "o":
        return [Circle(x=x, y=y, radius=size, color=color)]
    diagonal = size / math.sqrt(2.0)
    strokes = {
        "+": ((size, 0.0), (0.0, size)),
        "x": ((diagonal, diagonal), (diagonal, -diagonal)),
        "*": (
            (size, 0.0),
            (0.5 * size, _HALF_SQRT3 * size),
            (0.5 * size, -_HALF_SQRT3 * size),
        ),
    }.get(symbol)
    if strokes is None:
        return [Text(x=x, y=y, text=symbol, color=color)] if symbol.strip() else []
    return [Line(x0=x - dx, y0=y - dy, x1=x + dx, y1=y + dy, color=color) for dx, dy in strokes]


def polyline(points: Iterable[tuple[float, float]], *, color: str) -> list[Mark]:
    """Return the lines that join points one after the other; a gap where one is not finite.

    Raises
    ------
    WrongValue
        If the points are not pairs.
    """
    try:
        pairs = [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError) as error:
        raise WrongValue(
            f"line: points must be pairs (x, y) [pix] ({error}); for two arrays give zip(x, y)"
        ) from error
    return list(_joined(pairs, color))


def _joined(pairs: list[tuple[float, float]], color: str) -> Iterator[Line]:
    for (x0, y0), (x1, y1) in itertools.pairwise(pairs):
        if all(math.isfinite(v) for v in (x0, y0, x1, y1)):
            yield Line(x0=x0, y0=y0, x1=x1, y1=y1, color=color)


def _ellipse(
    symbol: str, x: float, y: float, *, size: float, color: str, silent: bool
) -> list[Mark]:
    try:
        ixx, ixy, iyy = (float(v) for v in symbol.removeprefix(_ELLIPSE).split(","))
    except ValueError as error:
        raise WrongValue(
            f"symbol {symbol!r}: an ellipse reads '@:Ixx,Ixy,Iyy', three second moments [pix**2]",
            value=symbol,
        ) from error
    from skyloom.geometry import Quadrupole  # noqa: PLC0415 - slow

    axes = Quadrupole(ixx, iyy, ixy).axes()
    if not (axes.b > 0 and math.isfinite(axes.a)):
        _complain(f"symbol {symbol!r} at ({x:g}, {y:g}): the moments are those of no ellipse; "
                  "an x marks the place", silent)  # fmt: skip
        return symbol_marks("x", x, y, size=size, color=color)
    return [Ellipse(x=x, y=y, a=axes.a, b=axes.b, theta=axes.theta, color=color)]


def _complain(message: str, silent: bool) -> None:
    if not silent:
        raise WrongValue(message)
    log.warning("%s", message)

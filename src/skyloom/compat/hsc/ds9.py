"""Old names of `skyloom.display`: ``lsst.afw.display.ds9``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, final

from skyloom import display
from skyloom.compat.hsc._adapter import new_of

__all__ = [
    "BLACK",
    "BLUE",
    "CYAN",
    "GREEN",
    "MAGENTA",
    "ORANGE",
    "RED",
    "WHITE",
    "YELLOW",
    "Buffering",
    "dot",
    "erase",
    "initDS9",
    "line",
    "mtv",
    "pan",
    "setMaskPlaneColor",
    "setMaskPlaneVisibility",
    "setMaskTransparency",
    "zoom",
]

WHITE: Final = "white"
BLACK: Final = "black"
RED: Final = "red"
GREEN: Final = "green"
BLUE: Final = "blue"
CYAN: Final = "cyan"
MAGENTA: Final = "magenta"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"


def initDS9(execDs9: bool = True) -> None:
    """Use ``display.use(launch=True)``."""
    display.use(launch=execDs9)


def mtv(
    data: Any,
    frame: int | None = None,
    title: str = "",
    wcs: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Use ``display.mtv(data, frame, title, wcs, settings)``."""
    display.mtv(new_of(data), frame, title, new_of(wcs), settings)


def dot(  # noqa: PLR0917 - as it was
    symb: str,
    c: Any,
    r: Any,
    frame: int | None = None,
    size: Any = 2,
    ctype: str | None = None,
    fontFamily: str | None = None,  # noqa: ARG001 - of the display, not of a text
    silent: bool = True,
) -> None:
    """Use ``display.dot(symbol, x, y, size, ctype, frame)``."""
    display.dot(symb, c, r, size=size, ctype=ctype or GREEN, frame=frame, silent=silent)


def line(
    points: Iterable[Any],
    frame: int | None = None,
    symbs: Any = False,
    ctype: str | None = None,
) -> None:
    """Use ``display.line(points, ctype, frame)``; with ``symbs`` a dot at each point."""
    pairs = [(p[0], p[1]) for p in points]
    if not symbs:
        display.line(pairs, ctype=ctype or GREEN, frame=frame)
        return
    for (x, y), symbol in zip(pairs, ["o"] * len(pairs) if symbs is True else symbs, strict=True):
        display.dot(symbol, x, y, ctype=ctype or GREEN, frame=frame)


def erase(frame: int | None = None) -> None:
    """Use ``display.erase(frame)``."""
    display.erase(frame)


def pan(colc: float | None = None, rowc: float | None = None, frame: int | None = None) -> None:
    """Use ``display.pan(x, y, frame)``."""
    if colc is not None and rowc is not None:
        display.pan(colc, rowc, frame)


def zoom(
    zoomfac: float | None = None,
    colc: float | None = None,
    rowc: float | None = None,
    frame: int | None = None,
) -> None:
    """Use ``display.zoom(factor, frame)`` and ``display.pan(x, y, frame)``."""
    if zoomfac is not None:
        display.zoom(zoomfac, frame)
    pan(colc, rowc, frame)


def setMaskTransparency(transparency: float | None = None, frame: int | None = None) -> None:
    """Use ``display.set_mask_transparency(percent, frame)``."""
    if transparency is not None:
        display.set_mask_transparency(transparency, frame)


def setMaskPlaneColor(name: str, color: str | None = None, frame: int | None = None) -> None:  # noqa: ARG001
    """Use ``display.set_mask_plane_color(plane, color)``; it holds for all frames."""
    if color is not None:
        display.set_mask_plane_color(name, color)


def setMaskPlaneVisibility(name: str, show: bool = True, frame: int | None = None) -> None:  # noqa: ARG001
    """Use ``display.set_mask_plane_color(plane, "ignore")``."""
    if not show:
        display.set_mask_plane_color(name, "ignore")


@final
class Buffering:
    """Use ``display.buffering()``."""

    def __init__(self) -> None:
        self._buffer: AbstractContextManager[Any] = display.buffering()

    def __enter__(self) -> Buffering:
        self._buffer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._buffer.__exit__(*error)

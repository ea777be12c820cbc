"""The display that the functions of `skyloom.display` speak to."""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy.typing as npt

from skyloom.display.choice import BackendName
from skyloom.display.display import Display

__all__ = [
    "buffering",
    "close",
    "current_display",
    "dot",
    "erase",
    "line",
    "mtv",
    "pan",
    "save",
    "scale",
    "set_mask_plane_color",
    "set_mask_transparency",
    "use",
    "zoom",
]

_CURRENT: list[Display] = []  # empty, or the one display


def current_display() -> Display:
    """Return the display of this process; the first call makes one (``Display()``)."""
    if not _CURRENT:
        _CURRENT.append(Display())
    return _CURRENT[0]


def use(
    backend: BackendName | Display = "auto",
    *,
    frame: int = 1,
    out: Path | str | None = None,
    target: str = "ds9",
    launch: bool = False,
) -> Display:
    """Choose the display of this process and return it; the one before is closed.

    See `Display` for the parameters.
    """
    if isinstance(backend, Display):
        new = backend
    else:
        new = Display(backend, frame=frame, out=out, target=target, launch=launch)
    close()
    _CURRENT.append(new)
    return new


def close() -> None:
    """Close the display of this process; the next call makes another.

    When Python ends, this is done by itself: a file that was asked for is written.
    """
    if _CURRENT:
        _CURRENT.pop().close()


atexit.register(close)


def mtv(
    data: Any,
    frame: int | None = None,
    title: str = "",
    wcs: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Show an image; see `Display.mtv`."""
    current_display().mtv(data, frame, title, wcs, settings)


def dot(  # noqa: PLR0917 - as Display.dot
    symbol: str,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    size: npt.ArrayLike = 2,
    ctype: str = "green",
    frame: int | None = None,
    silent: bool = True,
) -> None:
    """Draw a symbol; see `Display.dot`."""
    current_display().dot(symbol, x, y, size, ctype, frame, silent)


def line(
    points: Iterable[tuple[float, float]], ctype: str = "green", frame: int | None = None
) -> None:
    """Join points by lines; see `Display.line`."""
    current_display().line(points, ctype, frame)


def erase(frame: int | None = None) -> None:
    """Remove all symbols; see `Display.erase`."""
    current_display().erase(frame)


def pan(x: float, y: float, frame: int | None = None) -> None:
    """Centre a frame on a position; see `Display.pan`."""
    current_display().pan(x, y, frame)


def zoom(factor: float | str, frame: int | None = None) -> None:
    """Show a pixel as so many screen pixels; see `Display.zoom`."""
    current_display().zoom(factor, frame)


def scale(words: str, frame: int | None = None) -> None:
    """Change the grey levels; see `Display.scale`."""
    current_display().scale(words, frame)


def save(path: Path | str, frame: int | None = None) -> None:
    """Write the picture of a frame as a PNG file; see `Display.save`."""
    current_display().save(path, frame)


def buffering() -> AbstractContextManager[Display]:
    """Collect symbols and send them in few messages; see `Display.buffering`."""
    return current_display().buffering()


def set_mask_transparency(transparency: float, frame: int | None = None) -> None:
    """Set the transparency of all mask planes; see `Display.set_mask_transparency`."""
    current_display().set_mask_transparency(transparency, frame)


def set_mask_plane_color(plane: str, color: str) -> None:
    """Set the colour of a mask plane; see `Display.set_mask_plane_color`."""
    current_display().set_mask_plane_color(plane, color)

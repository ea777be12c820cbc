"""Old names of `skyloom.display.Display`: ``lsst.afw.display``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final, final

from skyloom import display
from skyloom.compat.hsc import display_utils as utils
from skyloom.compat.hsc import ds9
from skyloom.compat.hsc._adapter import new_of

__all__ = [
    "BLUE",
    "CYAN",
    "GREEN",
    "MAGENTA",
    "ORANGE",
    "RED",
    "YELLOW",
    "Display",
    "ds9",
    "getDisplay",
    "utils",
]

RED: Final = ds9.RED
GREEN: Final = ds9.GREEN
BLUE: Final = ds9.BLUE
CYAN: Final = ds9.CYAN
MAGENTA: Final = ds9.MAGENTA
YELLOW: Final = ds9.YELLOW
ORANGE: Final = ds9.ORANGE


@final
class Display:
    """A frame of the display of this process.

    Parameters
    ----------
    frame : int
        The frame.
    backend : str, optional
        ``ds9``, as nearly all scripts say: whatever `skyloom.display.use` chose.
    """

    def __init__(self, frame: int = 1, backend: str | None = None, **_options: Any) -> None:
        if backend == "matplotlib":
            display.use("matplotlib")
        elif backend == "virtual":
            display.use("virtual")
        self.frame = frame

    def mtv(self, data: Any, title: str = "", wcs: Any = None) -> None:
        """Use ``display.mtv(data, title=title, wcs=wcs)``."""
        display.mtv(new_of(data), self.frame, title, new_of(wcs))

    image = mtv

    def centroids(self, catalog: Any, *, symbol: str = "o", **options: Any) -> None:
        """Use ``display.dot(symbol, sources.x, sources.y, ...)`` in ``display.buffering()``."""
        with display.buffering():
            for source in catalog:
                self.dot(symbol, source.getX(), source.getY(), **options)

    def getMaskPlaneColor(self, name: str) -> Any:
        """Use ``display.current_display().mask_plane_color(plane)``."""
        return display.current_display().mask_plane_color(name)

    def dot(self, symb: str, c: Any, r: Any, size: Any = 2, ctype: str | None = None) -> None:
        """Use ``display.dot(symbol, x, y, size, ctype)``."""
        display.dot(symb, c, r, size, ctype or GREEN, self.frame)

    def line(self, points: Any, ctype: str | None = None) -> None:
        """Use ``display.line(points, ctype)``."""
        ds9.line(points, frame=self.frame, ctype=ctype)

    def erase(self) -> None:
        """Use ``display.erase()``."""
        display.erase(self.frame)

    def pan(self, colc: float, rowc: float) -> None:
        """Use ``display.pan(x, y)``."""
        display.pan(colc, rowc, self.frame)

    def zoom(self, zoomfac: Any = None, colc: Any = None, rowc: Any = None) -> None:
        """Use ``display.zoom(factor)`` and ``display.pan(x, y)``."""
        ds9.zoom(zoomfac, colc, rowc, frame=self.frame)

    def scale(self, algorithm: str, minimum: Any = None, maximum: Any = None) -> None:
        """Use ``display.scale("asinh zscale")``, ``display.scale("limits 0 100")``."""
        display.scale(algorithm, self.frame)
        if isinstance(minimum, str):
            display.scale(minimum, self.frame)
        elif minimum is not None:
            display.scale(f"limits {minimum} {maximum}", self.frame)

    def setMaskTransparency(self, transparency: float, _name: Any = None) -> None:
        """Use ``display.set_mask_transparency(percent)``; of all planes."""
        display.set_mask_transparency(transparency, self.frame)

    def setMaskPlaneColor(self, name: str, color: str) -> None:
        """Use ``display.set_mask_plane_color(plane, color)``."""
        display.set_mask_plane_color(name, color)

    def Buffering(self) -> AbstractContextManager[Any]:
        """Use ``display.buffering()``."""
        return display.buffering()


def getDisplay(frame: int = 1, backend: str | None = None) -> Display:
    """Use ``display.current_display()``."""
    return Display(frame, backend)

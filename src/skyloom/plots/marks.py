"""Positions before and after a fit, and how pictures show them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .overlays import Points
from .raster import Marker, Panel

__all__ = ["FittedPoints", "mark_fits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPoints:
    """Start and fitted positions of the same sources [pix]."""

    start: Points = field(default_factory=Points.none)
    fitted: Points = field(default_factory=Points.none)


def mark_fits(
    panel: Panel, base: FittedPoints, halo: FittedPoints, *, size: float, width: int = 1
) -> None:
    """Draw start and fitted positions and a line between the two of each source.

    Parameters
    ----------
    panel : Panel
        Where.
    base, halo : FittedPoints
        Sources of the patch, orange and blue X; halo sources, yellow and lime diamonds.
    size : float
        Size of a marker [screen pixels].
    width : int
        Width of its lines [screen pixels].
    """
    kinds: tuple[tuple[FittedPoints, Marker, str, str], ...] = (
        (halo, "diamond", "yellow", "lime"),
        (base, "x", "orange", "sky"),
    )
    for points, marker, before, after in kinds:
        start, fitted = points.start, points.fitted
        if len(start) == len(fitted):
            panel.join(start.x, start.y, fitted.x, fitted.y, before)
        _put(panel, start, marker, before, size=size, width=width)
        _put(panel, fitted, marker, after, size=0.8 * size, width=width)


def _put(panel: Panel, at: Points, marker: Marker, colour: str, *, size: float, width: int) -> None:
    if len(at):
        panel.mark(at.x, at.y, marker, colour, size=size, width=width)

"""One source: data, model and residual in every band, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats, Pixels

from .marks import FittedPoints, mark_fits
from .raster import Canvas, Panel, linear_scaled, text_width

__all__ = ["CutoutPicture", "DisplayRange", "draw_cutouts"]

Array: TypeAlias = npt.NDArray[Any]

PANEL_INCH = 0.8
ROWS = ("data", "model + sky", "residual")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayRange:
    """Percentiles that become black and white, of the unmasked pixels of each panel."""

    data: tuple[float, float] = (1.0, 99.0)
    model: tuple[float, float] = (1.0, 99.0)
    residual: float = 99.0  # of the absolute value; grey is zero


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoutPicture:
    """What a source's picture shows; positions in the frame of the cut-outs [pix]."""

    title: str
    bands: tuple[str, ...]
    data: Pixels  # (B, ny, nx) scaled counts
    model: Pixels  # the same, with sky
    bad: Bools  # the same shape: masked
    start: tuple[float, float]  # x, y of the source in the catalogue
    fitted: tuple[float, float]
    is_halo: bool = False  # fitted along, reported by another patch
    base: FittedPoints = field(default_factory=FittedPoints)  # neighbours, as in the overview
    halo: FittedPoints = field(default_factory=FittedPoints)
    notes: tuple[str, ...] = ()  # a short text under each band


def draw_cutouts(
    picture: CutoutPicture, *, ranges: DisplayRange | None = None, dpi: float = 150
) -> Canvas:
    """Draw rows of data, model + sky and residual, one column per band.

    The fitted position is a magenta cross-hair, that of the catalogue a dashed lime one (cyan and
    yellow for halo sources); masked pixels are red.

    Parameters
    ----------
    picture : CutoutPicture
        Pixels and positions.
    ranges : DisplayRange, optional
        What is black and white.
    dpi : float
        Resolution [pixels / inch]; a panel is about 0.8 inch wide.
    """
    ranges = ranges or DisplayRange()
    n, ny, nx = picture.data.shape
    zoom = max(1, round(PANEL_INCH * dpi / max(nx, ny)))
    letter, gap = max(8, round(0.095 * dpi)), max(2, round(0.03 * dpi))
    left, head = round(1.6 * letter), round(3.6 * letter)
    foot = round(1.5 * letter) if picture.notes else gap
    width, height = left + n * (nx * zoom + gap), head + 3 * (ny * zoom + gap) + foot
    title = text_width(picture.title, letter, bold=True) + 2 * gap
    canvas = Canvas(max(width, title), height)
    canvas.text(gap, 1.0 * letter, picture.title, size=letter, bold=True)
    marks = _marks(picture, zoom, dpi)
    for r, name in enumerate(ROWS):
        top = head + r * (ny * zoom + gap)
        canvas.text(0.8 * letter, top + 0.5 * ny * zoom, name, size=letter, upright=True)
        for b in range(n):
            at = left + b * (nx * zoom + gap)
            panel = Panel(canvas=canvas, left=at, top=top, zoom=zoom, shape=(ny, nx))
            panel.show(canvas.shade(_row(picture, r, b, ranges), picture.bad[b]))
            canvas.pixels[top + marks[0], at + marks[1]] = marks[2]
            middle = 0.5 * (panel.left + panel.right)
            if r == 0:
                canvas.text(middle, 2.7 * letter, picture.bands[b], size=letter, align="centre")
            if r == 2 and picture.notes:
                below = panel.bottom + 0.9 * letter
                canvas.text(middle, below, picture.notes[b], size=0.8 * letter, align="centre")
    return canvas


def _row(picture: CutoutPicture, row: int, band: int, ranges: DisplayRange) -> Floats:
    """Return a panel as shades 0...1."""
    data, model = picture.data[band], picture.model[band]
    image = (data, model, data - model)[row]
    good = image[~picture.bad[band] & np.isfinite(image)]
    if good.size == 0:
        return np.full(image.shape, np.nan)
    if row == 2:
        reach = float(np.percentile(np.abs(good), ranges.residual)) or 1.0
        return linear_scaled(image, -reach, reach)
    low, high = np.percentile(good, ranges.data if row == 0 else ranges.model)
    return linear_scaled(image, float(low), float(high))


def _marks(picture: CutoutPicture, zoom: int, dpi: float) -> tuple[Array, Array, Array]:
    """Return rows, columns and palette entries of the markers, which all panels share."""
    ny, nx = picture.data.shape[1:]
    glass = Canvas(nx * zoom, ny * zoom)
    clear = glass.index("paper")
    panel = Panel(canvas=glass, left=0, top=0, zoom=zoom, shape=(ny, nx))
    line, size = max(1, round(dpi / 150)), max(5.0, 0.07 * dpi)
    mark_fits(panel, picture.base, picture.halo, size=size, width=line)
    fitted, start = ("cyan", "yellow") if picture.is_halo else ("fit", "lime")
    gap, dash = 0.09 * min(glass.pixels.shape), max(3, round(0.03 * dpi))
    panel.crosshair(*picture.start, start, gap=gap, width=line, dash=dash)
    panel.crosshair(*picture.fitted, fitted, gap=1.5 * gap, width=line)
    rows, columns = np.nonzero(glass.pixels != clear)
    return rows, columns, glass.pixels[rows, columns]

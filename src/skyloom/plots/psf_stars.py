"""The stars behind a PSF: where they are on the cell, their stamps, their background."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats

from .overlays import Points
from .raster import Canvas, Marker, Panel, Ticks, asinh_scaled, linear_scaled, text_width
from .style import Image, robust_level, shrink

__all__ = [
    "draw_background",
    "draw_local_backgrounds",
    "draw_star_positions",
    "draw_star_stamps",
]

ORIGIN_COLORS = {"sep": "orange", "gaia": "cyan", "both": "magenta"}
ORIGIN_MARKERS: dict[str, Marker] = {"sep": "circle", "gaia": "plus", "both": "x"}


def draw_star_positions(
    image: Image,
    *,
    stars: Points,
    origins: npt.NDArray[np.str_],
    title: str = "",
    dpi: float = 150,
) -> Canvas:
    """Draw the stars selected for the PSF of a cell on its image, marked by their origin.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels of the cell; NaN where masked.
    stars : Points
        Positions in the frame of the image [pix].
    origins : ndarray of str
        ``sep``, ``gaia`` or ``both`` for each star: orange circle, cyan plus, magenta X.
    title : str
        Title.
    dpi : float
        Resolution [pixels / inch]; the picture is about 5 inch wide.
    """
    u = 0.12 * dpi
    shown, zoom, binning = _fitted(image, 5.0 * dpi)
    ny, nx = shown.shape
    left, top = round(0.6 * u), round(4 * u)
    needed = 2 * left + max(text_width(title, u, bold=True), round(24 * u))
    canvas = Canvas(max(2 * left + nx * zoom, needed), top + ny * zoom + left)
    canvas.text(left, 1.1 * u, title, size=u, bold=True)
    panel = Panel(canvas=canvas, left=left, top=top, zoom=zoom, shape=(ny, nx))
    panel.show(canvas.shade(asinh_scaled(shown)))
    x = left
    for origin, marker in ORIGIN_MARKERS.items():
        chosen = stars.where(np.asarray(origins) == origin)
        at = (chosen.x + 0.5) / binning - 0.5, (chosen.y + 0.5) / binning - 0.5
        colour, width = ORIGIN_COLORS[origin], max(1, round(dpi / 100))
        panel.mark(*at, marker, colour, size=0.14 * dpi, width=width)
        text = f"{origin} {len(chosen)}"
        canvas.box(x, 2.2 * u, x + 0.9 * u, 3.1 * u, colour)
        canvas.text(x + 1.3 * u, 2.7 * u, text, size=0.9 * u)
        x += round((2.4 + 0.65 * len(text)) * u)
    return canvas


def _fitted(image: Image, width: float) -> tuple[Image, int, int]:
    """Return an image that fits a width [screen pixels], its zoom and its binning."""
    side = max(image.shape)
    binning = max(1, -(-side // max(1, int(width))))
    shown = shrink(image, binning)
    return shown, max(1, int(width // max(shown.shape))), binning


def draw_star_stamps(
    stamps: Sequence[Image],
    *,
    origins: Sequence[str],
    title: str = "",
    max_stars: int = 100,
    dpi: float = 150,
) -> Canvas:
    """Draw star stamps side by side, each on its own stretch, framed by their origin.

    Parameters
    ----------
    stamps : sequence of ndarray, shape (S, S)
        Star cut-outs, all of one side; NaN where masked.
    origins : sequence of str
        ``sep``, ``gaia`` or ``both``: orange, cyan, magenta frames.
    title : str
        Title; the numbers of stars are added.
    max_stars : int
        The first so many are shown.
    dpi : float
        Resolution [pixels / inch]; a stamp is about 0.5 inch wide.
    """
    n = min(len(stamps), max_stars)
    n_cols = max(1, math.ceil(math.sqrt(1.4 * n)))
    n_rows = max(1, math.ceil(n / n_cols))
    side = max((s.shape[0] for s in stamps), default=1)
    u, zoom = 0.12 * dpi, max(1, round(0.5 * dpi / side))
    edge = max(1, round(dpi / 100))
    step = side * zoom + 3 * edge
    left, top = round(0.6 * u), round(2.2 * u)
    counts = ", ".join(f"{name} {list(origins).count(name)}" for name in ORIGIN_COLORS)
    text = f"{title}: {n} of {len(stamps)} stars ({counts})"
    needed = 2 * left + text_width(text, 0.9 * u, bold=True)
    canvas = Canvas(max(2 * left + n_cols * step, needed), top + n_rows * step + left)
    canvas.text(left, 1.1 * u, text, size=0.9 * u, bold=True)
    for k in range(n):
        at = left + (k % n_cols) * step, top + (k // n_cols) * step
        panel = Panel(canvas=canvas, left=at[0], top=at[1], zoom=zoom, shape=stamps[k].shape)
        panel.show(canvas.shade(_stretched(stamps[k])))
        panel.outline(ORIGIN_COLORS.get(origins[k], "grey"), width=edge)
    return canvas


def _stretched(stamp: Image) -> Floats:
    """Map a stamp to 0...1: noise near black, peak white, logarithmic between."""
    low, sigma = robust_level(stamp)
    finite = stamp[np.isfinite(stamp)]
    peak = max(float(finite.max()) if finite.size else 1.0, low + 5 * sigma)
    scaled = np.arcsinh((stamp - low) / (2 * sigma)) / np.arcsinh((peak - low) / (2 * sigma))
    return np.asarray(0.12 + 0.88 * scaled)


def draw_background(
    raw: Image, level: Image, *, title: str = "", colorbar: bool = True, dpi: float = 150
) -> Canvas:
    """Draw a cell, its background map, and the difference.

    Parameters
    ----------
    raw, level : ndarray, shape (ny, nx)
        Scaled counts; NaN where masked.
    title : str
        Title.
    colorbar : bool
        With colour bars.
    dpi : float
        Resolution [pixels / inch]; the picture is about 9 inch wide.
    """
    u = 0.12 * dpi
    _, sigma = robust_level(raw)
    middle = float(np.median(level)) if level.size else 0.0
    ends = middle - 5 * sigma, middle + 5 * sigma
    span = max(float(np.ptp(level)) if level.size else 0.0, 0.02 * sigma)
    centre = float(np.min(level)) + 0.5 * span if level.size else 0.0
    panels = (
        ("data", raw, ends),
        ("background", level, (centre - 0.5 * span, centre + 0.5 * span)),
        ("data - background", raw - level, (-5 * sigma, 5 * sigma)),
    )
    _, zoom, binning = _fitted(raw, 3.0 * dpi)
    ny, nx = shrink(raw, binning).shape
    left, top, gap = round(0.6 * u), round(3.8 * u), round(0.8 * u)
    foot = round(2.4 * u) if colorbar else left
    canvas = Canvas(max(3 * (nx * zoom + gap) + left, round(20 * u)), top + ny * zoom + foot)
    canvas.text(left, 1.1 * u, title, size=u, bold=True)
    for k, (name, image, (low, high)) in enumerate(panels):
        at = left + k * (nx * zoom + gap)
        panel = Panel(canvas=canvas, left=at, top=top, zoom=zoom, shape=(ny, nx))
        panel.show(canvas.shade(linear_scaled(shrink(image, binning), low, high)))
        middle = 0.5 * (panel.left + panel.right)
        canvas.text(middle, top - 0.9 * u, name, size=0.9 * u, align="centre")
        if colorbar:
            Ticks(low=f"{low:.3g}", high=f"{high:.3g}").draw(panel, cmap="gray", size=0.85 * u)
    return canvas


def draw_local_backgrounds(
    stamps: Sequence[Image],
    annuli: Sequence[Bools],
    levels: Floats,
    *,
    title: str = "",
    colorbar: bool = True,
    dpi: float = 150,
) -> Canvas:
    """Draw stars, the pixels of their background annuli, and the stars less their background.

    Parameters
    ----------
    stamps : sequence of ndarray, shape (S, S)
        Star cut-outs; NaN where masked.
    annuli : sequence of ndarray of bool, shape (S, S)
        Pixels that the background was measured on, after clipping.
    levels : ndarray, shape (n,)
        Backgrounds [scaled counts].
    title : str
        Title.
    colorbar : bool
        With the range of each star written beside it.
    dpi : float
        Resolution [pixels / inch]; a stamp is about 0.5 inch wide.
    """
    n, u = len(stamps), 0.12 * dpi
    side = max((s.shape[0] for s in stamps), default=1)
    zoom = max(1, round(0.5 * dpi / side))
    n_cols = max(1, math.ceil(n / 10))
    n_rows = max(1, math.ceil(n / n_cols))
    step, gap = side * zoom + max(2, round(0.02 * dpi)), round(0.8 * u)
    note = round(6.5 * u) if colorbar else 0
    block = 3 * step + note + gap
    left, top = round(0.6 * u), round(2.2 * u)
    text = f"{title}: stamp, annulus, stamp - background"
    needed = 2 * left + text_width(text, 0.9 * u, bold=True)
    canvas = Canvas(max(left + n_cols * block, needed), top + n_rows * step + left)
    canvas.text(left, 1.1 * u, text, size=0.9 * u, bold=True)
    for k, (stamp, annulus, level) in enumerate(zip(stamps, annuli, levels, strict=True)):
        x, y = left + (k // n_rows) * block, top + (k % n_rows) * step
        _, sigma = robust_level(stamp[annulus] if annulus.any() else stamp)
        low, high = -5 * sigma, 5 * sigma
        for j, image in enumerate((stamp, np.where(annulus, stamp, np.nan), stamp - level)):
            panel = Panel(canvas=canvas, left=x + j * step, top=y, zoom=zoom, shape=image.shape)
            hidden = ~np.isfinite(stamp)
            shades = canvas.shade(np.nan_to_num(linear_scaled(image, low, high)), hidden)
            if j == 1:
                shades[~annulus & ~hidden] = canvas.index("paper")
            panel.show(shades).outline("grey")
        if colorbar:
            at = x + 3 * step + 0.3 * u
            lines = (f"sky {level:.3g}", f"black {low:.3g}", f"white {high:.3g}")
            for j, text in enumerate(lines):
                canvas.text(at, y + (0.8 + 1.2 * j) * u, text, size=0.8 * u)
    return canvas

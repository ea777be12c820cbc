"""PSFs: the model in every cell, its growth curve, and how its stars fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats

from .charts import Chart
from .raster import Canvas, Panel, Ticks, linear_scaled, text_width
from .style import Image

__all__ = [
    "EpsfCell",
    "StarResiduals",
    "draw_epsf_cells",
    "draw_growth_curve",
    "draw_psf_model",
    "draw_star_residuals",
    "growth_curve",
]

FLOOR = 1e-5  # of the peak, darkest shade of a PSF stamp
STAR_FLOOR = 1e-4  # of the peak, darkest shade of a median star
SAME = 1e-3  # per cent of the peak: rounding of the stored stamp is 1e-5
REACH = 0.02  # of the peak, ends of the colours of a residual
MAPS = ("gray", "magma", "PuOr_r")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfCell:
    """The PSF of one cell of the grid."""

    row: int
    col: int
    stamp: Image | None  # (S, S), None where the cell has no PSF
    n_stars: int = 0
    note: str = ""  # such as "fallback"
    oversampling: int = 1  # samples per pixel and axis of the stamp


def draw_epsf_cells(
    cells: Sequence[EpsfCell], *, title: str, growth: bool = True, dpi: float = 150
) -> Canvas:
    """Draw the PSF of every cell as the cells lie on the tile, and their growth curves.

    Parameters
    ----------
    cells : sequence of EpsfCell
        At least one; row 0 is at the bottom.  The cells between the outermost ones are shown.
    title : str
        What they are; the number of cells is added where there are several.
    growth : bool
        With growth curves.
    dpi : float
        Resolution [pixels / inch].
    """
    rows, columns = [c.row for c in cells], [c.col for c in cells]
    n_rows, n_cols = max(rows) - min(rows) + 1, max(columns) - min(columns) + 1
    stamps = [c.stamp for c in cells if c.stamp is not None]
    side = max((s.shape[0] for s in stamps), default=31)
    zoom = max(1, int(4.2 * dpi / (max(n_rows, n_cols) * (side + 1))))
    u = 0.12 * dpi
    wide, tall = n_cols * (side + 1) * zoom, n_rows * (side + 1) * zoom
    area = max(tall, round(2.4 * dpi)) if growth else tall
    left, top = round(0.6 * u), round(2.4 * u)
    right_part = round(3.6 * dpi) + round(6 * u) if growth else 0
    counted = f"{title}: {len(stamps)} of {len(cells)} cells" if len(cells) > 1 else title
    samples = max(c.oversampling for c in cells)
    counted += f", {samples} samples per pixel" if samples > 1 else ""
    width = left + max(wide + round(0.8 * u), text_width(counted, u, bold=True)) + right_part
    canvas = Canvas(width, top + area + round(3.2 * u), maps=MAPS)
    for cell in cells:
        x = left + (cell.col - min(columns)) * (side + 1) * zoom
        y = top + (max(rows) - cell.row) * (side + 1) * zoom
        _draw_cell(canvas, cell, x, y, zoom=zoom, side=side, u=u, several=len(cells) > 1)
    canvas.text(left, 1.1 * u, counted, size=u, bold=True)
    bar = Panel(canvas=canvas, left=left, top=top, zoom=1, shape=(tall, wide))
    Ticks(low=f"{FLOOR:g}", high="1", label="relative to the peak, logarithmic").draw(
        bar, cmap="magma", size=0.85 * u
    )
    if growth:
        at = (left + wide + round(5 * u), top, round(3.6 * dpi), area - round(0.5 * u))
        _growth_chart(canvas, stamps, at, u, oversampling=samples)
    return canvas


def _draw_cell(
    canvas: Canvas, cell: EpsfCell, x: int, y: int, *, zoom: int, side: int, u: float, several: bool
) -> None:
    panel = Panel(canvas=canvas, left=x, top=y, zoom=zoom, shape=(side, side))
    colour = "paper"
    if cell.stamp is None:
        panel.outline("grey")
        colour = "ink"
    else:
        relative = np.full((side, side), FLOOR)
        ny, nx = cell.stamp.shape
        corner = (side - ny) // 2, (side - nx) // 2
        peak = max(float(np.max(cell.stamp)), 1e-30)
        relative[corner[0] : corner[0] + ny, corner[1] : corner[1] + nx] = cell.stamp / peak
        shades = linear_scaled(np.log10(np.maximum(relative, FLOOR)), np.log10(FLOOR), 0.0)
        panel.show(canvas.shade(shades, cmap="magma"))
    size = min(0.85 * u, 0.13 * side * zoom)
    if several and size >= 6:
        name = f"r{cell.row:02d}_c{cell.col:02d}"
        stars = f"{cell.n_stars} stars{'  ' + cell.note if cell.note else ''}"
        for line, text in enumerate((name, stars)):
            canvas.text(
                x + 0.4 * size, y + (0.9 + 1.25 * line) * size, text, size=size, colour=colour
            )


def draw_growth_curve(
    stamps: Sequence[Image],
    *,
    title: str = "growth curve",
    oversampling: int = 1,
    dpi: float = 150,
) -> Canvas:
    """Draw the light inside a radius, for one PSF or for several, with r50 and r80.

    Parameters
    ----------
    stamps : sequence of ndarray, shape (S, S)
        PSFs.
    title : str
        Title.
    oversampling : int
        Samples per pixel and axis of the stamps.
    dpi : float
        Resolution [pixels / inch].
    """
    u = 0.12 * dpi
    width, height = round(4.2 * dpi), round(3.0 * dpi)
    canvas = Canvas(width + round(6 * u), height + round(5.5 * u), maps=MAPS)
    at = (round(5 * u), round(2.4 * u), width, height)
    _growth_chart(canvas, stamps, at, u, title=title, oversampling=oversampling)
    return canvas


def _growth_chart(
    canvas: Canvas,
    stamps: Sequence[Image],
    at: tuple[int, int, int, int],
    u: float,
    *,
    title: str = "growth curve",
    oversampling: int = 1,
) -> None:
    curves = [growth_curve(stamp, oversampling=oversampling) for stamp in stamps]
    reach = max((radius[-1] for radius, _ in curves), default=1.0)
    left, top, width, height = at
    chart = Chart(
        canvas=canvas, left=left, top=top, width=width, height=height, letter=u,
        xlim=(0.0, float(reach)), ylim=(0.0, 1.06),
    )  # fmt: skip
    line = max(1, round(u / 9))
    chart.curve(np.array([0.0, reach]), np.ones(2), "grey", dash=round(0.5 * u))
    for radius, light in curves:
        chart.curve(radius, light, "blue", width=line)
    for k, (level, colour) in enumerate(((0.5, "orange"), (0.8, "green"))):
        found = [np.interp(level, light, r) for r, light in curves if light[-1] >= level]
        if found:
            r = float(np.median(found))
            path = np.array([0, r, r]), np.array([level, level, 0])
            chart.curve(*path, colour, width=line, dash=round(0.6 * u))
            text = f"r{100 * level:.0f} = {r:.2f} pix"
            canvas.text(left + 0.97 * width, top + (0.55 + 0.08 * k) * height, text, size=u,
                        align="right", colour=colour)  # fmt: skip
    chart.axes(xlabel="radius [pix]", ylabel="fraction of the flux", title=title)


def growth_curve(stamp: Image, *, oversampling: int = 1) -> tuple[Floats, Floats]:
    """Return radii [pix] and the light inside them, by subdividing pixels at the rim.

    Parameters
    ----------
    stamp : ndarray, shape (S, S)
        PSF, S odd, centred.
    oversampling : int
        Samples per image pixel.

    Returns
    -------
    tuple of ndarray
        Radii from 0 to the edge of the stamp in steps of a quarter sample, and sums.
    """
    side, split = stamp.shape[0], 7
    offset = (np.arange(split) + 0.5) / split - 0.5
    axis = (np.arange(side)[:, None] - (side - 1) / 2 + offset).ravel()
    distance = np.hypot(axis[None, :], axis[:, None])
    light = np.repeat(np.repeat(stamp / split**2, split, axis=0), split, axis=1)
    count = 4 * ((side - 1) // 2)
    steps = np.minimum((4.0 * distance).astype(np.int64), count)
    inside = np.bincount(steps.ravel(), light.ravel(), minlength=count + 1)[:count]
    return np.arange(count + 1) / (4.0 * oversampling), np.concatenate([[0.0], np.cumsum(inside)])


@dataclass(frozen=True, slots=True, kw_only=True)
class StarResiduals:
    """How stars fit their PSF; images are medians over the stars, each divided by its flux."""

    star: Image
    model: Image
    residual: Image
    pulls: Floats  # (data - model) / sigma of the pixels near the stars
    n_stars: int


def draw_star_residuals(found: StarResiduals, *, title: str, dpi: float = 150) -> Canvas:
    """Draw the median star, model and residual, and the histogram of the normalised residuals.

    Parameters
    ----------
    found : StarResiduals
        What to draw.
    title : str
        Title; the number of stars is added.
    dpi : float
        Resolution [pixels / inch].
    """
    names = ("median star", "median model", "median residual")
    peak = max(float(np.nanmax(found.model)), 1e-30) if found.n_stars else 1.0
    triple = _Triple((found.star, found.model, found.residual), names, peak, STAR_FLOOR)
    canvas, chart, u = triple.draw(f"{title}: {found.n_stars} stars", dpi)
    _pull_chart(canvas, found.pulls, chart, u)
    return canvas


@dataclass(frozen=True, slots=True)
class _Triple:
    """What was seen, what a model says, and their difference, side by side."""

    images: tuple[Image, Image, Image]
    names: tuple[str, str, str]
    peak: float  # of the images, the unit of the scales
    floor: float  # of the peak, darkest shade

    def draw(self, title: str, dpi: float) -> tuple[Canvas, tuple[int, int, int, int], float]:
        """Return the canvas, the place of a chart beside the images, and the size of letters."""
        side = self.images[0].shape[0]
        zoom, u = max(1, int(1.8 * dpi / side)), 0.12 * dpi
        wide = side * zoom
        left, top, gap = round(0.8 * u), round(4 * u), round(0.8 * u)
        chart_left = left + 3 * (wide + gap) + round(4.2 * u)
        width = max(chart_left + round(1.3 * wide) + gap, text_width(title, u, bold=True) + 2 * gap)
        canvas = Canvas(width, top + wide + round(3.4 * u), maps=MAPS)
        canvas.text(left, 1.1 * u, title, size=u, bold=True)
        for k, (image, name) in enumerate(zip(self.images, self.names, strict=True)):
            panel = Panel(
                canvas=canvas, left=left + k * (wide + gap), top=top, zoom=zoom, shape=(side, side)
            )
            is_residual = k == len(self.images) - 1
            cmap = "PuOr_r" if is_residual else "magma"
            shades = self._difference(image) if is_residual else self._logarithmic(image)
            panel.show(canvas.shade(shades, cmap=cmap))
            middle = 0.5 * (panel.left + panel.right)
            canvas.text(middle, top - 0.9 * u, name, size=u, align="centre")
            ends = f"{100 * REACH:g} %"
            low, high = (f"-{ends}", f"+{ends}") if is_residual else (f"{self.floor:g}", "1")
            Ticks(low=low, high=high, label="of the peak").draw(panel, cmap=cmap, size=0.85 * u)
        return canvas, (chart_left, top, round(1.3 * wide), wide), u

    def _logarithmic(self, image: Image) -> Floats:
        relative = np.maximum(image / self.peak, self.floor)
        return linear_scaled(np.log10(relative), np.log10(self.floor), 0.0)

    def _difference(self, image: Image) -> Floats:
        return linear_scaled(image / self.peak, -REACH, REACH)


def draw_psf_model(stamp: Image, model: Image, *, title: str, dpi: float = 150) -> Canvas:
    """Draw a PSF, the model that stands for it, their difference, and both growth curves.

    Parameters
    ----------
    stamp, model : ndarray, shape (S, S)
        PSF as built from stars and the model of it at the same place; S odd, both centred.
    title : str
        Title; the largest difference is added.
    dpi : float
        Resolution [pixels / inch].
    """
    peak = max(float(np.max(stamp)), 1e-30)
    difference = np.asarray(stamp, dtype=np.float64) - model
    worst = 100 * float(np.abs(difference).max()) / peak
    triple = _Triple((stamp, model, difference), ("ePSF", "model", "ePSF - model"), peak, FLOOR)
    is_same = worst < SAME
    head = f"{title}: " + ("the same" if is_same else f"differs by up to {worst:.2g} % of the peak")
    canvas, (left, top, width, height), u = triple.draw(head, dpi)
    curves = [growth_curve(image) for image in (stamp, model)]
    chart = Chart(
        canvas=canvas, left=left, top=top, width=width, height=height, letter=u,
        xlim=(0.0, float(curves[0][0][-1])), ylim=(0.0, 1.06),
    )  # fmt: skip
    line = max(1, round(u / 9))
    styles = (("ePSF", "blue", 0), ("model", "orange", round(0.6 * u)))
    for k, ((radius, light), (name, colour, dash)) in enumerate(zip(curves, styles, strict=True)):
        chart.curve(radius, light, colour, width=line, dash=dash)
        canvas.text(left + 0.97 * width, top + (0.55 + 0.1 * k) * height, name, size=u,
                    align="right", colour=colour)  # fmt: skip
    chart.axes(xlabel="radius [pix]", ylabel="fraction of the flux", title="growth curve")
    return canvas


def _pull_chart(canvas: Canvas, pulls: Floats, at: tuple[int, int, int, int], u: float) -> None:
    edges = np.linspace(-5, 5, 51)
    counts = np.histogram(pulls, edges)[0] / max(1, len(pulls)) / 0.2
    left, top, width, height = at
    peak = 1.15 * max(0.42, float(counts.max(initial=0.0)))
    chart = Chart(
        canvas=canvas, left=left, top=top, width=width, height=height, letter=u,
        xlim=(-5, 5), ylim=(0, peak),
    )  # fmt: skip
    chart.bars(edges, counts, "sky")
    x = np.linspace(-5, 5, 201)
    gauss = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    chart.curve(x, gauss, "ink", width=max(1, round(u / 9)), dash=round(0.6 * u))
    if len(pulls):
        width_found = 1.4826 * float(np.median(np.abs(pulls - np.median(pulls))))
        chart.note(0, f"width {width_found:.2f}")
        chart.note(1, f"mean {float(np.clip(pulls, -5, 5).mean()):+.2f}")
    chart.axes(xlabel="residual [sigma]", ylabel="density", title="pixels near the stars")

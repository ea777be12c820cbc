"""PSFs: the model in every cell, its growth curve, and the stars that it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from skyloom._types import Floats

from .overlays import Points
from .style import (
    COLORS,
    MASKED,
    Image,
    colormap,
    new_axes,
    new_figure,
    robust_level,
    show_image,
    styled,
)

__all__ = [
    "EpsfCell",
    "growth_curve",
    "plot_epsf_stamps",
    "plot_growth_curve",
    "plot_psf_star_positions",
    "plot_psf_stars",
]

ORIGIN_COLORS = {"sep": COLORS["orange"], "gaia": COLORS["cyan"], "both": COLORS["magenta"]}
_GAP = 9.0  # brighter than any stamp: shown as paper
_FLOOR = 1e-5  # of the peak, darkest shade of a PSF stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfCell:
    """The PSF of one cell of the grid."""

    row: int
    col: int
    stamp: Image | None  # (S, S), None where the cell has no PSF
    n_stars: int = 0
    note: str = ""  # such as "fallback"


@styled
def plot_epsf_stamps(
    cells: Sequence[EpsfCell], *, band: str, oversampling: int = 1, figure: Figure | None = None
) -> list[Axes]:
    """Draw the PSF of every cell of a band as the cells lie on the tile, and the growth curves.

    Parameters
    ----------
    cells : sequence of EpsfCell
        At least one; row 0 is at the bottom.
    band : str
        Name for the title.
    oversampling : int
        Samples of a stamp per image pixel.
    figure : Figure, optional
        Empty figure to draw on; made to fit by default.

    Returns
    -------
    list of Axes
        The stamps (one mosaic), the growth curves.
    """
    n_rows, n_cols = max(c.row for c in cells) + 1, max(c.col for c in cells) + 1
    tall = float(np.clip(4.6 * n_rows / n_cols, 2.6, 9.0))
    figure = figure if figure is not None else new_figure(10.2, tall + 1.0)
    width, height = figure.get_size_inches()
    axes = [
        figure.add_axes((0.25 / width, 0.5 / height, 4.6 / width, tall / height)),
        figure.add_axes((6.15 / width, 0.5 / height, 3.85 / width, tall / height)),
    ]
    stamps = [c.stamp for c in cells if c.stamp is not None]
    side = max((s.shape[0] for s in stamps), default=1)
    mosaic = np.full((n_rows * (side + 1) - 1, n_cols * (side + 1) - 1), np.nan)
    for cell in cells:
        _place(axes[0], mosaic, cell, side)
    picture = axes[0].imshow(
        mosaic,
        norm=LogNorm(_FLOOR, 1.0),
        cmap=colormap("magma").with_extremes(bad="white"),
        origin="lower",
    )
    axes[0].set_axis_off()
    axes[0].set_title(f"ePSF {band}: {len(stamps)} of {len(cells)} cells")
    cax = axes[0].inset_axes((1.02, 0.0, 0.03, 1.0))
    figure.colorbar(picture, cax=cax, label="relative to the peak")
    plot_growth_curve(stamps, oversampling=oversampling, ax=axes[1])
    return axes


def _place(ax: Axes, mosaic: Floats, cell: EpsfCell, side: int) -> None:
    x0, y0 = cell.col * (side + 1), cell.row * (side + 1)
    colour = "white"
    if cell.stamp is None:
        colour = COLORS["ink"]
    else:
        ny, nx = cell.stamp.shape
        y, x = y0 + (side - ny) // 2, x0 + (side - nx) // 2
        relative = np.asarray(cell.stamp, np.float64) / max(float(np.max(cell.stamp)), 1e-30)
        mosaic[y : y + ny, x : x + nx] = np.maximum(relative, _FLOOR)
    note = f"  {cell.note}" if cell.note else ""
    label = f"r{cell.row:02d}_c{cell.col:02d}\n{cell.n_stars} stars{note}"
    ax.text(x0 + 1, y0 + side - 2, label, color=colour, va="top", fontsize=7, linespacing=1.1)


@styled
def plot_growth_curve(
    stamps: Sequence[Image], *, oversampling: int = 1, ax: Axes | None = None
) -> Axes:
    """Draw the light inside a radius, for one PSF or for all cells of a band.

    Parameters
    ----------
    stamps : sequence of ndarray, shape (S, S)
        PSFs, normalised to the whole flux of a star.
    oversampling : int
        Samples per image pixel.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(5.0, 4.0)
    halves: dict[float, list[float]] = {0.5: [], 0.8: []}
    radius = np.ones(1)
    for stamp in stamps:
        radius, light = growth_curve(stamp, oversampling=oversampling)
        ax.plot(
            radius, light, color=COLORS["blue"], linewidth=1.1, alpha=max(0.25, 1 / len(stamps))
        )
        for level, found in halves.items():
            if light[-1] >= level:
                found.append(float(np.interp(level, light, radius)))
    for (level, found), colour in zip(
        halves.items(), (COLORS["orange"], COLORS["green"]), strict=True
    ):
        if found:
            r = float(np.median(found))
            ax.plot([0, r, r], [level, level, 0], color=colour, linewidth=1.0, linestyle="--")
            ax.plot([r], [level], "o", color=colour, markersize=4,
                    label=f"r{100 * level:.0f} = {r:.2f} pix")  # fmt: skip
    ax.axhline(1.0, color=COLORS["grey"], linewidth=0.7, linestyle=":")
    ax.set(xlim=(0, radius[-1]), ylim=(0, 1.06), title="growth curve")
    ax.set(xlabel="radius [pix]", ylabel="fraction of the flux")
    if any(halves.values()):
        ax.legend(loc="center right")
    return ax


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
    side, split = stamp.shape[0], 9
    offset = (np.arange(split) + 0.5) / split - 0.5
    axis = (np.arange(side)[:, None] - (side - 1) / 2 + offset).ravel()
    distance = np.hypot(axis[None, :], axis[:, None])
    light = np.repeat(np.repeat(stamp / split**2, split, axis=0), split, axis=1)
    edges = np.arange(0, (side - 1) / 2 + 0.25, 0.25)
    inside, _ = np.histogram(distance, bins=edges, weights=light)
    return edges / oversampling, np.concatenate([[0.0], np.cumsum(inside)])


@styled
def plot_psf_stars(
    stamps: Sequence[Image],
    *,
    labels: Sequence[str] | None = None,
    origins: Sequence[str] | None = None,
    title: str = "",
    max_stars: int = 100,
    ax: Axes | None = None,
) -> Axes:
    """Draw star stamps side by side, each on its own stretch, framed by their origin.

    Parameters
    ----------
    stamps : sequence of ndarray, shape (S, S)
        Star cut-outs.
    labels : sequence of str, optional
        One short label per star.
    origins : sequence of str, optional
        ``sep``, ``gaia`` or ``both``: orange, cyan, magenta frames.
    title : str
        Title; the number of stars is added.
    max_stars : int
        The first so many are shown.
    ax : Axes, optional
        Where to draw.
    """
    n = min(len(stamps), max_stars)
    n_cols = max(1, math.ceil(math.sqrt(1.4 * n)))
    n_rows = max(1, math.ceil(n / n_cols))
    if ax is None:
        width = float(np.clip(1.1 * n_cols, 3.0, 9.0))
        height = width * n_rows / n_cols + 0.6
        ax = new_figure(width, height).add_axes((0.01, 0.02, 0.98, 1 - 0.5 / height))
    side = max((s.shape[0] for s in stamps), default=1)
    step = side + 3
    mosaic = np.full((n_rows * step, n_cols * step), _GAP)
    frames, colours = [], []
    for k in range(n):
        x0, y0 = (k % n_cols) * step + 1, (n_rows - 1 - k // n_cols) * step + 1
        ny, nx = stamps[k].shape
        mosaic[y0 : y0 + ny, x0 : x0 + nx] = _display(stamps[k])
        frames.append(Rectangle((x0 - 1, y0 - 1), side + 1, side + 1))
        colours.append(ORIGIN_COLORS.get(origins[k] if origins else "", COLORS["grey"]))
        if labels:
            ax.text(x0 + 1, y0 + side - 2, labels[k], color="white", fontsize=6.5, va="top")
    ax.imshow(
        mosaic,
        vmin=0,
        vmax=1,
        cmap=colormap("gray").with_extremes(over="white", bad=MASKED),
        origin="lower",
    )
    ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor=colours, linewidth=1.2))
    ax.set_axis_off()
    ax.set_title(f"{title}{': ' if title else ''}{n} of {len(stamps)} stars" + _key(origins))
    return ax


@styled
def plot_psf_star_positions(
    image: Image,
    *,
    stars: Points,
    origins: npt.NDArray[np.str_],
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the stars selected for the PSF of a cell on its image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels of the cell.
    stars : Points
        Positions in the frame of the image [pix].
    origins : ndarray of str
        ``sep``, ``gaia`` or ``both`` for each star.
    title : str
        Title.
    ax : Axes, optional
        Where to draw.
    """
    if ax is None:
        ax = new_axes(6.0, float(np.clip(5.1 * image.shape[0] / image.shape[1], 2, 9)) + 0.95)
    show_image(ax, image)
    for origin, marker in (("sep", "o"), ("gaia", "P"), ("both", "X")):
        chosen = stars.where(np.asarray(origins) == origin)
        if len(chosen):
            colour, label = ORIGIN_COLORS[origin], f"{origin} ({len(chosen)})"
            ax.scatter(chosen.x, chosen.y, s=60, marker=marker, facecolors="none",
                       edgecolors=colour, linewidths=1.1, label=label)  # fmt: skip
    if len(stars):
        ax.legend(loc="upper right", frameon=True, facecolor="#404040", labelcolor="white")
    ax.set(xlabel="x [pix]", ylabel="y [pix]", title=title)
    return ax


def _display(stamp: Image) -> Floats:
    """Map a stamp to 0...1: noise near black, peak white, logarithmic between."""
    low, sigma = robust_level(stamp)
    finite = stamp[np.isfinite(stamp)]
    peak = max(float(finite.max()) if finite.size else 1.0, low + 5 * sigma)
    with np.errstate(invalid="ignore"):
        scaled = np.arcsinh((stamp - low) / (2 * sigma)) / np.arcsinh((peak - low) / (2 * sigma))
    return np.asarray(np.clip(0.12 + 0.88 * scaled, 0, 1))


def _key(origins: Sequence[str] | None) -> str:
    if not origins:
        return ""
    counts = {name: list(origins).count(name) for name in ORIGIN_COLORS}
    return ", " + ", ".join(f"{name} {n}" for name, n in counts.items() if n)

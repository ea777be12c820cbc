"""Whole-tile pictures: the white image with what the pipeline decided about its sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from skyloom._types import Bools, Floats
from skyloom.geometry.box import Box

from .style import COLORS, MASKED, Image, new_figure, show_image, shrink, styled

__all__ = [
    "Points",
    "plot_bright_mask_overlay",
    "plot_crop",
    "plot_gaia_overlay",
    "plot_white_overlay",
]

_GALAXIES = ("GAL", "EXP", "DEV", "SERSIC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Positions of one kind of source [pix, 0-based]."""

    x: Floats
    y: Floats

    @classmethod
    def none(cls) -> Points:
        """Return no positions."""
        return cls(x=np.empty(0), y=np.empty(0))

    def where(self, mask: Bools) -> Points:
        """Return the positions that a mask selects."""
        return Points(x=np.asarray(self.x)[mask], y=np.asarray(self.y)[mask])

    def __len__(self) -> int:
        return len(self.x)


@styled
def plot_crop(
    white: Image, *, box: Box | None = None, downsample: int = 1, ax: Axes | None = None
) -> Axes:
    """Draw the white image with the crop box, or the cropped image without one.

    Parameters
    ----------
    white : ndarray, shape (ny, nx)
        White image [scaled counts].
    box : Box, optional
        What the crop keeps; the rest is dimmed.
    downsample : int
        Averages squares of this side first.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else _tile_axes(white.shape, legend=False)
    show_image(ax, white, downsample=downsample)
    ny, nx = white.shape
    ax.set(xlabel="x [pix]", ylabel="y [pix]")
    if box is None:
        ax.set_title(f"white image after the crop, {nx} x {ny} pix")
        return ax
    strips = (Box(0, nx, 0, box.y0), Box(0, nx, box.y1, ny), Box(0, box.x0, box.y0, box.y1),
              Box(box.x1, nx, box.y0, box.y1))  # fmt: skip
    for strip in strips:
        if not strip.is_empty:
            ax.add_patch(_rectangle(strip, facecolor="black", alpha=0.45, linewidth=0))
    ax.add_patch(_rectangle(box, edgecolor=COLORS["lime"], facecolor="none", linewidth=1.4))
    ax.set_title(
        f"white image before the crop: {box.width} of {nx} x {box.height} of {ny} pix stay"
    )
    return ax


@styled
def plot_white_overlay(
    white: Image,
    *,
    sources: Points,
    stype: npt.NDArray[Any],
    excluded_crop: Bools,
    excluded_saturation: Bools,
    fallback_model: str = "exp",
    wcs: WCS | None = None,
    box: Box | None = None,
    downsample: int = 1,
    ax: Axes | None = None,
) -> Axes:
    """Draw the sources of the input catalogue on the white image, by type and fate.

    Parameters
    ----------
    white : ndarray, shape (ny, nx)
        White image of the working frame [scaled counts].
    sources : Points
        Catalogue positions, working frame; NaN where there is none.
    stype : ndarray of str
        Column TYPE; upper-cased here.
    excluded_crop, excluded_saturation : ndarray of bool
        Exclusion flags, in catalogue order.
    fallback_model : str
        Model of the sources without a known type.
    wcs : WCS, optional
        Adds right ascension and declination to the axes; pixels move to the other sides.
    box : Box, optional
        Zoom.
    downsample : int
        Averages squares of this side first.
    ax : Axes, optional
        Where to draw.
    """
    view = box or Box.of_shape((white.shape[0], white.shape[1]))
    ax = ax if ax is not None else _tile_axes(view.shape, sky=wcs is not None)
    show_image(ax, white, box=box, downsample=downsample)
    kind = np.char.upper(np.char.strip(np.asarray(stype).astype(str)))
    at = np.floor(sources.x + 0.5), np.floor(sources.y + 0.5)
    inside = view.contains(*at)
    is_lost = ~Box.of_shape((white.shape[0], white.shape[1])).contains(*at) & ~excluded_crop
    active = inside & ~excluded_crop & ~excluded_saturation
    is_star, is_galaxy = kind == "STAR", np.isin(kind, _GALAXIES)
    _mark(ax, sources.where(active & is_star), "o", COLORS["cyan"], "star")
    _mark(ax, sources.where(active & is_galaxy), "o", COLORS["magenta"], "galaxy", size=42)
    unknown = active & ~is_star & ~is_galaxy
    _mark(ax, sources.where(unknown), "s", COLORS["yellow"], f"no type: {fallback_model}")
    saturated = inside & excluded_saturation & ~excluded_crop
    _mark(ax, sources.where(saturated), "x", COLORS["red"], "excluded: saturation")
    _only_legend(ax, int(excluded_crop.sum()), "excluded: crop")
    _only_legend(ax, int(is_lost.sum()), "outside or without position")
    _finish(ax, wcs=wcs, box=view, title="sources of the input catalogue")
    return ax


@styled
def plot_gaia_overlay(
    white: Image,
    *,
    sources: Points,
    is_matched: Bools,
    excluded_crop: Bools,
    excluded_saturation: Bools,
    injected: Points,
    dropped: Points,
    selection: Box | None = None,
    wcs: WCS | None = None,
    downsample: int = 1,
    ax: Axes | None = None,
) -> Axes:
    """Draw what the Gaia augmentation did to the catalogue.

    Parameters
    ----------
    white : ndarray, shape (ny, nx)
        White image of the working frame [scaled counts].
    sources : Points
        Positions of the original rows.
    is_matched, excluded_crop, excluded_saturation : ndarray of bool
        Flags of the original rows: has a Gaia star; excluded, and why.
    injected, dropped : Points
        Gaia stars added as rows, and those left out because of saturated pixels.
    selection : Box, optional
        Box that Gaia stars were taken from.
    wcs, downsample, ax
        As in `plot_white_overlay`.
    """
    ax = ax if ax is not None else _tile_axes(white.shape, sky=wcs is not None)
    show_image(ax, white, downsample=downsample)
    view = Box.of_shape((white.shape[0], white.shape[1]))
    active = ~excluded_crop & ~excluded_saturation
    saturated = excluded_saturation & ~excluded_crop
    _mark(ax, sources.where(active), "o", COLORS["cyan"], "catalogue", size=16)
    _mark(ax, sources.where(is_matched & active), "s", COLORS["lime"], "with Gaia star", size=58)
    _mark(ax, injected, "D", COLORS["magenta"], "injected from Gaia", size=46)
    _mark(ax, dropped, "P", COLORS["red"], "Gaia, dropped: saturation")
    _mark(ax, sources.where(saturated), "x", COLORS["red"], "excluded: saturation")
    _mark(ax, sources.where(excluded_crop), "x", COLORS["orange"], "excluded: crop")
    if selection is not None:
        style = {"edgecolor": COLORS["yellow"], "facecolor": "none", "linestyle": "--"}
        ax.add_patch(_rectangle(selection, linewidth=1.2, label="Gaia selection", **style))
    _finish(ax, wcs=wcs, box=view, title="Gaia augmentation")
    return ax


@styled
def plot_bright_mask_overlay(
    white: Image,
    *,
    mask: Bools,
    matched: Points,
    unmatched: Points,
    catalog_matched: Points,
    catalog_masked: Points,
    wcs: WCS | None = None,
    downsample: int = 1,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mask of bright detections that the catalogue does not know.

    Parameters
    ----------
    white : ndarray, shape (ny, nx)
        White image of the working frame [scaled counts].
    mask : ndarray of bool, shape (ny, nx)
        Pixels masked.
    matched, unmatched : Points
        Detections with and without a catalogue source.
    catalog_matched, catalog_masked : Points
        Catalogue sources of matched detections, and others under the mask.
    wcs, downsample, ax
        As in `plot_white_overlay`.
    """
    ax = ax if ax is not None else _tile_axes(white.shape, sky=wcs is not None)
    picture = show_image(ax, white, downsample=downsample)
    share = shrink(mask.astype(np.float64), downsample)
    veil = np.zeros((*share.shape, 4))
    veil[..., :3] = [int(MASKED[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    veil[..., 3] = 0.55 * (share > 0)
    ax.imshow(veil, extent=picture.get_extent(), origin="lower", interpolation="nearest")
    _mark(ax, matched, "o", COLORS["lime"], "detection, in the catalogue", size=60)
    _mark(ax, unmatched, "x", COLORS["red"], "detection, unknown: masked")
    _mark(ax, catalog_matched, "D", COLORS["sky"], "catalogue, detected", size=12)
    _mark(ax, catalog_masked, "^", COLORS["orange"], "catalogue, under the mask", size=40)
    view = Box.of_shape((white.shape[0], white.shape[1]))
    title = f"bright mask: {100 * float(np.mean(mask)):.2f} % of the pixels"
    _finish(ax, wcs=wcs, box=view, title=title)
    return ax


def _tile_axes(shape: tuple[int, ...], *, sky: bool = False, legend: bool = True) -> Axes:
    """Return an Axes for an image, with room for labels and a legend underneath."""
    width, left, right = 7.0, 0.85, 0.55 if sky else 0.15
    bottom, top = 1.15 if legend else 0.55, 0.55 if sky else 0.35
    inner = width - left - right
    tall = float(np.clip(inner * shape[0] / shape[1], 2.0, 10.0))
    height = tall + bottom + top
    figure = new_figure(width, height)
    return figure.add_axes((left / width, bottom / height, inner / width, tall / height))


def _rectangle(box: Box, **style: Any) -> Rectangle:
    return Rectangle((box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, **style)


def _mark(
    ax: Axes, points: Points, marker: str, color: str, label: str, *, size: float = 26.0
) -> None:
    """Draw open markers and count them in the legend; nothing for no points."""
    if len(points) == 0:
        return
    filled = marker not in "x+"
    style: dict[str, Any] = (
        {"facecolors": "none", "edgecolors": color} if filled else {"color": color}
    )
    crowd = max(0.25, min(1.0, 400 / len(points)))  # markers shrink so that the sky stays visible
    ax.scatter(
        points.x,
        points.y,
        s=size * crowd,
        marker=marker,
        linewidths=0.9,
        label=f"{label} ({len(points)})",
        **style,
    )


def _only_legend(ax: Axes, count: int, label: str) -> None:
    if count:
        ax.scatter([], [], s=26, marker="o", color=COLORS["grey"], label=f"{label} ({count})")


def _finish(ax: Axes, *, wcs: WCS | None, box: Box, title: str) -> None:
    ax.set(xlim=(box.x0 - 0.5, box.x1 - 0.5), ylim=(box.y0 - 0.5, box.y1 - 0.5))
    if wcs is None:
        ax.set(xlabel="x [pix]", ylabel="y [pix]")
    else:
        for side in (ax.secondary_xaxis("top"), ax.secondary_yaxis("right")):
            side.tick_params(labelsize=7, colors=COLORS["grey"])
        label_sky(ax, wcs, box)
    ax.set_title(title, pad=8 if wcs is None else 4)
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        legend = ax.legend(
            handles,
            labels,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.5 / _height(ax)),
            ncols=3,
            columnspacing=1.4,
        )
        legend.set_in_layout(False)


def _height(ax: Axes) -> float:
    """Height of an Axes [inch]."""
    figure = ax.get_figure(root=True)
    return float(ax.get_position().height * (figure.get_figheight() if figure else 1.0))


def label_sky(ax: Axes, wcs: WCS, box: Box) -> None:
    """Label the bottom and left sides with sky coordinates [deg], at round values.

    A side shows the coordinate that changes most along it, so turned images are labelled right.

    Parameters
    ----------
    ax : Axes
        Shows pixels of the frame that the WCS describes.
    wcs : WCS
        Celestial WCS.
    box : Box
        Part of the frame that is shown.
    """
    x = np.linspace(box.x0 - 0.5, box.x1 - 0.5, 129)
    y = np.linspace(box.y0 - 0.5, box.y1 - 0.5, 129)
    low_x, low_y = np.full_like(y, box.x0 - 0.5), np.full_like(x, box.y0 - 0.5)
    names = ("right ascension [deg]", "declination [deg]")
    sides = (
        (ax.xaxis, x, np.array(wcs.all_pix2world(x, low_y, 0))),
        (ax.yaxis, y, np.array(wcs.all_pix2world(low_x, y, 0))),
    )
    shown = None
    for axis, pixels, sky in sides:
        sky[0] = np.unwrap(sky[0], period=360)
        span = np.ptp(sky, axis=1) * [math.cos(math.radians(float(sky[1].mean()))), 1]
        which = int(span[1] > span[0]) if shown is None else 1 - shown
        shown = which
        values = sky[which]
        ticks, decimals = _round_ticks(float(values.min()), float(values.max()))
        order = np.argsort(values)
        axis.set_ticks(
            np.interp(ticks, values[order], pixels[order]),
            [f"{t % 360 if which == 0 else t:.{decimals}f}" for t in ticks],
        )
        axis.set_label_text(names[which])


def _round_ticks(low: float, high: float) -> tuple[Floats, int]:
    """Return three to six round values inside a range and the decimals that they need."""
    rough = max(high - low, 1e-9) / 5
    power = math.floor(math.log10(rough))
    step = next(m * 10.0**power for m in (1, 2, 5, 10) if m * 10.0**power >= rough)
    ticks = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    return np.asarray(ticks, dtype=np.float64), max(0, -math.floor(math.log10(step) + 1e-9))

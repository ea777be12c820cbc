"""One patch: data, model and residual side by side, with the sources that were fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skyloom._types import Bools, Floats

from .overlays import Points
from .style import (
    COLORS,
    MASKED,
    Image,
    asinh_norm,
    colorbar_below,
    new_figure,
    robust_level,
    show_image,
    styled,
)

__all__ = ["FittedPoints", "PatchPicture", "plot_patch_overview"]

_SIGMA_RANGE = 5.0  # half range of the residual in sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPoints:
    """Start and fitted positions of the same sources [pix, patch frame]."""

    start: Points = field(default_factory=Points.none)
    fitted: Points = field(default_factory=Points.none)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPicture:
    """What a patch overview shows: images of the patch region and its sources."""

    tag: str
    data: Image  # scaled counts, white-combined, shape (ny, nx)
    model: Image  # model + sky, same unit
    sigma: Image  # noise per pixel, same unit
    bad: Bools  # masked in every band
    base: FittedPoints  # sources that belong to the patch
    halo: FittedPoints = field(default_factory=FittedPoints)  # neighbours fitted along


@styled
def plot_patch_overview(picture: PatchPicture, *, figure: Figure | None = None) -> list[Axes]:
    """Draw data, model + sky, residual in counts and residual in sigma of a patch.

    Data and model share one stretch.  The positions stand on the first two panels, the residuals
    stay free.  Masked pixels are red.

    Parameters
    ----------
    picture : PatchPicture
        Images and positions.
    figure : Figure, optional
        Empty figure to draw on; made to fit by default.

    Returns
    -------
    list of Axes
        Data, model, residual, residual in sigma.
    """
    ny, nx = picture.data.shape
    figure = figure if figure is not None else new_figure(15.0, 3.5 * _aspect(ny, nx) + 1.22)
    axes = _four_axes(figure, _aspect(ny, nx))
    bad = picture.bad | ~np.isfinite(picture.data)
    residual = picture.data - picture.model
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = residual / picture.sigma
    data, model, residual, pull = (
        np.where(bad, np.nan, a) for a in (picture.data, picture.model, residual, pull)
    )
    stretch = asinh_norm(data)
    _, noise = robust_level(residual)
    symmetric = Normalize(-4 * noise, 4 * noise)
    in_sigma = Normalize(-_SIGMA_RANGE, _SIGMA_RANGE)
    panels = (
        (data, "gray", stretch, "data", "scaled counts"),
        (model, "gray", stretch, "model + sky", "scaled counts"),
        (residual, "gray", symmetric, "data - model", "scaled counts"),
        (pull, "PuOr_r", in_sigma, "(data - model) / sigma", "sigma"),
    )
    for ax, (image, cmap, norm, title, label) in zip(axes, panels, strict=True):
        shown = show_image(ax, image, cmap=cmap, norm=norm)
        ax.set_title(title)
        ax.tick_params(labelbottom=False, labelleft=ax is axes[0], color="white")
        colorbar_below(ax, shown, label=label)
    _mark_sources(axes[0], picture, with_start=True)
    _mark_sources(axes[1], picture, with_start=False)
    axes[0].set_ylabel("y [pix]")
    _head(figure, axes, picture, masked=float(bad.mean()), spread=_spread(pull))
    return axes


def _aspect(ny: int, nx: int) -> float:
    return float(np.clip(ny / nx, 0.4, 2.5))


def _four_axes(figure: Figure, aspect: float) -> list[Axes]:
    width, height = figure.get_size_inches()
    left, gap, side = 0.5, 0.14, 3.5 * width / 15.0
    bottom = 0.62
    boxes = [(left + k * (side + gap), bottom, side, side * aspect) for k in range(4)]
    return [figure.add_axes((x / width, y / height, w / width, h / height)) for x, y, w, h in boxes]


def _spread(pull: Floats) -> str:
    good = pull[np.isfinite(pull)]
    if good.size == 0:
        return "no pixel"
    width = 1.4826 * np.median(np.abs(good - np.median(good)))
    beyond = 100 * np.mean(np.abs(good) > _SIGMA_RANGE)
    return f"width {width:.2f} sigma, {beyond:.2g} % beyond 5"


def _mark_sources(ax: Axes, picture: PatchPicture, *, with_start: bool) -> None:
    for points, marker, start_color, fit_color in (
        (picture.base, "x", COLORS["orange"], COLORS["sky"]),
        (picture.halo, "d", COLORS["yellow"], COLORS["lime"]),
    ):
        start, fitted = points.start, points.fitted
        if with_start and len(start) and len(start) == len(fitted):
            path = np.stack([np.c_[start.x, start.y], np.c_[fitted.x, fitted.y]], axis=1)
            moved = np.isfinite(path).all(axis=(1, 2))
            ax.add_collection(LineCollection(path[moved], colors=start_color, linewidths=0.8))
        if with_start:
            _scatter(ax, start, marker, start_color, size=20)
        _scatter(ax, fitted, marker, fit_color, size=11)


def _scatter(ax: Axes, points: Points, marker: str, color: str, *, size: float) -> None:
    if len(points):
        face: dict[str, Any] = (
            {"color": color} if marker == "x" else {"facecolors": "none", "edgecolors": color}
        )
        ax.scatter(points.x, points.y, s=size, marker=marker, linewidths=0.8, **face)


def _head(
    figure: Figure, axes: list[Axes], picture: PatchPicture, *, masked: float, spread: str
) -> None:
    """Title on the left, key of the markers on the right, above the panels."""
    n_base, n_halo = len(picture.base.start), len(picture.halo.start)
    left = axes[0].get_position().x0
    title = f"patch {picture.tag}"
    text = f"{n_base} sources + {n_halo} halo, {100 * masked:.1f} % masked; residual: {spread}"
    top = 1 - 0.18 / figure.get_figheight()
    figure.text(left, top, title, fontsize=12, fontweight="bold", va="center")
    figure.text(left + 0.19, top, text, fontsize=10, va="center")
    entries = (
        ("x", COLORS["orange"], "start"),
        ("x", COLORS["sky"], "fitted"),
        ("d", COLORS["yellow"], "halo start"),
        ("d", COLORS["lime"], "halo fitted"),
        ("s", MASKED, "masked"),
    )
    handles = [
        Line2D([], [], linestyle="", marker=marker, markersize=5, label=label, color=color,
               markerfacecolor=color if marker in "xs" else "none")
        for marker, color, label in entries
    ]  # fmt: skip
    figure.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(axes[3].get_position().x1, top),
        ncols=len(handles),
        fontsize=9,
        columnspacing=1.3,
        borderpad=0.3,
        frameon=True,
        facecolor="#404040",
        edgecolor="none",
        labelcolor="white",
    )

"""Trends of the zero point: single stars, their running median, and the fitted lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skyloom._types import Bools, Floats

from .style import COLORS, new_axes, new_figure, styled

__all__ = ["TrendLine", "TrendStars", "plot_trend", "plot_zero_point_trends"]

_BIN_STARS = 8  # per point of the running median
_MMAG = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendStars:
    """Zero points of single stars minus the adopted one; arrays of one length."""

    offset: Floats  # mag
    error: Floats  # mag, NaN where unknown
    is_kept: Bools  # the others are drawn, and enter nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendLine:
    """A fitted line."""

    pivot: float
    level: float  # mag, offset at the pivot
    slope: float  # mag per unit of the abscissa
    slope_err: float
    is_significant: bool


@styled
def plot_trend(
    abscissa: Floats,
    stars: TrendStars,
    *,
    label: str,
    line: TrendLine | None = None,
    per: tuple[float, str] = (1.0, "mag"),
    half_range: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw offsets of single stars against place, magnitude or colour.

    Parameters
    ----------
    abscissa : ndarray
        One value per star; NaN is left out.
    stars : TrendStars
        Their offsets.
    label : str
        Name and unit of the abscissa.
    line : TrendLine, optional
        Fitted line; it is orange where it is significant.
    per : (float, str)
        Step of the abscissa and its name for the slope in the title, such as (1000, "kpix").
    half_range : float, optional
        Half height [mag]; default five times the median offset.  Stars beyond it become arrows.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(4.0, 3.0)
    kept = stars.is_kept & np.isfinite(abscissa) & np.isfinite(stars.offset)
    other = ~stars.is_kept & np.isfinite(abscissa) & np.isfinite(stars.offset)
    reach = _MMAG * (half_range or _reach(stars.offset[kept]))
    ax.set(xlabel=label, ylabel="zero point - adopted [mmag]", ylim=(-reach, reach))
    ax.axhline(0.0, color="0.75", linewidth=0.8, zorder=0)
    for chosen, error, colour, marker, name in (
        (other, None, COLORS["grey"], "x", "left out"),
        (kept, stars.error, "0.45", "o", "kept"),
    ):
        _draw(
            ax,
            abscissa[chosen],
            stars.offset[chosen],
            None if error is None else error[chosen],
            style={"color": colour, "marker": marker, "label": name},
        )
    _draw_medians(ax, abscissa[kept], stars.offset[kept])
    if line is not None and kept.any():
        _draw_line(ax, abscissa[kept], line, per)
    return ax


def _reach(offset: Floats) -> float:
    return max(5.0 * float(np.median(np.abs(offset))), 0.004) if len(offset) else 0.01


def _draw(
    ax: Axes, t: Floats, offset: Floats, error: Floats | None, *, style: dict[str, Any]
) -> None:
    low, high = ax.get_ylim()
    value = _MMAG * offset
    inside = (value > low) & (value < high)
    bar = None if error is None else _MMAG * np.nan_to_num(error)[inside]
    look: dict[str, Any] = {
        **style,
        "linestyle": "none",
        "markersize": 3.2,
        "markerfacecolor": "white",
        "markeredgewidth": 0.8,
        "zorder": 2,
    }
    ax.errorbar(t[inside], value[inside], yerr=bar, elinewidth=0.6, **look)
    rim = 0.03 * (high - low)
    for beyond, arrow, edge in ((value <= low, "v", low + rim), (value >= high, "^", high - rim)):
        if beyond.any():
            shape = look | {"marker": arrow, "label": None}
            ax.plot(t[beyond], np.full(beyond.sum(), edge), **shape)


def _draw_medians(ax: Axes, t: Floats, offset: Floats) -> None:
    """Draw medians of stars that are neighbours along the abscissa, with standard errors."""
    n_bins = min(10, len(t) // _BIN_STARS)
    if n_bins < 2:
        return
    parts = np.array_split(np.argsort(t, kind="stable"), n_bins)
    centre = [float(np.median(t[p])) for p in parts]
    middle = [_MMAG * float(np.median(offset[p])) for p in parts]
    # 1.2533 * 1.4826: standard error of a median, from the median deviation.
    error = [
        _MMAG * 1.858 * float(np.median(np.abs(offset[p] - np.median(offset[p])))) / len(p) ** 0.5
        for p in parts
    ]
    ax.errorbar(centre, middle, yerr=error, marker="s", color=COLORS["blue"], markersize=4.5,
                elinewidth=1.4, zorder=4, linestyle="none", label="running median")  # fmt: skip


def _draw_line(ax: Axes, t: Floats, line: TrendLine, per: tuple[float, str]) -> None:
    colour = COLORS["orange"] if line.is_significant else COLORS["sky"]
    grid = np.linspace(float(t.min()), float(t.max()), 50)
    value = _MMAG * (line.level + line.slope * (grid - line.pivot))
    width = _MMAG * line.slope_err * np.abs(grid - line.pivot)
    ax.fill_between(grid, value - width, value + width, color=colour, alpha=0.25, linewidth=0,
                    zorder=1)  # fmt: skip
    ax.plot(grid, value, color=colour, linewidth=1.6, zorder=3, label="robust line")
    step, name = per
    pull = abs(line.slope / line.slope_err) if line.slope_err > 0 else 0.0
    slope, error = _MMAG * step * line.slope, _MMAG * step * line.slope_err
    title = f"{slope:+.2f} ± {error:.2f} mmag / {name}  ({pull:.1f} sigma)"
    ax.set_title(title, color=COLORS["red"] if line.is_significant else COLORS["ink"])


@styled
def plot_zero_point_trends(
    abscissae: Mapping[str, tuple[str, Floats]],
    stars: TrendStars,
    *,
    lines: Mapping[str, TrendLine],
    title: str,
    pixel_axes: Sequence[str] = ("x", "y"),
) -> Figure:
    """Draw one panel for each abscissa.

    Parameters
    ----------
    abscissae : mapping of str to (str, ndarray)
        Name -> label of the axis and one value per star; up to four.
    stars : TrendStars
        Offsets of the stars.
    lines : mapping of str to TrendLine
        Fitted lines by name.
    title : str
        Title of the figure.
    pixel_axes : sequence of str
        Names whose slopes are given per 1000 pixels; the others are per magnitude.
    """
    figure = new_figure(8.0, 6.2)
    half_range = _reach(stars.offset[stars.is_kept])
    for k, (name, (label, values)) in enumerate(abscissae.items()):
        column, row = k % 2, k // 2
        ax = figure.add_axes((0.085 + 0.495 * column, 0.60 - 0.465 * row, 0.405, 0.325))
        per = (1000.0, "kpix") if name in pixel_axes else (1.0, "mag")
        plot_trend(values, stars, label=label, line=lines.get(name), per=per,
                   half_range=half_range, ax=ax)  # fmt: skip
        if column:
            ax.set_ylabel("")
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        drawn, names = ax.get_legend_handles_labels()
        handles |= dict(zip(names, drawn, strict=True))
    figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=4)
    figure.suptitle(title, fontsize=10.5, y=0.992)
    return figure

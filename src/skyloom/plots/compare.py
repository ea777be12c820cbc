"""Two catalogues side by side: magnitudes, pulls, positions, shapes, types, losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skyloom._types import Bools, Floats
from skyloom.compare import BandComparison, Comparison, PositionComparison

from .style import COLORS, new_axes, new_figure, styled

__all__ = [
    "comparison_figures",
    "plot_delta_mag",
    "plot_difference_histogram",
    "plot_lost_gained",
    "plot_position_offsets",
    "plot_pull_histogram",
    "plot_type_changes",
]

_MOST_COLUMNS = 3
_SPAN = 6.0  # axes of differences reach this many robust sigma
_SMALLEST = 0.02  # mag, the least that a magnitude axis spans to each side


@styled
def plot_delta_mag(band: BandComparison, *, ax: Axes | None = None) -> Axes:
    """Draw new - old magnitudes against magnitude, with running median and 1-sigma band.

    Parameters
    ----------
    band : BandComparison
        What to draw; sources beyond the axis become arrows on the rim.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(5.0, 3.6)
    good = np.isfinite(band.mag) & np.isfinite(band.delta_mag)
    mag, delta = band.mag[good], band.delta_mag[good]
    reach = _reach(delta, band.summary.median, smallest=_SMALLEST)
    for beyond, marker in ((delta > reach, "^"), (delta < -reach, "v")):
        rim = np.where(delta[beyond] > 0, 0.96 * reach, -0.96 * reach)
        ax.plot(mag[beyond], rim, marker, color=COLORS["orange"], markersize=3.5, zorder=7)
    ax.plot(mag, delta, ".", color=COLORS["ink"], alpha=_alpha(mag.size), markersize=3.5,
            markeredgewidth=0, zorder=2)  # fmt: skip
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.8, zorder=1)
    _running(ax, band, reach)
    ax.set(ylim=(-reach, reach), ylabel="Δmag, new - old")
    ax.set_xlabel(f"{band.band} [{'AB mag' if band.is_ab else 'mag, instrumental'}]")
    ax.set_title(_band_title(band), loc="left")
    _say(ax, _delta_text(band))
    return ax


@styled
def plot_pull_histogram(band: BandComparison, *, ax: Axes | None = None) -> Axes:
    """Draw the flux differences in units of their errors, with the unit Gaussian.

    Parameters
    ----------
    band : BandComparison
        What to draw; what lies beyond 8 sigma is counted in the outermost bins.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(5.0, 3.6)
    pull = band.pull[np.isfinite(band.pull)]
    edges = np.linspace(-8.0, 8.0, 65 if pull.size > 1000 else 33).tolist()
    x = np.linspace(-8.0, 8.0, 400)
    if pull.size:
        ax.hist(np.clip(pull, -7.99, 7.99), bins=edges, density=True, histtype="stepfilled",
                color=COLORS["sky"], alpha=0.6, edgecolor=COLORS["blue"])  # fmt: skip
    ax.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color=COLORS["ink"], linewidth=1.2)
    ax.set(xlim=(-8, 8), xlabel="Δflux / $\\sigma$, new - old", yticks=[])
    ax.set_title(_band_title(band), loc="left")
    found = band.pulls
    if found.n:
        sides = "" if band.errors == "both" else f"\nerrors of {band.errors} only"
        text = f"mean {found.mean:+.2f}\nwidth {found.width:.2f}\n"
        text += f"> 3$\\sigma$: {100 * found.beyond_3:.1f} %\n"
        text += f"> 5$\\sigma$: {100 * found.beyond_5:.1f} %\nn = {found.n}{sides}"
        _say(ax, text)
    else:
        _say(ax, "no errors known")
    return ax


@styled
def plot_position_offsets(positions: PositionComparison, *, ax: Axes | None = None) -> Axes:
    """Draw position differences, east to the left, with their median and scatter.

    Parameters
    ----------
    positions : PositionComparison
        What to draw.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(4.2, 4.2)
    unit, factor = ("mas", 1000.0) if positions.unit == "arcsec" else ("pix", 1.0)
    x, y = positions.x, positions.y
    scatter = np.nanmax([factor * x.scatter, factor * y.scatter, 1e-3 * factor])
    dx, dy = factor * positions.dx, factor * positions.dy
    middle = factor * np.nan_to_num([x.median, y.median])
    reach = 5.0 * scatter + np.abs(middle).max()
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.8)
    ax.axvline(0.0, color=COLORS["grey"], linewidth=0.8)
    ax.plot(dx, dy, ".", color=COLORS["ink"], alpha=_alpha(dx.size), markersize=3.5,
            markeredgewidth=0)  # fmt: skip
    angle = np.linspace(0, 2 * np.pi, 100)
    ax.plot(middle[0] + factor * x.scatter * np.cos(angle),
            middle[1] + factor * y.scatter * np.sin(angle), color=COLORS["blue"])  # fmt: skip
    ax.plot(*middle, "+", color=COLORS["orange"], markersize=11, markeredgewidth=1.8)
    names = ("Δα cos δ", "Δδ") if unit == "mas" else ("Δx", "Δy")
    ax.set(xlim=(reach, -reach) if unit == "mas" else (-reach, reach), ylim=(-reach, reach),
           xlabel=f"{names[0]} [{unit}]", ylabel=f"{names[1]} [{unit}]")  # fmt: skip
    ax.set_aspect("equal", adjustable="box")
    ax.set_title("positions, new - old", loc="left")
    form = ".1f" if unit == "mas" else ".3f"
    beyond = int((np.maximum(np.abs(dx), np.abs(dy)) > reach).sum())
    lines = [
        f"{name} = {factor * d.median:+{form}} ± {factor * d.stderr:{form}}, "
        f"scatter {factor * d.scatter:{form}}"
        for name, d in zip(names, (x, y), strict=True)
    ]
    _say(ax, "\n".join([*lines, f"n = {x.n}, {beyond} beyond the axes"]))
    return ax


@styled
def plot_difference_histogram(
    values: Floats, *, label: str, title: str, ax: Axes | None = None
) -> Axes:
    """Draw a histogram of differences with median and robust scatter.

    Parameters
    ----------
    values : ndarray of float
        Differences, new - old; NaN are left out.
    label, title : str
        What they are, with the unit; and the heading.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(4.2, 3.6)
    good = values[np.isfinite(values)]
    ax.set_title(title, loc="left")
    ax.set(xlabel=label, yticks=[])
    if not good.size:
        _say(ax, "not measured in both")
        return ax
    median = float(np.median(good))
    scatter = 1.4826 * float(np.median(np.abs(good - median)))
    reach = 5.0 * max(scatter, 1e-3) + abs(median)
    edges = np.linspace(-reach, reach, 42 if good.size > 300 else 22).tolist()
    ax.hist(np.clip(good, -0.999 * reach, 0.999 * reach), bins=edges, histtype="stepfilled",
            color=COLORS["sky"], alpha=0.6, edgecolor=COLORS["blue"])  # fmt: skip
    ax.axvline(0.0, color=COLORS["grey"], linewidth=0.8)
    ax.axvline(median, color=COLORS["orange"], linewidth=1.4)
    ax.set(xlim=(-reach, reach))
    _say(ax, f"median {median:+.3f}\nscatter {scatter:.3f}\nn = {good.size}")
    return ax


@styled
def plot_type_changes(types: dict[tuple[str, str], int], *, ax: Axes | None = None) -> Axes:
    """Draw how often each old type became each new one.

    Parameters
    ----------
    types : dict
        Counts by (old, new) type.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(4.2, 3.8)
    rows, columns = (sorted({pair[side] for pair in types}) for side in (0, 1))
    counts = np.array([[types.get((a, b), 0) for b in columns] for a in rows], dtype=float)
    shade = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) if counts.size else counts
    ax.imshow(shade, cmap="Blues", vmin=0, vmax=1.3, aspect="auto", origin="upper")
    for (i, j), count in np.ndenumerate(counts):
        if count:
            ax.text(j, i, f"{int(count)}", ha="center", va="center", fontsize=9,
                    color="white" if shade[i, j] > 0.7 else COLORS["ink"])  # fmt: skip
    ax.set_xticks(range(len(columns)), [name or "unknown" for name in columns])
    ax.set_yticks(range(len(rows)), [name or "unknown" for name in rows])
    ax.tick_params(length=0)
    ax.set(xlabel="new type", ylabel="old type")
    ax.set_title("types of matched sources", loc="left")
    return ax


@styled
def plot_lost_gained(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Draw matched, lost and gained sources on the sky, east to the left.

    Parameters
    ----------
    comparison : Comparison
        What to draw; open symbols lie outside the other catalogue's footprint.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(6.4, 6.0, legend_rows=2)
    old, new = comparison.old, comparison.new
    on_sky = old.sky is not None and new.sky is not None
    place_old, place_new = (c.sky if on_sky else c.pixels for c in (old, new))
    assert place_old is not None
    assert place_new is not None
    centre = place_old[comparison.rows_old].centre() if len(comparison) else place_old.centre()
    plane_old, plane_new = place_old.plane(centre), place_new.plane(centre)
    unit, scale = ("pix", 1.0)
    if on_sky:
        extent = float(np.nanmax(np.abs(plane_old)))
        unit, scale = ("arcsec", 1.0) if extent < 120 else ("arcmin", 1 / 60)
    matched = scale * plane_old[comparison.rows_old]
    ax.plot(*matched.T, ".", color="0.72", markersize=3.0, markeredgewidth=0, zorder=1,
            label=f"matched ({len(matched)})")  # fmt: skip
    kinds = (
        ("lost", comparison.lost, plane_old, "red", "x"),
        ("gained", comparison.gained, plane_new, "blue", "o"),
    )
    for name, unmatched, plane, colour, marker in kinds:
        place = scale * plane[unmatched.rows]
        inside: Bools = ~unmatched.is_outside
        style: dict[str, Any] = {
            "markersize": 5.0,
            "linestyle": "none",
            "color": COLORS[colour],
            "markerfacecolor": "none",
            "markeredgewidth": 1.2,
        }
        ax.plot(*place[inside].T, marker, label=f"{name} ({int(inside.sum())})", **style)
        if (~inside).any():
            ax.plot(*place[~inside].T, "s" if name == "lost" else "D",
                    label=f"{name}, outside the other ({int((~inside).sum())})",
                    **style)  # fmt: skip
    one_sided = (
        ("no flux in new", scale * plane_old[comparison.only_old], "orange"),
        ("no flux in old", scale * plane_new[comparison.only_new], "green"),
    )
    for name, place, colour in one_sided:
        if len(place):
            ax.plot(*place.T, "+", color=COLORS[colour], markersize=6.0,
                    label=f"{name} ({len(place)})")  # fmt: skip
    ax.set_aspect("equal", adjustable="datalim")
    if on_sky:
        ax.invert_xaxis()
    names = ("east", "north") if on_sky else ("x", "y")
    ax.set(xlabel=f"{names[0]} [{unit}]", ylabel=f"{names[1]} [{unit}]")
    where = f"about RA {centre[0]:.4f}, Dec {centre[1]:.4f}" if on_sky else ""
    ax.set_title(f"lost and gained sources {where}", loc="left")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3)
    return ax


@styled
def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """Return all pictures of a comparison by name: the files without ``.png``.

    ``delta_mag`` and ``pulls`` have a panel per band; ``positions_shapes`` has positions, sizes,
    ellipticities, angles and types; ``lost_gained`` is a map.
    """
    figures: dict[str, Figure] = {}
    if comparison.bands:
        for name, draw in (("delta_mag", plot_delta_mag), ("pulls", plot_pull_histogram)):
            figure, axes = _grid(len(comparison.bands), height=2.75)
            for band, ax in zip(comparison.bands, axes, strict=True):
                draw(band, ax=ax)
            figures[name] = figure
    figures["positions_shapes"] = _positions_shapes(comparison)
    lost = plot_lost_gained(comparison).get_figure(root=True)
    assert lost is not None
    figures["lost_gained"] = lost
    return figures


def _positions_shapes(comparison: Comparison) -> Figure:
    shapes = comparison.shapes
    has_types = any(old or new for old, new in comparison.types)
    panels = 1 + (0 if shapes is None else 3) + int(has_types)
    figure, axes = _grid(panels, height=3.5)
    plot_position_offsets(comparison.positions, ax=axes[0])
    if shapes is not None:
        title = "sizes" if shapes.same_size else "sizes (defined differently)"
        plot_difference_histogram(shapes.log_size_ratio, label="log10 size, new / old",
                                  title=title, ax=axes[1])  # fmt: skip
        plot_difference_histogram(shapes.delta_ellipticity, label="Δ (a-b)/(a+b), new - old",
                                  title="ellipticities", ax=axes[2])  # fmt: skip
        plot_difference_histogram(shapes.delta_angle, label="Δ angle [deg], new - old",
                                  title="angles, where b/a < 0.8", ax=axes[3])  # fmt: skip
    if has_types:
        plot_type_changes(comparison.types, ax=axes[-1])
    return figure


def _grid(n: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of n panels, at most three in a row."""
    columns = min(n, _MOST_COLUMNS) if n != 4 else 2
    rows = -(-n // columns)
    if n == 1:
        height *= 1.4
    figure = new_figure(5.6 if n == 1 else 3.7 * columns + 0.2, height * rows)
    figure.set_layout_engine("constrained")
    return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(n)]


def _running(ax: Axes, band: BandComparison, reach: float) -> None:
    """Draw the median of each bin and the range of 1 sigma around it, where the axis holds them."""
    bins = [b for b in band.bins if abs(b.delta_mag.median) + b.delta_mag.stderr < reach]
    if not bins:
        return
    middle = np.array([0.5 * (b.mag_low + b.mag_high) for b in bins])
    median = np.array([b.delta_mag.median for b in bins])
    scatter = np.array([b.delta_mag.scatter for b in bins])
    ax.fill_between(middle, median - scatter, median + scatter, color=COLORS["sky"], alpha=0.35,
                    linewidth=0, zorder=3)  # fmt: skip
    error = np.array([b.delta_mag.stderr for b in bins])
    ax.errorbar(middle, median, yerr=error, fmt="o-", color=COLORS["blue"], markersize=3.5,
                linewidth=1.4, zorder=4)  # fmt: skip


def _reach(values: Floats, median: float, *, smallest: float) -> float:
    """Return how far an axis of differences goes: most of the values, not the wildest."""
    if not values.size:
        return smallest
    wide = _SPAN * 1.4826 * float(np.median(np.abs(values - median))) + abs(median)
    return max(min(wide, 1.05 * float(np.abs(values).max())), smallest)


def _alpha(n: int) -> float:
    return float(np.clip(15.0 / np.sqrt(max(n, 1)), 0.08, 0.6))


def _band_title(band: BandComparison) -> str:
    return band.band if band.band == band.old_band else f"{band.band} (old: {band.old_band})"


def _delta_text(band: BandComparison) -> str:
    found = band.summary
    if not found.n:
        return "no positive flux in both"
    text = f"median {found.median:+.4f} ± {found.stderr:.4f}\n"
    text += f"scatter {found.scatter:.3f}, n = {found.n}"
    if band.offset_removed:
        text += f"\nzero points: {band.offset_removed:+.3f} taken off"
    return text


def _say(ax: Axes, text: str) -> None:
    ax.text(0.03, 0.97, text, transform=ax.transAxes, ha="left", va="top", fontsize=7.5,
            color=COLORS["ink"], zorder=6, linespacing=1.3,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none",
                  "pad": 1.5})  # fmt: skip

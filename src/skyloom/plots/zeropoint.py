"""Zero points: what each star says, who was believed, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from skyloom._types import Bools, Floats

from .style import COLORS, new_axes, styled

__all__ = ["ZeroPointStars", "plot_zero_point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointStars:
    """Zero points of single stars; arrays of one length."""

    mag: Floats  # AB mag, reference
    zp: Floats  # AB mag
    zp_err: Floats  # mag, NaN where unknown
    snr: Floats
    is_kept: Bools
    is_clipped: Bools
    is_unreliable: Bools  # left out before clipping


@styled
def plot_zero_point(
    stars: ZeroPointStars,
    *,
    band: str,
    zp_median: float,
    zp_err: float,
    err_label: str = "MAD",
    snr_min: float | None = None,
    mag_range: tuple[float, float] = (10.0, 20.0),
    half_range: float | None = 0.25,
    expected: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw zero points of single stars against magnitude, with the adopted value.

    Parameters
    ----------
    stars : ZeroPointStars
        What each star says.
    band : str
        Name for the title.
    zp_median, zp_err : float
        Adopted zero point and its error [AB mag].
    err_label : str
        Name of the error estimate in the legend.
    snr_min : float, optional
        Kept stars below this S/N are grey: they did not enter the error (``bright_std``).
    mag_range : tuple of float
        Limits of the magnitude axis; ranges in it without a star are shaded.
    half_range : float or None
        The zero-point axis reaches this far from the median [mag]; stars beyond it become arrows
        on the rim.  None: all stars fit in, with 5 % to spare.
    expected : float, optional
        True zero point of a simulation.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax if ax is not None else new_axes(6.4, 4.8, legend_rows=3)
    limits = _limits(stars, zp_median, zp_err, half_range)
    ax.set(xlim=mag_range, ylim=limits)
    _shade_empty(ax, stars.mag, mag_range)
    ax.axhspan(zp_median - zp_err, zp_median + zp_err, color=COLORS["sky"], alpha=0.25, linewidth=0,
               label=f"± {err_label}", zorder=1)  # fmt: skip
    _draw_stars(ax, stars, snr_min)
    ax.axhline(zp_median, color=COLORS["blue"], linewidth=1.6, zorder=3,
               label=f"{zp_median:.4f} ± {zp_err:.4f}")  # fmt: skip
    if expected is not None:
        ax.axhline(expected, color=COLORS["orange"], linewidth=1.4, linestyle="--", zorder=3,
                   label=f"truth {expected:.4f}")  # fmt: skip
    ax.set(xlabel=f"reference magnitude, {band} [AB]", ylabel="zero point [AB mag]")
    ax.set_title(f"zero point {band} = {zp_median:.4f} ± {zp_err:.4f} mag")
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    return ax


def _limits(
    stars: ZeroPointStars, zp_median: float, zp_err: float, half_range: float | None
) -> tuple[float, float]:
    if half_range is not None:
        return zp_median - half_range, zp_median + half_range
    values = np.concatenate(
        [stars.zp[np.isfinite(stars.zp)], [zp_median - zp_err, zp_median + zp_err]]
    )
    pad = 0.05 * max(float(np.ptp(values)), 0.01)
    return float(values.min()) - pad, float(values.max()) + pad


def _shade_empty(ax: Axes, mag: Floats, mag_range: tuple[float, float]) -> None:
    """Shade the parts of the magnitude axis brighter and fainter than every star."""
    finite = mag[np.isfinite(mag)]
    low, high = mag_range
    first, last = (float(finite.min()), float(finite.max())) if finite.size else (high, high)
    for start, stop in ((low, first), (last, high)):
        if stop > start:
            ax.axvspan(start, stop, color="0.93", linewidth=0, zorder=0)


def _draw_stars(ax: Axes, stars: ZeroPointStars, snr_min: float | None) -> None:
    kept, clipped = stars.is_kept, stars.is_clipped
    faint = kept & (stars.snr < (snr_min or 0.0))
    kinds = (
        (stars.is_unreliable, "D", COLORS["grey"], "unreliable", 4.0),
        (faint, "o", COLORS["grey"], f"kept, S/N < {snr_min}", 4.5),
        (kept & ~faint, "o", COLORS["ink"], "kept", 4.5),
        (clipped, "x", COLORS["red"], "clipped", 5.5),
    )
    for zorder, (chosen, marker, colour, label, size) in enumerate(kinds, start=4):
        _draw(
            ax, stars, chosen, marker=marker, colour=colour, label=label, size=size, zorder=zorder
        )


def _draw(
    ax: Axes,
    stars: ZeroPointStars,
    chosen: Bools,
    *,
    marker: str,
    colour: str,
    label: str,
    size: float,
    zorder: int,
) -> None:
    if not chosen.any():
        return
    low, high = ax.get_ylim()
    mag, zp = stars.mag[chosen], stars.zp[chosen]
    error = np.nan_to_num(stars.zp_err[chosen], nan=0.0, posinf=0.0)
    style: dict[str, Any] = {
        "color": colour,
        "markersize": size,
        "markerfacecolor": "white",
        "zorder": zorder,
    }
    inside = (zp >= low) & (zp <= high)
    ax.errorbar(mag[inside], zp[inside], yerr=error[inside], fmt=marker, linewidth=0.8,
                markeredgewidth=1.0, label=f"{label} ({len(zp)})", **style)  # fmt: skip
    reach = 0.02 * (high - low)
    for beyond, arrow, edge in ((zp < low, "v", low + reach), (zp > high, "^", high - reach)):
        if beyond.any():
            ax.plot(mag[beyond], np.full(beyond.sum(), edge), arrow, **style)

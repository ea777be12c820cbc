"""Data, model and residual side by side: of one patch with its sources, or of the whole tile."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skyloom._types import Bools, Floats

from .marks import FittedPoints, mark_fits
from .raster import Canvas, Marker, Panel, Ticks, asinh_scaled, linear_scaled
from .style import Image, robust_level

__all__ = ["PatchPicture", "draw_patch"]

SIGMA_RANGE = 5.0  # half range of the residual in sigma
WIDTH_INCH = 15.0  # of four panels, at most
MAPS = ("gray", "PuOr_r")
TITLES = ("data", "model + sky", "data - model", "(data - model) / sigma")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPicture:
    """What an overview shows: images of a patch, or of the tile, and its sources."""

    tag: str
    data: Image  # scaled counts, white-combined, shape (ny, nx)
    model: Image  # model + sky, same unit
    sigma: Image  # noise per pixel, same unit
    bad: Bools  # masked in every band
    base: FittedPoints = field(default_factory=FittedPoints)  # sources of the patch
    halo: FittedPoints = field(default_factory=FittedPoints)  # neighbours fitted along
    binning: int = 1  # pixels of the frame per pixel of these images
    notes: str = ""  # added to the title


def draw_patch(picture: PatchPicture, *, dpi: float = 150) -> Canvas:
    """Draw data, model + sky, residual in counts and residual in sigma.

    Data and model share one stretch.  The positions stand on the first two panels, the residuals
    stay free.  Masked pixels are red.

    Parameters
    ----------
    picture : PatchPicture
        Images and positions, in the frame of the images.
    dpi : float
        Resolution [pixels / inch]; the picture is at most about 15 inch wide.
    """
    ny, nx = picture.data.shape
    zoom = max(1, int(WIDTH_INCH * dpi / (4.2 * max(nx, ny))))
    letter = max(8.0, min(0.14 * dpi, 0.035 * max(nx * zoom, 160)))
    gap, head, foot = round(0.8 * letter), round(5.4 * letter), round(3.0 * letter)
    canvas = Canvas(5 * gap + 4 * nx * zoom, head + ny * zoom + foot, maps=MAPS)
    bad = picture.bad | ~np.isfinite(picture.data)
    residual = np.where(bad, np.nan, picture.data - picture.model)
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = residual / picture.sigma
    data = np.where(bad, np.nan, picture.data)
    _, noise = robust_level(residual)
    low, high = _percent_range(data)
    panels = []
    for k, (shades, cmap, ends, unit) in enumerate(
        (
            (asinh_scaled(data), "gray", (low, high), "scaled counts, asinh"),
            (asinh_scaled(picture.model, data), "gray", (low, high), "scaled counts, asinh"),
            (linear_scaled(residual, -4 * noise, 4 * noise), "gray", (-4 * noise, 4 * noise), ""),
            (linear_scaled(pull, -SIGMA_RANGE, SIGMA_RANGE), "PuOr_r", (-5.0, 5.0), "sigma"),
        )
    ):
        left = gap + k * (nx * zoom + gap)
        panel = Panel(canvas=canvas, left=left, top=head, zoom=zoom, shape=(ny, nx))
        panel.show(canvas.shade(shades, bad, cmap=cmap)).outline()
        middle = 0.5 * (panel.left + panel.right)
        canvas.text(middle, head - letter, TITLES[k], size=letter, align="centre")
        bar = Ticks(low=_short(ends[0]), high=_short(ends[1]), label=unit or "scaled counts")
        bar.draw(panel, cmap=cmap, size=0.85 * letter)
        panels.append(panel)
    size, width = max(7.0, 0.7 * letter), max(1, round(dpi / 150))
    for panel in panels[:2]:
        mark_fits(panel, picture.base, picture.halo, size=size, width=width)
    _head(canvas, picture, letter, masked=float(bad.mean()), pull=pull)
    return canvas


def _percent_range(data: Image) -> tuple[float, float]:
    """Return what `asinh_scaled` makes black and white."""
    middle, sigma = robust_level(data)
    finite = data[np.isfinite(data)]
    high = float(np.percentile(finite, 99.8)) if finite.size else 1.0
    return middle - 2 * sigma, max(high, middle + 12 * sigma)


def _short(value: float) -> str:
    return f"{value:.3g}"


def _head(
    canvas: Canvas, picture: PatchPicture, letter: float, *, masked: float, pull: Floats
) -> None:
    """Write the title and, where sources are marked, what the markers mean."""
    n_base, n_halo = len(picture.base.start), len(picture.halo.start)
    counts = f"{n_base} sources + {n_halo} halo, " if n_base + n_halo else ""
    binned = (
        f", {picture.binning} x {picture.binning} pixels averaged" if picture.binning > 1 else ""
    )
    text = f"{counts}{100 * masked:.1f} % masked; residual: {_spread(pull)}{binned}{picture.notes}"
    x = 0.8 * letter
    canvas.text(x, 1.1 * letter, picture.tag, size=1.15 * letter, bold=True)
    canvas.text(x, 2.7 * letter, text, size=letter)
    if not n_base + n_halo:
        return
    entries: tuple[tuple[Marker, str, str], ...] = (
        ("x", "orange", "start"),
        ("x", "sky", "fitted"),
        ("diamond", "yellow", "halo start"),
        ("diamond", "lime", "halo fitted"),
        ("square", "masked", "masked"),
    )
    right = canvas.pixels.shape[1] - round(0.8 * letter)
    for marker, colour, label in reversed(entries):
        width = round((0.62 * len(label) + 2.4) * letter)
        left = right - width
        canvas.box(left, 0.4 * letter, right, 1.9 * letter, "ink")
        spot = Panel(canvas=canvas, left=left, top=0, zoom=1, shape=(round(2.3 * letter), width))
        at = np.array([0.9 * letter]), np.array([1.15 * letter])
        spot.mark(*at, marker, colour, size=0.9 * letter, width=max(1, round(letter / 10)))
        canvas.text(left + 1.7 * letter, 1.15 * letter, label, size=0.9 * letter, colour="paper")
        right = left


def _spread(pull: Floats) -> str:
    good = pull[np.isfinite(pull)]
    if good.size == 0:
        return "no pixel"
    width = 1.4826 * np.median(np.abs(good - np.median(good)))
    beyond = 100 * np.mean(np.abs(good) > SIGMA_RANGE)
    return f"width {width:.2f} sigma, {beyond:.2g} % beyond 5"

"""Curves and histograms on a canvas: axes with round ticks, and what lies between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats

from .raster import Canvas

__all__ = ["Chart", "round_ticks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Axes on a canvas; y runs upwards."""

    canvas: Canvas
    left: int  # screen pixels, of the area inside the axes
    top: int
    width: int
    height: int
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    letter: float  # height of letters [screen pixels]

    def axes(self, *, xlabel: str, ylabel: str, title: str = "") -> Chart:
        """Draw the frame, ticks with numbers, and names."""
        canvas, u = self.canvas, self.letter
        right, bottom, line = self.left + self.width, self.top + self.height, self._line
        canvas.frame(self.left, self.top, right, bottom, "ink", width=line)
        tick = max(2, round(0.35 * u))
        xticks, x_digits = round_ticks(*self.xlim)
        for x, value in zip(self._x(xticks), xticks, strict=True):
            canvas.box(x, bottom - tick, x + line, bottom, "ink")
            text = f"{value:.{x_digits}f}"
            canvas.text(x, bottom + 0.9 * u, text, size=0.85 * u, align="centre")
        yticks, y_digits = round_ticks(*self.ylim)
        for y, value in zip(self._y(yticks), yticks, strict=True):
            canvas.box(self.left, y, self.left + tick, y + line, "ink")
            text = f"{value:.{y_digits}f}"
            canvas.text(self.left - 0.4 * u, y, text, size=0.85 * u, align="right")
        middle = self.left + 0.5 * self.width
        canvas.text(middle, bottom + 2.2 * u, xlabel, size=u, align="centre")
        canvas.text(self.left - 2.9 * u, self.top + 0.5 * self.height, ylabel, size=u, upright=True)
        if title:
            canvas.text(middle, self.top - u, title, size=u, align="centre")
        return self

    def curve(
        self, x: Floats, y: Floats, colour: str, *, width: int | None = None, dash: int = 0
    ) -> None:
        """Draw a line through points."""
        width = width or self._line
        sx, sy = self._x(np.asarray(x, np.float64)), self._y(np.asarray(y, np.float64))
        length = np.r_[0.0, np.cumsum(np.hypot(np.diff(sx), np.diff(sy)))]
        t = np.arange(0.0, length[-1] + 0.5, 0.5)
        if dash:
            t = t[(t // dash) % 2 == 0]
        px, py = np.interp(t, length, sx), np.interp(t, length, sy)
        brush = np.arange(width) - (width - 1) // 2
        dx, dy = (a.ravel() for a in np.meshgrid(brush, brush))
        self._dots(px[:, None] + dx, py[:, None] + dy, colour)

    def bars(self, edges: Floats, heights: Floats, colour: str) -> None:
        """Fill the bars of a histogram."""
        x = np.clip(self._x(edges), self.left, self.left + self.width)
        y = np.clip(self._y(heights), self.top, self.top + self.height)
        for x0, x1, y0 in zip(x[:-1], x[1:], y, strict=True):
            self.canvas.box(x0, y0, x1, self.top + self.height, colour)

    def note(self, line: int, text: str, colour: str | None = None, *, right: bool = True) -> None:
        """Write a line of text into the upper right (or left) corner."""
        u = self.letter
        x = self.left + self.width - 0.6 * u if right else self.left + 0.9 * u
        y = self.top + (1.2 + 1.5 * line) * u
        self.canvas.text(
            x, y, text, size=0.9 * u, align="right" if right else "left", colour=colour
        )

    @property
    def _line(self) -> int:
        return max(1, round(self.letter / 12))

    def _x(self, x: Floats) -> Floats:
        low, high = self.xlim
        return np.asarray(self.left + (x - low) / (high - low) * self.width)

    def _y(self, y: Floats) -> Floats:
        low, high = self.ylim
        return np.asarray(self.top + (high - y) / (high - low) * self.height)

    def _dots(self, x: Floats, y: Floats, colour: str) -> None:
        ix, iy = np.rint(x).astype(np.int64).ravel(), np.rint(y).astype(np.int64).ravel()
        inside = (ix >= self.left) & (ix < self.left + self.width)
        inside &= (iy >= self.top) & (iy < self.top + self.height)
        self.canvas.pixels[iy[inside], ix[inside]] = self.canvas.index(colour)


def round_ticks(low: float, high: float) -> tuple[Floats, int]:
    """Return three to six round values inside a range and the decimals that they need."""
    rough = max(high - low, 1e-9) / 5
    power = math.floor(math.log10(rough))
    step = next(m * 10.0**power for m in (1, 2, 5, 10) if m * 10.0**power >= rough * (1 - 1e-9))
    ticks = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return np.asarray(ticks, np.float64), max(0, -math.floor(math.log10(step) + 1e-9))

"""Pictures made of pixels: image panels, markers and labels, drawn straight into an array.

A run draws hundreds of small pictures of sources and PSF cells, and a plotting library needs a
second for each.  Here a picture is an array of palette indices, and a PNG file its compressed form.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from skyloom._types import Bools, Floats

from .style import COLORS, MASKED, Image, robust_level

__all__ = [
    "INK",
    "PAPER",
    "Canvas",
    "Marker",
    "Panel",
    "Ticks",
    "asinh_scaled",
    "linear_scaled",
    "text_width",
]

Indices: TypeAlias = npt.NDArray[np.uint8]
Marker: TypeAlias = Literal["x", "plus", "diamond", "circle", "square"]

INK: Final = "ink"
PAPER: Final = "paper"
_NAMED: Final = {**COLORS, "masked": MASKED, "paper": "#FFFFFF", "fit": "#FF2BD6"}
_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


class Canvas:
    """A picture under construction.

    Parameters
    ----------
    width, height : int
        Size [screen pixels].
    maps : sequence of str
        Colour maps of matplotlib that panels may use; the first is to be ``gray``, in which text
        is drawn.  They share the 256 entries of the palette with the named colours.
    """

    def __init__(self, width: int, height: int, *, maps: Sequence[str] = ("gray",)) -> None:
        self.levels = (256 - len(_NAMED)) // len(maps)
        self._start = {name: k * self.levels for k, name in enumerate(maps)}
        first = len(maps) * self.levels
        self._colour = {name: first + k for k, name in enumerate(_NAMED)}
        self.palette = _palette(tuple(maps), self.levels)
        self.pixels: Indices = np.full((height, width), self._colour[PAPER], np.uint8)

    def index(self, colour: str) -> int:
        """Return the palette entry of a named colour."""
        return self._colour[colour]

    def shade(self, values: Image, bad: Bools | None = None, *, cmap: str = "gray") -> Indices:
        """Return palette entries of values 0...1; bad and undefined pixels are red."""
        undefined = ~np.isfinite(values) if bad is None else bad | ~np.isfinite(values)
        steps = np.clip(np.where(undefined, 0.0, values), 0.0, 1.0) * (self.levels - 1) + 0.5
        entries = steps.astype(np.uint8) + np.uint8(self._start[cmap])
        entries[undefined] = self._colour["masked"]
        return np.asarray(entries, np.uint8)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        align: Literal["left", "centre", "right"] = "left",
        colour: str | None = None,
        bold: bool = False,
        upright: bool = False,
    ) -> None:
        """Write a line of text whose vertical middle is at ``y``; dark on paper by default.

        Parameters
        ----------
        x, y : float
            Where [screen pixels].
        text : str
            What.
        size : float
            Height of the letters [screen pixels].
        align : str
            Which side of the text ``x`` is (with ``upright``: ``y`` is its middle).
        colour : str, optional
            Named colour, for text on a panel.
        bold, upright : bool
            Bold; turned to read from bottom to top.
        """
        mask = _text_mask(text, max(6, round(size)), bold)
        if upright:
            mask = mask[:, ::-1].T
        h, w = mask.shape
        shift = {"left": 0.0, "centre": 0.5 * w, "right": float(w)}[align]
        x0, y0 = round(x - (0.5 * w if upright else shift)), round(y - 0.5 * h)
        ny, nx = self.pixels.shape
        cut = slice(max(0, y0), max(0, y0 + h)), slice(max(0, x0), max(0, x0 + w))
        part = mask[max(0, -y0) : max(0, ny - y0), max(0, -x0) : max(0, nx - x0)]
        if colour is None:
            seen = part > 8
            self.pixels[cut][seen] = self.shade(1.0 - 0.9 * part[seen] / 255.0)
        else:
            self.pixels[cut][part > 110] = self._colour[colour]

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        """Fill a rectangle [screen pixels]."""
        rows, columns = slice(max(0, round(y0)), round(y1)), slice(max(0, round(x0)), round(x1))
        self.pixels[rows, columns] = self._colour[colour]

    def frame(self, x0: int, y0: int, x1: int, y1: int, colour: str, *, width: int = 1) -> None:
        """Draw the outline of a rectangle, outside of it."""
        w = width
        for a, b, c, d in ((x0 - w, y0 - w, x1 + w, y0), (x0 - w, y1, x1 + w, y1 + w),
                           (x0 - w, y0 - w, x0, y1 + w), (x1, y0 - w, x1 + w, y1 + w)):  # fmt: skip
            self.box(a, b, c, d, colour)

    def png(self, *, dpi: float = 150) -> bytes:
        """Return the picture as a PNG file; the same picture gives the same bytes."""
        ny, nx = self.pixels.shape
        lines = np.zeros((ny, nx + 1), np.uint8)
        lines[0, 1:] = self.pixels[0]
        # Filter "up": enlarged pixels repeat the line above, which becomes zeros.
        lines[1:, 0] = 2
        np.subtract(self.pixels[1:], self.pixels[:-1], out=lines[1:, 1:])
        packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
        packed = packer.compress(lines.tobytes()) + packer.flush()
        per_metre = round(dpi / 0.0254)
        chunks = (
            (b"IHDR", struct.pack(">IIBBBBB", nx, ny, 8, 3, 0, 0, 0)),
            (b"PLTE", self.palette),
            (b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
            (b"IDAT", packed),
            (b"IEND", b""),
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@functools.lru_cache(maxsize=16)
def _palette(maps: tuple[str, ...], levels: int) -> bytes:
    steps = np.linspace(0.0, 1.0, levels)
    tables = [np.round(255 * mpl.colormaps[name](steps)[:, :3]).astype(np.uint8) for name in maps]
    named = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _NAMED.values()]
    return np.concatenate([*tables, np.array(named, np.uint8)]).tobytes()


@functools.lru_cache(maxsize=64)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(_FONTS / name), size)


@functools.lru_cache(maxsize=4096)
def _text_mask(text: str, size: int, bold: bool) -> Indices:
    """Return the coverage 0...255 of a line of text; its height depends on the size alone."""
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    left, top, right, _ = font.getbbox(text) if text else (0, 0, 1, 1)
    mask = np.zeros((ascent + descent, max(1, int(right))), np.uint8)
    drawn = font.getmask(text)
    w, h = drawn.size
    if w and h:
        y, x = max(0, int(top)), max(0, int(left))
        glyphs = np.asarray(drawn, np.uint8).reshape(h, w)
        seen = mask[y : y + h, x : x + w]
        seen[...] = glyphs[: seen.shape[0], : seen.shape[1]]
    return mask


def text_width(text: str, size: float, *, bold: bool = False) -> int:
    """Return the width of a line of text as `Canvas.text` writes it [screen pixels]."""
    return int(_text_mask(text, max(6, round(size)), bold).shape[1])


def linear_scaled(image: Image, low: float, high: float) -> Floats:
    """Return values that are 0 at ``low`` and 1 at ``high``."""
    return np.asarray((image - low) / max(high - low, 1e-30), np.float64)


def asinh_scaled(
    image: Image, like: Image | None = None, *, faint: float = 2.0, top: float = 99.8
) -> Floats:
    """Return an image on a stretch 0...1, linear in the noise and logarithmic in the stars.

    Parameters
    ----------
    image : ndarray
        Any shape; NaN stays NaN.
    like : ndarray, optional
        Image that decides the stretch; by default the image itself.
    faint : float
        0 lies this many sigma below the median.
    top : float
        1 lies at this percentile; at least 12 sigma.
    """
    like = image if like is None else like
    middle, sigma = robust_level(like)
    finite = like[np.isfinite(like)]
    high = float(np.percentile(finite, top)) if finite.size else 1.0
    ends = np.arcsinh(np.array([-faint * sigma, max(high - middle, 12 * sigma)]) / (3 * sigma))
    return linear_scaled(np.arcsinh((image - middle) / (3 * sigma)), ends[0], ends[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """An image on a canvas, and where its pixels are; y runs upwards."""

    canvas: Canvas
    left: int  # screen pixels
    top: int
    zoom: int  # screen pixels per image pixel
    shape: tuple[int, int]  # of the image
    x0: float = 0.0  # image coordinates of the first pixel
    y0: float = 0.0

    @property
    def right(self) -> int:
        """Right side [screen pixels]."""
        return self.left + self.shape[1] * self.zoom

    @property
    def bottom(self) -> int:
        """Lower side [screen pixels]."""
        return self.top + self.shape[0] * self.zoom

    def show(self, entries: Indices) -> Panel:
        """Show palette entries, shape (ny, nx), enlarged."""
        big = np.repeat(np.repeat(entries[::-1], self.zoom, axis=0), self.zoom, axis=1)
        self.canvas.pixels[self.top : self.bottom, self.left : self.right] = big
        return self

    def place(self, x: Floats | float, y: Floats | float) -> tuple[Floats, Floats]:
        """Return where image coordinates are on the screen."""
        sx = self.left + (np.asarray(x, np.float64) - self.x0 + 0.5) * self.zoom - 0.5
        sy = self.bottom - (np.asarray(y, np.float64) - self.y0 + 0.5) * self.zoom - 0.5
        return sx, sy

    def mark(
        self, x: Floats, y: Floats, marker: Marker, colour: str, *, size: float, width: int = 1
    ) -> None:
        """Draw markers of a size [screen pixels] at image coordinates; NaN are left out."""
        sx, sy = (np.atleast_1d(v) for v in self.place(x, y))
        known = np.isfinite(sx) & np.isfinite(sy)
        dx, dy = _marker(marker, round(size), width)
        self._dots(sx[known][:, None] + dx, sy[known][:, None] + dy, colour)

    def join(self, x: Floats, y: Floats, to_x: Floats, to_y: Floats, colour: str) -> None:
        """Draw straight lines between pairs of image coordinates."""
        a, b = np.stack(self.place(x, y)), np.stack(self.place(to_x, to_y))
        for start, stop in zip(a.T, b.T, strict=True):
            length = np.abs(stop - start).max()
            if np.isfinite(length):
                t = np.linspace(0.0, 1.0, int(length) + 2)
                path = start[:, None] + (stop - start)[:, None] * t
                self._dots(path[0], path[1], colour)

    def crosshair(
        self,
        x: float,
        y: float,
        colour: str,
        *,
        gap: float,
        width: int = 1,
        dash: int = 0,
    ) -> None:
        """Draw lines through a point across the panel, free within ``gap`` screen pixels of it."""
        sx, sy = (float(v) for v in self.place(x, y))
        if not (np.isfinite(sx) and np.isfinite(sy)):
            return
        offsets = np.arange(width) - (width - 1) // 2
        for along, (start, stop), centre in (
            ("x", (self.left, self.right), sx),
            ("y", (self.top, self.bottom), sy),
        ):
            t = np.arange(start, stop, dtype=np.float64)
            t = t[np.abs(t - centre) > gap]
            if dash:
                t = t[(np.abs(t - centre) // dash) % 2 == 0]
            if along == "x":
                self._dots(t[:, None] + 0 * offsets, sy + offsets + 0 * t[:, None], colour)
            else:
                self._dots(sx + offsets + 0 * t[:, None], t[:, None] + 0 * offsets, colour)

    def outline(self, colour: str = INK, *, width: int = 1) -> None:
        """Draw a frame around the panel."""
        self.canvas.frame(self.left, self.top, self.right, self.bottom, colour, width=width)

    def _dots(self, x: Floats, y: Floats, colour: str) -> None:
        ix, iy = np.rint(x).astype(np.int64).ravel(), np.rint(y).astype(np.int64).ravel()
        inside = (ix >= self.left) & (ix < self.right) & (iy >= self.top) & (iy < self.bottom)
        self.canvas.pixels[iy[inside], ix[inside]] = self.canvas.index(colour)


@functools.lru_cache(maxsize=64)
def _marker(marker: Marker, size: int, width: int) -> tuple[Floats, Floats]:
    """Return the pixels of a marker relative to its centre."""
    half = max(2, size // 2)
    grid = np.arange(-half - width, half + width + 1)
    dx, dy = np.meshgrid(grid, grid)
    ax, ay, w = np.abs(dx), np.abs(dy), 0.5 * width
    if marker == "x":
        chosen = (np.abs(ax - ay) < w + 0.3) & (ax <= 0.75 * half)
    elif marker == "plus":
        chosen = ((ax < w) | (ay < w)) & (np.maximum(ax, ay) <= half)
    elif marker == "diamond":
        chosen = np.abs(ax + ay - half) < w + 0.3
    elif marker == "circle":
        chosen = np.abs(np.hypot(dx, dy) - half) < w + 0.1
    else:
        chosen = np.abs(np.maximum(ax, ay) - half) < w
    return dx[chosen].astype(np.float64), dy[chosen].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """A colour bar: what the shades of a panel mean."""

    low: str
    high: str
    label: str = ""

    def draw(self, panel: Panel, *, cmap: str, size: float) -> None:
        """Draw it under a panel, with letters of a size [screen pixels]."""
        canvas = panel.canvas
        top, height = panel.bottom + round(0.5 * size), max(3, round(0.5 * size))
        steps = np.linspace(0.0, 1.0, panel.right - panel.left)
        bar = slice(top, top + height), slice(panel.left, panel.right)
        canvas.pixels[bar] = canvas.shade(steps, cmap=cmap)
        y = top + height + 0.8 * size
        canvas.text(panel.left, y, self.low, size=size)
        canvas.text(panel.right, y, self.high, size=size, align="right")
        if self.label:
            canvas.text(0.5 * (panel.left + panel.right), y, self.label, size=size, align="centre")

"""Pictures by matplotlib: the same calls where there is no ds9."""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from skyloom._types import Floats
from skyloom.display.backends import zoom_value
from skyloom.display.colors import rgb
from skyloom.display.marks import Circle, Ellipse, Line, Mark, Text
from skyloom.display.picture import Picture
from skyloom.display.stretch import Stretch
from skyloom.errors import Unwritable, WrongValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Matplotlib"]

log = logging.getLogger(__name__)

_LONG_SIDE: Final = 8.0  # inch, of the image
_DPI: Final = 100
_COLOR_MAPS: Final = {"grey": "gray", "heat": "afmhot", "cool": "cool", "rainbow": "gist_rainbow"}
_TURN: Final = np.linspace(0.0, 2.0 * np.pi, 65)  # rad, of a closed curve


@dataclass(slots=True, kw_only=True)
class Shown:
    """What a frame holds."""

    picture: Picture | None = None
    colors: Mapping[str, str] = field(default_factory=dict)
    transparency: float = 0.0  # percent
    marks: list[Mark] = field(default_factory=list)
    stretch: Stretch = field(default_factory=Stretch)
    color_map: str = "gray"
    zoom: float | None = None  # screen pixels per pixel; None: the whole image
    centre: tuple[float, float] | None = None  # parent coordinates [pix]


@final
class Matplotlib:
    """A back end that draws figures on request; see `Backend` for its methods."""

    def __init__(self) -> None:
        self.frames: dict[int, Shown] = {}

    @property
    def name(self) -> str:
        """``matplotlib``."""
        return "matplotlib"

    def show(
        self, frame: int, picture: Picture, *, colors: Mapping[str, str], transparency: float
    ) -> None:
        """Keep a picture; stretch and colour map of the frame stay."""
        before = self._frame(frame)
        self.frames[frame] = Shown(
            picture=picture,
            colors=dict(colors),
            transparency=transparency,
            stretch=before.stretch,
            color_map=before.color_map,
        )

    def draw(self, frame: int, marks: Sequence[Mark]) -> None:
        """Keep marks."""
        self._frame(frame).marks.extend(marks)

    def erase(self, frame: int) -> None:
        """Forget the marks of a frame."""
        self._frame(frame).marks.clear()

    def pan(self, frame: int, x: float, y: float) -> None:
        """Centre a frame on a position."""
        self._frame(frame).centre = (x, y)

    def setting(self, frame: int, key: str, value: Any) -> None:
        """Change scale, zoom, cmap or mask transparency; others are named in the log."""
        shown = self._frame(frame)
        words = str(value).split()
        if key == "scale":
            shown.stretch = shown.stretch.changed(value)
        elif key == "zoom":
            zoom = zoom_value(value)
            shown.zoom = None if zoom == "fit" else float(zoom)
        elif key == "cmap" and len(words) == 1:
            shown.color_map = _color_map(words[0])
        elif key == "mask" and len(words) == 2 and words[0] == "transparency":
            shown.transparency = float(words[1])
        else:
            log.warning("setting %s %s means nothing to matplotlib; it is left out", key, value)

    def figure(self, frame: int) -> Figure:
        """Return a figure of a frame.

        Raises
        ------
        WrongValue
            If the frame shows no image.
        """
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow

        picture = self._frame(frame).picture
        if picture is None:
            listed = ", ".join(str(n) for n, s in self.frames.items() if s.picture) or "none"
            raise WrongValue(f"frame {frame} shows no image; frames with one: {listed}")
        ny, nx = picture.pixels.shape
        scale = _LONG_SIDE / max(ny, nx)
        size = max(2.0, nx * scale) + 0.8, max(2.0, ny * scale) + 0.8
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        draw_frame(self._frame(frame), figure.subplots())
        return figure

    def png(self, frame: int) -> bytes:
        """Return the picture of a frame as a PNG file."""
        file = io.BytesIO()
        self.figure(frame).savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()

    def save(self, path: Path, frame: int) -> None:
        """Write the picture of a frame, under a temporary name that is then renamed."""
        content = self.png(frame)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise Unwritable(
                f"{path}: the picture cannot be written ({error.strerror}); name another place",
                file=str(path),
            ) from error

    def close(self) -> None:
        """Forget all frames."""
        self.frames.clear()

    def _frame(self, frame: int) -> Shown:
        return self.frames.setdefault(frame, Shown())


def draw_frame(shown: Shown, ax: Axes) -> Axes:
    """Draw what a frame holds on Axes that count in parent coordinates, and return them."""
    picture = shown.picture
    assert picture is not None
    view = _view(shown, picture)
    part, step = _part(view, picture)
    x0, y0 = picture.xy0[0] + part[1].start, picture.xy0[1] + part[0].start
    levels = _mean_of_blocks(shown.stretch.levels(picture.pixels)[part], step)
    ny, nx = levels.shape
    extent = (x0 - 0.5, x0 - 0.5 + nx * step, y0 - 0.5, y0 - 0.5 + ny * step)
    look: Any = {"origin": "lower", "extent": extent, "interpolation": "auto"}
    ax.imshow(levels, cmap=shown.color_map, vmin=0, vmax=1, **look)
    alpha = 1.0 - shown.transparency / 100.0
    for name, plane in picture.planes.items():
        if name in shown.colors:
            color = np.array([*rgb(shown.colors[name]), alpha])
            overlay = _overlay(_any_of_blocks(plane[part], step), color)
            ax.imshow(overlay, interpolation_stage="rgba", **look)
    _draw_marks(shown.marks, ax)
    ax.set(xlabel="x [pix]", ylabel="y [pix]", title=picture.title)
    ax.set_xlim(view[0], view[1])
    ax.set_ylim(view[2], view[3])
    return ax


def _view(shown: Shown, picture: Picture) -> tuple[float, float, float, float]:
    """Return what is seen: left, right, bottom, top in parent coordinates [pix]."""
    ny, nx = picture.pixels.shape
    left, bottom = picture.xy0[0] - 0.5, picture.xy0[1] - 0.5
    x, y = shown.centre or (left + nx / 2, bottom + ny / 2)
    width, height = float(nx), float(ny)
    if shown.zoom is not None:
        screen = _LONG_SIDE * _DPI / max(nx, ny)  # screen pixels per pixel of the whole
        width, height = width * screen / shown.zoom, height * screen / shown.zoom
    return x - width / 2, x + width / 2, y - height / 2, y + height / 2


def _part(
    view: tuple[float, float, float, float], picture: Picture
) -> tuple[tuple[slice, slice], int]:
    """Return the rows and columns that are seen, and how many pixels a screen pixel has."""
    ny, nx = picture.pixels.shape
    (x0, y0), (left, right, bottom, top) = picture.xy0, view
    columns = _seen(left - x0, right - x0, nx)
    rows = _seen(bottom - y0, top - y0, ny)
    step = max(1, int(max(right - left, top - bottom) / (_LONG_SIDE * _DPI)))
    return (rows, columns), step


def _seen(low: float, high: float, n: int) -> slice:
    """Return the pixels of n between two positions; the first where there are none."""
    first = min(max(0, math.floor(low)), n - 1)
    return slice(first, max(first + 1, min(n, math.ceil(high) + 1)))


def _blocks(pixels: Any, step: int, fill: Any) -> Any:
    """Return pixels in blocks, shape (ny, step, nx, step); the last are filled up."""
    ny, nx = pixels.shape
    padded = np.pad(pixels, ((0, -ny % step), (0, -nx % step)), constant_values=fill)
    return padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)


def _mean_of_blocks(levels: Any, step: int) -> Any:
    """Return means of the finite pixels of blocks; NaN where there is none."""
    if step == 1:
        return levels
    blocks = _blocks(levels, step, np.nan)
    is_finite = np.isfinite(blocks)
    count = is_finite.sum(axis=(1, 3))
    total = np.where(is_finite, blocks, 0.0).sum(axis=(1, 3), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _any_of_blocks(plane: Any, step: int) -> Any:
    """Tell which blocks have a set pixel, so that a cosmic ray is seen on a large image."""
    return plane if step == 1 else _blocks(plane, step, False).any(axis=(1, 3))


def _overlay(plane: Any, color: Floats) -> Any:
    """Return red, green, blue and alpha of the set pixels; the others are clear."""
    pixels = np.zeros((*plane.shape, 4), np.uint8)
    pixels[plane] = np.round(255 * color)
    return pixels


def _draw_marks(marks: Sequence[Mark], ax: Axes) -> None:
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - slow

    outlines = [mark for mark in marks if not isinstance(mark, Text)]
    ax.add_collection(
        LineCollection(
            [_outline(mark) for mark in outlines],
            colors=[rgb(mark.color) for mark in outlines],
            linewidths=1.0,
        ),
        autolim=False,
    )
    for mark in marks:
        if isinstance(mark, Text):
            ax.text(mark.x, mark.y, mark.text, color=rgb(mark.color), ha="center", va="center",
                    fontsize=9, clip_on=True, parse_math=False)  # fmt: skip


def _outline(mark: Line | Circle | Ellipse) -> Floats:
    """Return the points of a mark, shape (n, 2)."""
    if isinstance(mark, Line):
        return np.array([[mark.x0, mark.y0], [mark.x1, mark.y1]])
    if isinstance(mark, Circle):
        a, b, theta = mark.radius, mark.radius, 0.0
    else:
        a, b, theta = mark.a, mark.b, mark.theta
    u, v = a * np.cos(_TURN), b * np.sin(_TURN)
    cos, sin = np.cos(theta), np.sin(theta)
    return np.column_stack([mark.x + u * cos - v * sin, mark.y + u * sin + v * cos])


def _color_map(name: str) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - slow

    known = _COLOR_MAPS.get(name, name)
    if known not in mpl.colormaps:
        raise WrongValue(
            f"colour map {name!r} is not known to matplotlib; give one as gray, heat, viridis",
            value=name,
        )
    return known

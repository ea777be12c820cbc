"""Rectangles of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats

__all__ = ["Box"]


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle of pixels, ``[x0, x1) x [y0, y1)``, 0-based."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def width(self) -> int:
        """Number of columns; 0 for an empty box."""
        return max(0, self.x1 - self.x0)

    @property
    def height(self) -> int:
        """Number of rows; 0 for an empty box."""
        return max(0, self.y1 - self.y0)

    @property
    def shape(self) -> tuple[int, int]:
        """Array shape ``(ny, nx)``."""
        return self.height, self.width

    @property
    def is_empty(self) -> bool:
        """True where the box holds no pixel."""
        return self.width == 0 or self.height == 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in an array of the full frame: ``image[box.slices]``."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grown(self, margin: int) -> Box:
        """Return the box with ``margin`` more pixels on every side."""
        return Box(self.x0 - margin, self.x1 + margin, self.y0 - margin, self.y1 + margin)

    def shifted(self, dx: int, dy: int) -> Box:
        """Return the box moved by whole pixels."""
        return Box(self.x0 + dx, self.x1 + dx, self.y0 + dy, self.y1 + dy)

    def clipped(self, other: Box) -> Box:
        """Return the common part with ``other`` (empty where they do not touch)."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, max(x0, min(self.x1, other.x1)), y0, max(y0, min(self.y1, other.y1)))

    def union(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(
            min(self.x0, other.x0),
            max(self.x1, other.x1),
            min(self.y0, other.y0),
            max(self.y1, other.y1),
        )

    def contains(self, x: Floats, y: Floats) -> Bools:
        """Tell which positions satisfy ``x0 <= x < x1`` and ``y0 <= y < y1``; NaN never does."""
        inside = (np.asarray(x) >= self.x0) & (np.asarray(x) < self.x1)
        return np.asarray(inside & (np.asarray(y) >= self.y0) & (np.asarray(y) < self.y1))

    @classmethod
    def of_shape(cls, shape: tuple[int, int]) -> Box:
        """Return the box of a whole array of shape ``(ny, nx)``."""
        return cls(0, shape[1], 0, shape[0])

    @classmethod
    def around(cls, x: float, y: float, half: int) -> Box:
        """Return the box of side ``2 half + 1`` about the pixel that holds (x, y)."""
        ix, iy = math.floor(x + 0.5), math.floor(y + 0.5)
        return cls(ix - half, ix + half + 1, iy - half, iy + half + 1)

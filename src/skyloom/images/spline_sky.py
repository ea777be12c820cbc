"""Sky levels of a CCD as the Legacy Surveys have them: a spline through a grid of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.geometry import Box
from skyloom.images.image import Image

__all__ = ["SplineSky"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplineSky:
    """A sky level that is constant, or a spline of both axes through the values of a grid.

    Beyond the grid the level at its edge is taken.
    """

    values: Floats  # (ny, nx), in the unit of the image
    x: Floats  # pix, of the columns of the grid, ascending
    y: Floats  # pix, of its rows
    order: int = 3  # of the spline

    def __post_init__(self) -> None:
        shape = (len(self.y), len(self.x))
        if self.values.shape != shape:
            raise ValueError(f"values of shape {self.values.shape} do not fit a grid of {shape}")
        if self.values.size > 1 and not self.order < min(shape):
            raise ValueError(f"a grid of {shape} is too small for a spline of order {self.order}")
        if any((np.diff(axis) <= 0.0).any() for axis in (self.x, self.y)):
            raise ValueError("the places of the grid do not ascend")
        if not np.isfinite(self.values).all():
            raise ValueError("a value of the grid is not finite")

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the sky level at positions [pix], 0-based."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        if self.values.size == 1:
            return np.full(x.shape, float(self.values[0, 0]))
        return np.asarray(self._spline().ev(x, y))

    def image(self, box: Box) -> Image:
        """Return the sky level at each pixel of a box, as float32."""
        x, y = np.arange(box.x0, box.x1), np.arange(box.y0, box.y1)
        if self.values.size == 1:
            level = np.full(box.shape, self.values[0, 0])
        else:
            level = self._spline()(x, y).T
        return Image(level.astype(np.float32), xy0=(box.x0, box.y0))

    def _spline(self) -> Any:
        from scipy.interpolate import RectBivariateSpline  # noqa: PLC0415 - takes 0.2 s

        return RectBivariateSpline(self.x, self.y, self.values.T, kx=self.order, ky=self.order)

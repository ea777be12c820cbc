"""What sky level is left in the images: a smooth field per band, measured on residuals.

The field lives on cells that are fixed to the working frame, not to patches, so that it has no
steps at patch borders; it is continuous (bilinear between cell centres).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Pixels
from skyloom.geometry import Box

__all__ = ["SKY_CELL", "SkyField", "sky_sums"]

SKY_CELL = 256  # pix: wider than any stamp that is fitted freely
CLIP = 3.0  # sigma: unmodelled light does not count as sky
MIN_WEIGHT = 0.2  # of a full cell: cells with less are filled from their neighbours


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the number of sky cells along y and x."""
    return max(1, round(shape[0] / SKY_CELL)), max(1, round(shape[1] / SKY_CELL))


def _cell_of(length: int, cells: int) -> npt.NDArray[np.int64]:
    """Return the cell of each pixel of an axis."""
    return np.minimum(np.arange(length) * cells // length, cells - 1)


def sky_sums(residual: Pixels, weight: Pixels, box: Box, shape: tuple[int, int]) -> Floats:
    """Sum a residual over the sky cells.

    Parameters
    ----------
    residual, weight : ndarray, shape (ny, nx)
        Residual and inverse variance of the pixels of ``box``.
    box : Box
        Where they lie in the working frame.
    shape : tuple of int
        Working frame (ny, nx).

    Returns
    -------
    ndarray, shape (3, gy, gx)
        Sums of w, w r and of the pixels counted, clipped at three sigma about zero.
    """
    gy, gx = _grid(shape)
    iy = _cell_of(shape[0], gy)[box.y0 : box.y1]
    ix = _cell_of(shape[1], gx)[box.x0 : box.x1]
    index = (iy[:, None] * gx + ix[None, :]).ravel()
    w = weight.astype(np.float64).ravel()
    r = residual.astype(np.float64).ravel()
    keep = (w > 0) & (r * r * w < CLIP**2)
    w = np.where(keep, w, 0.0)
    sums = [np.bincount(index, v, minlength=gy * gx) for v in (w, w * r, keep.astype(float))]
    return np.stack(sums).astype(np.float64).reshape(3, gy, gx)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyField:
    """Sky levels at cell centres, (B, gy, gx) [scaled counts], and their standard errors."""

    level: Floats
    error: Floats
    shape: tuple[int, int]

    @classmethod
    def zero(cls, n_bands: int, shape: tuple[int, int]) -> SkyField:
        """Return a field that is zero everywhere."""
        cells = np.zeros((n_bands, *_grid(shape)))
        return cls(level=cells, error=cells.copy(), shape=shape)

    def updated(self, sums: Iterable[Floats]) -> SkyField:
        """Return the field moved by what residuals (B, 3, gy, gx per part) still show."""
        total = np.zeros((self.level.shape[0], 3, *self.level.shape[1:]))
        for part in sums:
            total += part
        w, wr, count = total[:, 0], total[:, 1], total[:, 2]
        cell_area = self.shape[0] * self.shape[1] / w[0].size
        good = count > MIN_WEIGHT * cell_area
        shift = np.where(good, wr / np.where(w > 0, w, 1.0), 0.0)
        error = np.where(good, 1.0 / np.sqrt(np.where(w > 0, w, 1.0)), 0.0)
        for b in range(len(shift)):
            if good[b].any() and not good[b].all():
                shift[b][~good[b]] = np.median(shift[b][good[b]])
                error[b][~good[b]] = error[b][good[b]].max()
        return SkyField(level=self.level + shift, error=error, shape=self.shape)

    def surface(self, band: int, box: Box) -> Pixels:
        """Return the level [scaled counts] of the pixels of a box, bilinear between centres."""
        wy = _hats(self.shape[0], self.level.shape[1])[box.y0 : box.y1]
        wx = _hats(self.shape[1], self.level.shape[2])[box.x0 : box.x1]
        return np.asarray(wy @ self.level[band] @ wx.T, dtype=np.float32)

    def at(self, values: Floats, x: Floats, y: Floats) -> Floats:
        """Return a cell quantity (B, gy, gx) of each band at positions, shape (n, B)."""
        ny, nx = self.shape
        wy = _hats(ny, values.shape[1])[np.clip(np.rint(y).astype(int), 0, ny - 1)]
        wx = _hats(nx, values.shape[2])[np.clip(np.rint(x).astype(int), 0, nx - 1)]
        return np.asarray(np.einsum("ni,bij,nj->nb", wy, values, wx))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return plain arrays."""
        return {"level": self.level, "error": self.error, "shape": np.array(self.shape)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SkyField:
        """Return the field that `to_arrays` described."""
        ny, nx = (int(v) for v in arrays["shape"])
        return cls(level=arrays["level"], error=arrays["error"], shape=(ny, nx))


def _hats(length: int, cells: int) -> Floats:
    """Return the bilinear weight of each cell at each pixel of an axis, (length, cells)."""
    where = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0.0, cells - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(cells)))

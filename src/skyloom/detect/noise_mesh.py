"""The noise of the sky over an image, measured between the sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from skyloom._types import Bools, Floats, Pixels
from skyloom.detect.blank_sky import blank_sky
from skyloom.geometry import Box

__all__ = ["NoiseMesh", "measure_noise_mesh", "noise_range"]

_SIDE = 128  # pix, of a mesh: 16 000 pixels, of which a fifth may be sources, tell the rms to 0.7 %

_APART = 9  # pix: farther than resampling correlates, nearer than halos and gradients change
_ENOUGH = 500  # differences that tell a noise
_GAUSSIAN = 0.5449  # that share of |a - b| for Gaussian a, b of unit noise: sqrt(2) 0.3853
_QUIET = 0.3  # share of the least differences: of a field that is half sources, those of its sky


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseMesh:
    """A smooth positive field over an image: values at the centres of meshes, bilinear between."""

    values: Floats  # (gy, gx)
    shape: tuple[int, int]  # of the image (ny, nx)

    @property
    def median(self) -> float:
        """Median of the meshes."""
        return float(np.median(self.values))

    def surface(self, box: Box) -> Pixels:
        """Return the field at the pixels of a box; half a mesh at the edges is extrapolated."""
        (ny, nx), (gy, gx) = self.shape, self.values.shape
        wy = _weights(np.arange(box.y0, box.y1, dtype=np.float64), ny, gy)
        wx = _weights(np.arange(box.x0, box.x1, dtype=np.float64), nx, gx)
        field = np.clip(wy @ self.values @ wx.T, 0.5 * self.values.min(), 2.0 * self.values.max())
        return np.asarray(field, dtype=np.float32)


def _weights(at: Floats, length: int, number: int) -> Floats:
    """Return the weight of each mesh at positions along an axis, (n, number)."""
    if number == 1:
        return np.ones((len(at), 1))
    place = (at + 0.5) / length * number - 0.5
    cell = np.clip(np.floor(place).astype(np.int64), 0, number - 2)
    t = place - cell
    table = np.zeros((len(at), number))
    rows = np.arange(len(at))
    table[rows, cell] = 1.0 - t
    table[rows, cell + 1] = t
    return table


def measure_noise_mesh(
    read: Callable[[Box], Pixels], shape: tuple[int, int], *, side: int = _SIDE
) -> NoiseMesh | None:
    """Measure the rms of the sky in meshes, sources left out.

    Parameters
    ----------
    read : callable
        Returns the pixels of a box, NaN where they do not count; called with one row of meshes at a
        time.
    shape : tuple of int
        Of the image (ny, nx).
    side : int
        Of a mesh, about [pix].

    Returns
    -------
    NoiseMesh or None
        None where no mesh has enough sky.

    Notes
    -----
    `skyloom.detect.blank_sky.blank_sky` says what is measured.  A mesh without enough sky has the
    value of the nearest that has; a median of 3 x 3 meshes takes away what a large galaxy adds to
    its own.
    """
    ny, nx = shape
    y_edges = np.linspace(0, ny, max(1, round(ny / side)) + 1).astype(int)
    x_edges = np.linspace(0, nx, max(1, round(nx / side)) + 1).astype(int)
    values = np.full((len(y_edges) - 1, len(x_edges) - 1), np.nan)
    for row in range(values.shape[0]):
        strip = read(Box(0, nx, int(y_edges[row]), int(y_edges[row + 1])))
        for column in range(values.shape[1]):
            part = strip[:, x_edges[column] : x_edges[column + 1]]
            values[row, column] = blank_sky(part).rms
    found = np.isfinite(values) & (values > 0)
    if not found.any():
        return None
    return NoiseMesh(values=_smoothed(values, found), shape=shape)


def noise_range(
    read: Callable[[Box], Pixels], shape: tuple[int, int], *, side: int = _SIDE
) -> tuple[float, float]:
    """Return the least and the largest noise over an image, at a hundredth of the cost of a mesh.

    Parameters
    ----------
    read, shape, side
        As of `measure_noise_mesh`.

    Returns
    -------
    tuple of float
        In the unit of the pixels, NaN without pixels.  From differences of pixels in every second
        row, known to 1 per cent; meshes are smoothed as those of `measure_noise_mesh`, so that no
        single one decides.  Sources widen both, by 3 to 10 per cent where they cover a fifth.
    """
    ny, nx = shape
    y_edges = np.linspace(0, ny, max(1, round(ny / side)) + 1).astype(int)
    x_edges = np.linspace(0, nx, max(1, round(nx / side)) + 1).astype(int)
    values = np.full((len(y_edges) - 1, len(x_edges) - 1), np.nan)
    for row in range(values.shape[0]):
        strip = read(Box(0, nx, int(y_edges[row]), int(y_edges[row + 1])))[::2]
        step = np.abs(strip[:, _APART:] - strip[:, :-_APART])
        for column in range(values.shape[1]):
            part = step[:, x_edges[column] : max(x_edges[column + 1] - _APART, 0)]
            part = part[np.isfinite(part)]
            if len(part) >= _ENOUGH:
                values[row, column] = np.quantile(part, _QUIET) / _GAUSSIAN
    if not (found := np.isfinite(values) & (values > 0)).any():
        return np.nan, np.nan
    values = _smoothed(values, found)
    return float(values.min()), float(values.max())


def _smoothed(values: Floats, found: Bools) -> Floats:
    """Fill meshes that are lacking with the nearest, and take the median of 3 x 3."""
    nearest = ndimage.distance_transform_edt(~found, return_distances=False, return_indices=True)
    values = values[tuple(nearest)]
    if min(values.shape) >= 3:
        values = ndimage.median_filter(values, size=3, mode="nearest")
    return values

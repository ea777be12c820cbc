"""What sky level is left in the images: a smooth field per band, fitted to residuals.

The field is bilinear between nodes about 256 px apart that are fixed to the working frame, not to
patches, so that it has no steps at patch borders and follows gradients up to the edges.  Each pass
moves it by a Newton step: weighted least squares on what the sources leave, with what the sources
absorb of a level taken off the information.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve_banded, cholesky_banded

from skyloom._types import Floats, Pixels
from skyloom.geometry import Box

__all__ = ["SKY_CELL", "SkyField", "absorbed_sums", "sky_sums"]

SKY_CELL = 256  # pix: wider than any stamp that is fitted freely
CLIP = 3.0  # sigma: unmodelled light does not count as sky
STIFFNESS = 1e-5  # of the typical information of a node: ties nodes without data to the others
MAX_ABSORBED = 0.9  # of the information of a cell: a Newton step has to stay finite

# Per cell: nine moments of w in the fractions (t, s) along y and x, four of w r.
N_WEIGHT, N_RESIDUAL = 9, 4
N_SUMS = N_WEIGHT + N_RESIDUAL


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the number of sky cells along y and x."""
    return max(1, round(shape[0] / SKY_CELL)), max(1, round(shape[1] / SKY_CELL))


def _fractions(at: Floats, length: int, cells: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the cell of positions along an axis, and where they lie in it, 0 to 1."""
    scaled = np.clip(at / max(length - 1, 1), 0.0, 1.0) * cells
    cell = np.minimum(scaled.astype(np.int64), cells - 1)
    return cell, scaled - cell


def _powers(start: int, stop: int, length: int, cells: int, highest: int) -> Floats:
    """Return t^0 ... t^highest of the pixels of an axis, each in the columns of its cell."""
    cell, t = _fractions(np.arange(start, stop, dtype=np.float64), length, cells)
    table = np.zeros((stop - start, cells, highest + 1))
    table[np.arange(stop - start), cell] = t[:, None] ** np.arange(highest + 1)
    return table.reshape(stop - start, -1)


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
    ndarray, shape (13, gy, gx)
        Moments of w and of w r in each cell, clipped at three sigma about zero.
    """
    gy, gx = _grid(shape)
    w = weight.astype(np.float64)
    r = residual.astype(np.float64)
    w[~((w > 0) & (r * r * w < CLIP**2))] = 0.0
    py = _powers(box.y0, box.y1, shape[0], gy, 2)
    px = _powers(box.x0, box.x1, shape[1], gx, 2)
    of_weight = (py.T @ w @ px).reshape(gy, 3, gx, 3)
    linear_y = py.reshape(-1, gy, 3)[..., :2].reshape(len(py), -1)
    linear_x = px.reshape(-1, gx, 3)[..., :2].reshape(len(px), -1)
    of_residual = (linear_y.T @ (w * r) @ linear_x).reshape(gy, 2, gx, 2)
    return np.concatenate(
        [
            of_weight.transpose(1, 3, 0, 2).reshape(N_WEIGHT, gy, gx),
            of_residual.transpose(1, 3, 0, 2).reshape(N_RESIDUAL, gy, gx),
        ]
    )


def absorbed_sums(absorbed: Floats, x: Floats, y: Floats, shape: tuple[int, int]) -> Floats:
    """Return what groups take away from the sums of `sky_sums`.

    Parameters
    ----------
    absorbed : ndarray, shape (m, B)
        Information on a constant level that a group's free parameters absorb, per band.
    x, y : ndarray, shape (m,)
        Where the groups are [pix].
    shape : tuple of int
        Working frame (ny, nx).

    Returns
    -------
    ndarray, shape (B, 1, gy, gx)
    """
    gy, gx = _grid(shape)
    cell_y, _ = _fractions(y, shape[0], gy)
    cell_x, _ = _fractions(x, shape[1], gx)
    out = np.zeros((absorbed.shape[1], 1, gy, gx))
    for b in range(absorbed.shape[1]):
        np.add.at(out[b, 0], (cell_y, cell_x), absorbed[:, b])
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyField:
    """Sky levels at nodes, (B, gy + 1, gx + 1) [scaled counts], and their standard errors."""

    level: Floats
    error: Floats
    shape: tuple[int, int]

    @classmethod
    def zero(cls, n_bands: int, shape: tuple[int, int]) -> SkyField:
        """Return a field that is zero everywhere."""
        gy, gx = _grid(shape)
        nodes = np.zeros((n_bands, gy + 1, gx + 1))
        return cls(level=nodes, error=nodes.copy(), shape=shape)

    def updated(
        self, sums: Iterable[Floats], noise_factor: Sequence[float] | None = None
    ) -> SkyField:
        """Return the field moved by what residuals still show.

        Parameters
        ----------
        sums : iterable of ndarray, shape (B, 13 or 14, gy, gx)
            Of parts of the frame, from `sky_sums`, behind them perhaps `absorbed_sums`.
        noise_factor : sequence of float, optional
            Per band, how much larger the variance of a mean is than for independent pixels.
        """
        n_bands, *nodes = self.level.shape
        total = np.zeros((n_bands, N_SUMS + 1, nodes[0] - 1, nodes[1] - 1))
        for part in sums:
            total[:, : part.shape[1]] += part
        level, error = self.level.copy(), np.zeros_like(self.level)
        for b in range(n_bands):
            found = _newton(total[b], self.level[b])
            if found is not None:
                level[b] += found[0]
                factor = 1.0 if noise_factor is None else max(1.0, noise_factor[b])
                error[b] = np.sqrt(found[1] * factor)
        return SkyField(level=level, error=error, shape=self.shape)

    def surface(self, band: int, box: Box) -> Pixels:
        """Return the level [scaled counts] of the pixels of a box, bilinear between nodes."""
        wy = _hats(np.arange(box.y0, box.y1), self.shape[0], self.level.shape[1])
        wx = _hats(np.arange(box.x0, box.x1), self.shape[1], self.level.shape[2])
        return np.asarray(wy @ self.level[band] @ wx.T, dtype=np.float32)

    def at(self, values: Floats, x: Floats, y: Floats) -> Floats:
        """Return a quantity of the nodes (B, gy + 1, gx + 1) of each band at positions, (n, B)."""
        wy = _hats(y, self.shape[0], values.shape[1])
        wx = _hats(x, self.shape[1], values.shape[2])
        return np.asarray(np.einsum("ni,bij,nj->nb", wy, values, wx))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return plain arrays."""
        return {"level": self.level, "error": self.error, "shape": np.array(self.shape)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SkyField:
        """Return the field that `to_arrays` described."""
        ny, nx = (int(v) for v in arrays["shape"])
        return cls(level=arrays["level"], error=arrays["error"], shape=(ny, nx))


def _hats(at: npt.NDArray[Any], length: int, nodes: int) -> Floats:
    """Return the linear weight of each node at positions along an axis, (n, nodes)."""
    cell, t = _fractions(np.nan_to_num(np.asarray(at, dtype=np.float64)), length, nodes - 1)
    table = np.zeros((len(cell), nodes))
    rows = np.arange(len(cell))
    table[rows, cell] = 1.0 - t
    table[rows, cell + 1] = t
    return table


def _newton(sums: Floats, level: Floats) -> tuple[Floats, Floats] | None:
    """Return the step of all nodes of a band and their variances; None without pixels."""
    full = sums[:N_WEIGHT]
    if not full[0].any():
        return None
    seen = np.where(full[0] > 0.0, full[0], 1.0)
    information = _assemble(full * (1.0 - np.clip(sums[N_SUMS] / seen, 0.0, MAX_ABSORBED)))
    slope = _right_side(sums[N_WEIGHT:N_SUMS], level.shape).ravel()
    # A node has about the weight of a cell.
    ties = _ties(level.shape) * STIFFNESS * np.median(full[0][full[0] > 0.0])
    factor = cholesky_banded(information + ties, lower=True), True
    step = cho_solve_banded(factor, slope - _times(ties, level.ravel()))
    inverse = cho_solve_banded(factor, np.eye(level.size))
    return step.reshape(level.shape), np.diag(inverse).reshape(level.shape).copy()


# A hat in a cell is (1 - t) or t: its coefficients of t^0, t^1.
_HAT = np.array([[1.0, -1.0], [0.0, 1.0]])


def _assemble(moments: Floats) -> Floats:
    """Return the normal matrix of the nodes, lower banded, from moments (9, gy, gx) of w."""
    gy, gx = moments.shape[1:]
    stride = gx + 1
    banded = np.zeros((stride + 2, (gy + 1) * stride))
    m = moments.reshape(3, 3, gy, gx)
    # Product of two hats, as coefficients of t^0 to t^2.
    product = np.array([[np.convolve(a, b) for b in _HAT] for a in _HAT])
    first = (np.arange(gy)[:, None] * stride + np.arange(gx)).ravel()
    for a, b, c, d in np.ndindex(2, 2, 2, 2):
        row, column = a * stride + c, b * stride + d
        if row < column:
            continue
        value = np.einsum("p,q,pqyx->yx", product[a, b], product[c, d], m)
        np.add.at(banded, (row - column, first + column), value.ravel())
    return banded


def _right_side(moments: Floats, nodes: tuple[int, ...]) -> Floats:
    """Return the sums of w r times the hat of each node, from moments (4, gy, gx)."""
    gy, gx = moments.shape[1:]
    m = moments.reshape(2, 2, gy, gx)
    out = np.zeros(nodes)
    for a, c in np.ndindex(2, 2):
        out[a : a + gy, c : c + gx] += np.einsum("p,q,pqyx->yx", _HAT[a], _HAT[c], m)
    return out


def _ties(nodes: tuple[int, ...]) -> Floats:
    """Return the matrix of squared differences between neighbouring nodes, lower banded."""
    ny, nx = nodes
    banded = np.zeros((nx + 2, ny * nx))
    number = np.arange(ny * nx).reshape(ny, nx)
    for first, second in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        a, b = first.ravel(), second.ravel()
        np.add.at(banded, (np.zeros_like(a), a), 1.0)
        np.add.at(banded, (np.zeros_like(b), b), 1.0)
        np.add.at(banded, (b - a, a), -1.0)
    return banded


def _times(banded: Floats, vector: Floats) -> Floats:
    """Multiply a symmetric matrix, lower banded, with a vector."""
    out = banded[0] * vector
    for k in range(1, len(banded)):
        out[k:] += banded[k, : len(vector) - k] * vector[:-k]
        out[:-k] += banded[k, : len(vector) - k] * vector[k:]
    return np.asarray(out)

"""What sky level is left in the images: a smooth field per band, fitted to residuals.

The field is a quadratic spline with knots about 256 px apart that are fixed to the working frame,
not to patches, so that it has no steps or kinks at patch borders and follows gradients and bends up
to the edges: a sky that bends by 1.5 sigma over a frame of 1024 px is 0.05 sigma off a bilinear
field, five times its error.  Each pass
moves it by a Newton step: weighted least squares on what the sources leave, with what the sources
absorb of a level taken off the information.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sep
from scipy.linalg import cho_solve_banded, cholesky_banded

from skyloom._types import Bools, Floats, Pixels
from skyloom.coadd import row_strips
from skyloom.geometry import Box

from .mesh import cells, fractions, hats, quadratics, ties, times

__all__ = ["SkyField", "absorbed_sums", "first_level", "sky_sums"]

CLIP = 3.0  # sigma: unmodelled light does not count as sky
STIFFNESS = 1e-7  # of the typical information of a cell: ties splines without data to the others
MAX_ABSORBED = 0.9  # of the information of a cell: errors have to stay finite
MAX_GAIN = 2.0  # of a Newton step over a plain one: converges even if nothing is absorbed
MESH = 64  # pix, of the first guess

# Per cell: moments in the fractions (t, s) along y and x, of w up to t^4 s^4, of w r to t^2 s^2.
N_WEIGHT, N_RESIDUAL = 25, 9
N_SUMS = N_WEIGHT + N_RESIDUAL


def _powers(start: int, stop: int, length: int, number: int, highest: int) -> Floats:
    """Return t^0 ... t^highest of the pixels of an axis, each in the columns of its cell."""
    cell, t = fractions(np.arange(start, stop, dtype=np.float64), length, number)
    table = np.zeros((stop - start, number, highest + 1))
    table[np.arange(stop - start), cell] = t[:, None] ** np.arange(highest + 1)
    return table.reshape(stop - start, -1)


def sky_sums(
    residual: Pixels,
    weight: Pixels,
    box: Box,
    shape: tuple[int, int],
    *,
    clip: float = CLIP,
) -> Floats:
    """Sum a residual over the sky cells.

    Parameters
    ----------
    residual, weight : ndarray, shape (ny, nx)
        Residual and inverse variance of the pixels of ``box``.
    box : Box
        Where they lie in the working frame.
    shape : tuple of int
        Working frame (ny, nx).
    clip : float
        Pixels farther from zero do not count [sigma].

    Returns
    -------
    ndarray, shape (34, gy, gx)
        Moments of w and of w r in each cell.
    """
    gy, gx = cells(shape)
    w = weight.astype(np.float64)
    r = residual.astype(np.float64)
    w[~((w > 0) & (r * r * w < clip**2))] = 0.0
    py = _powers(box.y0, box.y1, shape[0], gy, 4)
    px = _powers(box.x0, box.x1, shape[1], gx, 4)
    of_weight = (py.T @ w @ px).reshape(gy, 5, gx, 5)
    low_y = py.reshape(-1, gy, 5)[..., :3].reshape(len(py), -1)
    low_x = px.reshape(-1, gx, 5)[..., :3].reshape(len(px), -1)
    of_residual = (low_y.T @ (w * r) @ low_x).reshape(gy, 3, gx, 3)
    return np.concatenate(
        [
            of_weight.transpose(1, 3, 0, 2).reshape(N_WEIGHT, gy, gx),
            of_residual.transpose(1, 3, 0, 2).reshape(N_RESIDUAL, gy, gx),
        ]
    )


def first_level(image: Pixels, bad: Bools, sigma: float) -> Floats:
    """Return a robust first guess of the coefficients, (gy + 2, gx + 2).

    Without it the sources would absorb the sky in the first pass.  A mesh of modes (SEP) is
    smoothed to a spline: its bias by faint sources is what the passes take away.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Scaled counts of the whole working frame.
    bad : ndarray of bool, shape (ny, nx)
    sigma : float
        Sky noise.
    """
    field = SkyField.zero(1, image.shape)
    if bad.all():
        return np.asarray(field.level[0])
    data = np.where(bad, np.float32(0.0), image)
    mesh = sep.Background(data, mask=bad, bw=MESH, bh=MESH, fw=3, fh=3).back(dtype=np.float32)
    del data
    sums = np.zeros((N_SUMS, *cells(image.shape)))
    for box in row_strips(image.shape):
        part = mesh[box.slices]
        weight = np.where(bad[box.slices] | ~np.isfinite(part), 0.0, sigma**-2.0)
        sums += sky_sums(np.nan_to_num(part), weight, box, image.shape, clip=np.inf)
    return np.asarray(field.updated([sums[None]]).level[0])


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
    gy, gx = cells(shape)
    cell_y, _ = fractions(y, shape[0], gy)
    cell_x, _ = fractions(x, shape[1], gx)
    out = np.zeros((absorbed.shape[1], 1, gy, gx))
    for b in range(absorbed.shape[1]):
        np.add.at(out[b, 0], (cell_y, cell_x), absorbed[:, b])
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyField:
    """Coefficients of splines, (B, gy + 2, gx + 2) [scaled counts]; a constant has all the same.

    ``error`` (B, gy + 1, gx + 1) are standard errors of the field at the corners of the cells.
    """

    level: Floats
    error: Floats
    shape: tuple[int, int]

    @classmethod
    def zero(cls, n_bands: int, shape: tuple[int, int]) -> SkyField:
        """Return a field that is zero everywhere."""
        gy, gx = cells(shape)
        level = np.zeros((n_bands, gy + 2, gx + 2))
        return cls(level=level, error=np.zeros((n_bands, gy + 1, gx + 1)), shape=shape)

    def updated(
        self, sums: Iterable[Floats], noise_factor: Sequence[float] | None = None
    ) -> SkyField:
        """Return the field moved by what residuals still show.

        Parameters
        ----------
        sums : iterable of ndarray, shape (B, 34 or 35, gy, gx)
            Of parts of the frame, from `sky_sums`, behind them perhaps `absorbed_sums`.
        noise_factor : sequence of float, optional
            Per band, how much larger the variance of a mean is than for independent pixels.
        """
        n_bands, *knots = self.error.shape
        total = np.zeros((n_bands, N_SUMS + 1, knots[0] - 1, knots[1] - 1))
        for part in sums:
            total[:, : part.shape[1]] += part
        level, error = self.level.copy(), np.zeros_like(self.error)
        for b in range(n_bands):
            found = _newton(total[b], self.level[b])
            if found is not None:
                level[b] += found[0]
                factor = 1.0 if noise_factor is None else max(1.0, noise_factor[b])
                error[b] = np.sqrt(found[1] * factor)
        return SkyField(level=level, error=error, shape=self.shape)

    def surface(self, band: int, box: Box) -> Pixels:
        """Return the level [scaled counts] of the pixels of a box."""
        wy = quadratics(np.arange(box.y0, box.y1), self.shape[0], self.level.shape[1])
        wx = quadratics(np.arange(box.x0, box.x1), self.shape[1], self.level.shape[2])
        return np.asarray(wy @ self.level[band] @ wx.T, dtype=np.float32)

    def level_at(self, x: Floats, y: Floats) -> Floats:
        """Return the level of each band at positions, (n, B)."""
        wy = quadratics(y, self.shape[0], self.level.shape[1])
        wx = quadratics(x, self.shape[1], self.level.shape[2])
        return np.asarray(np.einsum("ni,bij,nj->nb", wy, self.level, wx))

    def error_at(self, x: Floats, y: Floats) -> Floats:
        """Return the standard error of each band at positions, (n, B), linear between corners."""
        wy = hats(y, self.shape[0], self.error.shape[1])
        wx = hats(x, self.shape[1], self.error.shape[2])
        return np.asarray(np.einsum("ni,bij,nj->nb", wy, self.error, wx))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return plain arrays."""
        return {"level": self.level, "error": self.error, "shape": np.array(self.shape)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SkyField:
        """Return the field that `to_arrays` described."""
        ny, nx = (int(v) for v in arrays["shape"])
        return cls(level=arrays["level"], error=arrays["error"], shape=(ny, nx))


def _newton(sums: Floats, level: Floats) -> tuple[Floats, Floats] | None:
    """Return the step of a band and variances at the corners of cells; None without pixels."""
    full = sums[:N_WEIGHT]
    if not full[0].any():
        return None
    seen = np.where(full[0] > 0.0, full[0], 1.0)
    free = 1.0 - np.clip(sums[N_SUMS] / seen, 0.0, MAX_ABSORBED)
    slope = _right_side(sums[N_WEIGHT:N_SUMS], level.shape).ravel()
    tied = ties(level.shape) * STIFFNESS * np.median(full[0][full[0] > 0.0])
    for_step = _assemble(full * np.maximum(free, 1.0 / MAX_GAIN))
    for_step[: len(tied)] += tied
    step = cho_solve_banded(
        (cholesky_banded(for_step, lower=True), True), slope - times(tied, level.ravel())
    )
    of_errors = _assemble(full * free)
    of_errors[: len(tied)] += tied
    factor = cholesky_banded(of_errors, lower=True), True
    corners = _at_corners(level.shape)
    spread = cho_solve_banded(factor, corners.T)
    variance = np.einsum("ij,ji->i", corners, spread)
    return step.reshape(level.shape), variance.reshape(level.shape[0] - 1, level.shape[1] - 1)


def _at_corners(shape: tuple[int, ...]) -> Floats:
    """Return the weights of coefficients in the field at the corners of cells: halves of two."""
    wy, wx = (0.5 * (np.eye(n - 1, n) + np.eye(n - 1, n, 1)) for n in shape)
    return np.asarray(np.kron(wy, wx))


# The three splines of a cell: their coefficients of t^0, t^1, t^2.
_SPLINE = np.array([[0.5, -1.0, 0.5], [0.5, 1.0, -1.0], [0.0, 0.0, 0.5]])


def _assemble(moments: Floats) -> Floats:
    """Return the normal matrix, lower banded, from moments (25, gy, gx) of w."""
    gy, gx = moments.shape[1:]
    stride = gx + 2
    banded = np.zeros((2 * stride + 3, (gy + 2) * stride))
    m = moments.reshape(5, 5, gy, gx)
    # Product of two splines, as coefficients of t^0 to t^4.
    product = np.array([[np.convolve(a, b) for b in _SPLINE] for a in _SPLINE])
    first = (np.arange(gy)[:, None] * stride + np.arange(gx)).ravel()
    for a, b, c, d in np.ndindex(3, 3, 3, 3):
        row, column = a * stride + c, b * stride + d
        if row < column:
            continue
        value = np.einsum("p,q,pqyx->yx", product[a, b], product[c, d], m)
        np.add.at(banded, (row - column, first + column), value.ravel())
    return banded


def _right_side(moments: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the sums of w r times each spline, from moments (9, gy, gx)."""
    gy, gx = moments.shape[1:]
    m = moments.reshape(3, 3, gy, gx)
    out = np.zeros(shape)
    for a, c in np.ndindex(3, 3):
        out[a : a + gy, c : c + gx] += np.einsum("p,q,pqyx->yx", _SPLINE[a], _SPLINE[c], m)
    return out

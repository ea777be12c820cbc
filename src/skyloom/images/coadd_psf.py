"""The PSF of a coadd: that of its inputs at each place, warped to its pixels and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Pixels
from skyloom.errors import OutsideImage
from skyloom.geometry import Box
from skyloom.images.kernel_psf import image_fwhm, lanczos_weights
from skyloom.images.sky_wcs import SkyWcs

__all__ = ["CoaddInput", "CoaddPsf", "GridPsf"]

_STEP = 0.5  # pix, of central differences
_NODES = 6  # per axis of the grid that stands in for the PSF
_ORDERS = {"bilinear": 1, "lanczos2": 2, "lanczos3": 3, "lanczos4": 4, "lanczos5": 5}
_LARGEST_WARP = 200.0  # scale; more is a damaged WCS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoaddInput:
    """One input image of a coadd."""

    psf: Any
    wcs: SkyWcs
    box: Box  # its pixels
    weight: float
    polygon: Floats | None = None  # corners of its valid part, shape (n, 2) [pix]
    number: int = 0  # its id

    def contains(self, x: float, y: float) -> bool:
        """Tell whether it covers a position of its own pixels."""
        box = self.box
        inside = box.x0 - 0.5 <= x <= box.x1 - 0.5 and box.y0 - 0.5 <= y <= box.y1 - 0.5
        return inside and (self.polygon is None or _in_polygon(self.polygon, x, y))


class CoaddPsf:
    """The weighted mean of the PSFs of the inputs that cover a place.

    Each input's PSF is warped with the local linear map between its pixels and those of the coadd,
    and normalised to one.  `at` computes it where asked; `basis` and `coefficients`, as the
    engine wants them, interpolate linearly between a grid of places (see `on_grid`): at the edges
    of inputs, where the PSF jumps, they smooth.
    """

    def __init__(
        self,
        inputs: Sequence[CoaddInput],
        wcs: SkyWcs,
        *,
        average_position: tuple[float, float],
        warping_kernel: str = "lanczos3",
    ) -> None:
        if warping_kernel not in _ORDERS:
            raise ValueError(f"warping kernel {warping_kernel!r} is none of {', '.join(_ORDERS)}")
        self.inputs = tuple(inputs)
        self.wcs = wcs
        self.average_position = average_position
        self.warping_kernel = warping_kernel

    def covering(self, x: float, y: float) -> list[tuple[CoaddInput, float, float]]:
        """Return the inputs that cover a parent position [pix], and the position in each."""
        ra, dec = self.wcs.pixel_to_sky(x, y)
        found = []
        for each in self.inputs:
            u, v = each.wcs.sky_to_pixel(ra, dec)
            if each.contains(u, v):
                found.append((each, u, v))
        return found

    def at(self, x: float, y: float) -> Floats:
        """Return the PSF at a parent position [pix], shape (S, S), centred, with sum 1.

        Raises
        ------
        OutsideImage
            If no input covers the position.
        """
        warped, weights = [], []
        for each, u, v in self.covering(x, y):
            warped.append(self._warped(each, x, y, u, v))
            weights.append(each.weight)
        if not warped or sum(weights) <= 0.0:
            raise OutsideImage(
                f"no input of the coadd covers ({x:.1f}, {y:.1f}); ask inside its inputs", x=x, y=y
            )
        side = max(image.shape[0] for image in warped)
        total = np.zeros((side, side))
        for image, weight in zip(warped, weights, strict=True):
            edge = (side - image.shape[0]) // 2
            total[edge : side - edge, edge : side - edge] += weight * image
        return total / sum(weights)

    def on_grid(self, box: Box, nodes: int = _NODES) -> GridPsf:
        """Return the PSF over a box of the coadd, interpolated between nodes x nodes places."""
        x = np.linspace(box.x0, box.x1 - 1, nodes)
        y = np.linspace(box.y0, box.y1 - 1, nodes)
        stamps: list[Floats | None] = []
        for yy in y:
            for xx in x:
                try:
                    stamps.append(self.at(float(xx), float(yy)))
                except OutsideImage:
                    stamps.append(None)
        return GridPsf(x, y, stamps)

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return 1

    @cached_property
    def grid(self) -> GridPsf:
        """The PSF over all inputs, interpolated."""
        x, y = [], []
        for each in self.inputs:
            box = each.box
            corners_x = np.array([box.x0, box.x1 - 1, box.x0, box.x1 - 1], np.float64)
            corners_y = np.array([box.y0, box.y0, box.y1 - 1, box.y1 - 1], np.float64)
            there = self.wcs.sky_to_pixel(*each.wcs.pixel_to_sky(corners_x, corners_y))
            x.append(there[0])
            y.append(there[1])
        x_all, y_all = np.concatenate(x), np.concatenate(y)
        low_x, high_x = int(np.nanmin(x_all)), int(np.nanmax(x_all)) + 1
        low_y, high_y = int(np.nanmin(y_all)), int(np.nanmax(y_all)) + 1
        return self.on_grid(Box(low_x, high_x + 1, low_y, high_y + 1))

    @property
    def basis(self) -> Pixels:
        """PSFs at the places of the grid, shape (K, S, S)."""
        return self.grid.basis

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum at the average position [pix]."""
        return image_fwhm(self.at(*self.average_position))

    def coefficients(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the coefficients of the basis, shape (n, K), at parent positions [pix]."""
        return self.grid.coefficients(x, y)

    def _warped(self, each: CoaddInput, x: float, y: float, u: float, v: float) -> Floats:
        dx = np.array([_STEP, -_STEP, 0.0, 0.0])
        dy = np.array([0.0, 0.0, _STEP, -_STEP])
        us, vs = each.wcs.sky_to_pixel(*self.wcs.pixel_to_sky(x + dx, y + dy))
        linear = np.array([[us[0] - us[1], us[2] - us[3]], [vs[0] - vs[1], vs[2] - vs[3]]])
        linear /= 2.0 * _STEP  # from steps in the coadd to steps in the input
        if not np.isfinite(linear).all() or abs(np.linalg.det(linear)) < _LARGEST_WARP**-2:
            raise ValueError("the WCS of the coadd and of an input do not fit together")
        return warped_image(each.psf.at(u, v), linear, self.warping_kernel)


class GridPsf:
    """A PSF that is known at the nodes of a grid and interpolated linearly between them."""

    def __init__(self, x: Floats, y: Floats, stamps: Sequence[Floats | None]) -> None:
        known = [stamp for stamp in stamps if stamp is not None]
        if not known:
            raise OutsideImage("no input of the coadd covers any node of the grid; choose its box")
        side = max(stamp.shape[0] for stamp in known)
        self.x, self.y = x, y
        self.is_known = np.array([stamp is not None for stamp in stamps])
        images = np.zeros((len(stamps), side, side), np.float32)
        for image, stamp in zip(images, stamps, strict=True):
            if stamp is not None:
                edge = (side - stamp.shape[0]) // 2
                image[edge : side - edge, edge : side - edge] = stamp
        self.basis: Pixels = images

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return 1

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum of the mean PSF [pix]."""
        return image_fwhm(self.basis[self.is_known].mean(axis=0).astype(np.float64))

    def coefficients(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the coefficients of the basis, shape (n, K), at parent positions [pix].

        Nodes that no input covers do not count; beyond the grid its edge is taken.
        """
        wx = _hats(np.atleast_1d(np.asarray(x, np.float64)), self.x)
        wy = _hats(np.atleast_1d(np.asarray(y, np.float64)), self.y)
        weights = (wy[:, :, None] * wx[:, None, :]).reshape(len(wx), -1) * self.is_known
        totals = weights.sum(axis=1, keepdims=True)
        even = np.broadcast_to(self.is_known / self.is_known.sum(), weights.shape)
        return np.where(totals > 0.0, weights / np.where(totals > 0.0, totals, 1.0), even)

    def at(self, x: float, y: float) -> Floats:
        """Return the PSF at a parent position [pix], shape (S, S)."""
        return np.asarray(np.tensordot(self.coefficients(x, y)[0], self.basis, 1))


def warped_image(image: Floats, linear: Floats, kernel: str) -> Floats:
    """Sample a centred image at ``linear @ (x, y)``, and normalise it to one.

    Parameters
    ----------
    image : ndarray, shape (S, S)
        The image, S odd.
    linear : ndarray, shape (2, 2)
        Steps in the image that belong to steps in the result.
    kernel : str
        ``bilinear`` or ``lanczosN``.
    """
    order = _ORDERS[kernel]
    half_in = image.shape[0] // 2
    corners = np.linalg.inv(linear) @ (
        (half_in + 0.5) * np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    )
    half = max(1, int(np.floor(np.abs(corners).max())))
    steps = np.arange(-half, half + 1, dtype=np.float64)
    gx, gy = np.meshgrid(steps, steps)
    u = linear[0, 0] * gx + linear[0, 1] * gy
    v = linear[1, 0] * gx + linear[1, 1] * gy
    pad = order + 1
    padded = np.pad(image, pad)
    iu, iv = np.floor(u).astype(int), np.floor(v).astype(int)
    wu, wv = _taps(u - iu, order), _taps(v - iv, order)
    result = np.zeros(u.shape)
    limit = padded.shape[0] - 1
    for j in range(2 * order):
        row = iv + half_in + pad + j - (order - 1)
        for i in range(2 * order):
            column = iu + half_in + pad + i - (order - 1)
            inside = (row >= 0) & (row <= limit) & (column >= 0) & (column <= limit)
            values = padded[np.clip(row, 0, limit), np.clip(column, 0, limit)]
            result += np.where(inside, wv[j] * wu[i] * values, 0.0)
    return np.asarray(result / result.sum())


def _taps(fraction: Floats, order: int) -> Floats:
    """Return the weights of the samples about a place, shape (2 order, ...), with sum one."""
    offsets = np.arange(-(order - 1), order + 1, dtype=np.float64)
    distance = offsets[:, None, None] - fraction
    if order == 1:
        return np.asarray(np.maximum(0.0, 1.0 - np.abs(distance)))
    weights = lanczos_weights(distance, order)
    return np.asarray(weights / weights.sum(axis=0))


def _hats(places: Floats, nodes: Floats) -> Floats:
    """Return the linear weights of nodes at some places, shape (places, nodes)."""
    unit = np.eye(len(nodes))
    return np.stack([np.interp(places, nodes, row) for row in unit], axis=1)


def _in_polygon(corners: Floats, x: float, y: float) -> bool:
    """Tell whether a point is inside, by the number of edges to its right."""
    px, py = corners[:, 0], corners[:, 1]
    qx, qy = np.roll(px, -1), np.roll(py, -1)
    crosses = (py > y) != (qy > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        where = px + (y - py) * (qx - px) / (qy - py)
    return bool(np.count_nonzero(crosses & (x < where)) % 2)

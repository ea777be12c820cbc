"""PSFs as sums of fixed images: with functions of position as factors, or as PSFEx makes them.

All satisfy `skyloom.protocols.Psf`, are normalised to one within their stamp at every position, as
afw does it, and give the image at a position by ``psf.at(x, y)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from skyloom._types import Floats, Pixels

__all__ = ["ChebyshevFunction", "KernelPsf", "PolynomialFunction", "PsfexPsf", "lanczos_weights"]

_PSFEX_ORDER = 5  # Lanczos order that PSFEx resamples with
_FINE = 8  # samples per pixel when a width is measured


def orders_by_degree(n_terms: int) -> list[tuple[int, int]]:
    """Return the exponents (of x, of y) of afw's polynomials: 1, x, y, x2, xy, y2, ...

    Raises
    ------
    ValueError
        If the number of terms is not that of a full degree.
    """
    degree = 0
    while (degree + 1) * (degree + 2) // 2 < n_terms:
        degree += 1
    if (degree + 1) * (degree + 2) // 2 != n_terms:
        raise ValueError(f"{n_terms} coefficients are no polynomial of two variables")
    return [(d - j, j) for d in range(degree + 1) for j in range(d + 1)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolynomialFunction:
    """A polynomial of position; terms 1, x, y, x2, xy, y2, ..."""

    coefficients: Floats

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Return the values at parent positions [pix]."""
        terms = orders_by_degree(self.coefficients.size)
        values = [c * x**i * y**j for c, (i, j) in zip(self.coefficients, terms, strict=True)]
        return np.asarray(sum(values, np.zeros(np.shape(x))))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChebyshevFunction:
    """A sum of products of Chebyshev polynomials; terms in the order of `PolynomialFunction`."""

    coefficients: Floats
    lowest: tuple[float, float]  # pix, x and y that become -1
    highest: tuple[float, float]  # pix, x and y that become 1

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Return the values at parent positions [pix]."""
        u, v = (
            (2.0 * p - low - high) / (high - low)
            for p, low, high in zip((x, y), self.lowest, self.highest, strict=True)
        )
        terms = orders_by_degree(self.coefficients.size)
        degree = max(i for i, _ in terms)
        table = np.zeros((degree + 1, degree + 1))
        for c, (i, j) in zip(self.coefficients, terms, strict=True):
            table[i, j] = c
        return np.asarray(chebyshev.chebval2d(u, v, table))


class _ImagePsf(ABC):
    """What sums of fixed images have in common."""

    images: Floats  # (K, S, S)
    average_position: tuple[float, float]

    @abstractmethod
    def factors(self, x: Floats, y: Floats) -> Floats:
        """Return what each image counts for at positions, shape (n, K)."""

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return 1

    @cached_property
    def basis(self) -> Pixels:
        """Basis images, shape (K, S, S)."""
        return self.images.astype(np.float32)

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum at the average position [pix]."""
        return image_fwhm(self.at(*self.average_position))

    def coefficients(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the coefficients of the basis, shape (n, K), at parent positions [pix]."""
        x, y = np.atleast_1d(np.asarray(x, np.float64)), np.atleast_1d(np.asarray(y, np.float64))
        factors = self.factors(x, y)
        totals = factors @ self.images.sum(axis=(1, 2))
        return np.asarray(factors / totals[:, None])

    def at(self, x: float, y: float) -> Floats:
        """Return the PSF at a parent position [pix], shape (S, S), centred, with sum 1."""
        return np.asarray(np.tensordot(self.coefficients(x, y)[0], self.images, 1))


class KernelPsf(_ImagePsf):
    """A sum of fixed images whose factors are functions of position (PcaPsf, KernelPsf).

    Parameters
    ----------
    images : ndarray, shape (K, S, S)
        The images, S odd, the star on the central pixel.
    functions : sequence of callable or float
        Factor of each image: a function of x, y [pix], or a constant.
    average_position : (float, float)
        Where the typical PSF is [pix].
    """

    def __init__(
        self,
        images: npt.ArrayLike,
        functions: Sequence[Callable[[Floats, Floats], Floats] | float] = (1.0,),
        *,
        average_position: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.images = np.asarray(images, np.float64)
        if self.images.ndim != 3 or self.images.shape[1] != self.images.shape[2]:
            raise ValueError(f"images of shape {self.images.shape} are not (K, S, S)")
        if self.images.shape[1] % 2 == 0 or len(functions) != len(self.images):
            raise ValueError("a side of the images is even, or there is not a factor for each")
        self.functions = tuple(functions)
        self.average_position = average_position

    def factors(self, x: Floats, y: Floats) -> Floats:
        """Return the factors before normalisation, shape (n, K)."""
        columns = [f(x, y) if callable(f) else np.full(x.shape, float(f)) for f in self.functions]
        return np.stack(columns, axis=1)


class PsfexPsf(_ImagePsf):
    """A PSFEx model: images times a polynomial of position, resampled to native pixels.

    Parameters
    ----------
    components : ndarray, shape (K, h, w)
        The images at the sampling of the model.
    step : float
        Size of a sample [pix].
    group, degree : sequences of int
        Group of each axis (from 0), and highest degree within each group.
    offset, scale : (float, float)
        Positions are ``(x - offset) / scale``.
    average_position : (float, float)
        Where the typical PSF is [pix].
    """

    def __init__(
        self,
        components: npt.ArrayLike,
        *,
        step: float,
        group: Sequence[int],
        degree: Sequence[int],
        offset: Sequence[float],
        scale: Sequence[float],
        average_position: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.components = np.asarray(components, np.float32)
        self.step = float(step)
        self.group, self.degree = tuple(group), tuple(degree)
        self.offset, self.scale = tuple(offset), tuple(scale)
        self.average_position = average_position
        if len(self.group) != 2 or not 0.0 < self.step < 100.0:
            raise ValueError("only models that vary with x and y are known")
        self.exponents = _psfex_terms(self.group, self.degree)
        if len(self.exponents) != len(self.components):
            raise ValueError(
                f"{len(self.components)} images do not fit {len(self.exponents)} terms"
            )
        self.images = _resampled(self.components.astype(np.float64), self.step)

    def factors(self, x: Floats, y: Floats) -> Floats:
        """Return the terms of the polynomial, shape (n, K)."""
        u = (x - self.offset[0]) / self.scale[0]
        v = (y - self.offset[1]) / self.scale[1]
        return np.stack([u**i * v**j for i, j in self.exponents], axis=1)


def lanczos_weights(offsets: Floats, order: int) -> Floats:
    """Return Lanczos weights ``sinc(t) sinc(t / order)`` of distances t [samples]."""
    inside = np.abs(offsets) <= order
    return np.where(inside, np.sinc(offsets) * np.sinc(offsets / order), 0.0)


def image_fwhm(image: Floats) -> float:
    """Return the diameter of a circle with the area of what is above half the peak [pix]."""
    from scipy.ndimage import zoom  # noqa: PLC0415 - takes 0.1 s

    fine = zoom(image, _FINE, order=3, mode="grid-constant", grid_mode=True)
    area = np.count_nonzero(fine >= 0.5 * fine.max()) / _FINE**2
    return float(2.0 * np.sqrt(area / np.pi))


def centred(image: Floats, x: int, y: int) -> Floats:
    """Return an image in a square with an odd side whose central pixel is (x, y) of it."""
    height, width = image.shape
    half = max(x, width - 1 - x, y, height - 1 - y)
    square = np.zeros((2 * half + 1, 2 * half + 1))
    square[half - y : half - y + height, half - x : half - x + width] = image
    return square


def _psfex_terms(group: Sequence[int], degree: Sequence[int]) -> list[tuple[int, int]]:
    """Return exponents in the order of PSFEx: powers of x first, then those of y."""
    if not all(0 <= g < len(degree) for g in group) or max(degree, default=0) > 20:
        raise ValueError("the groups of the PSFEx polynomial are not understood")
    is_one_group = group[0] == group[1]
    return [
        (i, j)
        for j in range(degree[group[1]] + 1)
        for i in range(degree[group[0]] + 1)
        if not is_one_group or i + j <= degree[group[0]]
    ]


def _resampled(images: Floats, step: float) -> Floats:
    """Sample images at native pixels about their central samples."""
    # In single precision, as afw counts its pixels: 50 samples of 0.7 are 35 pixels, not 34.
    side = max(int(np.float32(n) * np.float32(step)) for n in images.shape[1:])
    side += 1 - side % 2
    rows = _resampling(images.shape[1], side, step)
    columns = _resampling(images.shape[2], side, step)
    return np.asarray(np.einsum("yj,kji,xi->kyx", rows, images, columns))


def _resampling(n_in: int, n_out: int, step: float) -> Floats:
    """Return the matrix that samples n_in values at n_out places, ``1 / step`` samples apart."""
    places = n_in // 2 + (np.arange(n_out) - n_out // 2) / step
    samples = np.arange(n_in)
    offsets = samples[None, :] - places[:, None]
    # Ten taps about each place, those beyond the edge left out, with sum one.
    first = np.floor(places)[:, None] - (_PSFEX_ORDER - 1)
    taken = (samples >= first) & (samples < first + 2 * _PSFEX_ORDER)
    weights = np.where(taken, lanczos_weights(offsets, _PSFEX_ORDER), 0.0)
    sums = weights.sum(axis=1, keepdims=True)
    weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0.0)
    is_inside = (places >= 0.0) & (places <= n_in - 1)
    return np.asarray(weights * is_inside[:, None])


def constant_psf(psf: Any) -> KernelPsf:
    """Return a PSF without variation and oversampling as a `KernelPsf`.

    Raises
    ------
    ValueError
        If it varies or is oversampled.
    """
    if psf.oversampling != 1 or len(psf.basis) != 1:
        raise ValueError("the PSF varies over the image or is oversampled")
    return KernelPsf(psf.basis)

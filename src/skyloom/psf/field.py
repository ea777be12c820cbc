"""A PSF that varies smoothly over the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from skyloom._types import Floats, Pixels
from skyloom.errors import DataDamaged, WrongValue

__all__ = ["FieldPsf", "field_coordinates", "hats", "monomials", "n_monomials"]

_FORMAT = 1


def n_monomials(degree: int) -> int:
    """Return the number of terms u**i v**j with i + j <= degree."""
    return (degree + 1) * (degree + 2) // 2


def monomials(u: Floats, v: Floats, *, degree: int) -> Floats:
    """Return u**i v**j, shape (n, T), ordered by total degree, then by the power of v."""
    u, v = np.atleast_1d(u), np.atleast_1d(v)
    u_to, v_to = (np.vander(w, degree + 1, increasing=True).T for w in (u, v))
    terms = [u_to[d - j] * v_to[j] for d in range(degree + 1) for j in range(d + 1)]
    return np.stack(terms, axis=1).astype(np.float64)


def field_coordinates(x: Floats, y: Floats, *, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return positions [pix] as u, v in [-1, 1] over an image of ``shape``; clipped at its edge."""
    ny, nx = shape
    u = (2.0 * np.atleast_1d(np.asarray(x, dtype=np.float64)) + 1.0 - nx) / nx
    v = (2.0 * np.atleast_1d(np.asarray(y, dtype=np.float64)) + 1.0 - ny) / ny
    return np.clip(u, -1.0, 1.0), np.clip(v, -1.0, 1.0)


def hats(u: Floats, v: Floats, *, grid: tuple[int, int]) -> Floats:
    """Return the bilinear weights of the cells, shape (n, gy * gx), row-major from the bottom.

    A position takes its value from the four nearest cell centres; beyond the outermost centres
    the value is held.
    """
    columns = _hat(np.atleast_1d(u), grid[1])
    rows = _hat(np.atleast_1d(v), grid[0])
    return (rows[:, :, None] * columns[:, None, :]).reshape(rows.shape[0], -1)


def _hat(t: Floats, n: int) -> Floats:
    where = np.clip((t + 1.0) * (n / 2.0) - 0.5, 0.0, n - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(n)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldPsf:
    """Basis images whose coefficients are polynomials of the position, plus corrections by cell.

    The coefficient of basis image k at a position is
    ``sum_t polynomial[k, t] u**i v**j + sum_c cells[k, c] hat_c(u, v)`` with u, v in [-1, 1]
    over the image and hats that join cell centres bilinearly: continuous everywhere.

    Parameters
    ----------
    basis : ndarray of float32, shape (K, S, S)
        Basis images, S odd, centre on the central pixel.
    polynomial : ndarray of float, shape (K, T)
        Coefficients of the monomials, T = (degree + 1)(degree + 2) / 2.
    shape : tuple of int
        ``(ny, nx)`` of the image that u and v span.
    fwhm : float
        Typical full width at half maximum [pix].
    cells : ndarray of float, shape (K, gy, gx), optional
        Corrections by cell.
    oversampling : int
        Samples per pixel along each axis.

    Raises
    ------
    WrongValue
        If the shapes of the arrays do not agree.
    """

    basis: Pixels
    polynomial: Floats
    shape: tuple[int, int]
    fwhm: float
    cells: Floats | None = None
    oversampling: int = 1

    def __post_init__(self) -> None:
        k, side = self.basis.shape[0], self.basis.shape[-1]
        good = (
            self.basis.ndim == 3
            and self.basis.shape[1] == side
            and side % 2 == 1
            and self.polynomial.ndim == 2
            and self.polynomial.shape[0] == k
            and n_monomials(self.degree) == self.polynomial.shape[1]
            and (self.cells is None or (self.cells.ndim == 3 and self.cells.shape[0] == k))
        )
        if not good:
            raise WrongValue(
                f"FieldPsf: basis {self.basis.shape} and polynomial {self.polynomial.shape} "
                "do not belong together; build both from one fit"
            )
        for array in (self.basis, self.polynomial, self.cells):
            if array is not None:
                array.flags.writeable = False

    @property
    def degree(self) -> int:
        """Degree of the polynomials."""
        return (math.isqrt(8 * self.polynomial.shape[1] + 1) - 3) // 2

    def coefficients(self, x: Floats, y: Floats) -> Floats:
        """Return the basis coefficients, shape (n, K), at image positions x, y [pix].

        Positions outside the image take the value at its nearest edge.
        """
        u, v = field_coordinates(x, y, shape=self.shape)
        out = monomials(u, v, degree=self.degree) @ self.polynomial.T
        if self.cells is not None:
            k, gy, gx = self.cells.shape
            out = out + hats(u, v, grid=(gy, gx)) @ self.cells.reshape(k, -1).T
        return np.asarray(out)

    def samples_at(self, x: float, y: float) -> Floats:
        """Return the PSF at one position with its own sampling, shape (S, S)."""
        c = self.coefficients(np.array([x]), np.array([y]))[0]
        return np.asarray(np.tensordot(c, self.basis.astype(np.float64), 1))

    def stamp_at(self, x: float, y: float) -> Floats:
        """Return the effective PSF at one position, sampled at pixel centres.

        Its side is S, or (S - 1) / oversampling + 1 when oversampled; its sum is one less the
        light outside.
        """
        side = (self.basis.shape[-1] - 1) // self.oversampling + 1
        start = self.basis.shape[-1] // 2 - side // 2 * self.oversampling
        native = slice(start, None, self.oversampling)
        return self.samples_at(x, y)[native, native][:side, :side]

    def resampled_at(self, x: float, y: float, *, oversampling: int) -> Floats:
        """Return the effective PSF at one position with any number of samples per pixel.

        Samples at pixel centres are those of `stamp_at`, every ``oversampling``-th of each axis;
        the others are its own where it has them, else of a spline of fifth order through those.

        Parameters
        ----------
        x, y : float
            Position in the image [pix].
        oversampling : int
            Samples per pixel along each axis.

        Returns
        -------
        ndarray, shape (S, S), S = oversampling (side of `stamp_at` - 1) + 1
            Light of a whole pixel about each sample: values do not depend on the sampling.
        """
        native = self.stamp_at(x, y)
        if oversampling == 1:
            return native
        own, samples = self.oversampling, self.samples_at(x, y)
        reach, middle = native.shape[0] // 2 * oversampling, samples.shape[0] // 2
        place = middle + own * np.arange(-reach, reach + 1) / oversampling
        if own % oversampling == 0:
            at = place.astype(np.int64)
            return samples[np.ix_(at, at)]
        grid = np.meshgrid(place, place, indexing="ij")
        return np.asarray(map_coordinates(samples, grid, order=5, mode="mirror"))

    def cropped(self, side: int) -> FieldPsf:
        """Return the same PSF on stamps of ``side`` pixels; the light cut off counts as outside.

        Raises
        ------
        WrongValue
            If ``side`` is even or larger than the stamp.
        """
        now = (self.basis.shape[1] - 1) // self.oversampling + 1
        if side % 2 == 0 or not 1 <= side <= now:
            raise WrongValue(
                f"FieldPsf: side = {side} must be odd and at most {now}; correct final_psf_size",
                side=side,
            )
        reach, middle = (side // 2) * self.oversampling, self.basis.shape[1] // 2
        inner = slice(middle - reach, middle + reach + 1)
        return replace(self, basis=np.ascontiguousarray(self.basis[:, inner, inner]))

    def leading(self, number: int) -> FieldPsf:
        """Return a simpler PSF of the first images only, those that matter most."""
        if number >= len(self.basis):
            return self
        return replace(
            self,
            basis=self.basis[:number].copy(),
            polynomial=self.polynomial[:number].copy(),
            cells=None if self.cells is None else self.cells[:number].copy(),
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return plain arrays for ``numpy.savez``; `from_arrays` restores the PSF exactly."""
        cells = self.cells if self.cells is not None else np.zeros((self.basis.shape[0], 0, 0))
        return {
            "format": np.array(_FORMAT),
            "basis": np.asarray(self.basis),
            "polynomial": np.asarray(self.polynomial),
            "cells": np.asarray(cells),
            "shape": np.array(self.shape),
            "fwhm": np.array(self.fwhm),
            "oversampling": np.array(self.oversampling),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> FieldPsf:
        """Return the PSF that `to_arrays` described.

        Raises
        ------
        DataDamaged
            If an array is missing or the format is unknown.
        """
        try:
            known = int(arrays["format"]) == _FORMAT
            cells = np.array(arrays["cells"], dtype=np.float64)
            ny, nx = (int(n) for n in arrays["shape"])
            values = {
                "basis": np.array(arrays["basis"], dtype=np.float32),
                "polynomial": np.array(arrays["polynomial"], dtype=np.float64),
                "fwhm": float(arrays["fwhm"]),
                "oversampling": int(arrays["oversampling"]),
            }
        except (KeyError, TypeError, ValueError) as error:
            raise DataDamaged(
                f"FieldPsf: {error!r} in the stored arrays; redo the ePSF stage"
            ) from error
        if not known:
            raise DataDamaged("FieldPsf: stored in an unknown format; redo the ePSF stage")
        return cls(**values, shape=(ny, nx), cells=cells if cells.size else None)  # type: ignore[arg-type]

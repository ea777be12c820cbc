"""Numbers that vary over an image, as Chebyshev polynomials, and aperture corrections of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from skyloom._types import Floats
from skyloom.geometry import Box
from skyloom.images.photo_calib import Field

__all__ = ["ApCorrMap", "ChebyshevField"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChebyshevField:
    """A sum of Chebyshev polynomials of the first kind over a box.

    The edges of the outer pixels of the box (half a pixel beyond their centres) are -1 and 1.
    """

    box: Box  # parent coordinates
    coefficients: Floats  # shape (order_y + 1, order_x + 1)

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the values at parent positions [pix]."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        if self.coefficients.size == 1:
            return np.full(x.shape, float(self.coefficients[0, 0]))
        box = self.box
        u = (2.0 * x - (box.x0 + box.x1 - 1)) / box.width
        v = (2.0 * y - (box.y0 + box.y1 - 1)) / box.height
        return np.asarray(chebyshev.chebval2d(u, v, self.coefficients.T))

    @classmethod
    def approximating(cls, field: Field, box: Box, order: int) -> Self:
        """Return the field that agrees with another at the Chebyshev nodes of a box.

        Parameters
        ----------
        field : callable
            Gives values at parent positions [pix].
        box : Box
            Where it is approximated.
        order : int
            Highest order along each axis.
        """
        nodes = chebyshev.chebpts1(order + 1)
        x = 0.5 * (nodes * box.width + box.x0 + box.x1 - 1)
        y = 0.5 * (nodes * box.height + box.y0 + box.y1 - 1)
        values = np.asarray(field(*np.meshgrid(x, y)))
        inverse = np.linalg.inv(chebyshev.chebvander(nodes, order))
        return cls(box=box, coefficients=inverse @ values @ inverse.T)

    def mean(self) -> float:
        """Return the mean over the box."""
        ny, nx = self.coefficients.shape
        return float(_integrals(ny) @ self.coefficients @ _integrals(nx))


class ApCorrMap(Mapping[str, Any]):
    """Aperture corrections: name of the flux -> a field that multiplies it.

    Examples
    --------
    >>> field = ChebyshevField(box=Box(0, 10, 0, 10), coefficients=np.array([[1.05]]))
    >>> corrections = ApCorrMap({"base_PsfFlux_instFlux": field})
    >>> float(corrections.at("base_PsfFlux_instFlux", 3.0, 4.0))
    1.05
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def at(self, name: str, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the correction of a flux at parent positions [pix]."""
        values: Floats = self._fields[name](x, y)
        return values


def _integrals(n: int) -> Floats:
    """Return half the integrals of T_0, T_1, ... over [-1, 1]."""
    order = np.arange(n, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(order % 2 == 0, 1.0 / (1.0 - order**2), 0.0)
    return np.asarray(values)

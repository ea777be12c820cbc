"""Numbers that vary over an image: Chebyshev polynomials, products, areas of pixels, mappings.

And aperture corrections, which are made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from skyloom._types import Floats
from skyloom.geometry import Box
from skyloom.images.photo_calib import Field

if TYPE_CHECKING:
    from skyloom.images.sky_wcs import SkyWcs

__all__ = [
    "ApCorrMap",
    "ChebyshevField",
    "InverseField",
    "MappedField",
    "PixelAreaField",
    "ProductField",
    "scaled_field",
]

_RADIAN = 180.0 * 3600.0 / np.pi  # arcsec


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductField:
    """A product of fields, such as a polynomial times the area of pixels."""

    factors: tuple[Field, ...]

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the values at parent positions [pix]."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        result = np.ones(x.shape)
        for factor in self.factors:
            result = result * factor(x, y)
        return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelAreaField:
    """The area of pixels on the sky times a number."""

    box: Box  # parent coordinates
    wcs: SkyWcs
    scaling: float  # per rad**2

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the values at parent positions [pix]."""
        return np.asarray(self.wcs.pixel_area(x, y) * (self.scaling / _RADIAN**2))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedField:
    """What a mapping from two axes to one gives; kept with the text that it was read from."""

    box: Box  # parent coordinates
    mapping: Callable[[Floats], Floats]  # points of shape (2, n) -> (1, n)
    text: str  # as AST writes mappings

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the values at parent positions [pix]."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        values = self.mapping(np.stack([x.ravel(), y.ravel()]))[0]
        return np.asarray(values.reshape(x.shape), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InverseField:
    """A number over a field."""

    numerator: float
    field: Field

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the values at parent positions [pix]."""
        return np.asarray(self.numerator / self.field(x, y))


def scaled_field(field: Field, scale: float) -> Field:
    """Return a field times a number, as a field of the same kind where there is such."""
    if isinstance(field, ChebyshevField):
        return replace(field, coefficients=field.coefficients * scale)
    if isinstance(field, PixelAreaField):
        return replace(field, scaling=field.scaling * scale)
    if isinstance(field, InverseField):
        return replace(field, numerator=field.numerator * scale)
    constant = ChebyshevField(box=Box(0, 0, 0, 0), coefficients=np.array([[scale]]))
    box = getattr(field, "box", None)
    factors = field.factors if isinstance(field, ProductField) else (field,)
    for factor in factors:
        box = getattr(factor, "box", box)
    if box is not None:
        constant = replace(constant, box=box)
    return ProductField(factors=(*factors, constant))


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

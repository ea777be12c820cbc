"""Old linear transforms of the plane: ``afwGeom.LinearTransform``, ``afwGeom.AffineTransform``."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from skyloom._types import Floats
from skyloom.compat.hsc._points import Extent2D, Point2D

__all__ = ["AffineTransform", "LinearTransform"]


@final
class LinearTransform:
    """A matrix; called with a point or an extent, it moves it."""

    def __init__(self, matrix: Any = None) -> None:
        self.matrix: Floats = np.eye(2) if matrix is None else np.array(matrix, np.float64)

    @classmethod
    def makeRotation(cls, angle: Any) -> LinearTransform:
        """Use ``[[cos, -sin], [sin, cos]]`` of the angle: counter-clockwise."""
        cos, sin = np.cos(angle.asRadians()), np.sin(angle.asRadians())
        return cls([[cos, -sin], [sin, cos]])

    @classmethod
    def makeScaling(cls, x: float, y: float | None = None) -> LinearTransform:
        """Use ``np.diag([x, y])``."""
        return cls(np.diag([x, x if y is None else y]))

    def getMatrix(self) -> Floats:
        """Use the matrix itself, an array."""
        return self.matrix

    def getParameterVector(self) -> Floats:
        """Use ``matrix.T.ravel()``: xx, yx, xy, yy."""
        return self.matrix.T.ravel()

    def inverted(self) -> LinearTransform:
        """Use ``np.linalg.inv(matrix)``."""
        return LinearTransform(np.linalg.inv(self.matrix))

    invert = inverted

    def computeDeterminant(self) -> float:
        """Use ``np.linalg.det(matrix)``."""
        return float(np.linalg.det(self.matrix))

    def __getitem__(self, index: tuple[int, int]) -> float:
        return float(self.matrix[index])

    def __mul__(self, other: LinearTransform) -> LinearTransform:
        return LinearTransform(self.matrix @ other.matrix)

    def __call__(self, point: Any) -> Any:
        return type(point)(*(self.matrix @ np.array(tuple(point))).tolist())


@final
class AffineTransform:
    """A matrix and a shift."""

    def __init__(self, linear: Any = None, translation: Any = (0.0, 0.0)) -> None:
        self.linear = linear if isinstance(linear, LinearTransform) else LinearTransform(linear)
        self.translation: Floats = np.array(tuple(translation), np.float64)

    def getLinear(self) -> LinearTransform:
        """Use the matrix; of a WCS, ``wcs.jacobian(x, y)`` [arcsec/pix]."""
        return self.linear

    def getTranslation(self) -> Extent2D:
        """Use the shift, an array."""
        return Extent2D(self.translation.tolist())

    def inverted(self) -> AffineTransform:
        """Use ``np.linalg.inv``."""
        inverse = np.linalg.inv(self.linear.matrix)
        return AffineTransform(inverse, -inverse @ self.translation)

    invert = inverted

    def __call__(self, point: Any) -> Any:
        moved = self.linear.matrix @ np.array(tuple(point))
        if isinstance(point, Point2D):
            moved = moved + self.translation
        return type(point)(*moved.tolist())

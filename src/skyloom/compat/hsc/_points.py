"""Old points and extents of the plane: ``afwGeom.Point2D``, ``afwGeom.Extent2I``."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

__all__ = ["Extent2D", "Extent2I", "Pair", "Point2D", "Point2I"]


class Pair:
    """Two numbers along x and y."""

    kind: ClassVar[Any] = float
    rounding: ClassVar[float] = 0.0

    def __init__(self, x: Any = 0, y: Any = None) -> None:
        if y is None and not isinstance(x, (int, float)):
            x, y = x
        self.x, self.y = (self.kind(v + self.rounding) for v in (x, 0 if y is None else y))

    @classmethod
    def of(cls, new: Any) -> Self:
        """Return the pair of a new object with x and y."""
        return cls(new.x, new.y)

    def getX(self) -> Any:
        """Use ``point.x``."""
        return self.x

    def getY(self) -> Any:
        """Use ``point.y``."""
        return self.y

    def __iter__(self) -> Any:
        return iter((self.x, self.y))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return (self.x, self.y)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.x}, {self.y})"


class Extent2D(Pair):
    """A size or a shift [pix]."""


class Extent2I(Extent2D):
    """A size or a shift of whole pixels."""

    kind = math.floor
    rounding = 0.5


class Point2D(Pair):
    """A position [pix]."""

    def __sub__(self, other: Pair) -> Any:
        return (Extent2D if isinstance(other, Point2D) else type(self))(
            self.x - other.x, self.y - other.y
        )

    def __add__(self, other: Extent2D) -> Self:
        return type(self)(self.x + other.x, self.y + other.y)

    def distanceSquared(self, other: Point2D) -> float:
        """Return the square of the distance [pix**2]."""
        return float((self.x - other.x) ** 2 + (self.y - other.y) ** 2)


class Point2I(Point2D):
    """A pixel: the one that a position is in."""

    kind = math.floor
    rounding = 0.5

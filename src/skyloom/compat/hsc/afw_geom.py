"""Old names of `skyloom.geometry`: ``lsst.afw.geom``."""

from __future__ import annotations

from typing import Any, final

from skyloom.compat.hsc import ellipses
from skyloom.compat.hsc._adapter import Adapter
from skyloom.compat.hsc._points import Extent2D, Extent2I, Point2D, Point2I
from skyloom.compat.hsc._transforms import AffineTransform, LinearTransform
from skyloom.geometry import Angle as NewAngle
from skyloom.geometry import Box

__all__ = [
    "AffineTransform",
    "Angle",
    "AngleUnit",
    "Box2I",
    "BoxI",
    "Extent2D",
    "Extent2I",
    "ExtentD",
    "ExtentI",
    "LinearTransform",
    "Point2D",
    "Point2I",
    "PointD",
    "PointI",
    "arcminutes",
    "arcseconds",
    "degrees",
    "ellipses",
    "hours",
    "radians",
]


@final
class AngleUnit:
    """A unit of angle: ``30 * degrees`` is an angle."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __rmul__(self, value: float) -> Angle:
        return Angle(value, self)

    def __repr__(self) -> str:
        return self.name


radians = AngleUnit("rad")
degrees = AngleUnit("deg")
hours = AngleUnit("hour")
arcminutes = AngleUnit("arcmin")
arcseconds = AngleUnit("arcsec")


@final
class Angle(Adapter):
    """One angle."""

    new: NewAngle

    def __init__(self, value: Any, unit: AngleUnit = radians) -> None:
        if isinstance(value, (Angle, NewAngle)):
            value = value.asRadians() if isinstance(value, Angle) else value.as_radians()
            unit = radians
        self.new = NewAngle(value, unit.name)

    def asRadians(self) -> Any:
        """Use ``angle.as_radians()``."""
        return self.new.as_radians()

    def asDegrees(self) -> Any:
        """Use ``angle.as_degrees()``."""
        return self.new.as_degrees()

    def asHours(self) -> Any:
        """Use ``angle.as_hours()``."""
        return self.new.as_hours()

    def asArcminutes(self) -> Any:
        """Use ``angle.as_arcminutes()``."""
        return self.new.as_arcminutes()

    def asArcseconds(self) -> Any:
        """Use ``angle.as_arcseconds()``."""
        return self.new.as_arcseconds()

    def wrap(self) -> Angle:
        """Use ``angle.wrapped()``."""
        return Angle(self.new.wrapped())

    def wrapCtr(self) -> Angle:
        """Use ``angle.wrapped_near_zero()``."""
        return Angle(self.new.wrapped_near_zero())

    def __float__(self) -> float:
        return float(self.new)

    def __str__(self) -> str:
        return f"{self.asRadians()} rad"

    def __add__(self, other: Angle) -> Angle:
        return Angle(self.new + other.new)

    def __sub__(self, other: Angle) -> Angle:
        return Angle(self.new - other.new)

    def __neg__(self) -> Angle:
        return Angle(-self.new)

    def __mul__(self, factor: float) -> Angle:
        return Angle(self.new * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self.new / other.new if isinstance(other, Angle) else Angle(self.new / other)

    def __lt__(self, other: Angle) -> bool:
        return bool(self.new < other.new)

    def __le__(self, other: Angle) -> bool:
        return bool(self.new <= other.new)

    def __gt__(self, other: Angle) -> bool:
        return bool(self.new > other.new)

    def __ge__(self, other: Angle) -> bool:
        return bool(self.new >= other.new)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Angle) and bool(self.new == other.new)

    def __hash__(self) -> int:
        return hash(self.new)


@final
class Box2I(Adapter):
    """A box of pixels; its old corners are both inside."""

    new: Box

    def __init__(self, minimum: Any = None, other: Any = None) -> None:
        if minimum is None:
            self.new = Box(0, 0, 0, 0)
        elif isinstance(other, Extent2D):
            x, y = minimum
            self.new = Box(x, x + int(other.x), y, y + int(other.y))
        else:
            (x, y), (x1, y1) = minimum, other
            self.new = Box(int(x), int(x1) + 1, int(y), int(y1) + 1)

    def getMin(self) -> Point2I:
        """Use ``box.x0, box.y0``."""
        return Point2I(self.new.x0, self.new.y0)

    def getMax(self) -> Point2I:
        """Use ``box.x1 - 1, box.y1 - 1`` (boxes are half-open)."""
        return Point2I(self.new.x1 - 1, self.new.y1 - 1)

    def getMinX(self) -> int:
        """Use ``box.x0``."""
        return self.new.x0

    def getMinY(self) -> int:
        """Use ``box.y0``."""
        return self.new.y0

    def getMaxX(self) -> int:
        """Use ``box.x1 - 1``."""
        return self.new.x1 - 1

    def getMaxY(self) -> int:
        """Use ``box.y1 - 1``."""
        return self.new.y1 - 1

    def getWidth(self) -> int:
        """Use ``box.width``."""
        return self.new.width

    def getHeight(self) -> int:
        """Use ``box.height``."""
        return self.new.height

    def getDimensions(self) -> Extent2I:
        """Use ``box.width, box.height``."""
        return Extent2I(self.new.width, self.new.height)

    def getArea(self) -> int:
        """Use ``box.width * box.height``."""
        return self.new.width * self.new.height

    def getBegin(self) -> Point2I:
        """Use ``box.x0, box.y0``."""
        return self.getMin()

    def getEnd(self) -> Point2I:
        """Use ``box.x1, box.y1``."""
        return Point2I(self.new.x1, self.new.y1)

    def getBeginX(self) -> int:
        """Use ``box.x0``."""
        return self.new.x0

    def getBeginY(self) -> int:
        """Use ``box.y0``."""
        return self.new.y0

    def getEndX(self) -> int:
        """Use ``box.x1``."""
        return self.new.x1

    def getEndY(self) -> int:
        """Use ``box.y1``."""
        return self.new.y1

    def overlaps(self, other: Box2I) -> bool:
        """Use ``not box.clipped(other).is_empty``."""
        return not self.new.clipped(other.new).is_empty

    def shift(self, offset: Extent2D) -> None:
        """Use ``box = box.shifted(dx, dy)``."""
        self.new = self.new.shifted(int(offset.x), int(offset.y))

    def isEmpty(self) -> bool:
        """Use ``box.is_empty``."""
        return self.new.is_empty

    def contains(self, other: Any) -> bool:
        """Use ``other.clipped(box) == other`` (for a point: compare with ``x0 ... y1``)."""
        if isinstance(other, Box2I):
            return other.new.clipped(self.new) == other.new
        x, y = other
        return bool(self.new.x0 <= x < self.new.x1 and self.new.y0 <= y < self.new.y1)

    def getCorners(self) -> list[Point2I]:
        """Use ``box.x0, box.y0, box.x1 - 1, box.y1 - 1``: the corner pixels, counter-clockwise."""
        low, high = self.getMin(), self.getMax()
        pairs = ((low.x, low.y), (high.x, low.y), (high.x, high.y), (low.x, high.y))
        return [Point2I(*pair) for pair in pairs]

    def include(self, other: Any) -> None:
        """Use ``Box(min(...), max(...) + 1, ...)``: the smallest box that has both."""
        added = other.new if isinstance(other, Box2I) else Box2I(other, other).new
        old = added if self.new.is_empty else self.new
        self.new = Box(
            min(old.x0, added.x0),
            max(old.x1, added.x1),
            min(old.y0, added.y0),
            max(old.y1, added.y1),
        )

    def grow(self, margin: int) -> None:
        """Use ``box = box.grown(margin)``."""
        self.new = self.new.grown(int(margin))

    def clip(self, other: Box2I) -> None:
        """Use ``box = box.clipped(other)``."""
        self.new = self.new.clipped(other.new)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box2I) and self.new == other.new

    def __hash__(self) -> int:
        return hash(self.new)


BoxI = Box2I
PointI, PointD = Point2I, Point2D
ExtentI, ExtentD = Extent2I, Extent2D

"""Old names of ellipses: ``lsst.afw.geom.ellipses``.

Besides second moments and axes there are ellipticities along two directions (`Distortion`,
`ReducedShear`, `ConformalShear`), sizes (`DeterminantRadius` and three others), and pairs of both:
``SeparableDistortionDeterminantRadius``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, final

import numpy as np

from skyloom.compat.hsc._adapter import Adapter
from skyloom.geometry import Axes as NewAxes
from skyloom.geometry import Quadrupole as NewQuadrupole

__all__ = [
    "Axes",
    "ConformalShear",
    "DeterminantRadius",
    "Distortion",
    "LogDeterminantRadius",
    "LogTraceRadius",
    "Quadrupole",
    "ReducedShear",
    "Separable",
    "SeparableConformalShearDeterminantRadius",
    "SeparableConformalShearLogDeterminantRadius",
    "SeparableConformalShearLogTraceRadius",
    "SeparableConformalShearTraceRadius",
    "SeparableDistortionDeterminantRadius",
    "SeparableDistortionLogDeterminantRadius",
    "SeparableDistortionLogTraceRadius",
    "SeparableDistortionTraceRadius",
    "SeparableReducedShearDeterminantRadius",
    "SeparableReducedShearLogDeterminantRadius",
    "SeparableReducedShearLogTraceRadius",
    "SeparableReducedShearTraceRadius",
    "TraceRadius",
]


class _Core(Adapter):
    """What moments and axes have in common."""

    def moments(self) -> NewQuadrupole:
        """Return the second moments."""
        found: NewQuadrupole = self.new if isinstance(self, Quadrupole) else self.new.quadrupole()
        return found

    def transform(self, transform: Any) -> Any:
        """Use ``matrix @ moments @ matrix.T``; an old LinearTransform holds the matrix."""
        matrix, q = transform.getMatrix(), self.moments()
        (ixx, ixy), (_, iyy) = matrix @ np.array([[q.ixx, q.ixy], [q.ixy, q.iyy]]) @ matrix.T
        moved = Quadrupole(float(ixx), float(iyy), float(ixy))
        return moved if isinstance(self, Quadrupole) else Axes(moved)

    def getDeterminantRadius(self) -> Any:
        """Use ``shape.determinant_radius``."""
        return self.new.determinant_radius

    def getTraceRadius(self) -> Any:
        """Use ``shape.trace_radius``."""
        return self.new.trace_radius

    def getArea(self) -> Any:
        """Use ``pi * shape.determinant_radius**2``."""
        return math.pi * self.new.determinant_radius**2


@final
class Quadrupole(_Core):
    """Second moments; the old order of arguments, ``ixx, iyy, ixy``, is the new one too."""

    new: NewQuadrupole

    def __init__(self, ixx: Any, iyy: float = 0.0, ixy: float = 0.0) -> None:
        self.new = ixx.moments() if hasattr(ixx, "moments") else NewQuadrupole(ixx, iyy, ixy)

    def getIxx(self) -> Any:
        """Use ``shape.ixx``."""
        return self.new.ixx

    def getIyy(self) -> Any:
        """Use ``shape.iyy``."""
        return self.new.iyy

    def getIxy(self) -> Any:
        """Use ``shape.ixy``."""
        return self.new.ixy


@final
class Axes(_Core):
    """Semi-axes [pix] and angle [rad]; made of three numbers, or of second moments."""

    new: NewAxes

    def __init__(self, a: Any, b: float = 0.0, theta: float = 0.0) -> None:
        self.new = a.moments().axes() if hasattr(a, "moments") else NewAxes(a, b, theta)

    def getA(self) -> Any:
        """Use ``shape.axes().a``."""
        return self.new.a

    def getB(self) -> Any:
        """Use ``shape.axes().b``."""
        return self.new.b

    def getTheta(self) -> Any:
        """Use ``shape.axes().theta``."""
        return self.new.theta


class _Ellipticity(ABC):
    """Two numbers: elongation along x and y, and along the diagonals.

    `to_ratio` and `from_ratio` go between the modulus and the ratio b / a of the axes.
    """

    def __init__(self, e1: Any, e2: float = 0.0) -> None:
        if isinstance(e1, _Ellipticity):
            modulus = self.from_ratio(e1.to_ratio(e1.getE()))
            e1, e2 = modulus * math.cos(2 * e1.getTheta()), modulus * math.sin(2 * e1.getTheta())
        elif hasattr(e1, "moments"):
            axes = e1.moments().axes()
            modulus = self.from_ratio(axes.b / axes.a)
            e1, e2 = modulus * math.cos(2 * axes.theta), modulus * math.sin(2 * axes.theta)
        self.e1, self.e2 = float(e1), float(e2)

    @staticmethod
    @abstractmethod
    def to_ratio(modulus: float) -> float:
        """Return b / a."""

    @staticmethod
    @abstractmethod
    def from_ratio(ratio: float) -> float:
        """Return the modulus of the axis ratio b / a."""

    def getE1(self) -> float:
        """Use ``e * cos(2 * axes.theta)``, e from the axes as below."""
        return self.e1

    def getE2(self) -> float:
        """Use ``e * sin(2 * axes.theta)``, e from the axes as below."""
        return self.e2

    def getE(self) -> float:
        """Use the axes: distortion (a² - b²)/(a² + b²), reduced (a - b)/(a + b), ln(a/b)."""
        return math.hypot(self.e1, self.e2)

    def getTheta(self) -> float:
        """Use ``axes.theta``."""
        return math.atan2(self.e2, self.e1) / 2

    def getAxisRatio(self) -> float:
        """Use ``axes.b / axes.a``."""
        return self.to_ratio(self.getE())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.e1:.6g}, {self.e2:.6g})"


@final
class Distortion(_Ellipticity):
    """``(a**2 - b**2) / (a**2 + b**2)``."""

    @staticmethod
    def to_ratio(modulus: float) -> float:
        """Return b / a."""
        return math.sqrt((1 - modulus) / (1 + modulus))

    @staticmethod
    def from_ratio(ratio: float) -> float:
        """Return the modulus."""
        return (1 - ratio**2) / (1 + ratio**2)


@final
class ReducedShear(_Ellipticity):
    """``(a - b) / (a + b)``."""

    @staticmethod
    def to_ratio(modulus: float) -> float:
        """Return b / a."""
        return (1 - modulus) / (1 + modulus)

    @staticmethod
    def from_ratio(ratio: float) -> float:
        """Return the modulus."""
        return (1 - ratio) / (1 + ratio)


@final
class ConformalShear(_Ellipticity):
    """``ln(a / b)``."""

    @staticmethod
    def to_ratio(modulus: float) -> float:
        """Return b / a."""
        return math.exp(-modulus)

    @staticmethod
    def from_ratio(ratio: float) -> float:
        """Return the modulus."""
        return -math.log(ratio)


class _Radius(float):
    """A size [pix], or its logarithm: a number."""

    __slots__ = ()
    is_trace: ClassVar[bool] = False
    is_log: ClassVar[bool] = False


@final
class DeterminantRadius(_Radius):
    """Fourth root of the determinant of the moments."""

    __slots__ = ()


@final
class TraceRadius(_Radius):
    """Square root of half the trace of the moments."""

    __slots__ = ()
    is_trace = True


@final
class LogDeterminantRadius(_Radius):
    """Natural logarithm of the determinant radius."""

    __slots__ = ()
    is_log = True


@final
class LogTraceRadius(_Radius):
    """Natural logarithm of the trace radius."""

    __slots__ = ()
    is_trace = True
    is_log = True


class Separable:
    """An ellipticity and a size; made of both, of two numbers and a size, or of an ellipse."""

    ellipticity: ClassVar[type[_Ellipticity]] = Distortion
    radius: ClassVar[type[_Radius]] = DeterminantRadius

    def __init__(self, first: Any, second: Any = None, third: Any = None) -> None:
        if second is not None:
            pair = (first,) if third is None else (first, second)
            self._e, self._r = (
                self.ellipticity(*pair),
                self.radius(second if third is None else third),
            )
            return
        q = first.moments()
        size = q.trace_radius if self.radius.is_trace else q.determinant_radius
        self._e = self.ellipticity(first)
        self._r = self.radius(math.log(size) if self.radius.is_log else size)

    def getEllipticity(self) -> Any:
        """Use ``shape.axes()``: the ellipticity as below."""
        return self._e

    def getRadius(self) -> float:
        """Use ``shape.determinant_radius`` or ``shape.trace_radius``."""
        return self._r

    def getE1(self) -> float:
        """Use ``e * cos(2 * axes.theta)``."""
        return self._e.e1

    def getE2(self) -> float:
        """Use ``e * sin(2 * axes.theta)``."""
        return self._e.e2

    def moments(self) -> NewQuadrupole:
        """Return the second moments."""
        ratio = self._e.getAxisRatio()
        size = math.exp(self._r) if self.radius.is_log else float(self._r)
        if self.radius.is_trace:
            a = size * math.sqrt(2 / (1 + ratio**2))
        else:
            a = size / math.sqrt(ratio)
        return NewAxes(a, a * ratio, self._e.getTheta()).quadrupole()


def _separable(ellipticity: type[_Ellipticity], radius: type[_Radius]) -> type[Separable]:
    name = f"Separable{ellipticity.__name__}{radius.__name__}"
    return type(name, (Separable,), {"ellipticity": ellipticity, "radius": radius})


SeparableDistortionDeterminantRadius = _separable(Distortion, DeterminantRadius)
SeparableDistortionTraceRadius = _separable(Distortion, TraceRadius)
SeparableDistortionLogDeterminantRadius = _separable(Distortion, LogDeterminantRadius)
SeparableDistortionLogTraceRadius = _separable(Distortion, LogTraceRadius)
SeparableReducedShearDeterminantRadius = _separable(ReducedShear, DeterminantRadius)
SeparableReducedShearTraceRadius = _separable(ReducedShear, TraceRadius)
SeparableReducedShearLogDeterminantRadius = _separable(ReducedShear, LogDeterminantRadius)
SeparableReducedShearLogTraceRadius = _separable(ReducedShear, LogTraceRadius)
SeparableConformalShearDeterminantRadius = _separable(ConformalShear, DeterminantRadius)
SeparableConformalShearTraceRadius = _separable(ConformalShear, TraceRadius)
SeparableConformalShearLogDeterminantRadius = _separable(ConformalShear, LogDeterminantRadius)
SeparableConformalShearLogTraceRadius = _separable(ConformalShear, LogTraceRadius)

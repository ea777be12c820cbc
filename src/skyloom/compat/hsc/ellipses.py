"""Old names of ellipses: ``lsst.afw.geom.ellipses``."""

from __future__ import annotations

from typing import Any, final

from skyloom.compat.hsc._adapter import Adapter
from skyloom.geometry import Axes as NewAxes
from skyloom.geometry import Quadrupole as NewQuadrupole

__all__ = ["Axes", "Quadrupole"]


@final
class Quadrupole(Adapter):
    """Second moments; the old order of arguments, ``ixx, iyy, ixy``, is the new one too."""

    new: NewQuadrupole

    def __init__(self, ixx: Any, iyy: float = 0.0, ixy: float = 0.0) -> None:
        if isinstance(ixx, (Axes, Quadrupole)):
            self.new = ixx.new.quadrupole() if isinstance(ixx, Axes) else ixx.new
        else:
            self.new = NewQuadrupole(ixx, iyy, ixy)

    def getIxx(self) -> Any:
        """Use ``shape.ixx``."""
        return self.new.ixx

    def getIyy(self) -> Any:
        """Use ``shape.iyy``."""
        return self.new.iyy

    def getIxy(self) -> Any:
        """Use ``shape.ixy``."""
        return self.new.ixy

    def getDeterminantRadius(self) -> Any:
        """Use ``shape.determinant_radius``."""
        return self.new.determinant_radius

    def getTraceRadius(self) -> Any:
        """Use ``shape.trace_radius``."""
        return self.new.trace_radius


@final
class Axes(Adapter):
    """Semi-axes [pix] and angle [rad]; made of three numbers, or of second moments."""

    new: NewAxes

    def __init__(self, a: Any, b: float = 0.0, theta: float = 0.0) -> None:
        if isinstance(a, (Axes, Quadrupole)):
            self.new = a.new.axes() if isinstance(a, Quadrupole) else a.new
        else:
            self.new = NewAxes(a, b, theta)

    def getA(self) -> Any:
        """Use ``shape.axes().a``."""
        return self.new.a

    def getB(self) -> Any:
        """Use ``shape.axes().b``."""
        return self.new.b

    def getTheta(self) -> Any:
        """Use ``shape.axes().theta``."""
        return self.new.theta

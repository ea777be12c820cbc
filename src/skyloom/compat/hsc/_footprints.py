"""Old names of footprints, their spans and peaks; see `afw_table`."""

from __future__ import annotations

from typing import NamedTuple, final

from skyloom.compat.hsc._adapter import Adapter
from skyloom.compat.hsc.afw_geom import Box2I

__all__ = ["Footprint", "Peak", "Span"]


class Span(NamedTuple):
    """A run of pixels, both ends included."""

    y: int
    x0: int
    x1: int

    def getY(self) -> int:
        """Use ``y, x0, x1 = span``."""
        return self.y

    def getX0(self) -> int:
        """Use ``y, x0, x1 = span``."""
        return self.x0

    def getX1(self) -> int:
        """Use ``y, x0, x1 = span``."""
        return self.x1

    def getWidth(self) -> int:
        """Use ``x1 - x0 + 1``."""
        return self.x1 - self.x0 + 1


@final
class Peak(Adapter):
    """A peak of a footprint."""

    def getFx(self) -> float:
        """Use ``peak["f_x"]``."""
        return float(self.new["f_x"])

    def getFy(self) -> float:
        """Use ``peak["f_y"]``."""
        return float(self.new["f_y"])

    def getIx(self) -> int:
        """Use ``peak["i_x"]``."""
        return int(self.new["i_x"])

    def getIy(self) -> int:
        """Use ``peak["i_y"]``."""
        return int(self.new["i_y"])

    def getPeakValue(self) -> float:
        """Use ``peak["peakValue"]``."""
        return float(self.new["peakValue"])


@final
class Footprint(Adapter):
    """The pixels of a source."""

    def getArea(self) -> int:
        """Use ``footprint.area``."""
        return int(self.new.area)

    def getNpix(self) -> int:
        """Use ``footprint.area``."""
        return int(self.new.area)

    def getBBox(self) -> Box2I:
        """Use ``footprint.box``."""
        made: Box2I = Box2I.of(self.new.box)
        return made

    def getPeaks(self) -> list[Peak]:
        """Use ``footprint.peaks``."""
        return [Peak.of(peak) for peak in self.new.peaks]

    def getSpans(self) -> list[Span]:
        """Use ``footprint.spans.spans``: rows of ``y, x0, x1``."""
        return [Span(*row) for row in self.new.spans.spans.tolist()]

    def isHeavy(self) -> bool:
        """Use ``footprint.is_heavy``."""
        return bool(self.new.is_heavy)

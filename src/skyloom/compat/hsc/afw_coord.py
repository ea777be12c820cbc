"""Old names of positions on the sky: ``lsst.afw.coord``."""

from __future__ import annotations

from typing import ClassVar

from skyloom import geometry
from skyloom.compat.hsc._adapter import Adapter, new_of
from skyloom.compat.hsc.afw_geom import Angle

__all__ = ["Coord", "EclipticCoord", "Fk5Coord", "GalacticCoord", "IcrsCoord"]


class Coord(Adapter):
    """A position; longitude and latitude are angles."""

    new: geometry.Coord
    kind: ClassVar[type[geometry.Coord]] = geometry.IcrsCoord

    def __init__(self, lon: Angle, lat: Angle) -> None:
        self.new = self.kind(new_of(lon), new_of(lat))

    def getLongitude(self) -> Angle:
        """Use ``coord.lon``."""
        return Angle(self.new.lon)

    def getLatitude(self) -> Angle:
        """Use ``coord.lat``."""
        return Angle(self.new.lat)

    def getRa(self) -> Angle:
        """Use ``coord.to_icrs().ra``."""
        return Angle(self.new.to_icrs().ra)

    def getDec(self) -> Angle:
        """Use ``coord.to_icrs().dec``."""
        return Angle(self.new.to_icrs().dec)

    def getL(self) -> Angle:
        """Use ``coord.to_galactic().l``."""
        return Angle(self.new.to_galactic().l)

    def getB(self) -> Angle:
        """Use ``coord.to_galactic().b``."""
        return Angle(self.new.to_galactic().b)

    def toIcrs(self) -> IcrsCoord:
        """Use ``coord.to_icrs()``."""
        made: IcrsCoord = IcrsCoord.of(self.new.to_icrs())
        return made

    def toFk5(self) -> Fk5Coord:
        """Use ``coord.to_fk5()``."""
        made: Fk5Coord = Fk5Coord.of(self.new.to_fk5())
        return made

    def toGalactic(self) -> GalacticCoord:
        """Use ``coord.to_galactic()``."""
        made: GalacticCoord = GalacticCoord.of(self.new.to_galactic())
        return made

    def toEcliptic(self) -> EclipticCoord:
        """Use ``coord.to_ecliptic()``."""
        made: EclipticCoord = EclipticCoord.of(self.new.to_ecliptic())
        return made

    def angularSeparation(self, other: Coord) -> Angle:
        """Use ``coord.separation(other)``."""
        return Angle(self.new.separation(other.new))


class IcrsCoord(Coord):
    """ICRS."""


class Fk5Coord(Coord):
    """FK5 J2000, taken for ICRS."""

    kind = geometry.Fk5Coord


class GalacticCoord(Coord):
    """Galactic coordinates."""

    kind = geometry.GalacticCoord


class EclipticCoord(Coord):
    """Ecliptic coordinates."""

    kind = geometry.EclipticCoord

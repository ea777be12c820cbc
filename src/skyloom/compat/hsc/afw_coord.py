"""Old names of positions on the sky: ``lsst.afw.coord``."""

from __future__ import annotations

from typing import Any, ClassVar

from skyloom import geometry
from skyloom.compat.hsc._adapter import Adapter, new_of
from skyloom.compat.hsc.afw_geom import Angle, AngleUnit, Point2D, degrees

__all__ = ["Coord", "EclipticCoord", "Fk5Coord", "GalacticCoord", "IcrsCoord", "SpherePoint"]


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

    def getPosition(self, unit: AngleUnit = degrees) -> Point2D:
        """Use ``coord.lon.as_degrees(), coord.lat.as_degrees()``."""
        one = Angle(1.0, unit).asRadians()
        return Point2D(self.new.lon.as_radians() / one, self.new.lat.as_radians() / one)

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

    def getLambda(self) -> Angle:
        """Use ``coord.to_ecliptic().lon``."""
        return Angle(self.new.to_ecliptic().lon)

    def getBeta(self) -> Angle:
        """Use ``coord.to_ecliptic().lat``."""
        return Angle(self.new.to_ecliptic().lat)

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

    def separation(self, other: Coord) -> Angle:
        """Use ``coord.separation(other)``."""
        return self.angularSeparation(other)


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


class SpherePoint(IcrsCoord):
    """ICRS; the newer name, of two angles or of two numbers with their unit."""

    def __init__(self, lon: Any, lat: Any = None, unit: AngleUnit | None = None) -> None:
        if isinstance(lon, Coord):
            self.new = lon.new.to_icrs()
        elif unit is not None:
            super().__init__(lon * unit, lat * unit)
        else:
            super().__init__(lon, lat)

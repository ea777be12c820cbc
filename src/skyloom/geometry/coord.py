"""Positions on the sky: ICRS, FK5, Galactic and ecliptic, one or many.

`astropy.coordinates` does the arithmetic.  FK5 (J2000) is treated as the same as ICRS, as the HSC
and LSST tools do: the two frames differ by some 20 mas, at most 32.  For that level of accuracy
take `Coord.to_astropy` and transform it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

import numpy as np

from skyloom.geometry.angle import Angle

__all__ = ["Coord", "EclipticCoord", "Fk5Coord", "GalacticCoord", "IcrsCoord"]

C = TypeVar("C", bound="Coord")

# Ecliptic: mean ecliptic and equinox of J2000, seen from the barycentre.
_FRAMES: Final = {
    "icrs": "icrs",
    "fk5": "icrs",
    "galactic": "galactic",
    "ecliptic": "barycentricmeanecliptic",
}


@dataclass(frozen=True, slots=True, eq=False)
class Coord:
    """Longitude and latitude in one of the frames; the base of the family.

    Parameters
    ----------
    lon, lat : Angle
        One position, or arrays of the same shape.
    """

    frame: ClassVar[str] = "icrs"

    lon: Angle
    lat: Angle

    @classmethod
    def from_degrees(cls: type[C], lon: Any, lat: Any) -> C:
        """Return the position at longitude and latitude [deg]."""
        return cls(Angle(lon, "deg"), Angle(lat, "deg"))

    @classmethod
    def from_radians(cls: type[C], lon: Any, lat: Any) -> C:
        """Return the position at longitude and latitude [rad]."""
        return cls(Angle(lon), Angle(lat))

    @classmethod
    def from_astropy(cls: type[C], sky: Any) -> C:
        """Return a `SkyCoord` of any frame in this one."""
        there = sky.transform_to(_FRAMES[cls.frame]).spherical
        return cls(Angle(there.lon.radian), Angle(there.lat.radian))

    def to_astropy(self) -> Any:
        """Return a `SkyCoord`; FK5 gives one in ICRS."""
        from astropy import units  # noqa: PLC0415
        from astropy.coordinates import SkyCoord  # noqa: PLC0415

        return SkyCoord(
            self.lon.radians, self.lat.radians, unit=units.rad, frame=_FRAMES[self.frame]
        )

    def to(self, kind: type[C]) -> C:
        """Return the position in the frame of another member of the family."""
        if _FRAMES[kind.frame] == _FRAMES[self.frame]:
            return kind(self.lon, self.lat)
        return kind.from_astropy(self.to_astropy())

    def to_icrs(self) -> IcrsCoord:
        """Return right ascension and declination."""
        return self.to(IcrsCoord)

    def to_fk5(self) -> Fk5Coord:
        """Return FK5 J2000, here the same as ICRS."""
        return self.to(Fk5Coord)

    def to_galactic(self) -> GalacticCoord:
        """Return Galactic longitude and latitude."""
        return self.to(GalacticCoord)

    def to_ecliptic(self) -> EclipticCoord:
        """Return ecliptic longitude and latitude, mean equinox J2000."""
        return self.to(EclipticCoord)

    def separation(self, other: Coord) -> Angle:
        """Return the angle on the sky to another position, of whatever frame.

        Vincenty's formula: accurate for all separations, antipodes included.
        """
        there = other.to(type(self))
        sin_a, cos_a = np.sin(self.lat.radians), np.cos(self.lat.radians)
        sin_b, cos_b = np.sin(there.lat.radians), np.cos(there.lat.radians)
        step = there.lon.radians - self.lon.radians
        across = np.hypot(cos_b * np.sin(step), cos_a * sin_b - sin_a * cos_b * np.cos(step))
        return Angle(np.arctan2(across, sin_a * sin_b + cos_a * cos_b * np.cos(step)))

    def __len__(self) -> int:
        return len(self.lon)

    def __getitem__(self: C, key: Any) -> C:
        return type(self)(self.lon[key], self.lat[key])


@dataclass(frozen=True, slots=True, eq=False)
class IcrsCoord(Coord):
    """Right ascension and declination, ICRS."""

    frame: ClassVar[str] = "icrs"

    @property
    def ra(self) -> Angle:
        """Right ascension."""
        return self.lon

    @property
    def dec(self) -> Angle:
        """Declination."""
        return self.lat


@dataclass(frozen=True, slots=True, eq=False)
class Fk5Coord(IcrsCoord):
    """Right ascension and declination, FK5 J2000; treated as ICRS (within 32 mas)."""

    frame: ClassVar[str] = "fk5"


@dataclass(frozen=True, slots=True, eq=False)
class GalacticCoord(Coord):
    """Galactic longitude and latitude."""

    frame: ClassVar[str] = "galactic"

    @property
    def l(self) -> Angle:  # noqa: E743
        """Galactic longitude."""
        return self.lon

    @property
    def b(self) -> Angle:
        """Galactic latitude."""
        return self.lat


@dataclass(frozen=True, slots=True, eq=False)
class EclipticCoord(Coord):
    """Ecliptic longitude and latitude, mean ecliptic and equinox of J2000."""

    frame: ClassVar[str] = "ecliptic"

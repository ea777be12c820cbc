"""Angles that know their unit, one or many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from skyloom._types import Floats

__all__ = ["ANGLE_UNITS", "Angle"]

ANGLE_UNITS: Final = {
    "rad": 1.0,
    "deg": np.pi / 180,
    "hour": np.pi / 12,
    "arcmin": np.pi / 180 / 60,
    "arcsec": np.pi / 180 / 3600,
    "mas": np.pi / 180 / 3.6e6,
}
"""Radians in one unit of each name."""

_TURN: Final = 2 * np.pi


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Angle:
    """One angle, or an array of angles.

    Parameters
    ----------
    value : float or array-like
        The number.
    unit : str or astropy unit
        One of `ANGLE_UNITS`, or anything of `astropy.units` that is an angle.

    Examples
    --------
    >>> (Angle(90, "deg") + Angle(6, "hour")).as_hours()
    12.0
    """

    radians: Any  # float, or ndarray of float64

    def __init__(self, value: Any, unit: Any = "rad") -> None:
        if isinstance(value, Angle):
            raise TypeError("Angle of an Angle: it has its unit already")
        numbers = np.asarray(value, dtype=np.float64) * _factor(unit)
        object.__setattr__(self, "radians", float(numbers) if numbers.ndim == 0 else numbers)

    def as_radians(self) -> Any:
        """Return the value [rad]."""
        return self.radians

    def as_degrees(self) -> Any:
        """Return the value [deg]."""
        return self.radians / ANGLE_UNITS["deg"]

    def as_hours(self) -> Any:
        """Return the value [hour of right ascension]."""
        return self.radians / ANGLE_UNITS["hour"]

    def as_arcminutes(self) -> Any:
        """Return the value [arcmin]."""
        return self.radians / ANGLE_UNITS["arcmin"]

    def as_arcseconds(self) -> Any:
        """Return the value [arcsec]."""
        return self.radians / ANGLE_UNITS["arcsec"]

    def to_astropy(self) -> Any:
        """Return an `astropy.coordinates.Angle`."""
        from astropy import units  # noqa: PLC0415
        from astropy.coordinates import Angle as AstropyAngle  # noqa: PLC0415

        return AstropyAngle(self.radians, units.rad)

    def wrapped(self) -> Angle:
        """Return the same direction in [0, 2 pi)."""
        turn = np.mod(self.radians, _TURN)
        return Angle(np.where(turn >= _TURN, 0.0, turn))  # mod(-1e-20, 2 pi) rounds to 2 pi

    def wrapped_near_zero(self) -> Angle:
        """Return the same direction in [-pi, pi)."""
        turn = np.asarray(self.wrapped().radians)
        return Angle(np.where(turn >= np.pi, turn - _TURN, turn))

    def wrapped_near(self, other: Angle) -> Angle:
        """Return the same direction within half a turn of another angle."""
        return other + (self - other).wrapped_near_zero()

    def separation(self, other: Angle) -> Angle:
        """Return ``self - other``, the short way round, in [-pi, pi)."""
        return (self - other).wrapped_near_zero()

    def __len__(self) -> int:
        return len(self.radians)

    def __getitem__(self, key: Any) -> Angle:
        return Angle(self.radians[key])

    def __float__(self) -> float:
        return float(self.radians)

    def __neg__(self) -> Angle:
        return Angle(-self.radians)

    def __abs__(self) -> Angle:
        return Angle(np.abs(self.radians))

    def __add__(self, other: Angle) -> Angle:
        return Angle(self.radians + other.radians) if isinstance(other, Angle) else NotImplemented

    def __sub__(self, other: Angle) -> Angle:
        return Angle(self.radians - other.radians) if isinstance(other, Angle) else NotImplemented

    def __mul__(self, factor: float | Floats) -> Angle:
        return NotImplemented if isinstance(factor, Angle) else Angle(self.radians * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        """Divide by a number (an angle) or by an angle (a number)."""
        if isinstance(other, Angle):
            return self.radians / other.radians
        return Angle(self.radians / other)

    def __eq__(self, other: object) -> Any:
        return self.radians == other.radians if isinstance(other, Angle) else NotImplemented

    def __lt__(self, other: Angle) -> Any:
        return self.radians < other.radians if isinstance(other, Angle) else NotImplemented

    def __le__(self, other: Angle) -> Any:
        return self.radians <= other.radians if isinstance(other, Angle) else NotImplemented

    def __gt__(self, other: Angle) -> Any:
        return self.radians > other.radians if isinstance(other, Angle) else NotImplemented

    def __ge__(self, other: Angle) -> Any:
        return self.radians >= other.radians if isinstance(other, Angle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.radians)

    # numpy must not take an array times an angle apart
    __array_ufunc__ = None


def _factor(unit: Any) -> float:
    """Return the radians in one unit."""
    if isinstance(unit, str) and unit in ANGLE_UNITS:
        return float(ANGLE_UNITS[unit])
    from astropy import units  # noqa: PLC0415

    try:
        return float(units.Unit(unit).to(units.rad))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{unit!r} is no unit of angle; use one of {', '.join(ANGLE_UNITS)}"
        ) from error

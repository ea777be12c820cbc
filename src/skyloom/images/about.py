"""What is known about an exposure beside its pixels: filter, detector, when and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skyloom.geometry import Box
from skyloom.images.dates import header_mjd
from skyloom.images.detector_frames import DetectorFrames

__all__ = ["Amplifier", "ArchivedObject", "Detector", "FilterLabel", "VisitInfo"]

_BANDS = {"u", "g", "r", "i", "z", "y", "SH", "PH", "VR", "white"}
_PICKLED = {"PiffPsf"}  # classes of archived objects that are stored as Python pickles
_NO_FILTER = {"_unknown_", ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterLabel:
    """A filter: its band (g, r, ...) and the piece of glass (HSC-I2, ...)."""

    band: str | None = None
    physical: str | None = None

    def __str__(self) -> str:
        return self.physical or self.band or ""

    @classmethod
    def from_name(cls, name: str) -> FilterLabel | None:
        """Read the name in an old header: of a band, or of a filter; None for an unknown one."""
        name = name.strip()
        if name in _NO_FILTER:
            return None
        is_narrow = name[:1] in {"N", "I"} and name[1:].isdecimal() and len(name) > 2
        if name in _BANDS or is_narrow:
            return cls(band=name)
        return cls(physical=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """A part of a detector with electronics of its own."""

    name: str
    box: Box  # in the detector
    gain: float  # electron / ADU
    read_noise: float  # electron
    saturation: float  # ADU


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The detector that took the exposure."""

    name: str
    number: int
    serial: str
    box: Box
    pixel_size: tuple[float, float]  # mm
    amplifiers: tuple[Amplifier, ...] = ()
    frames: DetectorFrames | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitInfo:
    """When and where an exposure was taken, from its primary header; None: not said."""

    exposure_id: int | None = None
    exposure_time: float | None = None  # s
    dark_time: float | None = None  # s
    mjd_mid: float | None = None  # d, in `time_scale`
    time_scale: str | None = None  # TAI, UTC
    boresight_ra: float | None = None  # deg
    boresight_dec: float | None = None  # deg
    boresight_airmass: float | None = None
    rotation: float | None = None  # deg

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> VisitInfo:
        """Read the keywords that afw writes."""

        def number(*names: str) -> float | None:
            for name in names:
                value = metadata.get(name)
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    return float(value)
            return None

        id_ = number("EXPID")
        scale = metadata.get("TIMESYS")
        dates = {"DATE-OBS": metadata.get("DATE-AVG", metadata.get("TIME-MID"))}
        return cls(
            exposure_id=None if id_ is None else int(id_),
            exposure_time=number("EXPTIME"),
            dark_time=number("DARKTIME"),
            mjd_mid=header_mjd(dates.get),
            time_scale=scale if isinstance(scale, str) else None,
            boresight_ra=number("BORE-RA"),
            boresight_dec=number("BORE-DEC"),
            boresight_airmass=number("BORE-AIRMASS"),
            rotation=number("BORE-ROTANG"),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArchivedObject:
    """An archived object of a class that is not understood; it is rewritten unchanged."""

    name: str  # of its class
    module: str
    parts: tuple[Any, ...]  # `skyloom.images.afw.Rows`
    reason: str = ""  # what in it is not known, where its class is

    def __getattr__(self, wanted: str) -> Any:
        if wanted.startswith("_") or wanted in self.__slots__:
            raise AttributeError(wanted)
        is_pickle = self.name in _PICKLED
        why = "is a pickle, which could run code and is not opened" if is_pickle else "is not known"
        why += f" ({self.reason})" if self.reason else ""
        raise AttributeError(
            f"{self.name} {why}: it has no {wanted!r} here, and is kept and rewritten unchanged"
        )

"""Old names of the statistics of pixels: ``lsst.afw.math``."""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from skyloom.compat.hsc._adapter import Adapter, new_of
from skyloom.compat.hsc._backgrounds import (
    Background,
    BackgroundControl,
    BackgroundList,
    Interpolate,
    background_of,
)
from skyloom.errors import InputError
from skyloom.images import Exposure, Image, Mask, MaskedImage, PixelStatistics
from skyloom.images.statistics import statistics_of

__all__ = [
    "ERRORS", "IQRANGE", "MAX", "MEAN", "MEANCLIP", "MEANSQUARE", "MEDIAN", "MIN", "NOTHING",
    "NPOINT", "ORMASK", "STDEV", "STDEVCLIP", "SUM", "VARIANCE", "VARIANCECLIP",
    "Background", "BackgroundControl", "BackgroundList", "Interpolate", "Statistics",
    "StatisticsControl", "cast_BackgroundMI", "makeBackground", "makeStatistics",
]  # fmt: skip

NOTHING, ERRORS = 0, 1
NPOINT, MEAN, STDEV, VARIANCE, MEDIAN, IQRANGE = 2, 4, 8, 16, 32, 64
MEANCLIP, STDEVCLIP, VARIANCECLIP = 128, 256, 512
MIN, MAX, SUM, MEANSQUARE, ORMASK = 1024, 2048, 4096, 8192, 16384

_VALUES: Final = {
    NPOINT: lambda s: s.n,
    MEAN: lambda s: s.mean,
    STDEV: lambda s: s.stdev,
    VARIANCE: lambda s: s.stdev**2,
    MEDIAN: lambda s: s.median,
    IQRANGE: lambda s: s.iqr,
    MEANCLIP: lambda s: s.mean_clipped,
    STDEVCLIP: lambda s: s.stdev_clipped,
    VARIANCECLIP: lambda s: s.stdev_clipped**2,
    MIN: lambda s: s.minimum,
    MAX: lambda s: s.maximum,
    SUM: lambda s: s.sum,
    MEANSQUARE: lambda s: s.mean_square,
}

_LEVELS: Final = {MEAN: "mean", MEANCLIP: "mean_clipped", MEDIAN: "median"}


@final
class StatisticsControl:
    """How statistics are made."""

    def __init__(self, numSigmaClip: float = 3.0, numIter: int = 3, andMask: int = 0) -> None:
        self._clip, self._iterations, self._bits = numSigmaClip, numIter, andMask

    def setNumSigmaClip(self, value: float) -> None:
        """Use ``pixel_statistics(image, clip_sigma=value)``."""
        self._clip = value

    def getNumSigmaClip(self) -> float:
        """Return the number of standard deviations beyond which values are clipped."""
        return self._clip

    def setNumIter(self, value: int) -> None:
        """Use ``pixel_statistics(image, max_iterations=value)``."""
        self._iterations = value

    def getNumIter(self) -> int:
        """Return how often values are clipped."""
        return self._iterations

    def setAndMask(self, bits: int) -> None:
        """Use ``pixel_statistics(image, bad=names)``: planes by name."""
        self._bits = bits

    def setNanSafe(self, is_safe: bool) -> None:
        """Use nothing: values that are not numbers are left out."""

    def getAndMask(self) -> int:
        """Return the bits of the pixels that are left out."""
        return self._bits


@final
class Statistics(Adapter):
    """What was found."""

    new: PixelStatistics

    def __init__(self, found: PixelStatistics, flags: int, or_mask: int) -> None:
        self.new = found
        self._flags = flags & ~ERRORS
        self._or_mask = or_mask

    def getValue(self, what: int = NOTHING) -> Any:
        """Use ``statistics.mean``, ``.median``, ``.stdev``, ``.mean_clipped``, ``.n``."""
        what = what or self._flags
        if what == ORMASK:
            return self._or_mask
        if what not in _VALUES or not what & self._flags:
            raise InputError(
                f"statistic {what} was not asked for, or is not known; name one of those that "
                "makeStatistics was given"
            )
        return _VALUES[what](self.new)

    def getError(self, what: int = NOTHING) -> float:
        """Use ``statistics.mean_err``."""
        what = what or self._flags
        if what == MEAN:
            return self.new.mean_err
        if what == MEANCLIP and self.new.n_clipped:
            return float(self.new.stdev_clipped / np.sqrt(self.new.n_clipped))
        raise InputError(f"the error of statistic {what} is not known; ask for that of MEAN")

    def getResult(self, what: int = NOTHING) -> tuple[Any, float]:
        """Use ``statistics.mean, statistics.mean_err``."""
        return self.getValue(what), self.getError(what)


def makeStatistics(image: Any, flags: int, control: StatisticsControl | None = None) -> Statistics:
    """Use ``pixel_statistics(image, bad=names)``."""
    control = StatisticsControl() if control is None else control
    found = new_of(image)
    if isinstance(found, Exposure):
        found = found.masked_image
    plane = found.image if isinstance(found, MaskedImage) else found
    values = plane.array if isinstance(plane, (Image, Mask)) else np.asarray(plane)
    or_mask = 0
    if isinstance(found, MaskedImage):
        bits = found.mask.bits
        used = (bits & np.uint32(control.getAndMask())) == 0
        values = values[used]
        or_mask = int(np.bitwise_or.reduce(bits[used], initial=0))
    statistics = statistics_of(
        values, clip_sigma=control.getNumSigmaClip(), max_iterations=control.getNumIter()
    )
    return Statistics(statistics, flags, or_mask)


def makeBackground(image: Any, control: BackgroundControl) -> Background:
    """Use ``measure_background(image, cells, bad=names)``."""
    statistic = MEANCLIP if control.statistic is None else control.statistic
    if statistic not in _LEVELS:
        raise InputError(f"a background of statistic {statistic} is not known; use MEANCLIP")
    return background_of(image, control, _LEVELS[statistic])


def cast_BackgroundMI(background: Background) -> Background:
    """Use the background itself."""
    return background

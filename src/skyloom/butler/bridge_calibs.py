"""When calibrations hold: our rule, which of several is the nearest, as spans that do not overlap.

A calibration collection of ``lsst-daf-butler`` takes one dataset of a detector at a time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from skyloom.errors import InputError

from .data_id import Value

__all__ = ["Held", "spans"]

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A time during which a calibration is the one to take: from `start`, before `stop`."""

    number: int  # of the calibration
    start: datetime.datetime  # TAI
    stop: datetime.datetime  # TAI


def spans(rows: Sequence[Mapping[str, Value]]) -> list[Held]:
    """Return when each of several calibrations of one CCD is the one to take.

    Of those that hold, that is the one with the nearest date, of two equally near the older.

    Parameters
    ----------
    rows : sequence of mapping
        With ``calibDate``, ``validStart``, ``validEnd``; an end that is a date includes its day.

    Raises
    ------
    InputError
        If a time cannot be read.
    """
    found = [(_moment(row, "validStart"), _after(row), _moment(row, "calibDate")) for row in rows]
    dates = sorted({date for *_, date in found})
    borders = {time for start, stop, _ in found for time in (start, stop)}
    borders |= {  # the day after the last on which the older of two is as near
        one + (other - one) // (2 * _DAY) * _DAY + _DAY
        for i, one in enumerate(dates)
        for other in dates[i + 1 :]
    }
    held: list[Held] = []
    times = sorted(borders)
    for start, stop in pairwise(times):
        number = _best(found, start, stop)
        if number is None:
            continue
        if held and (held[-1].number, held[-1].stop) == (number, start):
            held[-1] = Held(number=number, start=held[-1].start, stop=stop)
        else:
            held.append(Held(number=number, start=start, stop=stop))
    return held


def _best(
    found: Iterable[tuple[datetime.datetime, datetime.datetime, datetime.datetime]],
    start: datetime.datetime,
    stop: datetime.datetime,
) -> int | None:
    """Return the number of the calibration to take between two borders."""
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    near = [
        (abs(date - day), date, number)
        for number, (begin, end, date) in enumerate(found)
        if begin <= start and stop <= end
    ]
    return min(near)[2] if near else None


def _moment(row: Mapping[str, Value], key: str) -> datetime.datetime:
    text = str(row.get(key, ""))
    try:
        return datetime.datetime.fromisoformat(text.replace(" ", "T"))
    except ValueError as error:
        raise InputError(
            f"calibration of {row.get('calibDate')}: {key} = {text!r} is no date; ingest it again "
            "with validStart and validEnd"
        ) from error


def _after(row: Mapping[str, Value]) -> datetime.datetime:
    """Return the first time at which a calibration holds no more."""
    end = _moment(row, "validEnd")
    is_date = len(str(row["validEnd"])) == len("2014-01-01")
    return end + (_DAY if is_date else datetime.timedelta(seconds=1))

"""Data IDs here and in ``lsst-daf-butler``, both ways; see `bridge` for the table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from skyloom.errors import InputError

from .bridge_storage import lsst_butler
from .data_id import DataId, Value
from .registry import DatasetRow

if TYPE_CHECKING:
    from .butler import Butler

__all__ = ["Translator"]

_IMPLIED: Final = ("pointing", "field", "dateObs", "taiObs", "expTime")  # by the visit
_KNOWN: Final = {"visit", "ccd", "filter", "band", "tract", "patch"}
_EXPOSURE: Final = 1.0  # s, of a visit whose exposure time is not known


class Translator:
    """Turns our data IDs into theirs, with the records that they need, and theirs into ours."""

    def __init__(self, butler: Butler, instrument: str, skymap: str, per_row: int) -> None:
        self.butler = butler
        self.instrument = instrument
        self.skymap = skymap
        self.per_row = per_row
        self._visits: dict[Value, DataId] = {}

    # -- to there

    def is_calibration(self, name: str) -> bool:
        """Tell whether datasets of a type hold for a time."""
        return bool(self.butler.layout[name].validity)

    def obstacle(self, name: str) -> str:
        """Return why a dataset type has no counterpart; empty if it has."""
        keys = self.butler.layout[name].dimensions
        known = set(_KNOWN)
        if "visit" in keys:
            known.update(_IMPLIED)
        if self.is_calibration(name):
            known.add("calibDate")
        lacking = [key for key in keys if key not in known]
        if lacking:
            return f"LSST repositories have no dimension for {', '.join(lacking)}"
        return "" if keys else "it has no data ID"

    def dimensions(self, name: str) -> tuple[str, ...]:
        """Return the dimensions of a dataset type."""
        keys = self.butler.layout[name].dimensions
        found = []
        if "visit" in keys or "ccd" in keys:
            found.append("instrument")
        names = {"visit": "visit", "ccd": "detector"}
        found += [there for here, there in names.items() if here in keys]
        if "tract" in keys:
            found += ["skymap", "tract"]
        if "patch" in keys:
            found.append("patch")
        if "visit" not in keys and ("filter" in keys or "band" in keys):
            found.append("physical_filter" if self.is_calibration(name) else "band")
        return tuple(found)

    def data_id(self, row: DatasetRow) -> dict[str, Value]:
        """Return the data ID of a dataset there."""
        values = row.data_id
        whole: dict[str, Value] = {"instrument": self.instrument, "skymap": self.skymap}
        whole.update({"visit": values.get("visit", 0), "detector": values.get("ccd", 0)})
        whole.update({"tract": values.get("tract", 0), "band": self.band(values)})
        whole["physical_filter"] = values.get("filter", "")
        if "patch" in values:
            x, y = self.cell(values)
            whole["patch"] = y * self.per_row + x
        return {key: whole[key] for key in self.dimensions(row.type)}

    def cell(self, values: DataId) -> tuple[int, int]:
        """Return the place (x, y) of a patch in its tract."""
        x, _, y = str(values["patch"]).partition(",")
        return int(x), int(y)

    def band(self, values: DataId) -> str:
        """Return the band of a filter: the end of its name, ``i`` of ``HSC-I``."""
        name = str(values.get("band") or values.get("filter") or "")
        return name.rpartition("-")[2].lower() if "band" not in values else name

    def records(self, row: DatasetRow) -> dict[str, dict[str, Any]]:
        """Return the records of the dimensions of a dataset, in the order in which they go in."""
        values, found = row.data_id, dict[str, dict[str, Any]]()
        camera = {"instrument": self.instrument}
        found["instrument"] = {"name": self.instrument, "class_name": "", "visit_max": 2**31}
        found["instrument"].update(exposure_max=2**31, detector_max=10**4)
        if "visit" not in values and ("filter" in values or "band" in values):
            band = self.band(values)  # bands are known from the filters that have them
            name = values.get("filter", band)
            found["physical_filter"] = {**camera, "name": name, "band": band}
        if "visit" in values:
            visit = self.visit(values)
            filter_ = visit["filter"]
            found["physical_filter"] = {**camera, "name": filter_, "band": self.band(visit)}
            found["day_obs"] = {**camera, "id": visit["day"]}
            found["visit"] = {
                **camera,
                "id": values["visit"],
                "name": str(values["visit"]),
                "physical_filter": filter_,
                "day_obs": visit["day"],
                "timespan": _timespan(str(visit["time"]), float(visit["seconds"])),
            }
            if "expTime" in visit:
                found["visit"]["exposure_time"] = float(visit["expTime"])
            if "field" in visit:
                found["visit"]["target_name"] = str(visit["field"])
        if "ccd" in values:
            found["detector"] = {**camera, "id": values["ccd"], "full_name": str(values["ccd"])}
        if "tract" in values:
            digest = hashlib.sha1(self.skymap.encode(), usedforsecurity=False).digest()
            found["skymap"] = {"name": self.skymap, "hash": digest, "tract_max": 10**6}
            found["skymap"].update(patch_nx_max=self.per_row, patch_ny_max=self.per_row)
            found["tract"] = {"skymap": self.skymap, "id": values["tract"]}
        if "patch" in values:
            x, y = self.cell(values)
            patch = {**found["tract"], "tract": values["tract"], "cell_x": x, "cell_y": y}
            found["patch"] = {**patch, "id": y * self.per_row + x}
        return found

    def validity(self, row: DatasetRow) -> dict[str, Value]:
        """Return when a calibration holds, as the lookup table has it.

        Raises
        ------
        InputError
            If it has no such row.
        """
        table = self.butler.layout.tables[self.butler.layout[row.type].validity]
        found = self.butler.finder.rows(table.name, row.data_id.subset(table.identity))
        if not found:
            raise InputError(
                f"{row.path}: nothing tells when this {row.type} holds; ingest it with validity=, "
                "or validStart= and validEnd=",
                path=row.path,
            )
        return found[0]

    def visit(self, values: DataId) -> DataId:
        """Return filter, day and time of a visit, from the data ID or the lookup tables."""
        visit = values["visit"]
        if visit not in self._visits:
            known = values
            for name, table in self.butler.layout.tables.items():
                if "visit" in table.keys:
                    for row in self.butler.finder.rows(name, {"visit": visit})[:1]:
                        known = DataId({**row, **known})
            time = str(known.get("taiObs") or known.get("dateObs") or "")
            day = int(time[:10].replace("-", "")) if time else 0
            if not day or "filter" not in known:
                raise InputError(
                    f"visit {visit}: nothing tells its date and filter; ingest its raw data first"
                )
            more = known.subset(("filter", "field", "expTime"))
            seconds = known.get("expTime") or _EXPOSURE
            self._visits[visit] = more.replace({"day": day, "time": time, "seconds": seconds})
        return self._visits[visit]

    # -- from there

    def ours(self, name: str, data_id: Any, timespan: Any, run: str) -> dict[str, Value]:
        """Return what a data ID of theirs, with its records, tells of ours.

        Parameters
        ----------
        name : str
            The dataset type.
        data_id : DataCoordinate
            Expanded: with its records.
        timespan : Timespan, optional
            When a calibration holds.
        run : str
            The collection that it was made in.

        Raises
        ------
        InputError
            If a key has no single counterpart here.
        """
        keys = set(self.butler.layout[name].dimensions)
        theirs: Mapping[str, Any] = data_id.mapping
        found: dict[str, Value] = {}
        for key in ("visit", "exposure"):
            if key in theirs:
                found["visit"] = int(theirs[key])
                found.update(_of_visit(data_id.records[key]))
        if "detector" in theirs:
            found["ccd"] = int(theirs["detector"])
        if "physical_filter" in theirs:
            found["filter"] = str(theirs["physical_filter"])
        if "band" in theirs:
            found["band"] = str(theirs["band"])
        if "tract" in theirs:
            found["tract"] = int(theirs["tract"])
        if "patch" in theirs:
            patch = data_id.records["patch"]
            found["patch"] = f"{patch.cell_x},{patch.cell_y}"
        if timespan is not None:
            found.update(_validity(timespan, run))
        wanted = keys | {k for t in self.butler.layout[name].fills
                         for k in self.butler.layout.tables[t].keys}  # fmt: skip
        return {key: value for key, value in found.items() if key in wanted}


def _timespan(time: str, seconds: float) -> Any:
    """Return the time span of an exposure."""
    from astropy.time import Time, TimeDelta  # noqa: PLC0415 - slow

    start = Time(time.replace(" ", "T"), scale="tai")
    return lsst_butler().Timespan(start, start + TimeDelta(seconds, format="sec"))


def _of_visit(record: Any) -> dict[str, Value]:
    """Return what the record of a visit tells of it."""
    found: dict[str, Value] = {}
    if record.timespan is not None and record.timespan.begin is not None:
        time = _text(record.timespan.begin)
        found.update({"taiObs": time, "dateObs": time[:10]})
    else:
        day = str(record.day_obs)
        found["dateObs"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    if record.exposure_time is not None:
        found["expTime"] = float(record.exposure_time)
    if getattr(record, "target_name", None):
        found["field"] = str(record.target_name)
    return found


def _validity(timespan: Any, run: str) -> dict[str, Value]:
    """Return when a calibration holds, and its date: the end of its run, or the first day."""
    from astropy.time import TimeDelta  # noqa: PLC0415 - slow

    begin, end = timespan.begin, timespan.end
    second = TimeDelta(1.0, format="sec")  # our ends are inside
    start = "1900-01-01" if begin is None else _text(begin)
    stop = "2999-12-31" if end is None else _text(end - second)
    date = run.rpartition("/")[2]
    is_date = len(date) == 10 and date[4] == date[7] == "-"
    return {"validStart": start, "validEnd": stop, "calibDate": date if is_date else start[:10]}


def _text(time: Any) -> str:
    """Return a time as we write it: TAI, without a fraction that is zero."""
    text = str(time.tai.isot)
    return text.rstrip("0").rstrip(".") if "." in text else text

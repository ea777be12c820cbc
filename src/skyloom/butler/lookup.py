"""Completing data IDs: keys that were not given, and calibrations by their validity."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

from skyloom.errors import AmbiguousDataId, BadDataId, DataNotFound

from .data_id import DataId, Value
from .dataset_type import DatasetType, Lookup
from .layout import Layout
from .registry import Registry
from .registry_file import run_name
from .tables import READERS

__all__ = ["Finder"]

_SHOWN: Final = 5  # candidates in a message


@final
class Finder:
    """Looks up what a data ID lacks, in the registries of some roots, or in their file names.

    Parameters
    ----------
    layout : Layout
    registries : sequence of Registry
        Nearest root first.
    foreign : sequence of Registry
        Those of other programs that hold lookup tables only.
    """

    def __init__(
        self, layout: Layout, registries: Sequence[Registry], foreign: Sequence[Registry] = ()
    ) -> None:
        self.layout = layout
        self.registries = tuple(registries)
        self.foreign = tuple(foreign)
        self.sources = self.registries  # of datasets; tables are looked up in all registries
        self._read: dict[tuple[str, Path], list[dict[str, Value]]] = {}

    def in_runs(self) -> dict[str, Finder]:
        """Return for each run what finds its datasets alone."""
        found: dict[str, Finder] = {}
        for registry in self.registries:
            one = Finder(self.layout, self.registries, self.foreign)
            one.sources = (registry,)
            one._read = self._read
            found.setdefault(run_name(registry.root), one)
        return found

    def complete(
        self,
        name: str,
        given: Mapping[str, Value],
        *,
        existing: bool = True,
        only_existing: bool = False,
    ) -> DataId:
        """Return the data ID of a dataset: checked, complete, in the order of the template.

        Parameters
        ----------
        name : str
            Dataset type.
        given : mapping
            Some of its keys, and others of the layout.
        existing : bool
            Whether files that exist may tell what is lacking (not for one that will be written).
        only_existing : bool
            Whether only a file of this type is of interest: where there is no registry, none was
            found, and what other files tell cannot change that.

        Raises
        ------
        BadDataId
            If a key is unknown or contradicts the others, or a value is wrong.
        AmbiguousDataId
            If several values fit.
        DataNotFound
            If nothing does.
        """
        kind = self.layout[name]
        full = self.layout.check(given)
        if len(full) == len(kind.dimensions) and all(key in full for key in kind.dimensions):
            return full.subset(kind.dimensions)
        lacking = [key for key in kind.dimensions if key not in full]
        if kind.validity and lacking:
            full = self._valid(kind, full, lacking)
            lacking = [key for key in kind.dimensions if key not in full]
        doubtful = {key for key in full if key not in kind.dimensions}  # no file name has them
        for name_ in kind.tables:
            table = self.layout.tables[name_]
            if lacking or doubtful:
                full, is_known = self._from_table(kind, table, full, lacking)
                lacking = [key for key in kind.dimensions if key not in full]
                doubtful -= set(table.keys) if is_known else set()
        if lacking and existing and not doubtful:
            full = self._from_files(kind, full, lacking)
            lacking = [key for key in lacking if key not in full]
        is_absent = only_existing and not any(r.is_there for r in self.registries)
        if lacking and not doubtful and not is_absent:
            full = self._from_others(kind, full, lacking)
            lacking = [key for key in lacking if key not in full]
        if lacking:
            raise self._nothing(kind, full, lacking, existing=existing)
        return full.subset(kind.dimensions)

    def contradiction(self, name: str, full: DataId) -> BadDataId | None:
        """Return what is wrong with a complete data ID, as far as tables and files tell."""
        kind = self.layout[name]
        try:
            for table in kind.tables:
                self._from_table(kind, self.layout.tables[table], full, [])
            self._from_others(kind, full, kind.dimensions)
        except AmbiguousDataId:
            return None
        except BadDataId as error:
            return error
        return None

    def picked(self, kind: DatasetType, key: str, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the value of a key that tells the reader what to read; nothing if none does."""
        for name in kind.tables:
            table = self.layout.tables[name]
            rows = self.rows(name, self.layout.check(values).subset(table.keys))
            found = {row[key] for row in rows if key in row}
            if len(found) == 1:
                return {key: found.pop()}
        return {key: values[key]} if key in values else {}

    def rows(self, table: str, known: Mapping[str, Value]) -> list[dict[str, Value]]:
        """Return the rows of a lookup table of all roots that agree with ``known``."""
        lookup = self.layout.tables[table]
        found: dict[DataId, dict[str, Value]] = {}
        for registry in self.registries:
            rows = (
                self._from_reader(lookup, registry.root, known)
                if lookup.reader
                else registry.lookup(lookup, known)
            )
            for row in rows:
                found.setdefault(DataId.trusted(row), row)
        for registry in self.foreign:
            for row in registry.lookup(lookup, known):
                found.setdefault(DataId.trusted(row), row)
        return list(found.values())

    def _from_reader(
        self, table: Lookup, root: Path, known: Mapping[str, Value]
    ) -> list[dict[str, Value]]:
        if (table.reader, root) not in self._read:
            self._read[table.reader, root] = READERS[table.reader](root)
        rows = self._read[table.reader, root]
        return [row for row in rows if all(row.get(k, v) == v for k, v in known.items())]

    def _from_table(
        self, kind: DatasetType, table: Lookup, full: DataId, lacking: Sequence[str]
    ) -> tuple[DataId, bool]:
        """Add what a table knows; tell whether it has such a row; refuse what contradicts it."""
        want = [key for key in lacking if key in table.keys and kind.may_look_up(key)]
        given = full.subset(table.keys)
        if not given:
            return full, False
        identity = given.subset(table.identity)
        rows = self.rows(table.name, identity or given)
        agreeing = [row for row in rows if given.agrees(row)]
        if rows and not agreeing and len(identity) == len(table.identity):
            raise _contradicts(kind, given, identity, rows)
        return full.replace(_single(kind, full, want, agreeing)), bool(agreeing)

    def _from_files(self, kind: DatasetType, full: DataId, lacking: Sequence[str]) -> DataId:
        """Take what is lacking from the datasets that exist."""
        rows = [dict(row) for row in self.existing(kind.name, full.subset(kind.dimensions))]
        return full.replace(_single(kind, full, lacking, rows))

    def _from_others(self, kind: DatasetType, full: DataId, lacking: Sequence[str]) -> DataId:
        """Take what belongs to a visit or CCD from what was made of it, whatever its type.

        It is what a lookup table would tell, so that a rerun without raw data and registry can be
        added to.  Keys that no table knows (a tract) are not taken from others.
        """
        for name in kind.tables:
            table = self.layout.tables[name]
            want = [k for k in lacking if k in table.keys and k not in table.identity]
            want = [k for k in want if kind.may_look_up(k)]
            identity = full.subset(table.identity)
            if table.reader or not want or len(identity) < len(table.identity):
                continue
            given = full.subset(table.keys)
            for other in self._relatives(kind, table, {*identity, *want}):
                rows = self.existing(other, identity)
                if rows and not any(given.agrees(row) for row in rows):
                    raise _contradicts(kind, given, identity, rows)
                if rows:
                    full = full.replace(_single(kind, full, want, rows))
                    lacking = [key for key in lacking if key not in full]
                    break
        return full

    def _relatives(self, kind: DatasetType, table: Lookup, keys: Collection[str]) -> list[str]:
        """Return types whose file names hold some keys of a table, and no others.

        The type itself comes first, then those that are soon searched.
        """
        found = [
            (other is not kind, other.template.count("/"), other.name)
            for other in self.layout.types.values()
            if other.template is not None
            and not other.validity
            and all(key in other.dimensions for key in keys)
            and (other is kind or all(key in table.keys for key in other.dimensions))
        ]
        return [name for *_, name in sorted(found)]

    def existing(self, name: str, known: Mapping[str, Value]) -> list[DataId]:
        """Return the data IDs of the datasets of a type, from all roots."""
        if len(self.sources) == 1 and self.sources[0].is_there:
            return self.sources[0].datasets(name, known)
        found: dict[DataId, None] = {}
        for registry in self.sources:
            if registry.is_there:
                found.update(dict.fromkeys(registry.datasets(name, known)))
            elif self.layout[name].template is not None:
                files = self.layout.find(name, root=registry.root, known=known)
                found.update(dict.fromkeys(data_id for data_id, _ in files))
        return list(found)

    def _nothing(
        self, kind: DatasetType, full: DataId, lacking: Sequence[str], *, existing: bool
    ) -> DataNotFound:
        """Explain what was looked for, and where."""
        what = f"dataset {kind.name}({full}): nothing tells {', '.join(lacking)}"
        has_registry = self.layout.registry
        bare = [str(r.root) for r in self.registries if not r.is_there]
        absent = [str(r.root) for r in self.registries if not r.root.is_dir()]
        remedy = f"give {'it' if len(lacking) == 1 else 'them'}"
        if absent and existing:
            what += f"; there is no directory {' or '.join(absent)}"
            remedy += ", or correct the root"
        elif not existing:
            what += "; of a dataset that will be written it has to be said"
        elif bare and kind.template is not None and (has_registry or not kind.tables):
            pattern = self.layout.pattern(kind.name, full.subset(kind.dimensions))
            where = " or ".join(bare)
            no_registry = f"there is no registry in {where}, and " if has_registry else ""
            what += f"; {no_registry}no file {pattern}"
            what += "" if has_registry else f" in {where}"
            remedy += ", or make a registry with 'skyloom butler rebuild'" if has_registry else ""
        elif kind.tables:
            what += f"; no such row in {', '.join(kind.tables)}"
            remedy += (
                ", or ingest the raw data first" if has_registry else ", or correct the others"
            )
        return DataNotFound(f"{what}; {remedy}", name=kind.name, data_id=full)

    # -- calibrations

    def _valid(self, kind: DatasetType, full: DataId, lacking: Sequence[str]) -> DataId:
        """Add the date of the calibration that holds when the visit was taken."""
        table = self.layout.tables[kind.validity]
        full, time = self._moment(kind, full, lacking)
        if time is None:
            return full
        known = full.subset(table.identity)
        rows = self.rows(table.name, known)
        holding = [row for row in rows if _holds(row, time)]
        if not holding:
            for name in kind.tables:  # a wrong filter is no lack of calibrations
                self._from_table(kind, self.layout.tables[name], full, [])
            ranges = ", ".join(
                f"{row.get('calibDate')} ({row.get('validStart')} to {row.get('validEnd')})"
                for row in rows[:_SHOWN]
            )
            raise DataNotFound(
                f"dataset {kind.name}({full}): none holds at {time}; there are "
                f"{ranges or 'none at all'}; ingest one, or give calibDate",
                name=kind.name,
                data_id=full,
            )
        best = min(holding, key=lambda row: (_days(str(row["calibDate"]), time), row["calibDate"]))
        return full.replace(calibDate=best["calibDate"])

    def _moment(
        self, kind: DatasetType, full: DataId, lacking: Sequence[str]
    ) -> tuple[DataId, str | None]:
        """Return the data ID with the keys of the visit that matter, and the time of the visit."""
        time = full.get("taiObs") or full.get("dateObs")
        needs = [key for key in lacking if key != "calibDate"]
        for name in kind.tables:
            table = self.layout.tables[name]
            given = full.subset(table.identity)
            if len(given) < len(table.identity) or (time and not needs):
                continue
            for row in self.rows(name, given):
                time = time or row.get("taiObs") or row.get("dateObs")
                full = full.replace({key: row[key] for key in needs if key in row})
                needs = [key for key in needs if key not in full]
        if time is None and "visit" in full:
            raise DataNotFound(
                f"dataset {kind.name}({full}): nothing tells when the visit was taken; ingest its "
                "raw data, or give taiObs or calibDate",
                name=kind.name,
                data_id=full,
            )
        return full, None if time is None else str(time)


def _holds(row: Mapping[str, Value], time: str) -> bool:
    """Tell whether a calibration holds; a bound that is only a date includes its day."""
    start, end = str(row.get("validStart", "")), str(row.get("validEnd", ""))
    moment = time.replace(" ", "T")
    start, end = start.replace(" ", "T"), end.replace(" ", "T")
    return bool(start and end) and start <= moment and moment[: len(end)] <= end


def _days(one: str, other: str) -> int:
    dates = [datetime.date.fromisoformat(text[:10]) for text in (one, other)]
    return abs((dates[0] - dates[1]).days)


def _single(
    kind: DatasetType, full: DataId, want: Sequence[str], rows: Iterable[Mapping[str, Value]]
) -> dict[str, Value]:
    """Return the values of keys that all rows agree on.

    Raises
    ------
    AmbiguousDataId
        If they do not agree on a key.
    """
    values: dict[str, dict[Value, None]] = {key: {} for key in want}
    for row in rows:
        for key in want:
            if key in row:
                values[key][row[key]] = None
    several = {key: list(found) for key, found in values.items() if len(found) > 1}
    if several:
        choices = "; ".join(
            f"{key} could be {', '.join(map(str, sorted(found, key=str)[:_SHOWN]))}"
            f"{', ...' if len(found) > _SHOWN else ''}"
            for key, found in several.items()
        )
        raise AmbiguousDataId(
            f"dataset {kind.name}({full}): {choices}; give {', '.join(several)}",
            name=kind.name,
            data_id=full,
            missing=tuple(several),
            candidates=several,
        )
    return {key: next(iter(found)) for key, found in values.items() if found}


def _contradicts(
    kind: DatasetType, given: DataId, identity: DataId, rows: Sequence[Mapping[str, Value]]
) -> BadDataId:
    row = rows[0]
    wrong = [key for key in given if key in row and row[key] != given[key]]
    truth = ", ".join(f"{key}={row[key]}" for key in wrong)
    said = ", ".join(f"{key}={given[key]}" for key in wrong)
    return BadDataId(
        f"dataset {kind.name}: {identity or 'the data'} has {truth}, not {said}", name=kind.name
    )

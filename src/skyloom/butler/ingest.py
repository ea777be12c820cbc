"""Ingest, verify, rebuild: keeping the registry in step with the tree.

Files are taken where they stand; nothing is copied or moved.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from skyloom.errors import (
    BadDataId,
    DataDamaged,
    InputError,
    MissingFile,
    ReadOnlyError,
    SkyloomError,
)

from .data_id import DataId, Value
from .dataset_type import Lookup
from .files import digest_file
from .formats_fits import read_header
from .registry import REGISTRY_FILE, DatasetRow, Registry
from .salvage import salvage

if TYPE_CHECKING:
    from .butler import Butler

__all__ = ["Damage", "Rebuilt", "ingest", "rebuild", "verify"]

log = logging.getLogger(__name__)

_SHOWN: Final = 5  # problems in a message
Facts = list[tuple[Lookup, dict[str, Value]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A dataset that is not as the registry says."""

    what: Literal["missing", "changed", "unlisted"]
    type: str
    data_id: DataId
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a new registry lists."""

    datasets: int
    removed: int  # rows whose file is gone
    left_out: tuple[str, ...] = ()  # why some files got no row


def ingest(
    butler: Butler,
    paths: Iterable[Path | str],
    *,
    type_: str | None = None,
    validity: int | None = None,
    checksum: bool = False,
    known: Mapping[str, Value] | None = None,
) -> list[DatasetRow]:
    """Add files below the root of a butler to its registry; all of them or none.

    Parameters
    ----------
    butler : Butler
        Writeable, with a layout that has a registry.
    paths : iterable of path
        Files that stand where the layout says.
    type_ : str, optional
        Their dataset type, where the name fits several.
    validity : int, optional
        Days before and after the date of a calibration for which it holds.
    checksum : bool
        Take checksums too, so that `verify` sees every change.
    known : mapping, optional
        Keys that neither names nor headers tell, such as ``validStart``.

    Returns
    -------
    list of DatasetRow

    Raises
    ------
    InputError, BadDataId, MissingFile
        If a file has no place in the layout or a key is lacking; nothing was added.
    ConflictError
        If a file contradicts what is known of its visit.
    """
    _check_registry(butler)
    rows, facts, problems = [], [], []
    for path in map(Path, paths):
        try:
            name, data_id, place = _identified(butler, path.absolute(), type_)
            row = _row(name, data_id, place, checksum=checksum)
            facts.extend(_facts(butler, row, known or {}, validity))
            rows.append(row)
        except (InputError, OSError) as error:
            problems.append(error)
    if problems:
        if len(problems) == 1:
            raise problems[0]
        text = "\n".join(str(problem) for problem in problems[:_SHOWN])
        more = f"\n... {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"nothing was ingested, {len(problems)} files do not fit:\n{text}{more}")
    butler.registry.record(rows, facts)
    return rows


def _check_registry(butler: Butler) -> None:
    if not butler.layout.registry:
        raise InputError(
            f"{butler.root}: layout {butler.layout.name} has no registry; file names tell its "
            "datasets, and the ledger of a run keeps their checksums ('skyloom verify')"
        )
    if not butler.writeable:
        raise ReadOnlyError(f"{butler.root}: this butler only reads; open it with writeable=True")


def _identified(butler: Butler, path: Path, type_: str | None) -> tuple[str, DataId, Path]:
    """Return type, data ID and the path as the layout spells it."""
    if not path.is_file():
        raise MissingFile(f"{path}: no such file", path=path)
    if not path.is_relative_to(butler.root):
        with contextlib.suppress(ValueError):  # the same directory by another name
            path = butler.root / path.resolve().relative_to(butler.root.resolve())
    found = butler.layout.identify(path, root=butler.root)
    if type_ is not None:
        butler.layout[type_]
        found = [pair for pair in found if pair[0] == type_]
    if len(found) == 1:
        return (*found[0], path)
    if found:
        names = ", ".join(name for name, _ in found)
        raise InputError(f"{path}: could be {names}; name the dataset type", path=path)
    where = ""
    if type_ is not None and butler.layout[type_].template is not None:
        pattern = butler.layout.pattern(type_, {})
        where = f" of {type_} ({butler.root / pattern})"
    raise InputError(
        f"{path}: has no place{where} in layout {butler.layout.name} below {butler.root}; move or "
        "link it there",
        path=path,
    )


def _facts(
    butler: Butler, row: DatasetRow, known: Mapping[str, Value], validity: int | None
) -> Facts:
    """Return the rows that a file adds to lookup tables; its header tells what its name lacks."""
    kind, data_id, path = butler.layout[row.type], row.data_id, row.path
    if not kind.fills:
        return []
    values = DataId({**data_id, **known})
    needed = {key for name in kind.fills for key in butler.layout.tables[name].keys}
    if validity is not None and "calibDate" in data_id:
        values = _range(str(data_id["calibDate"]), validity).replace(values)
    lacking = [k for k in needed if k not in values and butler.layout.dimensions[k].header]
    if lacking:
        values = values.replace(_from_header(butler, path, lacking))
    values = butler.layout.check(values)
    try:
        return butler.facts(kind, values)
    except BadDataId as error:
        remedy = "give them"
        if "validStart" in needed:
            remedy = "give the days for which it holds (validity), or validStart and validEnd"
        raise BadDataId(f"{path}: {error}; {remedy}", path=path) from error


def _range(date: str, days: int) -> DataId:
    middle = datetime.date.fromisoformat(date)
    span = datetime.timedelta(days=days)
    return DataId(validStart=str(middle - span), validEnd=str(middle + span))


def _from_header(butler: Butler, path: Path, keys: Sequence[str]) -> dict[str, Value]:
    try:
        header = read_header(path)
    except InputError as error:
        log.warning("%s; %s stay unknown", error, ", ".join(sorted(keys)))
        return {}
    found: dict[str, Value] = {}
    for key in keys:
        for card in butler.layout.dimensions[key].header:
            if card in header:
                with contextlib.suppress(BadDataId):
                    found[key] = butler.layout.check({key: header[card]})[key]
                    break
    return found


def _row(name: str, data_id: DataId, path: Path, *, checksum: bool) -> DatasetRow:
    status = path.stat()
    return DatasetRow(
        type=name,
        data_id=data_id,
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        checksum=digest_file(path) if checksum else "",
    )


def verify(butler: Butler, *, checksum: bool = False) -> Iterator[DatasetRow | Damage]:
    """Compare the registry with the files below the root.

    Parameters
    ----------
    butler : Butler
    checksum : bool
        Read every file again; otherwise only those whose time or size changed.

    Yields
    ------
    DatasetRow or Damage
        One for each dataset; a file without a row is ``unlisted``, and `rebuild` lists it.
    """
    if not butler.layout.registry:
        _check_registry(butler)
    listed = set()
    for row in butler.registry.rows():
        listed.add(row.path)
        what = _compare(row, checksum=checksum)
        yield row if what is None else _damage(row, what)
    for name, data_id, path in _files(butler):
        if path not in listed:
            row = DatasetRow(type=name, data_id=data_id, path=path)
            yield _damage(row, "unlisted")


def _damage(row: DatasetRow, what: Literal["missing", "changed", "unlisted"]) -> Damage:
    return Damage(what=what, type=row.type, data_id=row.data_id, path=row.path)


def _compare(row: DatasetRow, *, checksum: bool) -> Literal["missing", "changed"] | None:
    try:
        status = row.path.stat()
    except OSError:
        return "missing"
    if status.st_size != row.size:
        return "changed"
    if status.st_mtime_ns == row.mtime_ns and not (checksum and row.checksum):
        return None
    if row.checksum:
        return None if digest_file(row.path) == row.checksum else "changed"
    return "changed"


def _files(butler: Butler) -> Iterator[tuple[str, DataId, Path]]:
    """Yield the files below the root that have a place in the layout, each once."""
    seen = set()
    for name, kind in butler.layout.types.items():
        if kind.template is None:
            continue
        for data_id, path in butler.layout.find(name, root=butler.root):
            if path not in seen:
                seen.add(path)
                yield name, data_id, path


def rebuild(butler: Butler, *, validity: int | None = None, checksum: bool = False) -> Rebuilt:
    """Make the registry anew from the files below the root.

    A registry that cannot be read, or was made for another layout, is moved aside; its lookup
    tables, such as the times for which calibrations hold, are kept as far as they can be read. Of
    one that is in order the checksums of unchanged files are kept too, and other processes may go
    on writing meanwhile.

    Parameters
    ----------
    butler : Butler
        Writeable.
    validity : int, optional
        Days before and after its date for which a calibration holds of which nothing is known.
    checksum : bool
        Take the checksums that are lacking.
    """
    _check_registry(butler)
    registry = butler.registry
    before = {(row.type, row.data_id): row for row in _rows_before(registry)}
    rows, facts, problems = [], [], []
    for name, data_id, path in _files(butler):
        row = _row(name, data_id, path, checksum=False)
        old = before.pop((name, data_id), None)
        if old is not None and (old.size, old.mtime_ns) == (row.size, row.mtime_ns):
            row = replace(row, checksum=old.checksum)
        if checksum and not row.checksum:
            row = replace(row, checksum=digest_file(path))
        rows.append(row)
        try:
            known = _known_before(registry, row)
            more = _facts(butler, row, known, None if known else validity)
            for table, values in more:
                registry.merged(table, values)
            facts.extend(more)
        except SkyloomError as error:
            problems.append(str(error))
    gone = [row for row in before.values() if not row.path.is_file()]
    registry.record(rows, facts)
    registry.forget(gone)
    for problem in problems:
        log.warning("%s", problem)
    return Rebuilt(datasets=len(rows), removed=len(gone), left_out=tuple(problems))


def _rows_before(registry: Registry) -> list[DatasetRow]:
    """Return the rows of a registry; one that cannot be used is moved aside."""
    try:
        return list(registry.rows())
    except DataDamaged as error:
        registry.close()
        saved = salvage(registry.path, registry.layout)
        aside = registry.path.with_name(f"{REGISTRY_FILE}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        log.warning("%s; moved to %s", error, aside.name)
        registry.path.replace(aside)
        for suffix in ("-wal", "-shm", "-journal"):
            registry.path.with_name(registry.path.name + suffix).unlink(missing_ok=True)
        registry.record([], saved)
        return []


def _known_before(registry: Registry, row: DatasetRow) -> dict[str, Value]:
    """Return what the lookup tables know beside what the name of a file tells."""
    found: dict[str, Value] = {}
    for name in registry.layout[row.type].fills:
        table = registry.layout.tables[name]
        for before in registry.lookup(table, row.data_id.subset(table.identity)):
            found.update({k: v for k, v in before.items() if k not in row.data_id})
    return found

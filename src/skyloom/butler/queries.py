"""Queries: which datasets of a type there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from skyloom.errors import BadDataId

from .data_id import DataId, Value
from .dataset_type import DatasetType
from .lookup import Finder

__all__ = ["RUN", "query"]

RUN: Final = "run"
"""Not a key of data IDs: the rerun in which a dataset is."""


def query(
    finder: Finder,
    kind: DatasetType,
    keys: str | Sequence[str] | None,
    constraints: Mapping[str, Value],
) -> list[DataId] | list[Value] | list[tuple[Value, ...]]:
    """List data IDs, values of a key, or tuples of values; see `Butler.query`."""
    asked = {*constraints, *((keys,) if isinstance(keys, str) else keys or ())}
    if RUN in asked and RUN not in finder.layout.dimensions:
        return _by_run(finder, kind, keys, constraints)
    wanted = None if keys is None else (keys,) if isinstance(keys, str) else tuple(keys)
    known = finder.layout.check(constraints)
    finder.layout.check_keys(wanted or ())
    outside = [k for k in (*known, *(wanted or ())) if k not in kind.dimensions]
    found: list[DataId] = _existing(finder, kind, known.subset(kind.dimensions))
    if outside:
        found = _joined(finder, kind, found, tuple(dict.fromkeys(outside)))
        found = [row for row in found if row.agrees(known)]
        if wanted is None:
            found = list(dict.fromkeys(row.subset(kind.dimensions) for row in found))
    if wanted is None:
        return sorted(found, key=attrgetter("order"))
    rows = {tuple(row[key] for key in wanted) for row in found if all(k in row for k in wanted)}
    ordered = sorted(rows, key=lambda row: [(isinstance(v, str), v) for v in row])
    return [row[0] for row in ordered] if isinstance(keys, str) else ordered


def _by_run(
    finder: Finder,
    kind: DatasetType,
    keys: str | Sequence[str] | None,
    constraints: Mapping[str, Value],
) -> list[DataId] | list[Value] | list[tuple[Value, ...]]:
    """List what each run has itself; see `query`."""
    runs = finder.in_runs()
    others = {key: value for key, value in constraints.items() if key != RUN}
    run = constraints.get(RUN)
    if run is not None and run not in runs:
        raise BadDataId(
            f"dataset {kind.name}: there is no run {run!r} here, only {', '.join(runs)}"
        )
    chosen = runs if run is None else {str(run): runs[str(run)]}
    if keys is None:
        found: dict[DataId, None] = {}
        for one in chosen.values():
            found.update(dict.fromkeys(query(one, kind, None, others)))  # type: ignore[arg-type]
        return sorted(found, key=attrgetter("order"))
    wanted = (keys,) if isinstance(keys, str) else tuple(keys)
    inner = [key for key in wanted if key != RUN]
    rows: list[tuple[Value, ...]] = []
    for name, one in chosen.items():
        there = query(one, kind, inner or None, others)
        for row in there if inner else [()] * bool(there):
            by_key = {**dict(zip(inner, row, strict=True)), RUN: name}  # type: ignore[arg-type]
            rows.append(tuple(by_key[key] for key in wanted))
    rows = sorted(rows, key=lambda row: [(isinstance(v, str), v) for v in row])
    return [row[0] for row in rows] if isinstance(keys, str) else rows


def _existing(finder: Finder, kind: DatasetType, known: DataId) -> list[DataId]:
    if kind.first_of:
        names: Sequence[str] = kind.first_of
    else:
        names = [kind.name] if kind.template is not None else []
        names = [*names, *([kind.component_of] if kind.component_of else [])]
    if len(names) == 1 and kind.template is not None:
        return finder.existing(kind.name, known)
    found: dict[DataId, None] = {}
    for name in names:
        other = finder.layout[name]
        rows = (
            finder.existing(name, known)
            if other.template is not None
            else _existing(finder, other, known)
        )
        found.update(dict.fromkeys(rows))
    return list(found)


def _joined(
    finder: Finder, kind: DatasetType, found: Sequence[DataId], outside: Sequence[str]
) -> list[DataId]:
    """Add keys of the lookup tables to data IDs; those of which nothing is known drop out."""
    rows = list(found)
    for name in (*kind.tables, *([kind.validity] if kind.validity else [])):
        table = finder.layout.tables[name]
        new = [key for key in outside if key in table.keys]
        shared = [key for key in table.keys if key in kind.dimensions]
        if not new or not shared or (rows and all(key in rows[0] for key in new)):
            continue
        by_key: dict[tuple[Value | None, ...], list[dict[str, Value]]] = {}
        for row in finder.rows(name, {}):
            by_key.setdefault(tuple(row.get(key) for key in shared), []).append(row)
        rows = [
            data_id.replace({key: row[key] for key in new if key in row})
            for data_id in rows
            for row in by_key.get(tuple(data_id.get(key) for key in shared), [])
        ]
    tables = [finder.layout.tables[n] for n in (*kind.tables, kind.validity) if n]
    reachable = {key for table in tables for key in table.keys}
    lost = [key for key in outside if key not in reachable]
    if lost:
        raise BadDataId(
            f"dataset {kind.name}: has nothing to do with {', '.join(lost)}; its keys are "
            f"{', '.join(dict.fromkeys((*kind.dimensions, *sorted(reachable))))}",
            name=kind.name,
        )
    return list(dict.fromkeys(rows))

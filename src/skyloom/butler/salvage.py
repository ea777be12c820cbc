"""What can be saved of a registry that cannot be used as it is."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

from .data_id import Value
from .dataset_type import Lookup
from .layout import Layout

__all__ = ["salvage"]

log = logging.getLogger(__name__)


def salvage(path: Path, layout: Layout) -> list[tuple[Lookup, dict[str, Value]]]:
    """Return the rows of the lookup tables that can be read and that the layout still has.

    Rows that lack a key the layout needs are left behind.
    """
    found: list[tuple[Lookup, dict[str, Value]]] = []
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            for table in layout.tables.values():
                found.extend((table, row) for row in _rows(database, table))
    except sqlite3.Error as error:
        log.warning("%s: %d rows of lookup tables could be saved (%s)", path, len(found), error)
    return found


def _rows(database: sqlite3.Connection, table: Lookup) -> list[dict[str, Value]]:
    columns = {row[1] for row in database.execute(f'PRAGMA table_info("{table.name}")')}
    keys = [key for key in table.keys if key in columns]
    if not keys:
        return []
    names = ", ".join(f'"{key}"' for key in keys)
    rows = [
        {key: value for key, value in zip(keys, row, strict=True) if value not in {None, ""}}
        for row in database.execute(f'SELECT {names} FROM "{table.name}"')
    ]
    needed = set(table.keys) - set(table.optional)
    return [row for row in rows if needed <= set(row)]

"""Tables of the database, as files: what scripts ask ``api.getTableConn()`` for.

There is no database here.  A folder has the tables that scripts query, exported to files named
``schema.table.csv`` (or .ecsv, .fits, .vot, .parquet); the environment variable
``SKYLOOM_DACHS_TABLES`` names it.
"""

# ruff: noqa: N802 - old names

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from skyloom.errors import MissingFile

__all__ = ["FOLDER", "TableConnection", "getTableConn"]

FOLDER: Final = "SKYLOOM_DACHS_TABLES"
_NAMES: Final = re.compile(r"\b(?:from|join)\s+(\w+)\.(\w+)", re.IGNORECASE)
_ENDINGS: Final = (".csv", ".ecsv", ".fits", ".vot", ".parquet")


def getTableConn() -> TableConnection:
    """Return a connection to the tables in the folder; a context manager."""
    return TableConnection()


class TableConnection:
    """Answers queries from tables in files."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:")
        self._db.row_factory = sqlite3.Row
        self._known: set[str] = set()

    def __enter__(self) -> TableConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def queryToDicts(self, query: str, args: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        """Yield a dictionary for each row that a query gives."""
        for row in self._rows(query, args):
            yield dict(row)

    def query(self, query: str, args: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield a tuple for each row that a query gives."""
        for row in self._rows(query, args):
            yield tuple(row)

    def _rows(self, query: str, args: Sequence[Any]) -> list[sqlite3.Row]:
        for schema, table in _NAMES.findall(query):
            self._load(schema.lower(), table.lower())
        return self._db.execute(query.replace("%s", "?"), tuple(args)).fetchall()

    def _load(self, schema: str, name: str) -> None:
        if f"{schema}.{name}" in self._known:
            return
        from astropy.table import Table  # noqa: PLC0415 - slow

        table = Table.read(_file_of(f"{schema}.{name}"))
        if not any(found.startswith(f"{schema}.") for found in self._known):
            self._db.execute(f"ATTACH ':memory:' AS {schema}")
        self._known.add(f"{schema}.{name}")
        columns = ", ".join('"' + column.replace('"', '""') + '"' for column in table.colnames)
        self._db.execute(f"CREATE TABLE {schema}.{name} ({columns})")
        marks = ", ".join("?" * len(table.colnames))
        values = [column.tolist() for column in table.columns.values()]
        rows = zip(*values, strict=True)
        self._db.executemany(f"INSERT INTO {schema}.{name} VALUES ({marks})", rows)


def _file_of(name: str) -> Path:
    folder = os.environ.get(FOLDER)
    if folder is None:
        raise MissingFile(
            f"table {name}: there is no database; export the table to {name}.csv and let {FOLDER} "
            "name its folder, or override iterIdentifiers"
        )
    for ending in _ENDINGS:
        path = Path(folder) / f"{name}{ending}"
        if path.is_file():
            return path
    raise MissingFile(f"{folder}: there is no {name}.csv in it; export the table there")

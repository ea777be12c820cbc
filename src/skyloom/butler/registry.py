"""The registry: an index of the datasets below a root, in one SQLite file.

It can be lost: `rebuild` makes it anew from the tree.  A file is renamed into place first and its
row is written second, so the registry never promises a file that was not complete.  The tables::

    meta      version and layout
    datasets  type, run, the keys of the data ID, path, size [byte], mtime_ns, checksum (may be
              empty); the run is that of the root, for those who join several registries
    raw, ...  the lookup tables of the layout: keys that belong together

Several processes may write: the journal is a write-ahead log (a rollback journal on network file
systems), transactions are short, and a writer waits up to 30 s for another.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from skyloom.errors import ConflictError, DataDamaged, InputError, Unwritable

from .data_id import DataId, Value
from .dataset_type import Lookup
from .file_system import network_file_system
from .layout import Layout
from .registry_file import connect, explain, publish, remedy, run_name

__all__ = ["REGISTRY_FILE", "DatasetRow", "Registry"]

REGISTRY_FILE: Final = "registry.sqlite3"
_VERSION: Final = 1
_INHERITED: Final[list[sqlite3.Connection]] = []  # of the parent process; kept as they are
_RUN: Final = "run"  # a column that registries of before lack, and that a key may take
_RESERVED: Final = ("type", "path", "size", "mtime_ns", "checksum")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow:
    """What the registry knows of a dataset."""

    type: str
    data_id: DataId
    path: Path
    size: int = 0  # byte
    mtime_ns: int = 0  # ns since 1970
    checksum: str = ""  # SHA-256; empty: not taken


@final
class Registry:
    """The index of one root; it is opened when it is needed.

    Parameters
    ----------
    root : Path
        Directory whose datasets it lists.
    layout : Layout
        Names the columns.
    writeable : bool
        Whether rows may be added; the file is then made with the first of them.
    file : str
        Name of the file, for one of another program.
    """

    def __init__(
        self, root: Path, layout: Layout, *, writeable: bool = False, file: str = REGISTRY_FILE
    ) -> None:
        self.root = root
        self.path = root / file
        self.layout = layout
        self.writeable = writeable
        used = {key for kind in layout.types.values() for key in kind.dimensions}
        self._keys = tuple(key for key in layout.dimensions if key in used)
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        self._is_foreign = False
        self._has_run = False
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _registry, (self.root, self.layout, self.writeable, self.path)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it opens again when it is needed."""
        with self._lock:
            if self._db is not None and self._pid == os.getpid():
                self._db.close()
            self._drop()

    def _drop(self) -> None:
        """Forget the connection; one inherited through a fork must not be closed here."""
        if self._db is not None and self._pid != os.getpid():
            _INHERITED.append(self._db)
        self._db = None

    @property
    def is_there(self) -> bool:
        """Tell whether the index exists and lists datasets."""
        return self._open() is not None and not self._is_foreign

    # -- reading

    def datasets(self, name: str, known: Mapping[str, Value]) -> list[DataId]:
        """Return the data IDs of a type that agree with ``known``, sorted by their keys."""
        keys = self.layout[name].dimensions
        columns = ", ".join(map(_quoted, keys)) or "1"
        where, values = _where({"type": name, **known})
        order = f" ORDER BY {columns}" if keys else ""
        rows = self._read(f"SELECT {columns} FROM datasets{where}{order}", values)
        return [DataId.trusted(dict(zip(keys, row, strict=False))) for row in rows]

    def values(
        self, name: str, keys: Sequence[str], known: Mapping[str, Value]
    ) -> list[tuple[Value, ...]]:
        """Return the distinct values of some keys of a type, sorted."""
        columns = ", ".join(map(_quoted, keys))
        where, values = _where({"type": name, **known})
        return self._read(
            f"SELECT DISTINCT {columns} FROM datasets{where} ORDER BY {columns}", values
        )

    def rows(self, name: str | None = None) -> Iterator[DatasetRow]:
        """Yield what is known of all datasets (of a type), in the order of their paths."""
        if not self.is_there:
            return
        columns = ", ".join(map(_quoted, (*_RESERVED, *self._keys)))
        where, values = _where({"type": name} if name else {})
        for row in self._read(f"SELECT {columns} FROM datasets{where} ORDER BY path", values):
            type_, path, size, mtime_ns, checksum, *keys = row
            if type_ not in self.layout:
                continue
            found = dict(zip(self._keys, keys, strict=True))
            data_id = DataId.trusted({k: found[k] for k in self.layout[type_].dimensions})
            yield DatasetRow(
                type=type_,
                data_id=data_id,
                path=self.root / path,
                size=size,
                mtime_ns=mtime_ns,
                checksum=checksum,
            )

    def row(self, name: str, data_id: DataId) -> bool:
        """Tell whether a dataset has a row."""
        where, values = _where({"type": name, **data_id})
        return bool(self._read(f"SELECT 1 FROM datasets{where} LIMIT 1", values))

    def lookup(self, table: Lookup, known: Mapping[str, Value]) -> list[dict[str, Value]]:
        """Return the rows of a lookup table that agree with ``known``; unknown values left out."""
        columns = self._columns(table.name)
        keys = [key for key in table.keys if key in columns]
        if not keys:
            return []
        where, values = _where({k: v for k, v in known.items() if k in keys})
        names = ", ".join(map(_quoted, keys))
        rows = self._read(f"SELECT DISTINCT {names} FROM {_quoted(table.name)}{where}", values)
        return [
            {k: v for k, v in zip(keys, row, strict=True) if v is not None and v != ""}
            for row in rows
        ]

    def _columns(self, table: str) -> set[str]:
        rows = self._read(f"PRAGMA table_info({_quoted(table)})", ())
        return {str(row[1]) for row in rows}

    def meta(self) -> dict[str, Any]:
        """Return what the file says about itself; empty if there is none."""
        if self._open() is None or self._is_foreign:
            return {}
        return {str(k): json.loads(str(v)) for k, v in self._read("SELECT * FROM meta", ())}

    # -- writing

    def record(
        self,
        rows: Iterable[DatasetRow],
        facts: Iterable[tuple[Lookup, Mapping[str, Value]]] = (),
    ) -> None:
        """Add or replace rows, and rows of lookup tables, together or not at all.

        Raises
        ------
        ConflictError
            If a lookup table says otherwise: the visit has another filter, say.
        Busy, DataDamaged, Unwritable
            If the registry cannot be written.
        """
        with self._transaction() as database:
            for table, values in facts:
                self._add(database, table, values)
            last = (run_name(self.root),) if self._has_run else ()
            columns = ("type", *self._keys, "path", "size", "mtime_ns", "checksum")
            columns += (_RUN,) if self._has_run else ()
            marks = ", ".join("?" * len(columns))
            names = ", ".join(map(_quoted, columns))
            sql = f"INSERT OR REPLACE INTO datasets ({names}) VALUES ({marks})"
            database.executemany(sql, ((*self._values(row), *last) for row in rows))

    def forget(self, rows: Iterable[DatasetRow]) -> None:
        """Remove the rows of datasets that are gone."""
        with self._transaction() as database:
            for row in rows:
                where, values = _where({"type": row.type, **row.data_id})
                database.execute(f"DELETE FROM datasets{where}", values)

    def _values(self, row: DatasetRow) -> tuple[Any, ...]:
        keys = (row.data_id.get(key, "") for key in self._keys)
        return (row.type, *keys, self._relative(row.path), row.size, row.mtime_ns, row.checksum)

    def _relative(self, path: Path) -> str:
        inside = path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if inside else str(path)

    def merged(self, table: Lookup, values: Mapping[str, Value]) -> list[Value]:
        """Return a row of a lookup table as it will be, with what was known before.

        Raises
        ------
        ConflictError
            If the two contradict each other: the visit has another filter, say.
        """
        known = {key: values[key] for key in table.identity}
        new: list[Value] = [values.get(key, "") for key in table.keys]
        for before in self.lookup(table, known):
            for index, key in enumerate(table.keys):
                old = before.get(key, "")
                if new[index] == "":
                    new[index] = old
                is_fixed = key not in table.optional and not key.startswith("valid")
                if is_fixed and old not in {"", new[index]}:
                    what = ", ".join(f"{k}={v}" for k, v in known.items())
                    raise ConflictError(
                        f"{self.path}: {what} is known with {key}={old}, not {new[index]}; one of "
                        "the two files is misnamed",
                        path=self.path,
                    )
        return new

    def _add(
        self, database: sqlite3.Connection, table: Lookup, values: Mapping[str, Value]
    ) -> None:
        new = self.merged(table, values)
        marks = ", ".join("?" * len(new))
        names = ", ".join(map(_quoted, table.keys))
        database.execute(
            f"INSERT OR REPLACE INTO {_quoted(table.name)} ({names}) VALUES ({marks})", new
        )

    # -- the file

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._create()
            database = self._open()
            assert database is not None
            if self._is_foreign:
                raise Unwritable(
                    f"{self.path}: made by another program and not changed; write to a rerun of "
                    "its own",
                    path=self.path,
                )
            with self._explained():
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                except BaseException:
                    database.rollback()
                    raise
                database.commit()

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            database = self._open()
            if database is None:
                return []
            with self._explained():
                return database.execute(sql, values).fetchall()

    def _open(self) -> sqlite3.Connection | None:
        if self._db is not None and self._pid == os.getpid():
            return self._db
        with self._lock, self._explained():
            if not self.layout.registry or not self.path.is_file():
                return None
            self._drop()
            database = connect(self.path, writeable=self.writeable)
            try:
                self._is_foreign = self._check(database)
            except BaseException:
                database.close()
                raise
            self._db, self._pid = database, os.getpid()
        return self._db

    def _check(self, database: sqlite3.Connection) -> bool:
        """Tell whether the file is another program's; refuse what does not fit the layout."""
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        if "meta" not in tables:
            return True
        (version,) = database.execute("PRAGMA user_version").fetchone()
        names = {row[1] for row in database.execute("PRAGMA table_info(datasets)")}
        self._has_run = _RUN in names and _RUN not in self._keys
        lacking = [key for key in (*_RESERVED, *self._keys) if key not in names]
        lacking += [table for table in self.layout.tables if table not in tables]
        if version != _VERSION or lacking:
            what = f"lacks {', '.join(lacking)}" if lacking else f"has version {version}"
            raise DataDamaged(
                f"{self.path}: {what}; it was made for another layout. {remedy(self.root)}",
                path=self.path,
            )
        return False

    def _create(self) -> None:
        if self.path.exists():
            return
        if not self.writeable:
            raise Unwritable(f"{self.path}: this butler only reads", path=self.path)
        clash = [key for key in self._keys if key in _RESERVED]
        if clash:
            raise InputError(f"layout {self.layout.name}: a key cannot be called {clash[0]}")
        part = self.path.with_name(f".{REGISTRY_FILE}.{os.getpid()}.{threading.get_ident()}.part")
        with self._explained():
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                self._write_schema(part)
                publish(part, self.path)  # whole, or that of another process
            except OSError as error:
                raise Unwritable(
                    f"{self.path}: cannot be made ({error.strerror}); change the permissions or "
                    "choose another root",
                    path=self.path,
                ) from error
            finally:
                part.unlink(missing_ok=True)

    def _write_schema(self, path: Path) -> None:
        keys = ", ".join(f"{_quoted(key)} NOT NULL DEFAULT ''" for key in self._keys)
        unique = ", ".join(map(_quoted, ("type", *self._keys)))
        tables = [
            f"CREATE TABLE datasets (type TEXT NOT NULL, {keys + ', ' if keys else ''}"
            f"{'' if _RUN in self._keys else 'run TEXT, '}path TEXT NOT NULL, size INTEGER, "
            "mtime_ns INTEGER, checksum TEXT, "
            f"PRIMARY KEY ({unique})) WITHOUT ROWID",
            "CREATE INDEX datasets_by_path ON datasets (path)",
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
        ]
        for table in self.layout.tables.values():
            columns = ", ".join(f"{_quoted(key)} NOT NULL DEFAULT ''" for key in table.keys)
            identity = ", ".join(map(_quoted, table.identity))
            tables.append(
                f"CREATE TABLE {_quoted(table.name)} ({columns}, PRIMARY KEY ({identity})) "
                "WITHOUT ROWID"
            )
        about = {
            "layout": self.layout.address,
            "variables": dict(self.layout.variables),
        }
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = OFF")  # it can be made anew
            journal = "DELETE" if network_file_system(path) else "WAL"
            database.execute(f"PRAGMA journal_mode = {journal}")
            database.execute("BEGIN")
            for sql in tables:
                database.execute(sql)
            database.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                ((key, json.dumps(value)) for key, value in about.items()),
            )
            database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explain(self.path, error) from error


def _registry(root: Path, layout: Layout, writeable: bool, path: Path) -> Registry:
    return Registry(root, layout, writeable=writeable, file=str(path))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _where(known: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    if not known:
        return "", ()
    text = " AND ".join(f"{_quoted(key)} = ?" for key in known)
    return f" WHERE {text}", tuple(known.values())

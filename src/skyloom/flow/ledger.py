"""The ledger: what was done, from what, at which cost, and what it left on disk.

An SQLite file in the work directory.  Only the coordinating process writes it.  The tables are::

    runs     one row per start
    units    one row per attempt at a unit: key, state, cost, error; the latest counts
    outputs  the files that a unit wrote, with checksums
    files    checksums of the user's files, by path, size, time and inode
    configs  configuration values that units were made with
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from skyloom.butler import DataId, digest_file, network_file_system
from skyloom.errors import Busy, Unwritable

from .keys import canonical, digest_text
from .threads import available_cpus

__all__ = ["Ledger", "Output", "Past"]

log = logging.getLogger(__name__)

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL, finished REAL, pid INTEGER, host TEXT,
    about TEXT, exit_status INTEGER);
CREATE TABLE units (id INTEGER PRIMARY KEY, run INTEGER, stage TEXT, unit TEXT, key TEXT,
    state TEXT, wall REAL, cpu REAL, peak INTEGER, error TEXT, traceback TEXT, parts TEXT,
    config TEXT, finished REAL);
CREATE INDEX units_by_stage ON units (stage, unit, id);
CREATE TABLE outputs (owner INTEGER, position INTEGER, type TEXT, data_id TEXT, path TEXT,
    digest TEXT, size INTEGER, mtime_ns INTEGER, PRIMARY KEY (owner, position)) WITHOUT ROWID;
CREATE INDEX outputs_by_path ON outputs (path);
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER,
    digest TEXT, checked_ns INTEGER) WITHOUT ROWID;
CREATE TABLE configs (digest TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID;
"""
# A file changed this shortly before its checksum was taken may change again within one tick of
# the clock of the file system, unnoticed by its time.
_TICK: Final = 2_000_000_000  # ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that a unit wrote."""

    type: str
    data_id: DataId
    path: Path
    digest: str  # SHA-256
    size: int  # byte
    mtime_ns: int  # ns since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The latest attempt at a unit."""

    row: int
    key: str
    state: str  # running, done, failed
    parts: Mapping[str, Any]
    outputs: Sequence[Output] = field(default_factory=list)


@final
class Ledger:
    """The ledger of a work directory.

    Parameters
    ----------
    path : Path
        The SQLite file; created when absent.  One that is damaged, or of another version, is moved
        aside with a warning, and everything is done again.
    root : Path
        Paths below it are stored relative to it, so a work directory may move.
    """

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path = path
        self.root = root
        self._run = 0
        self._seen: dict[Path, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            _stop_unless_damaged(path, error)
            aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            log.warning("%s: %s; moved to %s, everything is redone", path, error, aside.name)
            path.replace(aside)
            for suffix in ("-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._db = _open(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write several things together or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    def start_run(self, about: Mapping[str, Any]) -> None:
        """Note that a run starts."""
        values = (time.time(), os.getpid(), socket.gethostname(), canonical(about))
        sql = "INSERT INTO runs (started, pid, host, about) VALUES (?, ?, ?, ?)"
        self._run = int(self._db.execute(sql, values).lastrowid or 0)

    def finish_run(self, exit_status: int) -> None:
        """Note how the run ended."""
        sql = "UPDATE runs SET finished = ?, exit_status = ? WHERE id = ?"
        self._db.execute(sql, (time.time(), exit_status, self._run))

    def past(self, stage: str) -> dict[DataId, Past]:
        """Return the latest attempt at each unit of a stage."""
        sql = """SELECT units.id, unit, key, state, parts, body FROM units
            LEFT JOIN configs ON configs.digest = units.config
            WHERE units.id IN (SELECT MAX(id) FROM units WHERE stage = ? GROUP BY unit)"""
        found = {}
        for row, unit, key, state, parts, config in self._db.execute(sql, (stage,)):
            facts = {**json.loads(parts or "{}"), "config": json.loads(config or "{}")}
            found[row] = (DataId(json.loads(unit)), key, state, facts)
        outputs: dict[int, list[Output]] = {row: [] for row in found}
        sql = """SELECT owner, type, data_id, path, digest, size, mtime_ns FROM outputs
            WHERE owner IN (SELECT MAX(id) FROM units WHERE stage = ? GROUP BY unit)
            ORDER BY owner, position"""
        for owner, *row in self._db.execute(sql, (stage,)):
            outputs[owner].append(self._output(row))
        return {
            unit: Past(row=row, key=key, state=state, parts=facts, outputs=outputs[row])
            for row, (unit, key, state, facts) in found.items()
        }

    def _output(self, row: Sequence[Any]) -> Output:
        type_, data_id, path, digest, size, mtime_ns = row
        return Output(
            type=type_,
            data_id=DataId(json.loads(data_id)),
            path=self.root / path,
            digest=digest,
            size=size,
            mtime_ns=mtime_ns,
        )

    def begin_unit(self, stage: str, unit: DataId, key: str, *, parts: Mapping[str, Any]) -> int:
        """Note that a unit is about to run; return its row."""
        shared = dict(parts)
        config = canonical(shared.pop("config", {}))
        digest = digest_text(config)
        self._db.execute("INSERT OR IGNORE INTO configs VALUES (?, ?)", (digest, config))
        sql = """INSERT INTO units (run, stage, unit, key, state, parts, config)
            VALUES (?, ?, ?, ?, 'running', ?, ?)"""
        text = json.dumps(dict(unit))
        values = (self._run, stage, text, key, canonical(shared), digest)
        return int(self._db.execute(sql, values).lastrowid or 0)

    def finish_unit(
        self,
        row: int,
        state: str,
        *,
        outputs: Iterable[Output] = (),
        cost: tuple[float, float, int] = (0.0, 0.0, 0),
        error: str | None = None,
        traceback: str | None = None,
    ) -> None:
        """Note how a unit ended; cost is wall and CPU time [s] and peak memory [byte]."""
        with self.transaction():
            self._db.execute(
                """UPDATE units SET state = ?, wall = ?, cpu = ?, peak = ?, error = ?,
                traceback = ?, finished = ? WHERE id = ?""",
                (state, *cost, error, traceback, time.time(), row),
            )
            self._db.executemany(
                "INSERT INTO outputs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self._output_row(row, n, output) for n, output in enumerate(outputs)),
            )

    def _output_row(self, owner: int, position: int, output: Output) -> tuple[Any, ...]:
        data_id, path = json.dumps(dict(output.data_id)), self._relative(output.path)
        mark = (output.digest, output.size, output.mtime_ns)
        return owner, position, output.type, data_id, path, *mark

    def is_intact(self, output: Output) -> bool:
        """Tell whether a file is still what was written: same size and time, or same checksum."""
        try:
            status = output.path.stat()
        except OSError:
            return False
        if status.st_size != output.size:
            return False
        if status.st_mtime_ns == output.mtime_ns:
            return True
        if digest_file(output.path) != output.digest:
            return False
        sql = "UPDATE outputs SET mtime_ns = ? WHERE path = ? AND digest = ?"
        path = self._relative(output.path)
        self._db.execute(sql, (status.st_mtime_ns, path, output.digest))
        return True

    def doubt(self, path: Path) -> None:
        """Have a product that could not be read checked by its checksum next time."""
        sql = "UPDATE outputs SET mtime_ns = -1 WHERE path = ?"
        self._db.execute(sql, (self._relative(path),))

    def file_digests(self, paths: Sequence[Path]) -> list[str]:
        """Return the checksums of some of the user's files; only what changed is read."""
        marks = {path: _mark(path) for path in paths if path not in self._seen}
        for path, mark in marks.items():
            sql = "SELECT size, mtime_ns, inode, digest, checked_ns FROM files WHERE path = ?"
            row = self._db.execute(sql, (str(path),)).fetchone()
            if row is not None and tuple(row[:3]) == mark and row[1] < row[4] - _TICK:
                self._seen[path] = str(row[3])
        todo = [path for path in marks if path not in self._seen]
        now = time.time_ns()
        if todo:
            with ThreadPoolExecutor(available_cpus()) as pool:  # hashing releases the lock
                self._seen.update(zip(todo, pool.map(digest_file, todo), strict=True))
        self._db.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            ((str(path), *marks[path], self._seen[path], now) for path in todo),
        )
        return [self._seen[path] for path in paths]

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def _stop_unless_damaged(path: Path, error: sqlite3.DatabaseError) -> None:
    if not isinstance(error, sqlite3.OperationalError) or "no such" in str(error):
        return
    if "locked" in str(error):
        raise Busy(f"{path}: another program holds the ledger; close it", path=path) from error
    raise Unwritable(f"{path}: {error}; free space or change the permissions", path=path) from error


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        kind = network_file_system(path)
        if kind:
            log.warning("%s is on a network file system (%s): the ledger is slower", path, kind)
        database.execute(f"PRAGMA journal_mode = {'DELETE' if kind else 'WAL'}")
        database.execute("PRAGMA synchronous = NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"ledger of version {version}, not {_VERSION}")  # noqa: TRY301
        else:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise sqlite3.DatabaseError(answer)  # noqa: TRY301
            database.execute("SELECT owner, position FROM outputs LIMIT 1")
    except BaseException:
        database.close()
        raise
    return database


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino

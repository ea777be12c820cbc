"""What was done, so that tomorrow's run does only what is new."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skyloom.errors import UnreadableFile, Unwritable

from .options import RUN_OPTIONS
from .outcome import Outcome

if TYPE_CHECKING:
    from .processor import FileProcessor

__all__ = ["Journal", "journal_key"]

_EVERY: Final = 2.0  # s between commits; a killed run redoes at most that much
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    key TEXT, identifier TEXT, state TEXT, size INTEGER, mtime_ns INTEGER,
    error TEXT, attempts INTEGER, seconds REAL, finished REAL,
    PRIMARY KEY (key, identifier)
) WITHOUT ROWID
"""


def journal_key(processor: FileProcessor) -> str:
    """Return what tells this work from other work: class, version, and options of the processor."""
    own = {k: str(v) for k, v in vars(processor.opts).items() if k not in RUN_OPTIONS}
    name = type(processor).__qualname__
    facts = json.dumps([name, processor.version, own], sort_keys=True)
    return f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


class Journal:
    """An SQLite file with the last outcome of each identifier.

    An identifier counts as done while its file has the size and time that it had after it was
    processed; one that is no file counts as done for ever.

    Parameters
    ----------
    path : path
        The file; it is created if need be.
    key : str
        Of the work; see `journal_key`.

    Raises
    ------
    UnreadableFile
        If the file is something else.
    """

    def __init__(self, path: str | Path, *, key: str) -> None:
        self._key, self._path = key, path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute(_SCHEMA)
            rows = self._db.execute(
                "SELECT identifier, size, mtime_ns FROM files WHERE key = ? AND state = 'done'",
                (key,),
            ).fetchall()
        except sqlite3.Error as error:
            raise UnreadableFile(
                f"{path}: cannot be used as a journal ({error}); name another file", path=str(path)
            ) from None
        self._done = {name: (size, mtime) for name, size, mtime in rows}
        self._last = time.monotonic()

    def __enter__(self) -> Journal:
        self._db.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._commit()
        finally:
            self._db.close()

    def is_done(self, identifier: str) -> bool:
        """Tell whether an identifier was processed and has not changed since."""
        return identifier in self._done and self._done[identifier] == _stamp(identifier)

    def add(self, identifier: str, outcome: Outcome) -> None:
        """Write down an outcome.

        Raises
        ------
        Unwritable
            If it cannot be written: a full disk.
        """
        error = None if outcome.failure is None else outcome.failure.message
        row = (self._key, identifier, outcome.state, *_stamp(identifier), error,
               outcome.attempts, outcome.seconds, time.time())  # fmt: skip
        with self._said():
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if time.monotonic() - self._last > _EVERY:
            self._commit()
            self._db.execute("BEGIN")
            self._last = time.monotonic()

    def _commit(self) -> None:
        if self._db.in_transaction:
            with self._said():
                self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unwritable(
                f"{self._path}: the journal cannot be written ({error}); free space and run again",
                path=str(self._path),
            ) from error


def _stamp(identifier: str) -> tuple[int | None, int | None]:
    try:
        status = os.stat(identifier)  # noqa: PTH116 - for each of many files
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns

"""The ledger read back: what ran in a work directory, what failed, and whether products are whole.

Nothing is written, so it may be asked while a run is at work.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from skyloom.butler import DataId, digest_file
from skyloom.errors import MissingFile, UnreadableFile

from .result import Failure
from .runner import FOLDER

__all__ = ["Damage", "History", "PastRun", "StageHistory", "check_outputs", "read_history"]

_LATEST = "SELECT MAX(id) FROM units GROUP BY stage, unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """The latest start."""

    started: float  # s since 1970
    finished: float | None  # None: at work, or killed
    exit_status: int | None
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageHistory:
    """The latest attempts at the units of a stage."""

    stage: str
    done: int
    failed: int
    unfinished: int  # at work, interrupted or stopped
    wall: float  # s, sum over the units
    cpu: float  # s
    peak_bytes: int  # of its largest unit


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a ledger knows."""

    run: PastRun | None
    stages: tuple[StageHistory, ...]  # in the order in which they first ran
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A product that is not what was written."""

    path: Path
    what: str  # missing, changed


def read_history(work_dir: Path | str) -> History:
    """Read the ledger of a work directory.

    Raises
    ------
    MissingFile
        If nothing ever ran there.
    UnreadableFile
        If the ledger is damaged.
    """
    with closing(_open(Path(work_dir))) as database:
        try:
            return History(
                run=_last_run(database),
                stages=tuple(_stages(database)),
                failures=tuple(_failures(database)),
            )
        except sqlite3.DatabaseError as error:
            raise _damaged(Path(work_dir), error) from error


def check_outputs(work_dir: Path | str) -> Iterator[Damage | Path]:
    """Read every product of a work directory again; yields its path, or its `Damage`.

    Raises
    ------
    MissingFile, UnreadableFile
        As `read_history`.
    """
    root = Path(work_dir)
    with closing(_open(root)) as database:
        sql = f"""SELECT path, digest, size FROM outputs JOIN units ON units.id = owner
            WHERE owner IN ({_LATEST}) AND state = 'done' ORDER BY owner, position"""
        try:
            rows = database.execute(sql).fetchall()
        except sqlite3.DatabaseError as error:
            raise _damaged(root, error) from error
    for name, digest, size in rows:
        path = root / name
        if not path.is_file():
            yield Damage(path=path, what="missing")
        elif path.stat().st_size != size or digest_file(path) != digest:
            yield Damage(path=path, what="changed")
        else:
            yield path


def _open(root: Path) -> sqlite3.Connection:
    path = root / FOLDER / "ledger.sqlite"
    if not path.is_file():
        raise MissingFile(
            f"{root}: no ledger ({path} does not exist): nothing ran here; give the work directory "
            "of a run",
            path=path,
        )
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise _damaged(root, error) from error


def _damaged(root: Path, error: Exception) -> UnreadableFile:
    path = root / FOLDER / "ledger.sqlite"
    return UnreadableFile(
        f"{path}: cannot be read ({error}); the next run makes it anew", path=path
    )


def _last_run(database: sqlite3.Connection) -> PastRun | None:
    sql = "SELECT started, finished, exit_status, host, pid FROM runs ORDER BY id DESC LIMIT 1"
    row = database.execute(sql).fetchone()
    if row is None:
        return None
    started, finished, status, host, pid = row
    return PastRun(started=started, finished=finished, exit_status=status, host=host, pid=pid)


def _stages(database: sqlite3.Connection) -> Iterator[StageHistory]:
    sql = f"""SELECT stage, SUM(state = 'done'), SUM(state = 'failed'),
        SUM(state NOT IN ('done', 'failed')), TOTAL(wall), TOTAL(cpu), MAX(COALESCE(peak, 0)),
        MIN(id) FROM units WHERE id IN ({_LATEST}) GROUP BY stage ORDER BY MIN(id)"""
    for stage, done, failed, unfinished, wall, cpu, peak, _ in database.execute(sql):
        yield StageHistory(
            stage=stage,
            done=done,
            failed=failed,
            unfinished=unfinished,
            wall=wall,
            cpu=cpu,
            peak_bytes=peak,
        )


def _failures(database: sqlite3.Connection) -> Iterator[Failure]:
    sql = f"""SELECT stage, unit, error FROM units
        WHERE id IN ({_LATEST}) AND state = 'failed' ORDER BY id"""
    for stage, unit, error in database.execute(sql):
        yield Failure(stage=stage, unit=DataId(json.loads(unit)), message=error or "unknown")

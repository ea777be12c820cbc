"""The file of a registry: opening it, giving it its name, what it is of, what can be wrong."""

from __future__ import annotations

import errno
import sqlite3
import urllib.parse
from pathlib import Path
from typing import Final

from skyloom.errors import Busy, DataDamaged, Unwritable

__all__ = ["connect", "explain", "publish", "remedy", "run_name"]

TIMEOUT: Final = 30.0  # s


def connect(path: Path, *, writeable: bool) -> sqlite3.Connection:
    """Open a database, waiting for its writers; one in a directory that is read-only too."""
    name = urllib.parse.quote(str(path))
    modes = ("mode=rw",) if writeable else ("mode=ro", "mode=ro&immutable=1")
    for mode in modes:
        database = sqlite3.connect(
            f"file:{name}?{mode}",
            uri=True,
            timeout=TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            # in a directory that is read-only, the write-ahead log cannot be set up
            database.close()
            is_last = mode == modes[-1]
            if is_last or error.sqlite_errorcode & 0xFF not in {
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_READONLY,
            }:
                raise
        except BaseException:
            database.close()
            raise
        else:
            if writeable:
                database.execute("PRAGMA synchronous = NORMAL")
            return database
    raise AssertionError


def publish(part: Path, path: Path) -> None:
    """Give a new file its name, unless another process was first."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            part.replace(path)


def explain(path: Path, error: sqlite3.Error) -> Exception:
    """Return what is wrong with a registry, and the remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(
            f"{path}: another program has held the registry for {TIMEOUT:g} s; wait for it or "
            "stop it, and try again. No file is lost: 'skyloom butler rebuild' finds those "
            "without a row",
            path=path,
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return Unwritable(f"{path}: {error}; change the permissions", path=path)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
        return OSError(number, f"{path}: {error}")
    return DataDamaged(f"{path}: {error}. {remedy(path.parent)}", path=path)


def remedy(root: Path) -> str:
    """Return what to do about a damaged registry."""
    return (
        f"The files are untouched: run 'skyloom butler rebuild {root}', which moves the damaged "
        "registry aside and makes a new one from them"
    )


def run_name(root: Path) -> str:
    """Return the name of a rerun: what comes after ``rerun/``, or the name of the directory."""
    parts = root.parts
    after = parts[len(parts) - parts[::-1].index("rerun") :] if "rerun" in parts else ()
    return "/".join(after) or root.name

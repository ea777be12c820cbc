"""Whole files only: write under a temporary name, rename, and know the checksum."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skyloom.errors import ConflictError, SkyloomError, Unwritable

__all__ = ["Written", "digest_file", "is_disk_full", "remove_temporaries", "write_atomic"]

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file as it was left on disk."""

    path: Path
    digest: str  # SHA-256, hexadecimal
    size: int  # byte
    mtime_ns: int  # ns since 1970


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(
    path: Path, write: Callable[[Path], None], *, sync: bool = False, is_new: bool = False
) -> Written:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    A reader sees the old file or the new one, never a part.  Directories are created.

    Parameters
    ----------
    path : Path
        The final name.
    write : callable
        Called with the temporary path; must create that file.
    sync : bool
        Wait until the bytes are on the disk itself (survives a power cut; slow).
    is_new : bool
        Refuse to replace a file, even one that appears meanwhile.

    Returns
    -------
    Written

    Raises
    ------
    Unwritable
        If the directory or the file may not be written.
    ConflictError
        If the file exists and must not.
    OSError
        Anything else, a full disk among it (see `is_disk_full`); the temporary file is removed.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_new and path.exists():
            raise _conflict(path)
        try:
            write(part)
            if sync:
                _sync(part)
            digest = digest_file(part)
            _publish(part, path, is_new=is_new)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except SkyloomError:
        raise
    except OSError as error:
        if error.errno in _NOT_ALLOWED:
            raise Unwritable(
                f"{path}: cannot be written ({error.strerror}); change the permissions or choose "
                "another output directory",
                path=path,
            ) from error
        raise
    status = path.stat()
    return Written(path=path, digest=digest, size=status.st_size, mtime_ns=status.st_mtime_ns)


def _publish(part: Path, path: Path, *, is_new: bool) -> None:
    """Give a file its final name."""
    if not is_new:
        part.replace(path)
        return
    try:
        path.hardlink_to(part)  # unlike a rename, fails if the name is taken
    except FileExistsError:
        raise _conflict(path) from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise _conflict(path) from None
        part.replace(path)
    else:
        part.unlink()


def _conflict(path: Path) -> ConflictError:
    return ConflictError(f"{path}: exists already; overwrite=True replaces it", path=path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it."""
    if not path.parent.is_dir():
        return
    start, end = f".{path.name}.", ".part"
    for other in path.parent.iterdir():
        name = other.name
        if name.startswith(start) and name.endswith(end) and name[len(start) : -len(end)].isdigit():
            other.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error, or one that caused it, means that no space is left."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and (
            # astropy.io.fits replaces the error of the system by its own sentence
            seen.errno in _FULL or "Not enough space on disk" in str(seen)
        ):
            return True
        seen = seen.__cause__ or seen.__context__
    return False

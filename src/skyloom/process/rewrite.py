"""Replacing the primary header of a file, so that no moment of it can lose the file.

Where the new header fits into the blocks of the old one, only header bytes are overwritten.  Before
that, old and new header are put beside the file (``.NAME.undo``), and removed after it; whoever
finds such a note completes the replacement.  Otherwise a copy is written and renamed over the
original.  Data and other HDUs are moved as bytes, never interpreted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from astropy.io import fits

from .cards import BLOCK, CARD, find_end, parse_header, read_header_bytes, serialize_header
from .checksums import add_sums, data_sum, encode_checksum, stream_sum
from .errors import FITSError
from .structure import data_size, describing_cards, structure

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "BACKUP_EXT",
    "back_up_header",
    "recover_header",
    "replace_primary_header_in_place",
    "restore_header",
]

BACKUP_EXT: Final = ".oldhdr"
_ATOM: Final = 512  # bytes; a killed process leaves whole sectors
_MARK: Final = b"skyloom undo "
_ZEROS: Final = "0" * 16


def replace_primary_header_in_place(
    path: str | Path, header: fits.Header, *, sync: bool = False
) -> None:
    """Replace the primary header of a FITS file.

    A header of as many blocks, or of fewer (then filled with blank cards), overwrites the old
    one; for a longer one the file is copied and renamed, keeping its mode.  A CHECKSUM in
    ``header`` is made right.

    Parameters
    ----------
    path : path
        The file; links are followed.
    header : Header
        The new header.
    sync : bool
        Wait until the bytes are on the disk itself (survives a power cut; slow).

    Raises
    ------
    NotImplementedError
        If the name ends in ``.gz``.
    FITSError
        If the file is damaged, or ``header`` does not fit its data.
    OSError
        If the file cannot be written; it then is as it was.
    """
    name = os.path.realpath(path)
    if str(path).endswith(".gz") or name.endswith(".gz"):
        raise NotImplementedError(f"{path}: headers of compressed files cannot be replaced")
    with _locked(name) as file:
        _clear(name, file)
        old = read_header_bytes(file, name=name, max_blocks=10 * 80)
        size = data_size(describing_cards(old), where=name)
        _check(name, file, header, old_length=len(old), size=size)
        new = _with_checksum(serialize_header(header), header, file, len(old), size)
        _replace(name, file, old, new, sync=sync)


def _check(name: str, file: BinaryIO, header: fits.Header, *, old_length: int, size: int) -> None:
    """Refuse what would break the file, and files that are broken."""
    missing = old_length + size - os.fstat(file.fileno()).st_size
    if missing > 0:
        raise FITSError(
            f"{name}: the file is truncated, {missing} bytes of its data are missing; fetch it "
            "again",
            file=name,
            missing=missing,
        )
    first = next(iter(header), None)
    if first != "SIMPLE":
        raise FITSError(f"{name}: the new header starts with {first}, not with SIMPLE", file=name)
    keys = list(header)
    n_axes = structure(header, where=f"{name}: new header")["NAXIS"]
    wanted = ["SIMPLE", "BITPIX", "NAXIS", *(f"NAXIS{n}" for n in range(1, n_axes + 1))]
    if keys[: len(wanted)] != wanted:
        raise FITSError(
            f"{name}: the new header starts with {', '.join(keys[: len(wanted)])}; FITS demands "
            f"{', '.join(wanted)}",
            file=name,
        )
    new_size = data_size(header, where=f"{name}: new header")
    if new_size != size:
        raise FITSError(
            f"{name}: the new header describes {new_size} bytes of data, the file has {size}; "
            "keep BITPIX and the axes as they are",
            file=name,
        )


def _with_checksum(new: bytes, header: fits.Header, file: BinaryIO, start: int, size: int) -> bytes:
    """Fill to the length of the old header, and make CHECKSUM right where there is one."""
    new = _fill(new, start)
    if "CHECKSUM" not in header:
        return new
    header = header.copy()
    header["CHECKSUM"] = _ZEROS
    new = _fill(serialize_header(header), start)
    position = new.find(b"CHECKSUM= '" + _ZEROS.encode())
    while position % CARD:
        position = new.find(b"CHECKSUM= '" + _ZEROS.encode(), position + 1)
    try:
        total = int(header["DATASUM"])  # as stored: damaged data stay detectable
    except (KeyError, ValueError, TypeError):
        file.seek(start)
        total = stream_sum(file, size)
    text = encode_checksum(add_sums(data_sum(new), total))
    return new[: position + 11] + text.encode() + new[position + 27 :]


def _fill(new: bytes, length: int) -> bytes:
    """Put blank cards before END so that a header is as long as the old one."""
    if len(new) >= length:
        return new
    end = len(new) - BLOCK + (find_end(new[-BLOCK:]) or 0)
    return new[:end].ljust(length - CARD) + b"END".ljust(CARD)


def _replace(name: str, file: BinaryIO, old: bytes, new: bytes, *, sync: bool) -> None:
    if new == old:
        return
    if len(new) == len(old):
        _overwrite(name, file, old, new, sync=sync)
    else:
        _rewrite(name, file, len(old), new, sync=sync)


def _overwrite(name: str, file: BinaryIO, old: bytes, new: bytes, *, sync: bool) -> None:
    note = _note(name)
    content = _MARK + zlib.crc32(old + new).to_bytes(4, "big") + old + new
    try:
        with Path(note).open("wb") as undo:
            undo.write(content)
            undo.flush()
            if sync:
                os.fsync(undo.fileno())
    except BaseException:
        Path(note).unlink(missing_ok=True)
        raise
    _put(file, new)
    if sync:
        os.fsync(file.fileno())
    Path(note).unlink(missing_ok=True)
    _check_still_there(name, _identity(os.fstat(file.fileno())))


def _put(file: BinaryIO, data: bytes) -> None:
    """Overwrite the start of a file."""
    view = memoryview(data)
    file.seek(0)
    while view:
        view = view[file.write(view) :]


def _rewrite(name: str, file: BinaryIO, skip: int, new: bytes, *, sync: bool) -> None:
    part = _beside(name, "part")
    before = _identity(os.fstat(file.fileno()))
    try:
        with Path(part).open("wb") as copy:
            copy.write(new)
            file.seek(skip)
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            _copy_attributes(file, part)
            if sync:
                os.fsync(copy.fileno())
        _check_still_there(name, before)
        Path(part).replace(name)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_still_there(name: str, identity: tuple[int, int, int, int]) -> None:
    """Refuse to replace what another program has deleted, replaced or written meanwhile."""
    if _identity(Path(name).stat()) != identity:
        raise FITSError(
            f"{name}: another program has changed the file meanwhile; its version stays, run again",
            file=name,
        )


def _copy_attributes(file: BinaryIO, part: str) -> None:
    """Give a copy the mode, the owner and the extended attributes of a file, where we may."""
    status = os.fstat(file.fileno())
    with contextlib.suppress(PermissionError):
        os.chown(part, status.st_uid, status.st_gid)
    Path(part).chmod(stat.S_IMODE(status.st_mode))
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(file.fileno()):
                os.setxattr(part, name, os.getxattr(file.fileno(), name))


@contextlib.contextmanager
def _locked(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading and writing; nobody else of ours has it open then."""
    if not Path(name).stat().st_mode & 0o222:
        raise PermissionError(13, "the file is read-only (no write permission for anybody)", name)
    while True:
        with Path(name).open("r+b", buffering=0) as raw:
            _lock(raw, name)
            if os.fstat(raw.fileno()).st_ino != Path(name).stat().st_ino:
                continue  # it was replaced while we waited
            yield raw
            return


def _lock(file: BinaryIO, name: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FITSError(f"{name}: another process is changing this file; try again") from None
    except OSError:
        return  # a file system without locks


def _beside(name: str, ending: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/.{base}.{ending}"


def _note(name: str) -> str:
    return _beside(name, "undo")


def recover_header(path: str | Path) -> bool:
    """Complete a replacement that was killed; say whether there was one.

    Raises
    ------
    FITSError
        If something else has changed the file since, or is changing it now.
    """
    name = os.path.realpath(path)
    if not os.path.exists(_note(name)):  # noqa: PTH110 - for each of many files
        return False
    with _locked(name) as file:
        return _recover(name, file)


def _recover(name: str, file: BinaryIO) -> bool:
    note = Path(_note(name))
    try:
        content = note.read_bytes()
    except FileNotFoundError:
        return False
    pair = content[len(_MARK) + 4 :]
    crc = content[len(_MARK) : len(_MARK) + 4]
    if content.startswith(_MARK) and zlib.crc32(pair).to_bytes(4, "big") == crc:
        half = len(pair) // 2
        old, new = pair[:half], pair[half:]
        file.seek(0)
        found = file.read(half)
        if found != new:
            if not _is_mixture(found, old, new):
                raise FITSError(
                    f"{name}: changed by another program after {note} was written; compare "
                    "the two and delete the note"
                )
            _put(file, new)
    note.unlink()  # an incomplete note: the file was not touched yet
    return True


def _clear(name: str, file: BinaryIO) -> None:
    """Finish or remove what a killed process left."""
    _recover(name, file)
    Path(_beside(name, "part")).unlink(missing_ok=True)
    file.seek(0)


def _is_mixture(found: bytes, old: bytes, new: bytes) -> bool:
    return len(found) == len(old) and all(
        found[i : i + _ATOM] in (old[i : i + _ATOM], new[i : i + _ATOM])
        for i in range(0, len(old), _ATOM)
    )


def back_up_header(path: str | Path) -> Path:
    """Keep the present header beside the file, as ``NAME.oldhdr``; an older one is kept instead."""
    backup = Path(f"{path}{BACKUP_EXT}")
    if backup.exists():
        return backup
    with Path(path).open("rb") as file:
        content = read_header_bytes(file, name=str(path), max_blocks=10 * 80)
    part = _beside(str(backup.absolute()), "part")
    try:
        Path(part).write_bytes(content)
        Path(part).replace(backup)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return backup


def restore_header(path: str | Path, *, sync: bool = False) -> None:
    """Put the header back that `back_up_header` kept, byte for byte.

    Raises
    ------
    FITSError
        If the backup does not fit the data of the file.
    FileNotFoundError
        If there is no backup.
    """
    name = os.path.realpath(path)
    backup = Path(f"{path}{BACKUP_EXT}")
    kept = backup.read_bytes()
    with _locked(name) as file:
        _clear(name, file)
        old = read_header_bytes(file, name=name, max_blocks=10 * 80)
        size = data_size(describing_cards(old), where=name)
        _check(name, file, parse_header(kept), old_length=len(old), size=size)
        _replace(name, file, old, kept, sync=sync)
    backup.unlink()

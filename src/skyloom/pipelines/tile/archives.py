"""Unpacking archives that came through the network, without letting them out of their folder."""

from __future__ import annotations

import logging
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Final

from skyloom.errors import DownloadFailed

__all__ = ["ARCHIVE_SUFFIXES", "unpack_archive"]

log = logging.getLogger(__name__)

ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar", ".zip")
_DAMAGE: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


def unpack_archive(path: Path, folder: Path) -> None:
    """Unpack files and folders of an archive; nothing else is made.

    All names are checked before anything is written. Links are never made: an archive with one
    that leads out of the folder is refused, others are left out. So no member can be written
    through a link.

    Parameters
    ----------
    path : Path
        ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
    folder : Path
        Where to; made.

    Raises
    ------
    DownloadFailed
        If it is no such archive, is damaged, or has members that escape the folder.
    """
    name = path.name.lower()
    if not name.endswith(ARCHIVE_SUFFIXES):
        raise DownloadFailed(
            f"{path.name}: no archive that can be unpacked; {', '.join(ARCHIVE_SUFFIXES)} can"
        )
    folder.mkdir(parents=True)
    try:
        if name.endswith(".zip"):
            _unpack_zip(path, folder)
        else:
            _unpack_tar(path, folder)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise DownloadFailed(
            f"{path.name}: cannot be unpacked ({error or type(error).__name__}); fetch it again"
        ) from error


def _unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check_name(member.filename, path.name)
        for member in members:
            place = folder / PurePosixPath(member.filename)
            if member.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(member) as stream:  # a link becomes a file that holds its target
                _write(stream, place)


def _unpack_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        for member in members:
            _check_name(member.name, path.name)
            if member.issym():
                _check_name(member.linkname, path.name, start=PurePosixPath(member.name).parent)
            elif member.islnk():
                _check_name(member.linkname, path.name)
        for member in members:
            place = folder / PurePosixPath(member.name)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                stream = archive.extractfile(member)
                assert stream is not None
                _write(stream, place)
            else:
                log.warning("%s: %s is no file and is left out", path.name, member.name)


def _write(stream: IO[bytes], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with stream, place.open("wb") as out:
        shutil.copyfileobj(stream, out)


def _check_name(name: str, archive: str, *, start: PurePosixPath | None = None) -> None:
    """Refuse what is absolute, has a drive, or goes above the folder."""
    depth = 0
    parts = ((start / name) if start is not None else PurePosixPath(name)).parts
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            break
    is_absolute = name.startswith("/") or "\\" in name or name[1:2] == ":"
    has_parent = start is None and ".." in parts
    if depth < 0 or is_absolute or has_parent:
        raise DownloadFailed(
            f"{archive}: its member {name!r} would leave the folder; nothing was unpacked, do not "
            "use this archive",
            member=name,
        )

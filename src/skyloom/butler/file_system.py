"""Which file system a file is on: databases need to know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["network_file_system"]

_NETWORK: Final = re.compile(
    r"nfs\d?|cifs|smb\w*|lustre|gpfs|beegfs|afs|ceph|9p|panfs|pvfs2|orangefs"
    r"|fuse\.(sshfs|glusterfs|ceph)"
)


def network_file_system(path: Path) -> str:
    """Return the type of a network file system; empty for a local disk, or where it is not known.

    SQLite's write-ahead log needs memory that all writers share, which these do not offer.
    """
    kind = _kind(path)
    return kind if _NETWORK.fullmatch(kind) else ""


def _kind(path: Path) -> str:
    """Return the type of the file system, as Linux names it; empty where that is not known."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    where, best, kind = path.resolve(), -1, ""
    for line in mounts.splitlines():
        _, point, name, *_ = line.split()
        point = point.replace("\\040", " ")
        if where.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), name
    return kind

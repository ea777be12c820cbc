"""One run at a time in a work directory."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from skyloom.errors import Busy, Unwritable

__all__ = ["WorkDirLock"]

log = logging.getLogger(__name__)

# Workers of a killed run hold the lock until the system has ended them.
_PATIENCE: Final = 5.0  # s
_FAR: Final = 1 << 30  # byte that Windows locks; beyond the text, so that others can read it


@final
class WorkDirLock:
    """Holds the lock file of a work directory while it is entered.

    Workers inherit ``descriptor``, so the lock is free only once all processes of a run are gone.

    Raises
    ------
    Busy
        On entering, if another run holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = -1

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise Unwritable(
                f"{self.path.parent}: cannot be written ({error.strerror}); change the permissions "
                "or choose another work directory",
                path=self.path.parent,
            ) from error
        try:
            self._acquire()
        except BaseException:
            self._close()
            raise
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.write(self.descriptor, json.dumps(owner).encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.ftruncate(self.descriptor, 0)
        self._close()

    def _close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1

    def _acquire(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not _try_lock(self.descriptor):
            owner = self._owner()
            alone = owner.get("host") == socket.gethostname() and not _is_alive(owner.get("pid"))
            if not alone or time.monotonic() > deadline:
                who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
                raise Busy(
                    f"{self.path.parent.parent}: another run ({who}) is at work here; wait for it, "
                    "stop it, or choose another work directory",
                    path=self.path,
                    pid=owner.get("pid"),
                )
            time.sleep(0.05)

    def _owner(self) -> dict[str, Any]:
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            log.warning("the file system offers no locks (%s); do not start two runs", error)
        return True

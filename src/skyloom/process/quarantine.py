"""Files that are left out until somebody has looked at them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

from skyloom.errors import UnreadableFile, Unwritable

from .outcome import Failure

__all__ = ["Quarantine"]


class Quarantine:
    """A text file with one identifier a line, a tab, and the reason.

    To have a file processed again, delete its line.

    Parameters
    ----------
    path : path
        The list; it is created if need be.

    Raises
    ------
    UnreadableFile
        If it is not text.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[str] | None = None
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableFile(
                f"{path}: cannot be used as a quarantine list ({error}); name a text file",
                path=str(path),
            ) from None
        lines = (line.partition("\t")[0] for line in text.splitlines())
        self._names = {name for name in lines if name and not name.startswith("#")}

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._names

    def __enter__(self) -> Quarantine:
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # what it still holds has been reported
            self._file.close()

    def add(self, identifier: str, failure: Failure) -> None:
        """Append a failure; it is on disk at once.

        Raises
        ------
        Unwritable
            If it cannot be written: a full disk.
        """
        assert self._file is not None
        reason = " ".join(failure.message.split())
        try:
            self._file.write(f"{identifier}\t{reason}\n")
            self._file.flush()
        except OSError as error:
            raise Unwritable(
                f"{self.path}: {identifier} cannot be added to the list ({error.strerror}); free "
                "space and run again",
                path=str(self.path),
            ) from error

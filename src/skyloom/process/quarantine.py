"""Files that are left out until somebody has looked at them."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from skyloom.errors import UnreadableFile

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
        self._file.close()

    def add(self, identifier: str, failure: Failure) -> None:
        """Append a failure; it is on disk at once."""
        assert self._file is not None
        reason = " ".join(failure.message.split())
        self._file.write(f"{identifier}\t{reason}\n")
        self._file.flush()

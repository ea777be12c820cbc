"""The report of a run for other programs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyloom.butler import write_atomic
from skyloom.errors import Unwritable

from .outcome import Outcome, RunCounts

if TYPE_CHECKING:
    from .processor import FileProcessor

__all__ = ["RunReport"]


class RunReport:
    """Collects what became of each identifier and writes it as JSON.

    Parameters
    ----------
    path : path
        The file to write.
    processor : FileProcessor
        Whose run it is.

    Raises
    ------
    Unwritable
        If there is no directory for it.
    """

    def __init__(self, path: str | Path, processor: FileProcessor) -> None:
        self.path = Path(path)
        if not self.path.absolute().parent.is_dir():
            raise Unwritable(
                f"{path}: there is no directory for the report; make it first", path=str(path)
            )
        self._processor = type(processor).__qualname__
        self._data_id = processor.data.id
        self._started = time.time()
        self._files: list[dict[str, Any]] = []

    def add(self, identifier: str, outcome: Outcome) -> None:
        """Take an outcome."""
        facts: dict[str, Any] = {
            "identifier": identifier,
            "state": outcome.state,
            "attempts": outcome.attempts,
            "seconds": round(outcome.seconds, 6),
        }
        if outcome.failure is not None:
            facts["error"] = asdict(outcome.failure)
        self._files.append(facts)

    def write(self, counts: RunCounts) -> None:
        """Write the file; also when the run has been interrupted.

        Raises
        ------
        Unwritable
            If it cannot be written: a full disk.
        """
        content = {
            "processor": self._processor,
            "data": self._data_id,
            "started": self._started,  # s since 1970
            "seconds": round(time.time() - self._started, 3),
            "counts": asdict(counts),
            "files": sorted(self._files, key=lambda facts: str(facts["identifier"])),
        }
        text = json.dumps(content, indent=1) + "\n"
        try:
            write_atomic(self.path, lambda part: _put(part, text))
        except OSError as error:
            raise Unwritable(
                f"{self.path}: the report cannot be written ({error.strerror}); the files are "
                f"processed, {counts.summary}",
                path=str(self.path),
            ) from error


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

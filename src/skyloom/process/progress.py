"""Progress of a run: a line of numbers, a bar, or nothing."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Final, Protocol

from .outcome import RunCounts

__all__ = ["Progress", "make_progress"]

_INTERVAL: Final = 0.2  # s between two drawings of the bar


class Progress(Protocol):
    """Is told the counts after each file that counts."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, counts: RunCounts) -> None:
        """Show the counts."""
        ...


class _Silence:
    def __enter__(self) -> _Silence:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, counts: RunCounts) -> None:
        pass


class _Text(_Silence):
    """Overwrites one line of standard output."""

    def update(self, counts: RunCounts) -> None:
        sys.stdout.write(f"{counts.processed:6d} (-{counts.ignored:5d})\r")
        sys.stdout.flush()


class _Bar(_Silence):
    """A bar on standard error; drawn from the loop, so that no thread is there when one forks."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._progress: Any = Progress(
            TextColumn("{task.completed} files"),
            BarColumn(),
            TextColumn("{task.fields[failed]}", style="red"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self._task = self._progress.add_task("files", total=None, failed="", rate="")
        self._start = self._last = time.monotonic()
        self._counts = RunCounts()

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(self._counts, time.monotonic())
        self._progress.stop()

    def update(self, counts: RunCounts) -> None:
        self._counts = counts
        now = time.monotonic()
        if now - self._last >= _INTERVAL:
            self._draw(counts, now)

    def _draw(self, counts: RunCounts, now: float) -> None:
        self._last = now
        self._progress.update(
            self._task,
            completed=counts.processed,
            failed=f"{counts.ignored} failed" if counts.ignored else "",
            rate=f"{counts.processed / max(now - self._start, 1e-3):.0f} / s",
        )
        self._progress.refresh()


def make_progress(name: str, *, parallel: bool) -> Progress:
    """Return what shows the progress.

    Parameters
    ----------
    name : {"auto", "bar", "text", "none"}
        ``auto``: a bar for parallel runs if standard error is a terminal, else a line of numbers
        if standard output is one, else nothing.
    parallel : bool
        Whether there are workers.
    """
    if name == "auto":
        if parallel and sys.stderr.isatty():
            name = "bar"
        else:
            name = "text" if sys.stdout.isatty() else "none"
    if name == "bar":
        return _Bar()
    return _Text() if name == "text" else _Silence()

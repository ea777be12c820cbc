"""Watching a run: bars on a terminal, heartbeat lines elsewhere, or nothing."""

from __future__ import annotations

import logging
import sys
import time
from typing import Final, Literal, Protocol, TypeAlias, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from typing_extensions import override

from skyloom.errors import WrongValue

__all__ = ["Bars", "Heartbeat", "Silence", "Watcher", "WatcherName", "make_watcher"]

log = logging.getLogger(__name__)

WatcherName: TypeAlias = Literal["auto", "bars", "heartbeat", "quiet"]

_INTERVAL: Final = 12.0  # s between heartbeats


class Watcher(Protocol):
    """Is told what happens in a run."""

    def planned(self, stage: str, total: int, todo: int) -> None:
        """Learn that a stage has ``total`` units, ``todo`` of which have to be run."""
        ...

    def finished(self, stage: str, *, failed: bool) -> None:
        """Learn that a unit has ended."""
        ...

    def tick(self) -> None:
        """Learn that time has passed; called about once a second."""
        ...

    def close(self) -> None:
        """Learn that the run is over."""
        ...


def make_watcher(name: WatcherName | Watcher | None) -> Watcher:
    """Return the watcher of that name; ``auto``: bars on a terminal, heartbeats elsewhere."""
    if name == "auto":
        name = "bars" if sys.stderr.isatty() else "heartbeat"
    if name == "bars":
        return Bars()
    if name == "heartbeat":
        return Heartbeat()
    if name is None or name == "quiet":
        return Silence()
    if isinstance(name, str):
        raise WrongValue(f"progress {name!r}: choose auto, bars, heartbeat or quiet")
    return name


@final
class Silence(Watcher):
    """Says nothing."""

    @override
    def planned(self, stage: str, total: int, todo: int) -> None: ...

    @override
    def finished(self, stage: str, *, failed: bool) -> None: ...

    @override
    def tick(self) -> None: ...

    @override
    def close(self) -> None: ...


@final
class Heartbeat(Watcher):
    """Writes a log line now and then, so that nobody thinks the run is dead."""

    def __init__(self, interval: float = _INTERVAL) -> None:
        self._interval = interval
        self._last = time.monotonic()
        self._todo: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._since: dict[str, float] = {}

    @override
    def planned(self, stage: str, total: int, todo: int) -> None:
        if todo:
            self._todo[stage], self._ended[stage], self._failed[stage] = todo, 0, 0
            self._since[stage] = time.monotonic()

    @override
    def finished(self, stage: str, *, failed: bool) -> None:
        self._ended[stage] += 1
        self._failed[stage] += failed
        self.tick()

    @override
    def tick(self) -> None:
        now = time.monotonic()
        if now - self._last < self._interval:
            return
        self._last = now
        for stage, todo in self._todo.items():
            ended = self._ended[stage]
            if ended < todo:
                spent = now - self._since[stage]
                left = f", about {spent / ended * (todo - ended):.0f} s left" if ended else ""
                log.info(
                    "%s: %d of %d units, %d failed%s", stage, ended, todo, self._failed[stage], left
                )

    @override
    def close(self) -> None: ...


@final
class Bars(Watcher):
    """Draws a bar for each stage at work."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}", style="red"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}
        self._failed: dict[str, int] = {}
        self._progress.start()

    @override
    def planned(self, stage: str, total: int, todo: int) -> None:
        if todo:
            self._bars[stage] = self._progress.add_task(stage, total=todo, failed="")
            self._failed[stage] = 0

    @override
    def finished(self, stage: str, *, failed: bool) -> None:
        self._failed[stage] += failed
        text = f"{self._failed[stage]} failed" if self._failed[stage] else ""
        self._progress.update(self._bars[stage], advance=1, failed=text)

    @override
    def tick(self) -> None: ...

    @override
    def close(self) -> None:
        self._progress.stop()

"""Logging: the console for people, a file for later; set up here and nowhere else."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from typing_extensions import override

from skyloom.errors import SkyloomError, Unwritable

if TYPE_CHECKING:
    from skyloom.pipelines.tile.frame_sections import LoggingConfig

__all__ = ["RunLog", "log_path", "run_log"]

_NOISY: Final = ("matplotlib", "numba", "PIL", "asyncio")
_BUFFER: Final = 10_000  # records that wait for the file


@final
class _Console(logging.Handler):
    """Writes to whatever standard error is now, so that lines go above progress bars."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


@final
class _Formatter(logging.Formatter):
    """Calls loggers by the names of a table: the longest one that theirs starts with."""

    def __init__(self, form: str, names: Mapping[str, str]) -> None:
        super().__init__(form)
        self._names = names

    @override
    def format(self, record: logging.LogRecord) -> str:
        parts = record.name.split(".")
        for count in range(len(parts), 0, -1):
            if (name := self._names.get(".".join(parts[:count]))) is not None:
                record = copy.copy(record)
                record.name = name
                break
        return super().format(record)


class RunLog:
    """Handlers of a run: the console at once, the file when its directory is known to be right."""

    def __init__(
        self, config: LoggingConfig, *, console_level: int | None, names: Mapping[str, str]
    ) -> None:
        known = logging.getLevelNamesMapping()
        level = known.get(config.level.strip().upper(), logging.INFO)
        console_level = level if console_level is None else console_level
        self._root = logging.getLogger()
        self._format = _Formatter(config.format, names)
        self._buffer = MemoryHandler(_BUFFER, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._buffer.setLevel(min(level, console_level))
        self._console = _Console()
        self._console.setLevel(console_level)
        self._console.setFormatter(self._format)
        self._handlers: list[logging.Handler] = [self._console, self._buffer]
        self._before = self._root.handlers[:], self._root.level
        self._root.handlers[:] = self._handlers
        self._root.setLevel(min(level, console_level))
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)

    def open_file(self, path: Path | None) -> None:
        """Append to a file from now on, and write there what was logged so far.

        Raises
        ------
        Unwritable
            If the file cannot be opened.
        """
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = logging.FileHandler(path, mode="a", encoding="utf-8")
            except OSError as error:
                raise Unwritable(
                    f"{path}: cannot write the log ({error.strerror or error}); correct "
                    "logging.file or the permissions",
                    path=path,
                ) from error
            file.setLevel(self._buffer.level)
            file.setFormatter(self._format)
            self._buffer.setTarget(file)
            self._buffer.flush()
            self._handlers.append(file)
            self._root.addHandler(file)
        self._root.removeHandler(self._buffer)

    def note(self, error: BaseException) -> None:
        """Write to the file, if there is one, what ended the run; the console is told anyway."""
        expected = isinstance(error, (SkyloomError, KeyboardInterrupt))
        record = self._root.makeRecord(
            __name__,
            logging.ERROR,
            "",
            0,
            "the run ends: %s: %s",
            (type(error).__name__, error),
            None if expected else (type(error), error, error.__traceback__),
        )
        for handler in self._handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)

    def close(self) -> None:
        """Put logging back as it was."""
        self._root.handlers[:], level = self._before
        self._root.setLevel(level)
        for handler in self._handlers:
            handler.close()


@contextmanager
def run_log(
    config: LoggingConfig,
    *,
    console_level: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Iterator[RunLog]:
    """Log as a configuration says, for the time of a run.

    Parameters
    ----------
    config : LoggingConfig
        Level, file, format.
    console_level : int, optional
        Overrules the level on the console.
    names : mapping of str to str, optional
        What lines call a logger, or all those below it.
    """
    logs = RunLog(config, console_level=console_level, names=names or {})
    try:
        yield logs
    except BaseException as error:
        logs.note(error)
        raise
    finally:
        logs.close()


def log_path(config: LoggingConfig, *, verb: str, work_dir: Path) -> Path | None:
    """Return the log file of a verb; None: console only."""
    if config.file is None:
        return None
    if isinstance(config.file, str):  # auto
        return work_dir / f"{verb}.log"
    return config.file

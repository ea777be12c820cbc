"""The main program of a worker process.

It is started with the threading environment already set and without importing the user's main
script, so scripts need no main guard.  What is sent goes through a private pipe; nothing
of that kind is ever written to disk.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import runpy
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, final

from typing_extensions import override

from .task import Record, Task, execute

__all__ = ["COMMAND", "Setup", "die_with", "main"]

COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]) or sys.path; "
    "from skyloom.flow._worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
"""For ``python -c``; arguments: descriptor of the pipe, process of the coordinator, sys.path or
null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker has to know before its first task."""

    log_level: int
    warning_filters: list[Any] = field(default_factory=list)
    main: tuple[str, str] | None = None  # ("name" or "path", of the user's main module)


@final
class _Forwarder(logging.Handler):
    """Sends log records to the coordinator, whose handlers they reach."""

    def __init__(self, send: Callable[[tuple[str, Any]], None]) -> None:
        super().__init__()
        self._send = send

    @override
    def emit(self, record: logging.LogRecord) -> None:
        facts = {k: v for k, v in record.__dict__.items() if isinstance(v, (str, int, float))}
        if record.exc_info:
            facts["exc_text"] = "".join(traceback.format_exception(*record.exc_info))
        self._send(("log", {**facts, "msg": record.getMessage(), "args": None}))


def main(descriptor: int, parent: int) -> None:
    """Serve tasks until the coordinator says so or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's business
    die_with(parent)
    connection = _connection(descriptor)
    lock = threading.Lock()

    def send(message: tuple[str, Any]) -> None:
        with lock:
            connection.send(message)

    try:
        _serve(connection, send)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)  # the coordinator is gone: whatever is half done must not be finished


def _serve(connection: Connection, send: Callable[[tuple[str, Any]], None]) -> None:
    try:
        _prepare(connection.recv(), send)
        butler, warm_up = connection.recv()
        if warm_up is not None:
            warm_up()
    except Exception:
        send(("broken", traceback.format_exc()))
        return
    stages: dict[str, Any] = {}
    send(("ready", None))
    why = ""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            raise
        except Exception as error:  # a stage that this process cannot import; its task follows
            why = f"{type(error).__name__}: {error}"
            continue
        if not isinstance(message, Task):
            stages[message.name] = message
        elif message.stage in stages:
            send(("done", execute(stages[message.stage], butler, message)))
        else:
            text = f"the stage does not reach its worker ({why})"
            send(("done", Record(task=message, fault="failed", error=text)))


def _prepare(setup: Setup, send: Callable[[tuple[str, Any]], None]) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forwarder(send)]
    root.setLevel(setup.log_level)
    logging.captureWarnings(capture=True)
    warnings.resetwarnings()
    for action, message, category, module, line in setup.warning_filters:
        warnings.filterwarnings(
            action, _pattern(message), category, _pattern(module), line, append=True
        )
    if setup.main is not None:
        _import_main(*setup.main)


def _pattern(matcher: re.Pattern[str] | str | None) -> str:
    if matcher is None:
        return ""
    return re.escape(matcher) + r"\Z" if isinstance(matcher, str) else matcher.pattern


def _import_main(kind: str, where: str) -> None:
    """Import the user's main script under another name, as multiprocessing does."""
    module = types.ModuleType("__mp_main__")
    run = runpy.run_module if kind == "name" else runpy.run_path
    module.__dict__.update(run(where, run_name="__mp_main__"))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def _connection(descriptor: int) -> Any:
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection  # noqa: PLC0415

        return PipeConnection(descriptor)
    os.set_inheritable(descriptor, False)  # programs that a stage starts must not hold it open
    return Connection(descriptor)


def die_with(parent: int) -> None:
    """Make sure that no worker outlives its coordinator and writes into a later run."""
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if sys.platform != "win32":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)

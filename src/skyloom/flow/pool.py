"""A pool of worker processes that survives the death of a worker."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, final

from typing_extensions import override

from skyloom.butler import Butler
from skyloom.errors import SkyloomError

from ._worker import COMMAND, Setup
from .executors import Executor, enqueue
from .lock import WorkDirLock
from .task import AnyStage, Record, Task, execute
from .threads import SINGLE_THREAD_ENV, single_threaded

__all__ = ["ProcessPool", "WorkerError"]

log = logging.getLogger(__name__)

_MARK: Final = "SKYLOOM_WORKER"  # set in the environment of every worker
_ATTEMPTS: Final = 2  # a killed worker costs one retry of its unit
_FALSE_STARTS: Final = 2  # workers in a row that end before they are ready


class WorkerError(SkyloomError):
    """Worker processes cannot be started."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    is_ready: bool = False
    task: Task | None = None
    known: set[str] = field(default_factory=set)  # stages that it has


@final
class ProcessPool(Executor):
    """Runs units in worker processes; they start when there is work and stay.

    Workers are fresh interpreters (nothing is forked, the user's script is not imported) with one
    BLAS and OpenMP thread each.  One that dies costs one retry of its unit.  Tasks of stages that
    are defined in a notebook, which no worker can import, and `light` ones while no worker is up,
    run in this process.

    Parameters
    ----------
    butler : Butler
    stages : mapping of str to Stage
    workers : int
        Upper limit of processes.
    warm_up : callable, optional
        Called once in each worker; a module-level function.  The first worker finishes it before
        others start, so kernels are compiled once.
    lock : WorkDirLock, optional
        Of the work directory; workers hold it too, so it is free only when all are gone.
    python : Path, optional
        Interpreter of the workers, see `find_python`, which finds modules by itself; default the
        one that is running, with its ``sys.path``.

    Raises
    ------
    WorkerError
        If workers cannot start; also in a worker, which may not have workers of its own.
    """

    def __init__(
        self,
        butler: Butler,
        stages: Mapping[str, AnyStage],
        *,
        workers: int,
        warm_up: Callable[[], object] | None = None,
        lock: WorkDirLock | None = None,
        python: Path | None = None,
    ) -> None:
        if _MARK in os.environ:
            raise WorkerError(
                "a worker tries to start workers: put the call that starts the run below "
                "if __name__ == '__main__':"
            )
        self._butler = butler
        self._stages = stages
        self._limit = max(1, workers)
        self._warm_up = warm_up
        self._lock = lock
        self._python = python
        self._queue: deque[Task] = deque()
        self._local: deque[Task] = deque()
        self._workers: list[_Worker] = []
        self._attempts: dict[int, int] = {}  # by row of the ledger
        self._done: deque[Record] = deque()
        self._false_starts = 0
        self._is_warm = warm_up is None

    @override
    def submit(self, task: Task) -> None:
        module = type(self._stages[task.stage]).__module__
        if module == "__main__" and _main_module() is None:
            self._local.append(task)
        else:
            enqueue(self._queue, task)

    @property
    @override
    def pending(self) -> int:
        busy = sum(worker.task is not None for worker in self._workers)
        return len(self._queue) + len(self._local) + len(self._done) + busy

    @override
    def cancel(self) -> list[Task]:
        tasks = [*self._queue, *self._local]
        self._queue.clear()
        self._local.clear()
        return tasks

    @override
    def wait(self, timeout: float) -> Record | None:
        self._take_light()
        self._feed()
        if not self._done and self._local:
            return self._run_here(self._local.popleft())
        if not self._done:
            by_connection = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(by_connection), timeout):
                self._listen(by_connection[connection])  # type: ignore[index]
            self._feed()
        return self._done.popleft() if self._done else None

    def _take_light(self) -> None:
        if not self._workers and len(self._queue) == 1 and self._queue[0].light:
            self._local.append(self._queue.popleft())

    def _run_here(self, task: Task) -> Record:
        with single_threaded():
            return execute(self._stages[task.stage], self._butler, task)

    def _feed(self) -> None:
        """Give work to idle workers, and start new ones while there is more work than workers."""
        for worker in [w for w in self._workers if w.is_ready and w.task is None]:
            if not self._queue:
                return
            self._give(worker, self._queue.popleft())
        starting = sum(not worker.is_ready for worker in self._workers)
        limit = self._limit if self._is_warm else 1
        for _ in range(min(len(self._queue) - starting, limit - len(self._workers))):
            self._workers.append(self._start())

    def _give(self, worker: _Worker, task: Task) -> None:
        try:
            if task.stage not in worker.known:
                worker.connection.send(self._stages[task.stage])
                worker.known.add(task.stage)
            worker.connection.send(task)
        except OSError:  # it died while idle; the task is not to blame
            self._queue.appendleft(task)
            self._bury(worker)
        except Exception as error:
            text = f"stage {task.stage} cannot be sent to a worker: {error}"
            self._done.append(Record(task=task, fault="failed", error=text))
        else:
            worker.task = task

    def _listen(self, worker: _Worker) -> None:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            self._mourn(worker)
            return
        if kind == "log":
            logger = logging.getLogger(content["name"])
            if logger.isEnabledFor(content["levelno"]):
                logger.handle(logging.makeLogRecord(content))
        elif kind == "ready":
            worker.is_ready = self._is_warm = True
            self._false_starts = 0
        elif kind == "broken":
            raise WorkerError(f"a worker cannot start:\n{content}")
        else:
            worker.task = None
            self._done.append(content)

    def _mourn(self, worker: _Worker) -> None:
        """Deal with a worker that died: retry its unit once, then call it failed."""
        status = self._bury(worker)
        if not worker.is_ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                raise WorkerError(
                    f"workers end while they start ({status}); look at the messages above, free "
                    "memory, or use the serial executor"
                )
        task = worker.task
        if task is None:
            return
        self._attempts[task.row] = self._attempts.get(task.row, 1) + 1
        where = f"{task.stage}({task.unit})"
        if self._attempts[task.row] > _ATTEMPTS:
            text = f"its worker died twice ({status}); if memory ran out, use fewer workers"
            self._done.append(Record(task=task, fault="killed", error=text))
        else:
            log.warning("%s: its worker died (%s); trying once more", where, status)
            enqueue(self._queue, replace(task, again=True))

    def _bury(self, worker: _Worker) -> str:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        code = worker.process.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe(duplex=True)
        descriptor = theirs.fileno()
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            os.set_handle_inheritable(descriptor, True)
            options["startupinfo"] = subprocess.STARTUPINFO(
                lpAttributeList={"handle_list": [descriptor]}
            )
        else:
            # Not in the terminal's process group: Ctrl-C reaches only the coordinator.
            held = () if self._lock is None else (self._lock.descriptor,)
            options |= {"pass_fds": (descriptor, *held), "process_group": 0}
        ours_too = self._python is None
        path = json.dumps([p for p in sys.path if isinstance(p, str)] if ours_too else None)
        process = subprocess.Popen(
            [
                str(self._python or sys.executable),
                "-c",
                COMMAND,
                str(descriptor),
                str(os.getpid()),
                path,
            ],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **SINGLE_THREAD_ENV, _MARK: "1"},
            **options,
        )
        theirs.close()
        with contextlib.suppress(OSError):  # a worker that died at once is found by wait()
            ours.send(self._setup())
            ours.send((self._butler, self._warm_up))
        return _Worker(process=process, connection=ours)

    def _setup(self) -> Setup:
        in_main = any(type(stage).__module__ == "__main__" for stage in self._stages.values())
        return Setup(
            log_level=logging.getLogger().getEffectiveLevel(),
            warning_filters=list(warnings.filters),
            main=_main_module() if in_main else None,
        )

    @override
    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in list(self._workers):
            self._bury(worker)
        self.cancel()


def _main_module() -> tuple[str, str] | None:
    """Return how a worker can import the user's main module; None for a notebook or shell."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return "name", spec.name
    file = getattr(main, "__file__", None)
    return ("path", str(Path(file).absolute())) if file and Path(file).is_file() else None

"""Worker processes for thousands of small files.

The pool of `skyloom.flow` serves units of seconds that leave datasets behind; here a unit may take
a tenth of a millisecond and its answer is whatever the hook returns, so workers get identifiers,
a few ahead, through a pipe and answer each one.  What a dead worker was at is therefore known.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from skyloom.errors import SkyloomError
from skyloom.flow import single_threaded
from skyloom.flow._worker import die_with

from .attempt import attempt
from .errors import TimeLimitExceeded, WorkerDied
from .outcome import Outcome, describe

if TYPE_CHECKING:
    from .processor import FileProcessor

__all__ = ["Job", "PoolError", "run_in_workers"]

_AHEAD: Final = 4  # identifiers that a worker has, the one at work among them
_QUICK: Final = 0.02  # s; slower work is not handed out ahead, so that no file waits for another
_FALSE_STARTS: Final = 3  # workers in a row that end before they are ready
_GRACE: Final = 2.0  # s that a worker has to end by itself
_TICK: Final = 0.5  # s between looks at the clock

_Numbered: TypeAlias = tuple[int, Any]


class PoolError(SkyloomError):
    """Worker processes cannot be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What workers do with an identifier."""

    processor: FileProcessor
    hook: str  # name of the method
    retries: int = 0
    time_limit: float | None = None  # s
    wants_values: bool = True  # whether what the hook returns is used

    def run(self, identifier: Any) -> Outcome:
        """Do it; never raises an `Exception`."""
        hook = getattr(self.processor, self.hook)
        outcome = attempt(hook, identifier, retries=self.retries, time_limit=self.time_limit)
        return outcome if self.wants_values else replace(outcome, value=None)


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    is_ready: bool = False
    pending: deque[_Numbered] = field(default_factory=deque)
    since: float = 0.0  # when the first of them was begun


def run_in_workers(
    job: Job, identifiers: Iterator[Any], *, workers: int
) -> Generator[tuple[Any, Outcome], None, None]:
    """Yield what became of each identifier, in no defined order.

    Identifiers are taken from the iterator a few at a time.  A worker that dies costs the
    identifier that it was at; another one takes its place.  Closing the generator ends all.

    Raises
    ------
    PoolError
        If workers cannot start.
    """
    pool = _Pool(job, workers)
    numbered = enumerate(identifiers)
    try:
        is_more = True
        while True:
            while is_more and pool.is_hungry:
                item = next(numbered, None)
                if item is None:
                    is_more = False
                else:
                    pool.backlog.append(item)
                    pool.feed()
            if not is_more and pool.is_idle:
                return
            yield from pool.results()
    finally:
        pool.close()


class _Pool:
    def __init__(self, job: Job, limit: int) -> None:
        self.backlog: deque[_Numbered] = deque()
        self._job = job
        self._limit = limit
        self._workers: list[_Worker] = []
        self._ahead = 1
        self._attempts: Counter[int] = Counter()
        self._false_starts = 0
        method = job.processor.start_method
        if method is None:
            method = "fork" if sys.platform.startswith("linux") else "spawn"
        self._context = multiprocessing.get_context(method)

    @property
    def is_hungry(self) -> bool:
        """Whether more identifiers are wanted."""
        waiting = len(self.backlog) + sum(len(w.pending) for w in self._workers)
        return waiting < _AHEAD * self._limit

    @property
    def is_idle(self) -> bool:
        return not self.backlog and not any(worker.pending for worker in self._workers)

    def feed(self) -> None:
        """Give identifiers to those workers that have fewest; start workers while some wait."""
        while self.backlog:
            # The one that has least; a worker that is starting up counts, or it would find
            # nothing while others hoard.
            least = min(self._workers, key=lambda w: (len(w.pending), not w.is_ready), default=None)
            idle = sum(not w.pending for w in self._workers)
            if len(self._workers) < self._limit and idle < len(self.backlog):
                self._workers.append(self._start())
            elif least is not None and least.is_ready and len(least.pending) < self._ahead:
                self._give(least, self.backlog.popleft())
            else:
                return

    def _give(self, worker: _Worker, item: _Numbered) -> None:
        if not worker.pending:
            worker.since = time.monotonic()
        try:
            worker.connection.send(item)
        except OSError:  # it has died; results() will find out
            self.backlog.appendleft(item)
            worker.is_ready = False
        else:
            worker.pending.append(item)

    def results(self) -> Iterator[tuple[Any, Outcome]]:
        """Yield what has come in; waits for a while if there is nothing."""
        by_connection: dict[Any, _Worker] = {w.connection: w for w in self._workers}
        for connection in wait(list(by_connection), _TICK):
            yield from self._listen(by_connection[connection])
        if self._job.time_limit is not None:
            yield from self._end_late_ones(self._job.time_limit)
        self.feed()

    def _listen(self, worker: _Worker) -> Iterator[tuple[Any, Outcome]]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._mourn(worker)
            return
        if kind == "ready":
            worker.is_ready = True
            self._false_starts = 0
        elif kind == "broken":
            raise PoolError(f"a worker cannot start:\n{content}")
        else:
            number, identifier = worker.pending.popleft()
            worker.since = time.monotonic()
            self._ahead = _AHEAD if content.seconds < _QUICK else 1
            earlier = self._attempts.pop(number, 0)
            yield identifier, replace(content, attempts=content.attempts + earlier)

    def _mourn(self, worker: _Worker) -> Iterator[tuple[Any, Outcome]]:
        how = self._bury(worker)
        if not worker.pending:
            self._false_starts += not worker.is_ready
            if self._false_starts >= _FALSE_STARTS:
                raise PoolError(f"workers end while they start ({how}); run with -j 1")
            return
        identifier = worker.pending[0][1]
        error = WorkerDied(
            f"{identifier}: its worker died ({how}); if memory ran out, use fewer workers",
            how=how,
        )
        yield from self._give_up(worker, error)

    def _end_late_ones(self, limit: float) -> Iterator[tuple[Any, Outcome]]:
        """Kill workers whose compiled code does not heed their alarm."""
        allowed = limit * (1 + self._job.retries) + _GRACE
        for worker in list(self._workers):
            if worker.pending and time.monotonic() - worker.since > allowed:
                self._bury(worker)
                identifier = worker.pending[0][1]
                error = TimeLimitExceeded(
                    f"{identifier}: took longer than {limit:g} s and did not stop; its worker "
                    "was killed; raise --time-limit",
                    limit=limit,
                )
                yield from self._give_up(worker, error)

    def _give_up(self, worker: _Worker, error: Exception) -> Iterator[tuple[Any, Outcome]]:
        """Blame the identifier that a lost worker was at; the others that it had go on."""
        number, identifier = worker.pending.popleft()
        self.backlog.extendleft(reversed(worker.pending))
        worker.pending.clear()
        self._attempts[number] += 1
        if self._attempts[number] <= self._job.retries:
            self.backlog.appendleft((number, identifier))
            return
        attempts = self._attempts.pop(number)
        yield identifier, Outcome(state="failed", failure=describe(error), attempts=attempts)

    def _bury(self, worker: _Worker) -> str:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        worker.process.join()
        code = worker.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe(duplex=True)
        is_fork = self._context.get_start_method() == "fork"
        inherited = [ours, *(w.connection for w in self._workers)] if is_fork else []
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, inherited, self._job, os.getpid())
        )
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside BLAS threads
            process.start()
        theirs.close()
        return _Worker(process=process, connection=ours)

    def close(self) -> None:
        """Let workers finish the file that they are at, if they do it soon."""
        for worker in self._workers:
            worker.connection.close()  # its next answer fails, and it ends
        end = time.monotonic() + _GRACE
        for worker in list(self._workers):
            worker.process.join(max(0.0, end - time.monotonic()))
            self._bury(worker)


def _serve(theirs: Connection, inherited: list[Connection], job: Job, parent: int) -> None:
    """Answer identifiers until the parent hangs up; the main function of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    die_with(parent)
    try:
        with single_threaded():
            try:
                job.processor._init_worker()
            except Exception as error:
                theirs.send(("broken", describe(error).traceback))
                return
            theirs.send(("ready", None))
            while True:
                _number, identifier = theirs.recv()
                _answer(theirs, job.run(identifier))
    except (EOFError, OSError):
        return


def _answer(theirs: Connection, outcome: Outcome) -> None:
    sys.stdout.flush()  # what the hook printed: the worker may be killed later
    try:
        theirs.send(("done", outcome))
    except OSError:
        raise
    except Exception as error:  # what the hook returned cannot be sent
        failure = describe(error)
        theirs.send(("done", replace(outcome, state="failed", value=None, failure=failure)))

"""An executor for many small calls: one function, items in, answers out.

`ProcessPool` serves units of seconds that leave datasets behind.  Here a call may take a tenth of a
millisecond and its answer is whatever the function returns: workers get items, a few ahead, through
a pipe and answer each one, so what a dead worker was at is known.  On Linux workers are forked, so
that what they are called with need not be sent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol, TypeAlias

from ._worker import die_with
from .pool import WorkerError
from .threads import single_threaded

__all__ = ["Answered", "Call", "Lost", "run_calls"]

_AHEAD: Final = 4  # items that a worker has, the one at work among them
_QUICK: Final = 0.02  # s; slower work is not handed out ahead, so that no item waits for another
_FALSE_STARTS: Final = 3  # workers in a row that end before they are ready
_GRACE: Final = 2.0  # s that a worker has to end by itself
_TICK: Final = 0.5  # s between looks at the clock

_Numbered: TypeAlias = tuple[int, Any]


class Call(Protocol):
    """What workers do with an item."""

    def start(self) -> None:
        """Prepare a worker; called once in each."""

    def run(self, item: Any) -> Any:
        """Return the answer; never raises an `Exception`."""

    def unsent(self, answer: Any, error: Exception) -> Any:
        """Return what is sent instead of an answer that cannot be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What there is instead of an answer: the worker died, or did not stop in time."""

    how: str  # "signal 9", "exit status 1"
    is_late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An item and what became of it."""

    item: Any
    answer: Any  # or `Lost`
    attempts: int = 1  # workers that it was given to


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    is_ready: bool = False
    pending: deque[_Numbered] = field(default_factory=deque)
    since: float = 0.0  # when the first of them was begun


def run_calls(
    call: Call,
    items: Iterator[Any],
    *,
    workers: int,
    start_method: str | None = None,
    attempts: int = 1,
    time_limit: float | None = None,
) -> Generator[Answered, None, None]:
    """Yield what became of each item, in no defined order.

    Items are taken from the iterator a few at a time.  A worker that dies costs the item that it
    was at; another one takes its place.  Closing the generator ends all.

    Parameters
    ----------
    call : Call
        What is done.
    items : iterator
        For what.
    workers : int
        Number of processes.
    start_method : str, optional
        ``fork`` or ``spawn``; default: forked on Linux, spawned elsewhere.
    attempts : int
        Workers that an item may cost.
    time_limit : float, optional
        Time [s] after which a worker that is at one item is killed.

    Raises
    ------
    WorkerError
        If workers cannot start.
    """
    pool = _Calls(call, workers, start_method, attempts, time_limit)
    numbered = enumerate(items)
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


class _Calls:
    def __init__(
        self,
        call: Call,
        limit: int,
        start_method: str | None,
        attempts: int,
        time_limit: float | None,
    ) -> None:
        self.backlog: deque[_Numbered] = deque()
        self._call = call
        self._limit = limit
        self._most_attempts = attempts
        self._time_limit = time_limit
        self._workers: list[_Worker] = []
        self._ahead = 1
        self._attempts: Counter[int] = Counter()
        self._false_starts = 0
        default = "fork" if sys.platform.startswith("linux") else "spawn"
        self._context = multiprocessing.get_context(start_method or default)

    @property
    def is_hungry(self) -> bool:
        """Whether more items are wanted."""
        waiting = len(self.backlog) + sum(len(w.pending) for w in self._workers)
        return waiting < _AHEAD * self._limit

    @property
    def is_idle(self) -> bool:
        return not self.backlog and not any(worker.pending for worker in self._workers)

    def feed(self) -> None:
        """Give items to those workers that have fewest; start workers while some wait."""
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

    def results(self) -> Iterator[Answered]:
        """Yield what has come in; waits for a while if there is nothing."""
        by_connection: dict[Any, _Worker] = {w.connection: w for w in self._workers}
        for connection in wait(list(by_connection), _TICK):
            yield from self._listen(by_connection[connection])
        if self._time_limit is not None:
            yield from self._end_late_ones(self._time_limit + _GRACE)
        self.feed()

    def _listen(self, worker: _Worker) -> Iterator[Answered]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._mourn(worker)
            return
        if kind == "ready":
            worker.is_ready = True
            self._false_starts = 0
        elif kind == "broken":
            raise WorkerError(f"a worker cannot start:\n{content}")
        else:
            answer, seconds = content
            number, item = worker.pending.popleft()
            worker.since = time.monotonic()
            self._ahead = _AHEAD if seconds < _QUICK else 1
            yield Answered(item=item, answer=answer, attempts=1 + self._attempts.pop(number, 0))

    def _mourn(self, worker: _Worker) -> Iterator[Answered]:
        how = self._bury(worker)
        if not worker.pending:
            self._false_starts += not worker.is_ready
            if self._false_starts >= _FALSE_STARTS:
                raise WorkerError(f"workers end while they start ({how}); use one process")
            return
        yield from self._give_up(worker, Lost(how=how))

    def _end_late_ones(self, allowed: float) -> Iterator[Answered]:
        """Kill workers whose compiled code does not heed an alarm."""
        for worker in list(self._workers):
            if worker.pending and time.monotonic() - worker.since > allowed:
                yield from self._give_up(worker, Lost(how=self._bury(worker), is_late=True))

    def _give_up(self, worker: _Worker, lost: Lost) -> Iterator[Answered]:
        """Blame the item that a lost worker was at; the others that it had go on."""
        number, item = worker.pending.popleft()
        self.backlog.extendleft(reversed(worker.pending))
        worker.pending.clear()
        self._attempts[number] += 1
        if self._attempts[number] < self._most_attempts:
            self.backlog.appendleft((number, item))
            return
        yield Answered(item=item, answer=lost, attempts=self._attempts.pop(number))

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
            target=_serve, args=(theirs, inherited, self._call, os.getpid())
        )
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside BLAS threads
            process.start()
        theirs.close()
        return _Worker(process=process, connection=ours)

    def close(self) -> None:
        """Let workers finish the item that they are at, if they do it soon."""
        for worker in self._workers:
            worker.connection.close()  # its next answer fails, and it ends
        end = time.monotonic() + _GRACE
        for worker in list(self._workers):
            worker.process.join(max(0.0, end - time.monotonic()))
            self._bury(worker)


def _serve(theirs: Connection, inherited: list[Connection], call: Call, parent: int) -> None:
    """Answer items until the parent hangs up; the main function of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    die_with(parent)
    try:
        with single_threaded():
            try:
                call.start()
            except Exception:
                theirs.send(("broken", traceback.format_exc()))
                return
            theirs.send(("ready", None))
            while True:
                _number, item = theirs.recv()
                start = time.perf_counter()
                _answer(theirs, call, call.run(item), time.perf_counter() - start)
    except (EOFError, OSError):
        return


def _answer(theirs: Connection, call: Call, answer: Any, seconds: float) -> None:
    sys.stdout.flush()  # what the call printed: the worker may be killed later
    try:
        theirs.send(("done", (answer, seconds)))
    except OSError:
        raise
    except Exception as error:  # the answer cannot be sent
        theirs.send(("done", (call.unsent(answer, error), seconds)))

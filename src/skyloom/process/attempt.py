"""One call of a hook: with a time limit, tried again, and never raising."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from .errors import SkipThis, TimeLimitExceeded
from .outcome import Outcome, describe

__all__ = ["attempt"]


class _Alarm(BaseException):
    """The time is over; no ``except Exception`` of a hook keeps it."""


def attempt(
    hook: Callable[[Any], Any], identifier: Any, *, retries: int = 0, time_limit: float | None
) -> Outcome:
    """Call a hook for an identifier, up to ``1 + retries`` times.

    Parameters
    ----------
    hook : callable
        Takes the identifier.
    identifier : object
        What to process.
    retries : int
        How often it is tried again after a failure.
    time_limit : float or None
        Time for one attempt [s].  It ends Python code; compiled code is ended only in a worker,
        by its parent.

    Returns
    -------
    Outcome
        Interrupts are raised, nothing else.
    """
    start = time.perf_counter()
    n = 1
    outcome = _once(hook, identifier, time_limit)
    while outcome.state == "failed" and n <= retries:
        n += 1
        outcome = _once(hook, identifier, time_limit)
    return replace(outcome, attempts=n, seconds=time.perf_counter() - start)


def _once(hook: Callable[[Any], Any], identifier: Any, time_limit: float | None) -> Outcome:
    try:
        with _limited(time_limit):
            value = hook(identifier)
    except SkipThis:
        return Outcome(state="skipped")
    except _Alarm:
        error = TimeLimitExceeded(
            f"{identifier}: took longer than {time_limit:g} s; raise --time-limit",
            limit=time_limit,
        )
        return Outcome(state="failed", failure=describe(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: one file cannot end the run
        return Outcome(state="failed", failure=describe(error))
    return Outcome(state="done", value=value)


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    if (
        seconds is None
        or not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

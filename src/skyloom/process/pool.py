"""The hook of a processor as a call that the executor of `skyloom.flow` runs in workers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skyloom.flow import Lost, run_calls

from .attempt import attempt
from .errors import TimeLimitExceeded, WorkerDied
from .outcome import Outcome, describe

if TYPE_CHECKING:
    from .processor import FileProcessor

__all__ = ["Job", "run_in_workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is done with an identifier; a `skyloom.flow.Call`."""

    processor: FileProcessor
    hook: str  # name of the method
    retries: int = 0
    time_limit: float | None = None  # s
    wants_values: bool = True  # whether what the hook returns is used

    def start(self) -> None:
        """Open what processes must not share."""
        self.processor._init_worker()

    def run(self, item: Any) -> Outcome:
        """Call the hook; never raises an `Exception`."""
        hook = getattr(self.processor, self.hook)
        outcome = attempt(hook, item, retries=self.retries, time_limit=self.time_limit)
        return outcome if self.wants_values else replace(outcome, value=None)

    def unsent(self, answer: Outcome, error: Exception) -> Outcome:
        """Return a failure in place of what cannot be sent."""
        return replace(answer, state="failed", value=None, failure=describe(error))

    def lost(self, identifier: Any, lost: Lost, *, attempts: int) -> Outcome:
        """Return the failure of an identifier that cost its worker."""
        error: Exception = WorkerDied(
            f"{identifier}: its worker died ({lost.how}); if memory ran out, use fewer workers",
            how=lost.how,
        )
        if lost.is_late:
            error = TimeLimitExceeded(
                f"{identifier}: took longer than {self.time_limit:g} s and did not stop; its "
                "worker was killed; raise --time-limit",
                limit=self.time_limit,
            )
        return Outcome(state="failed", failure=describe(error), attempts=attempts)


def run_in_workers(
    job: Job, identifiers: Iterator[Any], *, workers: int
) -> Generator[tuple[Any, Outcome], None, None]:
    """Yield what became of each identifier, in no defined order.

    Raises
    ------
    WorkerError
        If workers cannot start.
    """
    tries = 1 + job.retries
    limit = None if job.time_limit is None else job.time_limit * tries
    with closing(
        run_calls(
            job,
            identifiers,
            workers=workers,
            start_method=job.processor.start_method,
            attempts=tries,
            time_limit=limit,
        )
    ) as answers:
        for found in answers:
            if isinstance(found.answer, Lost):
                outcome = job.lost(found.item, found.answer, attempts=found.attempts)
            else:
                more = found.attempts - 1  # workers that died over it before
                outcome = replace(found.answer, attempts=found.answer.attempts + more)
            yield found.item, outcome

"""The loop over all identifiers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .attempt import attempt
from .classes import ClassReport
from .errors import Bailed
from .outcome import Failure, Outcome, RunCounts, describe
from .progress import make_progress

if TYPE_CHECKING:
    from .processor import FileProcessor

__all__ = ["run_processor"]


def run_processor(processor: FileProcessor) -> RunCounts:
    """Process all identifiers of a processor and count what became of them.

    Raises
    ------
    Bailed
        At the first failure, with ``--bail``.
    """
    opts = processor.opts
    counts = RunCounts()
    report = ClassReport() if opts.report else None
    take: Callable[[Any, Any], None] = processor.handle_result if report is None else report.add
    hook = "process" if report is None else "classify"
    wanted = _wanted(processor, counts)
    with make_progress(opts.progress, parallel=opts.n_procs > 1) as progress:
        for identifier, outcome in _serial(processor, hook, wanted):
            final = _taken(outcome, identifier, take)
            counts.add(final)
            if final.state == "failed" and final.failure is not None:
                _complain(identifier, final.failure, bail=opts.bail)
            if final.state != "skipped":
                progress.update(counts)
    if report is not None:
        report.print(counts.ignored, verbose=opts.verbose)
    return counts


def _wanted(processor: FileProcessor, counts: RunCounts) -> Iterator[Any]:
    """Yield the identifiers that the options leave."""
    part = processor.opts.filter
    identifiers: Iterable[Any] = processor.iter_identifiers()
    for identifier in identifiers:
        if part is not None and part not in str(identifier):
            counts.filtered += 1
        else:
            yield identifier


def _serial(
    processor: FileProcessor, hook: str, wanted: Iterator[Any]
) -> Iterator[tuple[Any, Outcome]]:
    opts = processor.opts
    processor._init_worker()
    for identifier in wanted:
        yield (
            identifier,
            attempt(
                getattr(processor, hook),
                identifier,
                retries=opts.retries,
                time_limit=opts.time_limit,
            ),
        )


def _taken(outcome: Outcome, identifier: Any, take: Callable[[Any, Any], None]) -> Outcome:
    """Hand a result over; a failure there is a failure of the file."""
    if outcome.state != "done":
        return outcome
    try:
        take(identifier, outcome.value)
    except Exception as error:
        return replace(outcome, state="failed", value=None, failure=describe(error))
    return outcome


def _complain(identifier: Any, failure: Failure, *, bail: bool) -> None:
    if bail:
        sys.stderr.write(f"*** {identifier}\n{failure.traceback}")
        sys.stderr.flush()
        raise Bailed(f"{identifier}: {failure.message}; the run ends here, as --bail asks")
    sys.stderr.write(f"Skipping source {identifier}: {failure.line}\n")

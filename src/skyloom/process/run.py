"""The loop over all identifiers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .classes import ClassReport
from .errors import Bailed
from .journal import Journal, journal_key
from .outcome import Failure, Outcome, RunCounts, describe
from .pool import Job, run_in_workers
from .progress import make_progress
from .quarantine import Quarantine
from .report import RunReport

if TYPE_CHECKING:
    from .processor import FileProcessor

__all__ = ["run_processor"]


def run_processor(processor: FileProcessor) -> RunCounts:
    """Process all identifiers of a processor and count what became of them.

    Raises
    ------
    Bailed
        At the first failure, with ``--bail``.
    UserMistake
        If the journal, the quarantine list or the report cannot be used; before any work.
    """
    return _Run(processor).run()


class _Run:
    """One run: what it remembers, whom it tells."""

    def __init__(self, processor: FileProcessor) -> None:
        opts = processor.opts
        self.processor = processor
        self.opts = opts
        self.counts = RunCounts()
        self.classes = ClassReport() if opts.report else None
        # Classifying changes nothing, so neither journal nor quarantine take part.
        is_work = self.classes is None
        self.journal = (
            Journal(opts.journal, key=journal_key(processor)) if opts.journal and is_work else None
        )
        self.quarantine = Quarantine(opts.quarantine) if opts.quarantine and is_work else None
        self.report = RunReport(opts.report_file, processor) if opts.report_file else None

    def run(self) -> RunCounts:
        with ExitStack() as stack:
            for keeper in (self.journal, self.quarantine):
                if keeper is not None:
                    stack.enter_context(keeper)
            if self.report is not None:
                stack.callback(self.report.write, self.counts)
            parallel = self.opts.n_procs > 1
            progress = stack.enter_context(make_progress(self.opts.progress, parallel=parallel))
            results = stack.enter_context(closing(self._outcomes()))
            for identifier, outcome in results:
                final = self._handed_over(identifier, outcome)
                self._record(identifier, final)
                if final.state != "skipped":
                    progress.update(self.counts)
        if self.classes is not None:
            self.classes.print(self.counts.ignored, verbose=self.opts.verbose)
        return self.counts

    def _outcomes(self) -> Generator[tuple[Any, Outcome], None, None]:
        opts = self.opts
        base = type(self.processor)
        job = Job(
            processor=self.processor,
            hook="process" if self.classes is None else "classify",
            retries=opts.retries,
            time_limit=opts.time_limit,
            wants_values=self.classes is not None or _is_overridden(base, "handle_result"),
        )
        if opts.n_procs > 1:
            with closing(run_in_workers(job, self._wanted(), workers=opts.n_procs)) as results:
                yield from results
            return
        self.processor._init_worker()
        for identifier in self._wanted():
            yield identifier, job.run(identifier)

    def _wanted(self) -> Iterator[Any]:
        """Yield the identifiers that the options leave."""
        part = self.opts.filter
        for identifier in self.processor.iter_identifiers():
            name = str(identifier)
            if part is not None and part not in name:
                self.counts.filtered += 1
            elif self.quarantine is not None and name in self.quarantine:
                self.counts.quarantined += 1
            elif self.journal is not None and not self.opts.redo and self.journal.is_done(name):
                self.counts.unchanged += 1
            else:
                yield identifier

    def _handed_over(self, identifier: Any, outcome: Outcome) -> Outcome:
        """Hand a result over; a failure there is a failure of the file."""
        if outcome.state != "done":
            return outcome
        take: Callable[[Any, Any], None] = (
            self.processor.handle_result if self.classes is None else self.classes.add
        )
        try:
            take(identifier, outcome.value)
        except Exception as error:
            return replace(outcome, state="failed", value=None, failure=describe(error))
        return outcome

    def _record(self, identifier: Any, outcome: Outcome) -> None:
        self.counts.add(outcome)
        name = str(identifier)
        if self.report is not None:
            self.report.add(name, outcome)
        if self.journal is not None:
            self.journal.add(name, outcome)
        failure = outcome.failure
        if failure is None:
            return
        if self.quarantine is not None:
            self.quarantine.add(name, failure)
        _complain(name, failure, bail=self.opts.bail, verbose=self.opts.verbose)


def _is_overridden(cls: type[FileProcessor], name: str) -> bool:
    from .processor import FileProcessor  # noqa: PLC0415 - it knows this module

    return getattr(cls, name) is not getattr(FileProcessor, name)


def _complain(identifier: str, failure: Failure, *, bail: bool, verbose: bool) -> None:
    if bail:
        sys.stderr.write(f"*** {identifier}\n{failure.traceback}")
        sys.stderr.flush()
        raise Bailed(f"{identifier}: {failure.message}; the run ends here, as --bail asks")
    sys.stderr.write(f"Skipping source {identifier}: {failure.line}\n")
    if verbose:
        sys.stderr.write(failure.traceback)

"""What became of one identifier, and the counting of a run."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from skyloom.errors import SkyloomError

__all__ = ["Failure", "Outcome", "RunCounts", "State", "describe"]

State: TypeAlias = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a file failed, as text: it travels between processes."""

    kind: str  # class of the exception
    text: str  # repr of the exception
    message: str
    traceback: str = ""

    @property
    def line(self) -> str:
        """The pair that messages show."""
        return f"({self.kind}, {self.text})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one identifier."""

    state: State
    value: Any = None  # what the hook returned
    failure: Failure | None = None
    attempts: int = 1
    seconds: float = 0.0  # s


@dataclass(slots=True)
class RunCounts:
    """How many identifiers met which end."""

    processed: int = 0
    """Those whose hook returned or failed; the failures are among them."""
    ignored: int = 0
    """Those that failed."""
    skipped: int = 0
    """Those whose hook raised `SkipThis`."""
    filtered: int = 0
    """Those that ``--filter`` left out."""
    unchanged: int = 0
    """Those that the journal knows as done and that have not changed since."""
    quarantined: int = 0
    """Those that stand in the quarantine list."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Failures by class of the exception."""

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if outcome.state == "skipped":
            self.skipped += 1
            return
        self.processed += 1
        if outcome.failure is not None:
            self.ignored += 1
            kind = outcome.failure.kind
            self.reasons[kind] = self.reasons.get(kind, 0) + 1

    @property
    def summary(self) -> str:
        """The last line of a run."""
        return f"{self.processed} files processed, {self.ignored} files with errors"


def describe(error: BaseException) -> Failure:
    """Turn an exception into text."""
    message = str(error) if isinstance(error, SkyloomError) else f"{type(error).__name__}: {error}"
    return Failure(
        kind=type(error).__name__,
        text=repr(error),
        message=message,
        traceback="".join(traceback.format_exception(error)),
    )

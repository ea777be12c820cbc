"""What ``tile check`` says: findings, their weight and their remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from skyloom.butler import write_atomic

__all__ = ["CheckReport", "Finding", "Status", "write_report"]


class Status(IntEnum):
    """How much a finding matters."""

    OK = 0
    NOTE = 1  # good to know
    WARNING = 2  # look at it: results may suffer
    PROBLEM = 3  # a run would stop, or its results be wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    band: str = ""  # empty: the whole tile
    status: Status = Status.OK
    message: str
    remedy: str = ""  # the key or the keyword to change; empty where nothing is to be done
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All findings about a tile."""

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Status:
        """The weight of the gravest finding."""
        return max((f.status for f in self.findings), default=Status.OK)

    @property
    def exit_status(self) -> int:
        """1 where there is a problem, else 0."""
        return int(self.worst >= Status.PROBLEM)

    def of(self, topic: str, band: str | None = None) -> tuple[Finding, ...]:
        """Return the findings about a topic (of a band)."""
        return tuple(f for f in self.findings if f.topic == topic and band in (None, f.band))

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each weight."""
        return {s.name.lower(): sum(f.status == s for f in self.findings) for s in Status}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN and infinity become None."""
        return {
            "counts": self.counts(),
            "findings": [
                {
                    **asdict(f),
                    "status": f.status.name.lower(),
                    "numbers": dict(_plain(f.numbers.items())),
                }
                for f in self.findings
            ],
        }


def _plain(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for name, value in items:
        if isinstance(value, float):
            yield name, (float(f"{value:.6g}") if math.isfinite(value) else None)
        else:
            yield name, value


def write_report(report: CheckReport, path: Path) -> None:
    """Write the findings as JSON, under a temporary name first."""
    text = json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n"

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    write_atomic(path, write)

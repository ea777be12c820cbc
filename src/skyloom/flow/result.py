"""What a run did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from skyloom.butler import DataId

__all__ = ["Counts", "Failure", "RunResult", "Seconds", "State", "UnitRecord"]

State: TypeAlias = Literal["done", "skipped", "failed", "blocked", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecord:
    """What became of one unit.

    ``done``: run now; ``skipped``: up to date; ``failed``; ``blocked``: something that it reads
    was not made; ``stopped``: not started, because the disk filled up.
    """

    stage: str
    unit: DataId
    state: State
    wall: float = 0.0  # s
    cpu: float = 0.0  # s
    peak_bytes: int = 0
    error: str | None = None

    @property
    def label(self) -> str:
        """Stage and unit, as errors name them."""
        return f"{self.stage}({self.unit})" if self.unit else self.stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A unit that failed, and why."""

    stage: str
    unit: DataId
    message: str

    def __str__(self) -> str:
        return (
            f"{self.stage}({self.unit}): {self.message}"
            if self.unit
            else (f"{self.stage}: {self.message}")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Units of a stage by what became of them."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    blocked: int = 0
    stopped: int = 0

    @property
    def total(self) -> int:
        """All units."""
        return self.done + self.skipped + self.failed + self.blocked + self.stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Time that a stage took."""

    wall: float  # s, from its first start to its last end
    cpu: float  # s, sum over its units


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run did: stages in order, units in the order of their stage."""

    units: Sequence[UnitRecord]
    seconds: Mapping[str, Seconds]
    wall: float  # s
    is_disk_full: bool
    made: Mapping[str, Sequence[DataId]]

    @property
    def counts(self) -> dict[str, Counts]:
        """Units by stage and state."""
        found: dict[str, dict[str, int]] = {stage: {} for stage in self.seconds}
        for unit in self.units:
            states = found[unit.stage]
            states[unit.state] = states.get(unit.state, 0) + 1
        return {stage: Counts(**states) for stage, states in found.items()}

    @property
    def failures(self) -> list[Failure]:
        """Units that failed."""
        return [
            Failure(stage=u.stage, unit=u.unit, message=u.error or "unknown")
            for u in self.units
            if u.state == "failed"
        ]

    @property
    def exit_status(self) -> int:
        """0: all units are done; 1: some failed, were blocked, or the disk filled up."""
        bad = any(u.state in {"failed", "blocked", "stopped"} for u in self.units)
        return int(bad or self.is_disk_full)

    def datasets(self, type_: str) -> Sequence[DataId]:
        """Return the data IDs of a type that exist after the run, in the order of its producer."""
        return self.made.get(type_, ())

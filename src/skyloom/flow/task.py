"""One unit of work: what it reads, how it is run, what is reported back.

The same function runs units in the coordinating process and in workers, so that it makes no
difference where a unit runs.  A task carries paths and names, never arrays.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from astropy.table import Column, MaskedColumn
from typing_extensions import override

from skyloom.butler import Butler, DataId, Handle, Value, is_disk_full, remove_temporaries
from skyloom.errors import DataDamaged, SkyloomError, UserMistake

from .dataset import Dataset, Field
from .ledger import Output
from .stage import Stage

__all__ = ["Binding", "Record", "Task", "execute", "forget_kept"]

log = logging.getLogger(__name__)

AnyStage: TypeAlias = Stage[Any, Any, Any]

_MAX_TABLES, _MAX_ROWS = 6, 50_000  # kept by a process: some tens of MB
_TABLES: dict[str, Any] = {}  # by digest of the file
_KEPT: dict[str, Any] = {}  # likewise, until the run ends
Fault: TypeAlias = Literal["failed", "mistake", "disk full", "killed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What an input field of one unit is: a value, one dataset, or many by key."""

    value: Value | DataId | None = None
    handles: Mapping[Value | DataId | None, Handle[Any]] | None = None
    many: bool = False
    lazy: bool = False

    def load(self, kept: Collection[str] = ()) -> Any:
        """Return what the field receives; datasets of the types ``kept`` stay in memory."""
        if self.handles is None:
            return self.value
        if self.lazy:
            found: dict[Any, Any] = dict(self.handles)
        else:
            # What is gathered is read by one unit only.
            found = {key: self._read(handle, kept) for key, handle in self.handles.items()}
        return found if self.many else found[None]

    def _read(self, handle: Handle[Any], kept: Collection[str]) -> Any:
        if handle.type in kept:
            if handle.digest not in _KEPT:
                _KEPT[handle.digest] = handle.read()
            return deepcopy(_KEPT[handle.digest])
        return handle.read() if self.many else _read(handle)


def forget_kept() -> None:
    """Free the memory of what this process has kept."""
    _KEPT.clear()


def _read(handle: Handle[Any]) -> Any:
    """Read a dataset; tables that many units share are decoded once, and copied for each."""
    if handle.format != "table" or handle.external:
        return handle.read()
    if handle.digest not in _TABLES:
        while len(_TABLES) >= _MAX_TABLES:
            _TABLES.pop(next(iter(_TABLES)))  # the oldest
        table = handle.read()
        if len(table) > _MAX_ROWS:
            return table
        _TABLES[handle.digest] = table
    return _copied(_TABLES[handle.digest])


def _copied(table: Any) -> Any:
    """Return a copy of a table; astropy's own takes three times longer."""
    other = table.__class__()
    other.meta = deepcopy(table.meta)
    for name, column in table.columns.items():
        facts = (column.unit, column.description, column.format, column.meta or None)
        if isinstance(column, MaskedColumn) or any(fact is not None for fact in facts):
            other.columns[name] = column.copy()
        else:
            other.columns[name] = np.array(column.data).view(Column)
            other.columns[name].name = name
    return other


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A unit that has to be run."""

    stage: str
    unit: DataId
    row: int  # in the ledger
    bindings: Mapping[str, Binding]
    light: bool = False
    late: bool = False
    again: bool = False  # an earlier attempt was killed: it may have left temporary files
    kept: frozenset[str] = frozenset()  # types of datasets that stay in memory once they are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of a task."""

    task: Task
    fault: Fault | None = None
    outputs: tuple[Output, ...] = ()
    wall: float = 0.0  # s
    cpu: float = 0.0  # s
    peak: int = 0  # byte
    error: str | None = None
    traceback: str | None = None
    mistake: UserMistake | None = None
    damaged: tuple[Path, ...] = ()  # products that could not be read


def execute(stage: AnyStage, butler: Butler, task: Task) -> Record:
    """Read the inputs of a unit, run it, write its outputs; never raises an `Exception`."""
    _reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    with _unit_log(stage, butler, task.unit):
        try:
            inputs = stage.inputs_type(**{n: b.load(task.kept) for n, b in task.bindings.items()})
            outputs = stage.run(inputs)
            written = tuple(_write(stage, butler, task, outputs))
            record = Record(task=task, outputs=written)
        except Exception as error:
            record = _failure(task, error)
    return replace(
        record,
        wall=time.perf_counter() - wall,
        cpu=time.process_time() - cpu,
        peak=_peak(),
    )


def _failure(task: Task, error: Exception) -> Record:
    text = str(error) if isinstance(error, SkyloomError) else f"{type(error).__name__}: {error}"
    where = f"{task.stage}({task.unit})" if task.unit else task.stage
    fault: Fault = "failed"
    if is_disk_full(error):
        fault = "disk full"
    elif isinstance(error, UserMistake):
        fault = "mistake"
    # The traceback of an expected error says nothing that its message does not say.
    trace = None if isinstance(error, SkyloomError) else traceback.format_exc()
    log.warning("%s failed: %s", where, text)
    if trace is not None:
        log.debug("%s", trace)
    damaged = error.facts.get("path") if isinstance(error, DataDamaged) else None
    return Record(
        task=task,
        fault=fault,
        error=text,
        traceback=trace,
        mistake=error if fault == "mistake" and isinstance(error, UserMistake) else None,
        damaged=(damaged,) if isinstance(damaged, Path) else (),
    )


def _write(stage: AnyStage, butler: Butler, task: Task, outputs: object) -> Iterator[Output]:
    if not isinstance(outputs, stage.outputs_type):
        raise TypeError(
            f"{type(stage).__name__}.run returned {type(outputs).__name__}, "
            f"not {stage.outputs_type.__name__}"
        )
    ready = [
        (dataset.type, data_id, obj)
        for field in stage.outputs
        if isinstance(dataset := field.source, Dataset)
        for data_id, obj in _pieces(field, dataset, getattr(outputs, field.name))
    ]
    for type_, more, obj in ready:
        dimensions = butler.layout[type_].dimensions
        data_id = butler.layout.data_id(type_, {**task.unit.subset(dimensions), **more})
        if task.again:
            remove_temporaries(butler.path(type_, data_id))
        done = butler.put(obj, type_, data_id, overwrite=True)
        yield Output(
            type=type_,
            data_id=data_id,
            path=done.path,
            digest=done.digest,
            size=done.size,
            mtime_ns=done.mtime_ns,
        )


def _pieces(field: Field, dataset: Dataset, value: Any) -> Iterator[tuple[DataId, object]]:
    """Split the value of an output field into datasets."""
    if value is None and dataset.optional:
        return
    if value is None:
        raise TypeError(f"output {field.name} is None; declare it optional or make it")
    if not field.spread:
        yield DataId(), value
        return
    if not isinstance(value, Mapping):
        raise TypeError(f"output {field.name} scatters: it has to be a dict")
    for key, obj in value.items():
        yield DataId({field.spread[0]: key}) if field.by_value else DataId(key), obj


@contextmanager
def _unit_log(stage: AnyStage, butler: Butler, unit: DataId) -> Iterator[None]:
    """Copy what a unit logs into its own file."""
    if stage.log is None:
        yield
        return
    data_id = unit.subset(butler.layout[stage.log].dimensions)
    path = butler.path(stage.log, data_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _UnitHandler(path, mode="w", encoding="utf-8")
    except OSError as error:
        log.warning("%s: cannot be written: %s", path, error)
        yield
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


class _UnitHandler(logging.FileHandler):
    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Let a full disk stop the log, not the unit."""


def _reset_peak() -> None:
    # Linux: forget the high-water mark of this process, so that the next one is the unit's own.
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return 0

"""Files that do not stay: products that only other stages read, removed once these are done."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from skyloom.butler import Handle

from .plan import PlannedUnit

__all__ = ["absent_inputs", "remove_files"]

log = logging.getLogger(__name__)


def absent_inputs(units: Iterable[PlannedUnit], types: Collection[str]) -> frozenset[Path]:
    """Return the files of some types that units want to read and that are not there."""
    if not types:
        return frozenset()
    wanted = (
        handle.path
        for unit in units
        for binding in unit.bindings.values()
        for handle in (binding.handles or {}).values()
        if handle.type in types
    )
    return frozenset(path for path in dict.fromkeys(wanted) if not path.exists())


def remove_files(handles: Iterable[Handle[Any]]) -> None:
    """Remove files, as many as can be."""
    number, size, kind = 0, 0, ""
    for handle in handles:
        try:
            found = handle.path.stat().st_size
            handle.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("%s: cannot be removed (%s)", handle.path, error.strerror or error)
            return
        number, size, kind = number + 1, size + found, handle.type
    if number:
        log.info("%s: %d files removed, %.1f MB", kind, number, size / 1e6)

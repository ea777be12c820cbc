"""Compare runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Not products: times, logs, configuration snapshots, the ledger and the table of run times.
NOT_COMPARED = ("ledger.sqlite", ".log", "config_used_", "run_summary.csv", ".lock")


def products(work: Path) -> dict[str, str]:
    """Return the checksum of every product below a work directory, by relative path."""
    found = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_file() and not any(part in name for part in NOT_COMPARED):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found

"""The table that ``--report`` prints."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

__all__ = ["ClassReport"]

_WIDTH = 70  # columns


class ClassReport:
    """Collects the class of each identifier."""

    def __init__(self) -> None:
        self.members: dict[str, list[str]] = {}

    def add(self, identifier: Any, label: Any) -> None:
        """Take the class of an identifier."""
        self.members.setdefault(str(label), []).append(str(identifier))

    def print(self, errors: int, *, verbose: bool) -> None:
        """Write the table to standard output.

        Parameters
        ----------
        errors : int
            How many identifiers could not be classified.
        verbose : bool
            Name the members of all classes but the largest.
        """
        sys.stdout.write("\n".join(["", *self._lines(errors, verbose=verbose), "", ""]))

    def _lines(self, errors: int, *, verbose: bool) -> list[str]:
        title = "Processor Report"
        lines = ["", title, "=" * len(title), ""]
        if errors:
            lines += [f"Warning: There were {errors} errors during classification", ""]
        return lines + (self._verbose() if verbose else self._table())

    def _table(self) -> list[str]:
        rows = sorted((len(found), label) for label, found in self.members.items())
        left = max((len(str(count)) for count, _ in rows), default=0)
        right = max((len(label) for _, label in rows), default=0)
        return [f"{count:>{left}}  {label:>{right}}" for count, label in rows]

    def _verbose(self) -> list[str]:
        lines = []
        ordered = sorted(self.members.items(), key=lambda item: (-len(item[1]), item[0]))
        for rank, (label, found) in enumerate(ordered):
            lines += [label, "-" * len(label), "", f"{len(found)} items", ""]
            if rank:
                names = ", ".join(sorted(name.rpartition("/")[2] for name in found))
                lines += [*textwrap.wrap(names, _WIDTH), ""]
        return lines

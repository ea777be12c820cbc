"""What a layout consists of: keys of data IDs, dataset types, lookup tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skyloom.errors import BadDataId

from .data_id import Value

__all__ = ["DatasetType", "Dimension", "Lookup"]

_LONGEST_VALUE = 200  # file systems allow 255 bytes per name; the template adds to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One key of a data ID."""

    name: str
    kind: Literal["str", "int", "float", "path", "text"] = "str"
    pattern: str | None = None  # regular expression that every value matches
    doc: str = ""
    may_be_empty: bool = False  # text only
    header: tuple[str, ...] = ()  # FITS keywords that hold it, for files whose name does not

    @property
    def regex(self) -> str:
        """What a value looks like inside a file name."""
        if self.pattern is not None:
            return self.pattern
        return {
            "int": r"\d+",
            "float": r"[-+\d.eE]+",
            "path": r"[^\\]+",
            "text": r".+",
            "str": r"[^/\\]+",
        }[self.kind]

    def check(self, value: Value) -> Value:
        """Return the value in the type of the dimension, or raise `BadDataId`.

        Numbers may come as decimal text.  Names must not be able to leave their directory; only
        those of kind ``path`` may name directories below it.  Those of kind ``text`` stand in
        tables only, never in a path.
        """
        if self.kind == "int":
            return self._check_int(value)
        if self.kind == "float":
            return self._check_float(value)
        if not isinstance(value, str):
            raise self._bad(value, "is not text")
        if self.may_be_empty and not value:
            return value
        parts = value.split("/") if self.kind == "path" else [value]
        for part in parts if self.kind != "text" else []:
            self._check_name(value, part)
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise self._bad(value, f"does not look like {self.pattern}")
        return value

    def _check_int(self, value: Value) -> Value:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or value < 0:
            raise self._bad(value, "is not a number >= 0")
        return value

    def _check_float(self, value: Value) -> Value:
        try:
            return float(value)
        except ValueError:
            raise self._bad(value, "is not a number") from None

    def _check_name(self, value: str, part: str) -> None:
        if not part or part != part.strip() or part.startswith("."):
            raise self._bad(value, "is empty, starts with a dot, or has blanks at its ends")
        if ".." in part or any(c in '/\\<>:"|?*' or not c.isprintable() for c in part):
            raise self._bad(value, "holds '..' or a character that cannot stand in a file name")
        if len(part.encode()) > _LONGEST_VALUE:
            raise self._bad(value, f"is longer than {_LONGEST_VALUE} bytes")

    def _bad(self, value: Value, why: str) -> BadDataId:
        return BadDataId(f"data ID: {self.name} = {value!r} {why}", key=self.name, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetType:
    """A kind of dataset: what it is called, where it lives, how it is stored."""

    name: str
    format: str
    template: str | None  # None: the user's files, whose paths the pipeline supplies
    dimensions: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)  # for the writer of the format
    doc: str = ""
    python: str = ""  # class of the object, where the format could hold several
    level: str = ""  # key that tells its units apart, such as ccd or patch
    tables: tuple[str, ...] = ()  # where keys that a data ID lacks are looked up
    columns: tuple[str, ...] = ()  # keys that may be looked up there; none: all
    fills: tuple[str, ...] = ()  # tables to which each dataset of this type adds a row
    validity: str = ""  # table whose rows are valid for some time; the visit says which
    component_of: str = ""  # the type whose files hold it, unless it has one of its own
    component: str = ""  # which part of that file
    input: bool = False  # part of the user's data: never written
    picks: tuple[str, ...] = ()  # keys of its lookup row that tell the reader what to read
    first_of: tuple[str, ...] = ()  # types that hold the same; the first that exists is it

    @property
    def is_external(self) -> bool:
        """True for the user's own files."""
        return self.template is None and not self.component_of and not self.first_of

    def may_look_up(self, key: str) -> bool:
        """Tell whether a key may come from the tables."""
        return not self.columns or key in self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A table of keys that belong together: what is known of a visit, a CCD, a calibration."""

    name: str
    keys: tuple[str, ...]
    identity: tuple[str, ...]  # one row for each set of these
    optional: tuple[str, ...] = ()  # keys that may stay unknown
    reader: str = ""  # where the rows come from, if not from the registry

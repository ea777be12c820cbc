"""Templates: how a data ID becomes a path, and a path a data ID again.

Two spellings mean the same: ``corr/CORR-%(visit)07d-%(ccd)03d.fits`` and
``corr/CORR-{visit:07d}-{ccd:03d}.fits``.  A slice keeps the start of a value: ``{brick:[:3]}`` of
brick ``1102p240`` is ``110``, ``{expnum:08d[:5]}`` of 372546 is ``00372``.  Text in brackets stands
before a value that may be empty, and vanishes with it: ``{base}{ccdname:[-]}``.
"""

from __future__ import annotations

import glob
import os
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from skyloom.errors import InputError

from .data_id import Value

__all__ = ["Piece", "Places", "absolute", "pieces"]

_PERCENT: Final = re.compile(
    r"%\((?P<key>\w+)\)(?P<flags>[-+ #0]*)(?P<width>\d*)(?:\.(?P<digits>\d+))?(?P<kind>[a-zA-Z])"
    r"|(?P<plain>%%)|(?P<brace>[{}])|(?P<bad>%)"
)
_SLICE: Final = re.compile(r"(?P<spec>.*)\[:(?P<first>\d+)\]")
_LEAD: Final = re.compile(r"\[(?P<lead>[^:\[\]]+)\]")
_SHORT: Final = re.compile(r"\.(?P<first>\d+)s?")  # Python's own way to keep the start of a text
_KINDS: Final = {"d": "int", "i": "int", "u": "int", "f": "float", "e": "float", "g": "float"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Literal text, and the key whose value follows it (none at the end)."""

    literal: str
    key: str
    spec: str = ""
    first: int | None = None  # only so many characters of the value stand here
    lead: str = ""  # stands before a value that may be empty

    @property
    def kind(self) -> str:
        """Type of the value, as its format says: ``int``, ``float`` or ``str``."""
        return _KINDS.get(self.spec[-1:], "str")

    def text(self, value: Value) -> str:
        """Return the value as it stands in a path."""
        text = format(value, self.spec)[: self.first]
        return self.lead + text if text else ""


@lru_cache(maxsize=4096)
def pieces(template: str) -> tuple[Piece, ...]:
    """Split a template of either spelling.

    Raises
    ------
    InputError
        If it cannot be understood.
    """
    try:
        text = _braces(template) if "%(" in template else template
        return tuple(
            _piece(literal, key or "", spec or "", conversion)
            for literal, key, spec, conversion in string.Formatter().parse(text)
        )
    except ValueError as error:
        raise InputError(f"template {template!r}: {error}") from error


def _piece(literal: str, key: str, spec: str, conversion: str | None) -> Piece:
    if conversion or (key and not key.isidentifier()):
        raise ValueError(f"{{{key}}} is not a plain key")
    if lead := _LEAD.fullmatch(spec):
        return Piece(literal, key, lead=lead["lead"])
    part = _SLICE.fullmatch(spec) or _SHORT.fullmatch(spec)
    if part is None:
        return Piece(literal, key, spec)
    return Piece(literal, key, part.groupdict().get("spec") or "", int(part["first"]))


def _braces(template: str) -> str:
    """Turn ``%(visit)07d`` into ``{visit:07d}``."""

    def brace(found: re.Match[str]) -> str:
        if found["plain"]:
            return "%"
        if found["brace"]:
            return found["brace"] * 2
        kind = _KINDS.get((found["kind"] or "").lower(), found["kind"])
        if found["bad"] or kind not in {"int", "float", "s"}:
            raise ValueError(f"{found[0]!r} is not %(key)d, %(key)s or %(key)f")
        if kind == "s":
            return (
                f"{{{found['key']}:[:{found['digits']}]}}"
                if found["digits"]
                else (f"{{{found['key']}}}")
            )
        digits = f".{found['digits']}" if found["digits"] and kind == "float" else ""
        letter = "d" if kind == "int" else found["kind"]
        return f"{{{found['key']}:{found['flags']}{found['width']}{digits}{letter}}}"

    return _PERCENT.sub(brace, template)


def absolute(path: Path) -> str:
    """Return an absolute path without ``..``; symbolic links stay what they are."""
    return os.path.normpath(path.absolute())


class Places:
    """The places that the files of one dataset type have below a directory.

    Parameters
    ----------
    template : str
    root : Path
        Directory that the template starts from.
    look : callable
        Returns the regular expression of a key's values, or None for a variable.
    variables : mapping of str to str
        Values of the keys that are no part of the data ID.
    """

    def __init__(
        self,
        template: str,
        root: Path,
        *,
        look: Callable[[str], str | None],
        variables: Mapping[str, str],
    ) -> None:
        marks: list[Piece] = []
        text = ""
        for piece in pieces(template):
            text += piece.literal
            if piece.key and look(piece.key) is None:
                text += variables.get(piece.key, "")
            elif piece.key:
                text += "\0\0"
                marks.append(piece)
        # the absolute path of the whole, so that a variable may hold ".." or be absolute
        self._texts = absolute(root / text).split("\0\0")
        self._marks = marks
        self._look = look
        self.regex = re.compile(self._expression())

    def _expression(self) -> str:
        found = re.escape(self._texts[0])
        seen = set()
        for piece, text in zip(self._marks, self._texts[1:], strict=True):
            values = self._look(piece.key) or ""
            if piece.first is not None:
                found += rf"[^/\\]{{1,{piece.first}}}"  # the whole value stands elsewhere
            elif piece.key in seen:
                found += f"(?P={piece.key})"
            else:
                value = f"(?P<{piece.key}>{values})"
                found += f"(?:{re.escape(piece.lead)}{value})?" if piece.lead else value
                seen.add(piece.key)
            found += re.escape(text)
        return found

    def pattern(self, known: Mapping[str, Value], deep: frozenset[str] = frozenset()) -> str:
        """Return a glob pattern; keys in ``deep`` may span several directories."""
        found = glob.escape(self._texts[0])
        for piece, text in zip(self._marks, self._texts[1:], strict=True):
            if piece.key in known:
                found += glob.escape(piece.text(known[piece.key]))
            else:
                found += "**" if piece.key in deep and piece.first is None else "*"
            found += glob.escape(text)
        return found

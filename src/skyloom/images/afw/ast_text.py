"""The text in which afw stores coordinate mappings: nested objects with attributes.

::

    Begin CmpMap
       Nin = 2
    IsA Mapping
       InvA = 1
       MapA =
          Begin UnitMap
             Nin = 2
          IsA Mapping
          End UnitMap
       ...
    End CmpMap

Lines that start with ``#`` give values that are defaults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["AstObject", "parse_ast"]

_DEEPEST = 100  # objects within objects


@dataclass(slots=True, eq=False)
class AstObject:
    """An object: its class, its values, and the objects in it."""

    kind: str
    values: dict[str, str] = field(default_factory=dict)
    parts: dict[str, AstObject] = field(default_factory=dict)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a value as float."""
        if name not in self.values and default is not None:
            return default
        return float(self.values[name])

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a value as int."""
        if name not in self.values and default is not None:
            return default
        return int(self.values[name])


def parse_ast(text: str) -> AstObject:
    """Parse the first object of a text.

    Raises
    ------
    ValueError
        If the text is not complete or has another form.
    """
    start = text.find("Begin ")
    if start < 0:
        raise ValueError("the text of the mapping has no Begin")
    lines = iter(text[start:].splitlines())
    kind = next(lines).split()
    if len(kind) < 2:
        raise ValueError("the text of the mapping has a Begin without a class")
    return _read(kind[1], lines, 0)


def _read(kind: str, lines: Iterator[str], depth: int) -> AstObject:
    if depth > _DEEPEST:
        raise ValueError("the objects of the mapping are nested too deeply")
    made = AstObject(kind)
    waiting = ""  # name of the object that comes next
    for raw in lines:
        line = raw.strip()
        if not line or line.startswith("#") or line.startswith("IsA "):
            continue
        if line.startswith("Begin "):
            part = _read(line.split()[1], lines, depth + 1)
            made.parts[waiting] = part
            waiting = ""
        elif line.startswith("End "):
            return made
        else:
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"line {line!r} of the mapping is no value")
            if value.strip():
                made.values[name.strip()] = value.strip().strip('"')
            else:
                waiting = name.strip()
    raise ValueError(f"the text of the mapping ends within {kind}")

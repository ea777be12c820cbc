"""What a process made lately, by what it was made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from astropy.table import Table

from skyloom.flow import Handle

__all__ = ["Recent", "shared_table"]

V = TypeVar("V")

_MAX_TABLES = 6
_MAX_ROWS = 50_000  # larger ones are kept one at a time


class Recent(Generic[V]):
    """Values by key, made when they are first asked for; the one unused longest goes first.

    A value depends on its key alone, so that it makes no difference who asks, or how often.

    Parameters
    ----------
    most : int
        Sum of the sizes of what is kept; the last value is kept whatever its size.
    size : callable, optional
        Size of a value; default: 1.
    """

    def __init__(self, most: int, size: Callable[[V], int] = lambda _: 1) -> None:
        self._most, self._size = most, size
        self._held = 0
        self._values: dict[Hashable, V] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key."""
        if key in self._values:
            value = self._values.pop(key)
        else:
            value = make()
            self._held += self._size(value)
        self._values[key] = value  # behind all others
        while self._held > self._most and len(self._values) > 1:
            self._held -= self._size(self._values.pop(next(iter(self._values))))
        return value


def _share(table: Any) -> int:
    return 1 if len(table) <= _MAX_ROWS else _MAX_TABLES


_TABLES: Recent[Table] = Recent(_MAX_TABLES, _share)


def shared_table(handle: Handle[Table]) -> Table:
    """Return a stored table that all units of a process share: nobody may change it."""
    return _TABLES.get(handle.digest, handle.read)

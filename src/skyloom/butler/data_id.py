"""Data IDs: which one of its kind a dataset is."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, final

from typing_extensions import override

from skyloom.errors import BadDataId

__all__ = ["DataId", "Value"]

Value: TypeAlias = str | int | float
"""What a dimension can be: a name or a number."""


@final
class DataId(Mapping[str, Value]):
    """A small frozen mapping such as ``{"band": "r", "cell": "r00_c01"}``.

    It keeps the order in which it was written, compares and hashes without regard to that order,
    and sorts by its values in that order.  Numpy numbers become `int` or `float`.

    Parameters
    ----------
    values : Mapping, optional
        Dimension to value.
    **more : str, int or float
        More of them; they win.

    Raises
    ------
    BadDataId
        If a value is neither text nor a finite number.
    """

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Value] | None = None, /, **more: Value) -> None:
        merged = {**(values or {}), **more}
        self._values = {key: _plain(key, value) for key, value in merged.items()}
        self._hash = hash(frozenset(self._values.items()))

    @override
    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @override
    def __len__(self) -> int:
        return len(self._values)

    @override
    def __hash__(self) -> int:
        return self._hash

    @override
    def __eq__(self, other: object) -> bool:
        if isinstance(other, DataId):
            return self._values == other._values
        return NotImplemented

    def __lt__(self, other: DataId) -> bool:
        return self.order < other.order

    @classmethod
    def trusted(cls, values: dict[str, Value]) -> DataId:
        """Take values that are known to be plain, such as those of a registry, as they are."""
        self = object.__new__(cls)
        self._values = values
        self._hash = hash(frozenset(values.items()))
        return self

    @property
    def order(self) -> tuple[tuple[bool, Value], ...]:
        """What data IDs of a type are sorted by."""
        # Numbers before names, so that mixed values still sort.
        return tuple((isinstance(v, str), v) for v in self._values.values())

    @override
    def __repr__(self) -> str:
        return f"DataId({self._values!r})"

    @override
    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self._values.items())

    def __reduce__(self) -> tuple[Callable[..., DataId], tuple[dict[str, Value]]]:
        return DataId, (self._values,)

    def replace(self, values: Mapping[str, Value] | None = None, /, **more: Value) -> DataId:
        """Return a copy with some values changed or added."""
        return DataId({**self._values, **(values or {}), **more})

    def subset(self, dimensions: Iterable[str]) -> DataId:
        """Return those of ``dimensions`` that it has, in their order."""
        return DataId.trusted({key: self._values[key] for key in dimensions if key in self._values})

    def agrees(self, other: Mapping[str, Value]) -> bool:
        """Tell whether no dimension that both have differs."""
        return all(other.get(key, value) == value for key, value in self._values.items())


def _plain(key: str, value: object) -> Value:
    if isinstance(value, str):
        return str(value)
    if type(value) is int:
        return value
    if isinstance(value, bool):
        raise BadDataId(f"data ID: {key} = {value!r} is neither a name nor a number", key=key)
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        if math.isfinite(value):
            return float(value)
        raise BadDataId(f"data ID: {key} = {value!r} is not a finite number", key=key)
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise BadDataId(
            f"data ID: {key} = {value!r} is neither a name nor a number; give a str or an int",
            key=key,
        ) from None

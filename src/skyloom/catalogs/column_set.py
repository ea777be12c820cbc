"""Columns of a catalogue, and how a quantity is taken out of them under any of its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from skyloom.catalogs.fields import Field, column_of
from skyloom.catalogs.lookup import Group, Part
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.slots import MomentErrors, Point
from skyloom.geometry import Angle, IcrsCoord, Quadrupole

__all__ = ["ColumnSet"]

_VECTORS: dict[str, Any] = {
    "point": Point,
    "point_err": Point,
    "moments": Quadrupole,
    "moments_err": MomentErrors,
}


class ColumnSet:
    """Arrays by the names of their fields.

    Parameters
    ----------
    schema : Schema
        Fields and aliases.
    arrays : mapping of str to array
        A column of each field; missing ones are blank: zero, NaN, False, empty text.
    n : int
        Number of rows.

    Raises
    ------
    ValueError
        If a column has another shape than its field, or no field.
    """

    def __init__(self, schema: Schema, arrays: Mapping[str, Any], n: int) -> None:
        unknown = arrays.keys() - set(schema.names)
        if unknown:
            raise ValueError(
                f"columns {', '.join(sorted(unknown))} are not in the schema; add their fields"
            )
        self.schema = schema
        self.n = n
        self.arrays = {
            field.name: column_of(field, arrays[field.name], n)
            if field.name in arrays
            else _blank_column(field, n)
            for field in schema
        }
        self._getters: dict[str, Callable[[int], Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_getters": {}}  # closures do not travel

    def get(self, name: str) -> Any:
        """Return a quantity of all rows; see `SourceCatalog.get`."""
        found = self.schema.locate(name)
        if isinstance(found, Part):
            values = self._values(found)
            return values.copy() if found.field.type == "Flag" else values
        parts = [self._values(part) for part in found.parts]
        if found.kind == "coord":
            return IcrsCoord(Angle(parts[0]), Angle(parts[1]))
        if found.kind == "array":
            return np.stack(parts, axis=1)
        return _VECTORS[found.kind](*parts)

    def value(self, name: str, row: int) -> Any:
        """Return a quantity of one row; see `SourceRecord.get`."""
        getter = self._getters.get(name)
        if getter is None:
            getter = self._getters[name] = self._getter(self.schema.locate(name))
        return getter(row)

    def set(self, name: str, values: Any, row: int | None = None) -> None:
        """Change a quantity of all rows, or of one; see `SourceCatalog.set`."""
        rows = slice(None) if row is None else slice(row, row + 1)
        found = self.schema.locate(name)
        if isinstance(found, Group):
            for part, part_values in zip(found.parts, _components(found, values), strict=True):
                self._assign(part, part_values, rows)
        else:
            self._assign(found, values, rows)

    def with_aliases(self, aliases: Mapping[str, str]) -> ColumnSet:
        """Return the same columns under more names."""
        return ColumnSet(self.schema.with_aliases(aliases), self.arrays, self.n)

    def copied(self) -> dict[str, Any]:
        """Return copies of the arrays."""
        return {name: _deep_copy(array) for name, array in self.arrays.items()}

    def _assign(self, part: Part, values: Any, rows: slice) -> None:
        if part.is_square:
            raise ValueError(
                f"{part.field.name!r} holds covariances; write them into the column itself, "
                f"catalog.columns[{part.field.name!r}]"
            )
        name, column = part.field.name, self.arrays[part.field.name][rows]
        if isinstance(values, Angle):
            values = values.radians
        if part.field.is_variable:
            column[:] = column_of(part.field, values, len(column))
        elif part.field.type == "String":
            self._assign_text(name, column, values)
        elif part.element is None:
            column[...] = values
        else:
            column[:, part.element] = values

    def _assign_text(self, name: str, column: Any, values: Any) -> None:
        longest = np.asarray(values, dtype=str).dtype.itemsize
        if longest > column.dtype.itemsize:
            raise ValueError(
                f"text of {longest // 4} characters does not fit into {name!r}, which holds "
                f"{column.dtype.itemsize // 4}"
            )
        column[...] = values

    def _values(self, part: Part) -> Any:
        column = self.arrays[part.field.name]
        if part.element is not None:
            column = column[:, part.element]
        return _root(column) if part.is_square else column

    def _getter(self, found: Part | Group) -> Callable[[int], Any]:
        """Return what takes a quantity out of one row."""
        if isinstance(found, Part):
            return self._part_getter(found)
        getters = [self._part_getter(part) for part in found.parts]
        if found.kind == "coord":
            return lambda row: IcrsCoord(*(_as_angle(get(row)) for get in getters))
        if found.kind == "array":
            return lambda row: np.array([get(row) for get in getters])
        make = _VECTORS[found.kind]
        return lambda row: make(*(get(row) for get in getters))

    def _part_getter(self, part: Part) -> Callable[[int], Any]:
        column = self.arrays[part.field.name]
        if part.element is not None:
            column = column[:, part.element]
        if part.is_square:
            return lambda row: float(_root(column[row]))
        if part.field.type in {"Angle", "Coord"}:
            return lambda row: Angle(column[row])
        if column.dtype == object or column.ndim > 1:
            return lambda row: column[row]
        getter: Callable[[int], Any] = column.item
        return getter


def _blank_column(field: Field, n: int) -> Any:
    """Return a column of n blank values: NaN, 0, False, empty."""
    if field.is_variable:
        return column_of(field, [[]] * n, n)
    fill = np.nan if field.dtype.kind in "fc" else ("" if field.dtype.kind == "U" else 0)
    return np.full((n, *field.shape), fill, dtype=field.dtype)


def _as_angle(value: Any) -> Angle:
    return value if isinstance(value, Angle) else Angle(value)


def _root(variance: Any) -> Any:
    with np.errstate(invalid="ignore"):  # a negative variance gives NaN
        return np.sqrt(variance)


def _deep_copy(column: Any) -> Any:
    if column.dtype != object:
        return column.copy()
    copied = np.empty(len(column), dtype=object)
    for row, value in enumerate(column):
        copied[row] = value.copy()
    return copied


def _components(group: Group, values: Any) -> list[Any]:
    """Return the values of the parts of a vector object."""
    if group.kind == "coord":
        return [values.lon, values.lat]
    if group.kind == "moments":
        return [values.ixx, values.iyy, values.ixy]
    if group.kind == "array":
        return list(np.moveaxis(np.asarray(values), -1, 0))
    return list(values)

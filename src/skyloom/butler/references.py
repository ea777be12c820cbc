"""Data references: a data ID with the butler that knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from skyloom.errors import BadDataId

from .data_id import DataId, Value

if TYPE_CHECKING:
    from .butler import Butler
    from .files import Written

__all__ = ["DataRef"]


@final
@dataclass(frozen=True, slots=True)
class DataRef:
    """A data ID, complete or not, that gets and puts datasets; the same as the butler does."""

    butler: Butler
    data_id: DataId

    def get(self, name: str, **extra: Any) -> Any:
        """Read a dataset; see `Butler.get`."""
        return self.butler.get(name, self.data_id, **extra)

    def put(self, obj: object, name: str, *, overwrite: bool = False, **extra: Value) -> Written:
        """Write a dataset; see `Butler.put`."""
        return self.butler.put(obj, name, self.data_id, overwrite=overwrite, **extra)

    def exists(self, name: str, **extra: Value) -> bool:
        """Tell whether a dataset exists; see `Butler.exists`."""
        return self.butler.exists(name, self.data_id, **extra)

    def sub_items(self, level: str | None = None) -> list[DataRef]:
        """Return the parts: the CCDs of a visit, the patches of a tract.

        Parameters
        ----------
        level : str, optional
            Key of the parts, such as ``ccd``; by default that of which the data ID has the whole.

        Raises
        ------
        BadDataId
            If the layout has no such level, or the data ID does not say which whole.
        """
        levels = self.butler.layout.levels
        if level is None:
            fitting = [
                part
                for part, (whole, _) in levels.items()
                if whole in self.data_id and part not in self.data_id
            ]
            level = fitting[0] if fitting else None
        if level is None or level not in levels:
            known = ", ".join(f"{part} (of a {whole})" for part, (whole, _) in levels.items())
            raise BadDataId(f"data reference ({self.data_id}): levels are {known or 'none'}")
        whole, table = levels[level]
        if whole not in self.data_id:
            raise BadDataId(f"data reference ({self.data_id}): lacks {whole}, whose {level}s it is")
        found = self._parts(level, table)
        return [DataRef(self.butler, self.data_id.replace({level: value})) for value in found]

    def _parts(self, level: str, table: str) -> list[Value]:
        finder = self.butler.finder
        known: Mapping[str, Value] = self.data_id.subset(finder.layout.tables[table].keys)
        values = {row[level] for row in finder.rows(table, known) if level in row}
        if not values:  # no registry: the files that exist
            for name, kind in finder.layout.types.items():
                if kind.level == level and not kind.first_of:
                    mine = self.data_id.subset(kind.dimensions)
                    values |= {data_id[level] for data_id in finder.existing(name, mine)}
        return sorted(values, key=lambda v: (isinstance(v, str), v))

"""One row of a source catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyloom.catalogs.slots import Slots

if TYPE_CHECKING:
    from skyloom.catalogs.footprint import Footprint
    from skyloom.catalogs.source_catalog import SourceCatalog

__all__ = ["SourceRecord"]


class SourceRecord(Slots):
    """A view of one row: what is set here changes the catalogue.

    Parameters
    ----------
    catalog : SourceCatalog
        The catalogue.
    row : int
        Row number, from 0.
    """

    __slots__ = ("_catalog", "_row")

    def __init__(self, catalog: SourceCatalog, row: int) -> None:
        self._catalog = catalog
        self._row = row

    @property
    def schema(self) -> Any:
        """The schema of the catalogue."""
        return self._catalog.schema

    def get(self, name: str) -> Any:
        """Return a value, under any of its names.

        Returns
        -------
        int, float, bool, str, Angle, ndarray, Point, Quadrupole or IcrsCoord
            An `Angle` for fields of that type; arrays are views.

        Raises
        ------
        UnknownColumn
            If there is no such quantity.
        """
        return self._catalog.value(name, self._row)

    def set(self, name: str, value: Any) -> None:
        """Change a value, under any of its names.

        Raises
        ------
        UnknownColumn
            If there is no such quantity.
        ValueError
            If the value does not fit.
        """
        self._catalog.set(name, value, self._row)

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    @property
    def footprint(self) -> Footprint | None:
        """The pixels of the source; None where it has none."""
        return self._catalog.footprint(self._row)

    @footprint.setter
    def footprint(self, footprint: Footprint | None) -> None:
        self._catalog.set_footprint(self._row, footprint)

    def as_dict(self) -> dict[str, Any]:
        """Return the values by the names of their fields."""
        return {field.name: self.get(field.name) for field in self._catalog.schema}

    def __repr__(self) -> str:
        first = ", ".join(f"{f.name}={self.get(f.name)!r}" for f in list(self.schema)[:4])
        return f"<SourceRecord {self._row}: {first}, ...>"

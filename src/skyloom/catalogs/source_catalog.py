"""A catalogue of sources: columns in memory, and every row of them a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.catalogs.fields import Field, column_of
from skyloom.catalogs.footprint import Footprint
from skyloom.catalogs.footprint_store import FootprintStore
from skyloom.catalogs.lookup import Group, Part
from skyloom.catalogs.photometry import Magnitudes, calibrated
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.slots import MomentErrors, Point, Slots
from skyloom.catalogs.source_record import SourceRecord
from skyloom.errors import BadTable
from skyloom.geometry import Angle, IcrsCoord, Quadrupole

__all__ = ["SourceCatalog"]

_VECTORS: dict[str, Any] = {
    "point": Point,
    "point_err": Point,
    "moments": Quadrupole,
    "moments_err": MomentErrors,
}


class SourceCatalog(Slots):
    """Columns, slots, aliases and metadata of a measured catalogue.

    A plain table (matches, peaks) is read with the same class; its `kind` is then "".

    Parameters
    ----------
    schema : Schema
        The fields and aliases.
    columns : mapping of str to array
        A column of each field, by its own name; missing ones are zero (floats: NaN).
    n : int, optional
        Number of rows; needed where no column is given.
    metadata, primary : astropy.io.fits.Header, optional
        Cards of the table and of the primary HDU that are not about columns.
    kind : str
        AFW_TYPE: "SOURCE", "BASE", "SIMPLE"; "" for a table of another program.
    version : int, optional
        AFW_TABLE_VERSION; None where the file has none (0 for a table of afw).

    Examples
    --------
    >>> schema = Schema([Field("id", "L"), Field("base_PsfFlux_instFlux", "D", "flux", "count")])
    >>> sources = SourceCatalog(schema, {"id": [7, 8], "base_PsfFlux_instFlux": [100.0, 10.0]})
    >>> sources.get("flux.psf")
    array([100.,  10.])
    >>> [src.id for src in sources[sources.psf_flux > 50]]
    [7]
    """

    def __init__(
        self,
        schema: Schema,
        columns: Mapping[str, Any] | None = None,
        n: int | None = None,
        *,
        metadata: fits.Header | None = None,
        primary: fits.Header | None = None,
        kind: str = "SOURCE",
        version: int | None = 3,
        footprint_ids: npt.NDArray[np.int32] | None = None,
        footprints: FootprintStore | None = None,
    ) -> None:
        columns = dict(columns or {})
        if n is None:
            if not columns:
                raise ValueError("a catalogue without columns needs its number of rows, n")
            n = len(next(iter(columns.values())))
        self.schema = schema
        self._n = n
        self._columns = {
            field.name: column_of(field, columns.pop(field.name), n)
            if field.name in columns
            else blank_column(field, n)
            for field in schema
        }
        if columns:
            raise ValueError(
                f"columns {', '.join(columns)} are not in the schema; add their fields"
            )
        self._getters: dict[str, Callable[[int], Any]] = {}
        self.metadata = fits.Header() if metadata is None else metadata
        self.primary = fits.Header() if primary is None else primary
        self.kind = kind
        self.version = version
        self._footprint_ids = footprint_ids
        self._footprints = FootprintStore() if footprints is None else footprints

    @classmethod
    def empty(cls, schema: Schema, n: int = 0) -> SourceCatalog:
        """Return a catalogue of n blank rows: zero, NaN, False, empty text."""
        return cls(schema, n=n)

    # ---- columns

    def get(self, name: str) -> Any:
        """Return a quantity of all rows, under any of its names.

        Returns
        -------
        ndarray, Point, Quadrupole, MomentErrors or IcrsCoord
            Scalars: the column itself, so that writing into it changes the catalogue; angles in
            radians.  Flags and errors out of covariances: a copy.  Positions and moments: a small
            object with ``x, y``, ``ixx, iyy, ixy`` or ``ra, dec``.

        Raises
        ------
        UnknownColumn
            If there is no such quantity; the message lists near names.
        """
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
        column = self._columns[part.field.name]
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

    def set(self, name: str, values: Any) -> None:
        """Change a quantity of all rows, under any of its names.

        Raises
        ------
        UnknownColumn
            If there is no such quantity.
        ValueError
            If the values do not fit, or the quantity is an error out of a covariance.
        """
        found = self.schema.locate(name)
        if isinstance(found, Group):
            for part, part_values in zip(found.parts, _components(found, values), strict=True):
                self._assign(part, part_values)
        else:
            self._assign(found, values)

    def _assign(self, part: Part, values: Any) -> None:
        if part.is_square:
            raise ValueError(
                f"{part.field.name!r} is a covariance; set the whole of it, under its own name"
            )
        name, column = part.field.name, self._columns[part.field.name]
        if isinstance(values, Angle):
            values = values.radians
        if part.field.is_variable:
            column[:] = column_of(part.field, values, len(self))
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
        column = self._columns[part.field.name]
        if part.element is not None:
            column = column[:, part.element]
        return _root(column) if part.is_square else column

    @property
    def columns(self) -> dict[str, Any]:
        """The columns by the names of their fields, in order; compound ones have two axes."""
        return dict(self._columns)

    def with_field(self, field: Field, values: Any = None) -> SourceCatalog:
        """Return a catalogue with one column more; the others are shared."""
        columns = dict(self._columns)
        if values is not None:
            columns[field.name] = values
        return self._like(self.schema.with_field(field), columns, self._n)

    def without(self, *names: str) -> SourceCatalog:
        """Return a catalogue without some columns; the others are shared."""
        schema = self.schema.without(*names)
        return self._like(schema, {f.name: self._columns[f.name] for f in schema}, self._n)

    def define_slot(self, slot: str, target: str) -> None:
        """Say what a slot (``PsfFlux``) stands for: the common start of its fields."""
        self.schema = self.schema.with_aliases({f"slot_{slot}": target})
        self._getters.clear()

    # ---- rows

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[SourceRecord]:
        return (SourceRecord(self, row) for row in range(self._n))

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> SourceRecord: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: slice | npt.NDArray[Any] | list[Any]) -> SourceCatalog: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.get(key)
        if isinstance(key, int | np.integer):
            row = int(key) + (self._n if key < 0 else 0)
            if not 0 <= row < self._n:
                raise IndexError(f"row {key} of a catalogue of {self._n} rows")
            return SourceRecord(self, row)
        return self._rows(key)

    def _rows(self, key: Any) -> SourceCatalog:
        """Return some rows: a slice as a view, an array of numbers or booleans as a copy."""
        if not isinstance(key, slice):
            key = np.asarray(key)
            if key.dtype == bool and key.shape != (self._n,):
                raise IndexError(f"a mask of shape {key.shape} for a catalogue of {self._n} rows")
            if key.size == 0 and key.dtype != bool:
                key = key.astype(np.intp)
        columns = {name: column[key] for name, column in self._columns.items()}
        ids = None if self._footprint_ids is None else self._footprint_ids[key]
        n = len(range(self._n)[key]) if isinstance(key, slice) else len(np.arange(self._n)[key])
        return self._like(self.schema, columns, n, footprint_ids=ids)

    def __setitem__(self, name: str, values: Any) -> None:
        self.set(name, values)

    def find(self, id_: int) -> SourceRecord:
        """Return the record with an identifier.

        Raises
        ------
        BadTable
            If there is none.
        """
        rows = np.flatnonzero(self.get("id") == id_)
        if not rows.size:
            raise BadTable(f"the catalogue has no source with id {id_}", id=id_)
        return SourceRecord(self, int(rows[0]))

    def sorted_by(self, name: str) -> SourceCatalog:
        """Return a copy in the order of a column; equal values keep theirs."""
        return self._rows(np.argsort(self.get(name), kind="stable"))

    def copy(self, *, deep: bool = True) -> SourceCatalog:
        """Return a copy; a shallow one shares the columns."""
        columns = dict(self._columns)
        ids = self._footprint_ids
        if deep:
            columns = {name: _deep_copy(column) for name, column in columns.items()}
            ids = None if ids is None else ids.copy()
        return self._like(self.schema, columns, self._n, footprint_ids=ids)

    def _like(
        self, schema: Schema, columns: Mapping[str, Any], n: int, **changes: Any
    ) -> SourceCatalog:
        facts: dict[str, Any] = {
            "metadata": self.metadata.copy(),
            "primary": self.primary.copy(),
            "kind": self.kind,
            "version": self.version,
            "footprint_ids": self._footprint_ids,
            "footprints": self._footprints,
        }
        return type(self)(schema, columns, n, **facts | changes)

    # ---- footprints

    @property
    def has_footprints(self) -> bool:
        """Whether any source has pixels of its own."""
        return self._footprint_ids is not None and bool(self._footprint_ids.any())

    @property
    def has_footprint_column(self) -> bool:
        """Whether a file of the catalogue has a column for footprints, be it of zeros."""
        return self._footprint_ids is not None

    @property
    def footprint_ids(self) -> npt.NDArray[np.int32]:
        """Numbers of the footprints in the archive; 0 for none."""
        if self._footprint_ids is None:
            return np.zeros(self._n, np.int32)
        return self._footprint_ids.copy()

    @property
    def footprint_store(self) -> FootprintStore:
        """Where the footprints are, and whatever else the archive of the file holds."""
        return self._footprints

    def footprint(self, row: int) -> Footprint | None:
        """Return the footprint of a row; None where it has none.

        Raises
        ------
        UnreadableFile
            If the archive of the file does not hold it, or it is damaged.
        """
        if self._footprint_ids is None or not self._footprint_ids[row]:
            return None
        return self._footprints.get(int(self._footprint_ids[row]))

    def set_footprint(self, row: int, footprint: Footprint | None) -> None:
        """Give a row a footprint, or take it away."""
        if self._footprint_ids is None:
            self._footprint_ids = np.zeros(self._n, np.int32)
        self._footprint_ids[row] = 0 if footprint is None else self._footprints.add(footprint)

    # ---- photometry

    def magnitudes(
        self, flux: str = "slot_PsfFlux", calib: Any = None, *, with_calib_err: bool = False
    ) -> Magnitudes:
        """Return magnitudes of a flux, and their errors where the flux has any.

        Parameters
        ----------
        flux : str
            A flux under any of its names, a slot (``slot_ModelFlux``), or the start of both names
            (``base_PsfFlux``).
        calib : float, PhotoCalib, MosaicCalib, Exposure, Header or dict
            A zero point [mag], a calibration, an exposure that has one, or metadata with FLUXMAG0
            (those of ``fcr``: with the correction of the mosaic too).
        with_calib_err : bool
            Whether to add the error of the calibration in quadrature.

        Returns
        -------
        Magnitudes
            ``mag`` and ``mag_err``; NaN where the flux is not positive.

        Raises
        ------
        NotCalibrated
            If there is no calibration, or FLUXMAG0 is 0.
        UnknownColumn
            If the catalogue has no such flux.
        """
        return calibrated(self, flux, calib, with_calib_err=with_calib_err)

    # ---- files and tables

    @classmethod
    def read(cls, path: Path | str, *, hdu: int | None = None) -> SourceCatalog:
        """Read a catalogue; see `skyloom.catalogs.read_catalog`."""
        from skyloom.catalogs.io.catalog import read_catalog  # noqa: PLC0415 - io needs the class

        return read_catalog(path, hdu=hdu)

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write a catalogue; see `skyloom.catalogs.write_catalog`."""
        from skyloom.catalogs.io.catalog import write_catalog  # noqa: PLC0415

        write_catalog(self, path, overwrite=overwrite)

    @classmethod
    def from_table(cls, table: Any) -> SourceCatalog:
        """Return the catalogue that an astropy table holds; see `catalog_from_table`."""
        from skyloom.catalogs.catalog_tables import catalog_from_table  # noqa: PLC0415

        return catalog_from_table(table)

    def to_table(self) -> Any:
        """Return an astropy table with units and descriptions; see `catalog_to_table`."""
        from skyloom.catalogs.catalog_tables import catalog_to_table  # noqa: PLC0415

        return catalog_to_table(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_getters": {}}  # closures do not travel

    def __repr__(self) -> str:
        kind = self.kind or "plain"
        return f"<SourceCatalog of {self._n} rows, {len(self.schema)} fields ({kind})>"


def blank_column(field: Field, n: int) -> Any:
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

"""A catalogue of sources: columns in memory, and every row of them a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.catalogs.column_set import ColumnSet
from skyloom.catalogs.fields import Field
from skyloom.catalogs.footprint import Footprint
from skyloom.catalogs.footprint_store import FootprintStore
from skyloom.catalogs.photometry import Magnitudes, calibrated
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.slots import Slots
from skyloom.catalogs.source_record import SourceRecord
from skyloom.errors import BadTable, Mismatch

__all__ = ["SourceCatalog"]


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
        columns = columns or {}
        if n is None:
            if not columns:
                raise ValueError("a catalogue without columns needs its number of rows, n")
            n = len(next(iter(columns.values())))
        self._n = n
        self._columns = ColumnSet(schema, columns, n)
        self._metadata = metadata
        self._primary = primary
        self.kind = kind
        self.version = version
        self._has_footprint_column = footprint_ids is not None
        self._footprint_ids = np.zeros(n, np.int32) if footprint_ids is None else footprint_ids
        self._store = footprints

    @classmethod
    def empty(cls, schema: Schema, n: int = 0) -> SourceCatalog:
        """Return a catalogue of n blank rows: zero, NaN, False, empty text."""
        return cls(schema, n=n)

    @property
    def schema(self) -> Schema:
        """The fields and aliases."""
        return self._columns.schema

    @property
    def metadata(self) -> fits.Header:
        """Cards of the table that are not about columns."""
        if self._metadata is None:
            self._metadata = fits.Header()
        return self._metadata

    @property
    def primary(self) -> fits.Header:
        """Cards of the primary HDU; of FITS_LDAC: the header of the image."""
        if self._primary is None:
            self._primary = fits.Header()
        return self._primary

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
        return self._columns.get(name)

    def value(self, name: str, row: int) -> Any:
        """Return a quantity of one row; see `SourceRecord.get`."""
        return self._columns.value(name, row)

    def set(self, name: str, values: Any, row: int | None = None) -> None:
        """Change a quantity of all rows, or of one, under any of its names.

        Raises
        ------
        UnknownColumn
            If there is no such quantity.
        ValueError
            If the values do not fit, or the quantity is an error out of a covariance.
        """
        self._columns.set(name, values, row)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns by the names of their fields, in order; compound ones have two axes."""
        return dict(self._columns.arrays)

    def with_field(self, field: Field, values: Any = None) -> SourceCatalog:
        """Return a catalogue with one column more; the others are shared."""
        columns = self.columns
        if values is not None:
            columns[field.name] = values
        return self._like(self.schema.with_field(field), columns, self._n)

    def without(self, *names: str) -> SourceCatalog:
        """Return a catalogue without some columns; the others are shared."""
        schema = self.schema.without(*names)
        return self._like(schema, {f.name: self._columns.arrays[f.name] for f in schema}, self._n)

    def define_slot(self, slot: str, target: str) -> None:
        """Say what a slot (``PsfFlux``) stands for: the common start of its fields."""
        self._columns = self._columns.with_aliases({f"slot_{slot}": target})

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
        columns = {name: column[key] for name, column in self._columns.arrays.items()}
        ids = self._footprint_ids[key]
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

    @classmethod
    def concatenated(cls, catalogs: Sequence[SourceCatalog]) -> SourceCatalog:
        """Return the rows of several catalogues, footprints included; metadata of the first.

        Raises
        ------
        Mismatch
            If their fields differ.
        """
        first = catalogs[0]
        for other in catalogs[1:]:
            if list(other.schema) != list(first.schema):
                names = set(other.schema.names) ^ set(first.schema.names)
                raise Mismatch(
                    "catalogues with different fields cannot be joined: "
                    f"{', '.join(sorted(names)) or 'types, units or docs'} differ; take some away "
                    "(without) or add them (with_field)"
                )
        columns = {
            name: np.concatenate([c.columns[name] for c in catalogs]) for name in first.columns
        }
        made = first._like(
            first.schema, columns, sum(map(len, catalogs)), footprint_ids=None,
            footprints=FootprintStore(),
        )  # fmt: skip
        row = 0
        for catalog in catalogs:
            for number in np.flatnonzero(catalog.footprint_ids):
                made.set_footprint(row + int(number), catalog.footprint(int(number)))
            row += len(catalog)
        return made

    def copy(self, *, deep: bool = True) -> SourceCatalog:
        """Return a copy; a shallow one shares the columns."""
        columns = self.columns
        ids = self._footprint_ids
        if deep:
            columns = self._columns.copied()
            ids = ids.copy()
        return self._like(self.schema, columns, self._n, footprint_ids=ids)

    def _like(
        self, schema: Schema, columns: Mapping[str, Any], n: int, **changes: Any
    ) -> SourceCatalog:
        facts: dict[str, Any] = {
            "metadata": None if self._metadata is None else self._metadata.copy(),
            "primary": None if self._primary is None else self._primary.copy(),
            "kind": self.kind,
            "version": self.version,
            "footprint_ids": self._footprint_ids,
            "footprints": self.footprint_store,
        }
        made = type(self)(schema, columns, n, **facts | changes)
        made._has_footprint_column = self._has_footprint_column
        return made

    # ---- footprints

    @property
    def has_footprints(self) -> bool:
        """Whether any source has pixels of its own."""
        return bool(self._footprint_ids.any())

    @property
    def has_footprint_column(self) -> bool:
        """Whether a file of the catalogue has a column for footprints, be it of zeros."""
        return self._has_footprint_column or self.has_footprints

    @property
    def footprint_ids(self) -> npt.NDArray[np.int32]:
        """Numbers of the footprints in the archive; 0 for none."""
        return self._footprint_ids.copy()

    @property
    def footprint_store(self) -> FootprintStore:
        """Where the footprints are, and whatever else the archive of the file holds."""
        if self._store is None:
            self._store = FootprintStore()
        return self._store

    def footprint(self, row: int) -> Footprint | None:
        """Return the footprint of a row; None where it has none.

        Raises
        ------
        UnreadableFile
            If the archive of the file does not hold it, or it is damaged.
        """
        number = int(self._footprint_ids[row])
        return self.footprint_store.get(number) if number else None

    def set_footprint(self, row: int, footprint: Footprint | None) -> None:
        """Give a row a footprint, or take it away."""
        self._footprint_ids[row] = 0 if footprint is None else self.footprint_store.add(footprint)

    # ---- photometry

    def magnitudes(
        self, flux: str = "slot_PsfFlux", calib: Any = None, *, with_calibration: bool = False
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
        with_calibration : bool
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
        return calibrated(self, flux, calib, with_calibration=with_calibration)

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

    def __repr__(self) -> str:
        kind = self.kind or "plain"
        return f"<SourceCatalog of {self._n} rows, {len(self.schema)} fields ({kind})>"

"""The archive of an afw file: an index of objects, and the tables that hold them.

An object has a number (its id) and one or more runs of rows in the tables of the archive, in the
order of ``cat.persistable``.  What the rows mean is up to the class of the object; what is not
understood is kept as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from skyloom.errors import UnreadableFile
from skyloom.images.afw.hdus import Hdu, opened, padded, scan
from skyloom.images.afw.tables import FieldSpec, Table, make_table

__all__ = ["Archive", "IndexEntry", "RawTable", "Rows", "archive_from", "read_archive"]

_INDEX_COLUMNS = ("id", "cat.archive", "cat.persistable", "row0", "nrows")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One run of rows of one object."""

    id: int
    table: int  # number of the table, from 1; -1 or 0 for an object without rows
    part: int  # order within the object
    row0: int
    n_rows: int
    name: str  # class of the object
    module: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Some consecutive rows of a table; indexed by row number from 0."""

    table: Table
    row0: int
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    def __contains__(self, name: str) -> bool:
        return name in self.table.columns or name in self.table.flags

    def get(self, name: str, row: int = 0) -> Any:
        """Return a value; see `Table.cell`."""
        if not 0 <= row < self.n_rows:
            raise self.table.error(f"the object has no row {row}, it has {self.n_rows}")
        return self.table.cell(name, self.row0 + row)

    def point(self, name: str, row: int = 0) -> tuple[Any, Any]:
        """Return a pair of values, written as one column or as two (``_x, _y`` or ``.x, .y``)."""
        for x, y in ((f"{name}_x", f"{name}_y"), (f"{name}.x", f"{name}.y")):
            if x in self and y in self:
                return self.get(x, row), self.get(y, row)
        both = self.get(name, row)
        if getattr(both, "size", 0) != 2:
            raise self.table.error(f"column {name!r} is not a pair of numbers")
        return both[0].item(), both[1].item()

    def array(self, name: str) -> Any:
        """Return the values of a column of numbers in these rows."""
        return self.table.array(name)[self.row0 : self.row0 + self.n_rows]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawTable:
    """A table as bytes, not looked at yet."""

    hdu: Hdu
    data: bytes

    def to_bytes(self) -> bytes:
        """Return the HDU as it stands in the file."""
        return self.hdu.raw_header + padded(self.data)


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """Persisted objects: the index and its tables, understood on request."""

    sources: tuple[Table | RawTable, ...]  # the index, then the tables

    @cached_property
    def index(self) -> Table:
        """The index.

        Raises
        ------
        UnreadableFile
            If it is damaged.
        """
        index = self._table(0)
        for name in (*_INDEX_COLUMNS, "name"):
            column = index.columns.get(name)
            kinds = "A" if name == "name" else "IJK"
            if column is None or column.pointer or column.kind not in kinds:
                raise index.error(f"is not an archive index: column {name!r} is not what it should")
            if name != "name" and column.repeat != 1:
                raise index.error(f"is not an archive index: column {name!r} holds arrays")
        return index

    @cached_property
    def _parsed(self) -> dict[int, Table]:
        return {}

    def _table(self, number: int) -> Table:
        source = self.sources[number]
        if isinstance(source, Table):
            return source
        if number not in self._parsed:
            self._parsed[number] = Table.parse(source.hdu, source.data)
        return self._parsed[number]

    @cached_property
    def entries(self) -> dict[int, list[IndexEntry]]:
        """Runs of rows by id of the object, each in the order of its parts."""
        found: dict[int, list[IndexEntry]] = {}
        for row in range(len(self.index)):
            id_, table, part, row0, n_rows = (
                int(self.index.cell(name, row)) for name in _INDEX_COLUMNS
            )
            has_module = "module" in self.index.columns
            entry = IndexEntry(
                id=id_,
                table=table,
                part=part,
                row0=row0,
                n_rows=n_rows,
                name=str(self.index.cell("name", row)),
                module=str(self.index.cell("module", row)) if has_module else "",
            )
            found.setdefault(id_, []).append(entry)
        for parts in found.values():
            parts.sort(key=lambda entry: entry.part)
        return found

    def __contains__(self, id_: int) -> bool:
        return id_ in self.entries

    def class_of(self, id_: int) -> str:
        """Return the name of the class of an object.

        Raises
        ------
        UnreadableFile
            If the archive has no such object.
        """
        return self._parts(id_)[0].name

    def parts(self, id_: int) -> list[Rows]:
        """Return the runs of rows of an object; none for one that was saved empty.

        Raises
        ------
        UnreadableFile
            If the archive has no such object, or the index points outside the tables.
        """
        found = []
        for entry in self._parts(id_):
            if entry.n_rows == 0 and entry.table <= 0:
                continue
            if not 1 <= entry.table < len(self.sources):
                raise self.index.error(
                    f"object {id_} ({entry.name}) lies in table {entry.table}, the archive has "
                    f"{len(self.sources) - 1}"
                )
            table = self._table(entry.table)
            if not 0 <= entry.row0 <= entry.row0 + entry.n_rows <= len(table):
                raise self.index.error(
                    f"object {id_} ({entry.name}) has rows {entry.row0} to "
                    f"{entry.row0 + entry.n_rows}, the table has {len(table)}"
                )
            found.append(Rows(table=table, row0=entry.row0, n_rows=entry.n_rows))
        return found

    def row(self, id_: int) -> Rows:
        """Return the only row of an object that has one."""
        parts = self.parts(id_)
        if len(parts) != 1 or len(parts[0]) != 1:
            raise self.index.error(f"object {id_} ({self.class_of(id_)}) should be a single row")
        return parts[0]

    def to_bytes(self) -> bytes:
        """Return the HDUs of the archive as they stand in a file."""
        return b"".join(source.to_bytes() for source in self.sources)

    def _parts(self, id_: int) -> list[IndexEntry]:
        if id_ not in self.entries:
            raise self.index.error(f"the archive has no object {id_}")
        return self.entries[id_]

    @classmethod
    def empty(cls) -> Archive:
        """Return an archive without objects."""
        return cls(sources=(_index_table([], 0),))

    def extended(
        self, objects: Sequence[tuple[int, str, str, Sequence[Sequence[FieldSpec]]]]
    ) -> Archive:
        """Return the archive with more objects, each part of each in a table of its own.

        Parameters
        ----------
        objects : sequence of (id, class, module, parts)
            A part is the columns of one table; ids must be new.
        """
        entries = [entry for parts in self.entries.values() for entry in parts]
        tables = list(self.sources[1:])
        for id_, name, module, parts in objects:
            if id_ in self.entries:
                raise ValueError(f"the archive has an object {id_} already")
            for part, fields in enumerate(parts):
                number = len(tables) + 1
                cards = [
                    ("EXTTYPE", "ARCHIVE_DATA", ""),
                    ("AR_CATN", number, "# of this catalog within this archive"),
                    ("AR_NAME", name, "Class name for objects stored here"),
                    ("EXTNAME", name, ""),
                    ("AFW_TABLE_VERSION", 3, ""),
                ]
                table = make_table(fields, cards, where=f"table of {name}")
                tables.append(table)
                entries.append(
                    IndexEntry(
                        id=id_, table=number, part=part, row0=0, n_rows=len(table),
                        name=name, module=module,
                    )
                )  # fmt: skip
        return Archive(sources=(_index_table(entries, len(tables)), *tables))


def read_archive(path: Path | str, hdu: int) -> Archive:
    """Read an archive, or the objects that belong to a catalogue.

    Parameters
    ----------
    path : path
        The file.
    hdu : int
        Number of the HDU of the index, from 0 (the keyword ``AR_HDU`` counts from 1).

    Raises
    ------
    MissingFile, UnreadableFile
        If the file, the index or one of its tables is absent or damaged.
    """
    path = Path(path)
    with opened(path) as file:
        return archive_from(file, path, scan(file, path), hdu)


def archive_from(file: Any, path: Path, hdus: Sequence[Hdu], number: int) -> Archive:
    """Read an archive from an open file whose HDUs are known; see `read_archive`."""
    if not 0 < number < len(hdus):
        raise UnreadableFile(
            f"{path}: AR_HDU says that the archive is in HDU {number} (from 0), the file has "
            f"{len(hdus)} HDUs; copy or write the file again",
            file=str(path),
            hdu=number,
        )
    first = hdus[number]
    n_tables = first.integer("AR_NCAT", 1) - 1
    if not 0 <= n_tables < len(hdus) - number:
        raise first.error(f"the archive has {n_tables} tables, the file ends before")
    blocks = hdus[number : number + 1 + n_tables]
    return Archive(sources=tuple(RawTable(hdu=hdu, data=hdu.read_data(file)) for hdu in blocks))


def _index_table(entries: Sequence[IndexEntry], n_tables: int) -> Table:
    ordered = sorted(entries, key=lambda e: (e.id, e.part))
    fields = [
        FieldSpec(name="id", form="1J", doc="Archive ID of the persistable object"),
        FieldSpec(name="cat.archive", form="1J", doc="index of the catalog, from 1"),
        FieldSpec(name="cat.persistable", form="1J", doc="catalog within the object, from 0"),
        FieldSpec(name="row0", form="1J", doc="first row of the object in its catalog"),
        FieldSpec(name="nrows", form="1J", doc="number of rows of the object"),
        FieldSpec(name="name", form="64A", doc="unique name of the class", kind="String"),
        FieldSpec(name="module", form="64A", doc="module of the class", kind="String"),
    ]
    columns: list[list[int] | list[str]] = [
        [e.id for e in ordered],
        [e.table for e in ordered],
        [e.part for e in ordered],
        [e.row0 for e in ordered],
        [e.n_rows for e in ordered],
        [e.name for e in ordered],
        [e.module for e in ordered],
    ]
    filled = [replace(f, values=v) for f, v in zip(fields, columns, strict=True)]
    cards = [
        ("EXTTYPE", "ARCHIVE_INDEX", ""),
        ("EXTNAME", "ARCHIVE_INDEX", ""),
        ("AR_CATN", 0, "# of this catalog within this archive"),
        ("AR_NCAT", n_tables + 1, "# of catalogs, including the index"),
        ("AFW_TABLE_VERSION", 3, ""),
    ]
    return make_table(filled, cards, where="archive index")

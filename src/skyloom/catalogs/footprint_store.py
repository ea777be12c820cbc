"""Where the footprints of a catalogue are: in the archive of its file, or new in memory.

A catalogue holds numbers; the store turns a number into a footprint when it is asked for.  Numbers
are never used twice, so catalogues that were cut out of one another share a store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.catalogs.fields import Field
from skyloom.catalogs.footprint import Footprint, HeavyFootprint
from skyloom.catalogs.io.fits_layout import parse_layout
from skyloom.catalogs.io.fits_rows import columns_of, table_bytes
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.spans import SpanSet
from skyloom.errors import BadTable, SkyloomError, UnreadableFile
from skyloom.images.afw import Archive, Table
from skyloom.images.afw.archive import RawTable

__all__ = ["FootprintStore"]

_HEAVY: Final = "HeavyFootprint"
_OWN: Final = ("Footprint", "SpanSet", _HEAVY)
_DETECTION, _GEOM = "lsst.afw.detection", "lsst.afw.geom"
_LETTERS: Final = {"f4": "F", "f8": "D", "i4": "I", "u2": "U", "u8": "L"}

_ID: Final = (Field("id", "I", "id of the SpanSet catalog"),)
_SPANS: Final = (
    Field("y", "I", "The row of the span", "pixel"),
    Field("x0", "I", "First column of span (inclusive)", "pixel"),
    Field("x1", "I", "Second column of span (inclusive)", "pixel"),
)
_INDEX: Final = (
    Field("id", "I", "Archive ID of the persistable object that owns the rows"),
    Field("cat.archive", "I", "index of the catalog this entry points to, in the archive"),
    Field("cat.persistable", "I", "index of the catalog this entry points to, in the object"),
    Field("row0", "I", "first row used by the persistable object in this catalog"),
    Field("nrows", "I", "number of rows used by the persistable object in this catalog"),
    Field("name", "String", "unique name for the persistable object's class", size=64),
    Field("module", "String", "Python module that registers the object's factory", size=64),
)


class FootprintStore:
    """Footprints by number.

    Parameters
    ----------
    archive : Archive, optional
        That of a file.
    """

    def __init__(self, archive: Archive | None = None) -> None:
        self._archive = archive
        self._known: dict[int, Footprint] = {}
        self._tables: dict[int, tuple[Schema, dict[str, Any]]] = {}
        self._index: dict[str, Any] | None = None
        self._next = 0

    @property
    def archive(self) -> Archive | None:
        """The archive of the file, as it was read."""
        return self._archive

    def get(self, number: int) -> Footprint:
        """Return a footprint.

        Raises
        ------
        UnreadableFile
            If the archive does not hold it, or it is damaged.
        """
        known = self._known.get(number)
        if known is None:
            known = self._decoded(number)
            self._known[number] = known
        return known

    def add(self, footprint: Footprint) -> int:
        """Take a footprint in and return its number."""
        if not self._next:
            self._next = int(self._entries["id"].max(initial=0)) + 1
        number = self._next
        self._next += 1
        self._known[number] = footprint
        return number

    def to_bytes(self, numbers: npt.NDArray[np.int32]) -> bytes:
        """Return the HDUs of the archive that holds some footprints.

        The archive of the file is returned unchanged where its footprints are the ones that are
        asked for.  Otherwise they are written anew; objects of other classes stay as they are.
        """
        wanted = np.unique(numbers[numbers != 0])
        entries = self._entries
        names = entries["name"]
        is_footprint = np.char.startswith(names, "Footprint") | np.char.startswith(names, _HEAVY)
        held = np.unique(entries["id"][is_footprint])
        if self._archive is not None and np.array_equal(held, wanted):
            return self._archive.to_bytes()
        is_own = is_footprint | (names == "SpanSet")
        kept = {name: column[~is_own] for name, column in entries.items()}
        tables = [] if is_own.all() or self._archive is None else list(self._archive.sources[1:])
        free = int(max(entries["id"].max(initial=0), wanted.max(initial=0), self._next)) + 1
        rows, made = _encoded([(int(n), self.get(int(n))) for n in wanted], free, len(tables))
        index = {
            field.name: np.concatenate([kept[field.name], [row[i] for row in rows]])
            if rows
            else kept[field.name]
            for i, field in enumerate(_INDEX)
        }
        order = np.lexsort((index["cat.persistable"], index["id"]))
        index = {name: column[order] for name, column in index.items()}
        cards = [
            ("EXTTYPE", "ARCHIVE_INDEX", ""),
            ("AR_CATN", 0, "# of this catalog in this archive"),
            ("AR_NCAT", len(tables) + len(made) + 1, "# of catalogs in this archive"),
            ("HIERARCH AFW_TABLE_VERSION", 3, ""),
        ]
        parts = [table_bytes(_INDEX, index, len(order), cards=cards)]
        return b"".join([*parts, *(t.to_bytes() for t in tables), *made])

    @property
    def _entries(self) -> dict[str, Any]:
        """Columns of the index, sorted by object and part; a module where the file has none."""
        if self._index is None:
            columns = {f.name: np.zeros(0, f.dtype) for f in _INDEX}
            if self._archive is not None:
                _, found = _decoded_table(self._archive.sources[0])
                n = len(self._archive.index)
                columns = {
                    f.name: found[f.name] if f.name in found else np.zeros(n, f.dtype)
                    for f in _INDEX
                }
                order = np.lexsort((columns["cat.persistable"], columns["id"]))
                columns = {name: column[order] for name, column in columns.items()}
            self._index = columns
        return self._index

    def _table(self, number: int) -> tuple[Schema, dict[str, Any]]:
        if number not in self._tables:
            if self._archive is None or not 1 <= number < len(self._archive.sources):
                raise self._error(f"the archive has no table {number}")
            self._tables[number] = _decoded_table(self._archive.sources[number])
        return self._tables[number]

    def _parts(self, number: int) -> tuple[str, list[tuple[Schema, dict[str, Any]]]]:
        """Return the class of an object, and its rows in each of its tables."""
        entries = self._entries
        start, stop = np.searchsorted(entries["id"], [number, number + 1])
        if start == stop:
            raise self._error(f"the archive has no object {number}")
        rows = np.arange(start, stop)
        parts = []
        for row in rows.tolist():
            schema, columns = self._table(int(entries["cat.archive"][row]))
            first, n = int(entries["row0"][row]), int(entries["nrows"][row])
            total = len(next(iter(columns.values()), ()))
            if not 0 <= first <= first + n <= total:
                raise self._error(
                    f"object {number} has rows {first} to {first + n} of a table of {total}"
                )
            parts.append((schema, {name: c[first : first + n] for name, c in columns.items()}))
        return str(entries["name"][rows[0]]), parts

    def _decoded(self, number: int) -> Footprint:
        name, parts = self._parts(number)
        if not name.startswith(("Footprint", _HEAVY)):
            raise self._error(f"object {number} is a {name}, not a footprint")
        try:
            spans = self._spans(parts[0][1])
            peaks = _peaks(*parts[1]) if len(parts) > 1 else None
            if not name.startswith(_HEAVY):
                return Footprint(spans, peaks)
            pixels = parts[2][1]
            return HeavyFootprint(
                spans,
                peaks,
                image=pixels["image"][0],
                mask=pixels["mask"][0],
                variance=pixels["variance"][0],
            )
        except UnreadableFile:
            raise
        except (SkyloomError, LookupError, ValueError) as error:
            raise self._error(f"footprint {number} is damaged ({error})") from error

    def _error(self, what: str) -> UnreadableFile:
        where = "the catalogue" if self._archive is None else self._archive.index.where
        return UnreadableFile(f"{where}: {what}; copy or write the file again", where=where)

    def _spans(self, columns: dict[str, Any]) -> SpanSet:
        if "y" not in columns:  # a number that leads to the spans; older files hold them here
            name, parts = self._parts(int(columns["id"][0]))
            if name != "SpanSet":
                raise BadTable(f"its spans are a {name}")
            columns = parts[0][1]
        return SpanSet(np.stack([columns["y"], columns["x0"], columns["x1"]], axis=1))


def _peaks(schema: Schema, columns: dict[str, Any]) -> Any:
    from skyloom.catalogs.source_catalog import SourceCatalog  # noqa: PLC0415 - it holds a store

    n = len(next(iter(columns.values())))
    return SourceCatalog(schema, columns, n, kind="BASE")


def _decoded_table(table: Table | RawTable) -> tuple[Schema, dict[str, Any]]:
    if isinstance(table, RawTable):
        n, width = table.hdu.integer("NAXIS2"), table.hdu.integer("NAXIS1")
        heap = table.hdu.integer("THEAP", n * width)
        header, data, where = table.hdu.header, table.data, table.hdu.where
    else:
        n, data, where = len(table), table.raw_data, table.where
        heap = len(table.raw_data) - len(table.heap)
        header = fits.Header.fromstring(table.raw_header)
    try:
        layout = parse_layout(header)
        return Schema(layout.fields), columns_of(layout, data, n, heap)
    except BadTable as error:
        raise UnreadableFile(f"{where}: {error}; copy or write the file again") from error


def _encoded(
    footprints: Sequence[tuple[int, Footprint]], free: int, n_tables: int
) -> tuple[list[tuple[Any, ...]], list[bytes]]:
    """Return rows of the index, and the tables that hold some footprints.

    Tables: one of span numbers, one of spans, one of peaks for each set of peak fields, one of
    pixels for each pixel type.
    """
    tables = _Tables(n_tables)
    rows: list[tuple[Any, ...]] = []
    for offset, (number, footprint) in enumerate(footprints):
        name = "Footprint"
        if isinstance(footprint, HeavyFootprint):
            name = _HEAVY + _LETTERS.get(footprint.image_values.dtype.str[1:], "F")
        spans = free + offset
        parts = [
            (tables.add(name, _ID, {"id": [spans]}, 1), name),
            (_add_peaks(tables, name, footprint), name),
        ]
        if isinstance(footprint, HeavyFootprint):
            parts.append((_add_pixels(tables, name, footprint), name))
        for part, ((table, row0, n), owner) in enumerate(parts):
            rows.append((number, table, part, row0, n, owner, _DETECTION))
        y, x0, x1 = footprint.spans.spans.T
        table, row0, n = tables.add("SpanSet", _SPANS, {"y": y, "x0": x0, "x1": x1}, len(y))
        rows.append((spans, table, 0, row0, n, "SpanSet", _GEOM))
    return rows, tables.to_bytes()


def _add_peaks(tables: _Tables, name: str, footprint: Footprint) -> tuple[int, int, int]:
    peaks = footprint.peaks
    return tables.add(name, tuple(peaks.schema), peaks.columns, len(peaks))


def _add_pixels(tables: _Tables, name: str, heavy: HeavyFootprint) -> tuple[int, int, int]:
    letter = name.removeprefix(_HEAVY)
    mask = "U" if heavy.mask_values.dtype.itemsize == 2 else "I"
    fields = (
        Field("image", f"Array{letter}", "image pixels for HeavyFootprint", "count"),
        Field("mask", f"Array{mask}", "mask pixels for HeavyFootprint"),
        Field("variance", "ArrayF", "variance pixels for HeavyFootprint", "count^2"),
    )
    pixels = {
        "image": [heavy.image_values],
        "mask": [heavy.mask_values],
        "variance": [heavy.variance_values],
    }
    return tables.add(name, fields, pixels, 1)


class _Tables:
    """Tables of an archive, filled row by row."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._parts: dict[Any, tuple[int, list[dict[str, Any]]]] = {}
        self._lengths: dict[Any, int] = {}

    def add(
        self, name: str, fields: tuple[Field, ...], columns: dict[str, Any], n: int
    ) -> tuple[int, int, int]:
        """Add rows; return the number of the table, the first row, and how many there are."""
        key = name, fields
        if key not in self._parts:
            self._parts[key] = len(self._parts) + self._first + 1, []
        number, pieces = self._parts[key]
        pieces.append(columns)
        row0 = self._lengths.get(key, 0)
        self._lengths[key] = row0 + n
        return number, row0, n

    def to_bytes(self) -> list[bytes]:
        """Return the tables as HDUs, in the order of their numbers."""
        made = []
        for (name, fields), (number, pieces) in self._parts.items():
            cards = [
                ("EXTTYPE", "ARCHIVE_DATA", ""),
                ("AR_CATN", number, "# of this catalog in this archive"),
                ("AR_NAME", name, "Class name for objects stored here"),
                ("HIERARCH AFW_TABLE_VERSION", 3, ""),
            ]
            columns = {f.name: _concatenated(f, [p[f.name] for p in pieces]) for f in fields}
            made.append(table_bytes(fields, columns, self._lengths[name, fields], cards=cards))
        return made


def _concatenated(field: Field, pieces: Iterable[Any]) -> Any:
    if field.is_variable:
        return [value for piece in pieces for value in piece]
    return np.concatenate([np.asarray(piece) for piece in pieces])

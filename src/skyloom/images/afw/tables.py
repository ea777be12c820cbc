"""Binary tables as afw writes them: read from bytes, cell by cell, and made from plain values.

Only what archives hold is known here: scalars, arrays, text, bit flags, and variable arrays.  The
bytes are kept, so that a table that is not understood is rewritten unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.errors import UnreadableFile
from skyloom.images.afw.hdus import Hdu, padded

__all__ = ["Column", "FieldSpec", "Table", "make_table"]

_KINDS = {
    "L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8",
    "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16", "A": "S",
}  # fmt: skip
_FORM = re.compile(r"(\d*)([PQ]?)([LXBIJKAEDCM])(?:\(\d*\))?\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its name, the FITS format, and where it is in a row."""

    name: str
    kind: str  # the letter of the format; of a variable array, that of its elements
    repeat: int
    pointer: str  # "P" or "Q" for a variable array, else ""
    offset: int  # byte in the row
    size: int  # byte


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A binary table: header, rows and heap as bytes, and how to find a cell in them."""

    raw_header: bytes
    flags: Mapping[str, int]  # names of the packed flags, and their bits from 0
    where: str  # file and HDU, for messages
    width: int  # byte of a row
    n_rows: int
    rows: bytes
    heap: bytes
    raw_data: bytes  # rows, gap and heap
    columns: Mapping[str, Column]

    @classmethod
    def parse(cls, hdu: Hdu, data: bytes) -> Table:
        """Understand the header of a table whose data were read.

        Raises
        ------
        UnreadableFile
            If the header and the data do not fit together.
        """
        if not hdu.raw_header.startswith(b"XTENSION= 'BINTABLE'"):
            raise hdu.error("is not a binary table")
        width, n_rows = hdu.integer("NAXIS1"), hdu.integer("NAXIS2")
        columns: dict[str, Column] = {}
        offset = 0
        for number in range(1, hdu.integer("TFIELDS") + 1):
            form = hdu.text(f"TFORM{number}")
            match = _FORM.fullmatch(form)
            if match is None:
                raise hdu.error(f"TFORM{number} = {form!r} is not a format of a column")
            repeat = int(match[1]) if match[1] else 1
            column = _column(hdu.text(f"TTYPE{number}"), repeat, match[2], match[3], offset)
            if column.name in columns:
                raise hdu.error(f"two columns are called {column.name!r}")
            columns[column.name] = column
            offset += column.size
        if offset != width or width * n_rows > len(data):
            raise hdu.error(f"columns of {offset} bytes do not fill rows of {width} bytes")
        heap_start = hdu.integer("THEAP", width * n_rows)
        if not width * n_rows <= heap_start <= len(data):
            raise hdu.error("the heap starts outside the data")
        return cls(
            raw_header=hdu.raw_header,
            flags=_flag_names(hdu, columns),
            where=hdu.where,
            width=width,
            n_rows=n_rows,
            rows=data[: width * n_rows],
            heap=data[heap_start:],
            raw_data=data,
            columns=columns,
        )

    def __len__(self) -> int:
        return self.n_rows

    def cell(self, name: str, row: int) -> Any:
        """Return a value: int, float, bool, str, or an array in native byte order.

        Raises
        ------
        UnreadableFile
            If there is no such column or row, or a variable array lies outside the heap.
        """
        if not 0 <= row < self.n_rows:
            raise self.error(f"there is no row {row}, it has {self.n_rows}")
        if name in self.flags:
            return self._flag(self.flags[name], row)
        column = self.columns.get(name)
        if column is None:
            raise self.error(f"there is no column {name!r} (it has {', '.join(self.columns)})")
        start = row * self.width + column.offset
        data = self.rows[start : start + column.size]
        if column.pointer:
            kind = ">i4" if column.pointer == "P" else ">i8"
            count, offset = (int(n) for n in np.frombuffer(data, kind, 2))
            size = _size(column.kind, count)
            if count < 0 or offset < 0 or offset + size > len(self.heap):
                raise self.error(f"row {row}: the array {name!r} lies outside the heap")
            return _value(column.kind, count, self.heap[offset : offset + size], is_array=True)
        return _value(column.kind, column.repeat, data, is_array=column.repeat != 1)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return a whole column of fixed format, shape (rows,) or (rows, repeat), native order."""
        column = self.columns.get(name)
        if column is None or column.pointer or column.kind in "AX":
            raise self.error(f"there is no column {name!r} of numbers")
        whole = np.frombuffer(self.rows, np.uint8).reshape(self.n_rows, self.width)
        part = np.ascontiguousarray(whole[:, column.offset : column.offset + column.size])
        dtype = np.dtype(_KINDS[column.kind])
        values = part.view(dtype).astype(dtype.newbyteorder("="))
        return values[:, 0] if column.repeat == 1 else values

    def to_bytes(self) -> bytes:
        """Return the HDU as it stands in a file."""
        return self.raw_header + padded(self.raw_data)

    def error(self, what: str) -> UnreadableFile:
        """Return the error that names this table."""
        file, _, number = self.where.rpartition("[")
        return UnreadableFile(
            f"{self.where}: {what}; copy or write the file again",
            file=file,
            hdu=int(number[:-1]) if number[:-1].isdecimal() else None,
        )

    def _flag(self, bit: int, row: int) -> bool:
        byte = self.rows[row * self.width + self.columns["flags"].offset + bit // 8]
        return bool(byte >> (7 - bit % 8) & 1)  # FITS counts bits from the left


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """A column to be written: name, format, and what afw says about it."""

    name: str
    form: str  # FITS format; "flag" for a bit
    doc: str = ""
    unit: str = ""
    kind: str = "Scalar"  # the field class of lsst.afw.table
    values: Sequence[Any] = field(default_factory=list)


def make_table(
    fields: Sequence[FieldSpec], cards: Sequence[tuple[str, Any, str]], *, where: str
) -> Table:
    """Make a table from columns of plain values, in the layout of afw.

    Parameters
    ----------
    fields : sequence of FieldSpec
        The columns, in the order of afw; fields of the form "flag" are packed into a first column
        ``flags``.
    cards : sequence of (keyword, value, comment)
        More cards of the header (EXTTYPE, AR_NAME, ...).
    where : str
        What to call it in messages.
    """
    flags = [f for f in fields if f.form == "flag"]
    plain = [f for f in fields if f.form != "flag"]
    n_rows = len(fields[0].values) if fields else 0
    columns = [_field_column(f) for f in plain]
    flag_size = -(-len(flags) // 8)
    rows = bytearray()
    heap = bytearray()
    for row in range(n_rows):
        rows += _packed([bool(f.values[row]) for f in flags])
        for spec, column in zip(plain, columns, strict=True):
            rows += _encoded(column, spec.values[row], heap)
    header = fits.Header()
    width = flag_size + sum(c.size for c in columns)
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = (8, "8-bit bytes")
    header["NAXIS"] = (2, "2-dimensional binary table")
    header["NAXIS1"] = (width, "width of table in bytes")
    header["NAXIS2"] = (n_rows, "number of rows in table")
    header["PCOUNT"] = (len(heap), "size of special data area")
    header["GCOUNT"] = (1, "one data group (required keyword)")
    header["TFIELDS"] = (len(plain) + bool(flags), "number of fields in each row")
    if flags:
        header["TTYPE1"] = "flags"
        header["TFORM1"] = f"{len(flags)}X"
        header["FLAGCOL"] = (1, "Column number of the bitflags.")
    bit, number = 0, int(bool(flags))
    for spec in fields:  # in this order afw lays its records out, flags among the others
        if spec.form == "flag":
            bit += 1
            header[f"TFLAG{bit}"] = spec.name
            header[f"TFDOC{bit}"] = spec.doc
            continue
        number += 1
        header[f"TTYPE{number}"] = spec.name
        header[f"TFORM{number}"] = spec.form
        header[f"TDOC{number}"] = spec.doc
        if spec.unit:
            header[f"TUNIT{number}"] = spec.unit
        header[f"TCCLS{number}"] = (spec.kind, "Field template used by lsst.afw.table")
    for keyword, value, comment in cards:
        name = keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"
        header.append((name, value, comment), end=True)
    raw = header.tostring().encode("ascii")
    data = bytes(rows + heap)
    offsets = np.cumsum([flag_size, *(c.size for c in columns)])
    placed = {
        c.name: Column(
            name=c.name, kind=c.kind, repeat=c.repeat, pointer=c.pointer,
            offset=int(offset), size=c.size,
        )
        for c, offset in zip(columns, offsets[:-1], strict=True)
    }  # fmt: skip
    if flags:
        placed["flags"] = _column("flags", len(flags), "", "X", 0)
    return Table(
        raw_header=raw,
        flags={spec.name: bit for bit, spec in enumerate(flags)},
        where=where,
        width=width,
        n_rows=n_rows,
        rows=bytes(rows),
        heap=bytes(heap),
        raw_data=data,
        columns=placed,
    )


def _flag_names(hdu: Hdu, columns: Mapping[str, Column]) -> dict[str, int]:
    names: dict[str, int] = {}
    n_bits = columns["flags"].repeat if "flags" in columns and "FLAGCOL" in hdu else 0
    while len(names) < n_bits:
        name = hdu.text(f"TFLAG{len(names) + 1}")
        if not name or name in names:
            break
        names[name] = len(names)
    return names


def _column(name: str, repeat: int, pointer: str, kind: str, offset: int) -> Column:
    size = {"": _size(kind, repeat), "P": 8 * repeat, "Q": 16 * repeat}[pointer]
    return Column(name=name, kind=kind, repeat=repeat, pointer=pointer, offset=offset, size=size)


def _field_column(spec: FieldSpec) -> Column:
    match = _FORM.fullmatch(spec.form)
    if match is None:
        raise ValueError(f"{spec.form!r} is not a format of a column")
    return _column(spec.name, int(match[1]) if match[1] else 1, match[2], match[3], 0)


def _size(kind: str, count: int) -> int:
    if kind == "X":
        return -(-count // 8)
    return count * (1 if kind == "A" else np.dtype(_KINDS[kind]).itemsize)


def _value(kind: str, count: int, data: bytes, *, is_array: bool) -> Any:
    if kind == "A":
        return data.split(b"\0")[0].decode("ascii", "replace").rstrip(" ")
    if kind == "X":
        return np.unpackbits(np.frombuffer(data, np.uint8))[:count].astype(bool)
    dtype = np.dtype(_KINDS[kind])
    values = np.frombuffer(data, dtype, count).astype(dtype.newbyteorder("="))
    if is_array:
        return values
    return values[0].item()


def _packed(bits: Sequence[bool]) -> bytes:
    return np.packbits(np.array(bits, bool)).tobytes() if bits else b""


def _encoded(column: Column, value: Any, heap: bytearray) -> bytes:
    count = column.repeat
    if column.kind == "A":
        data = str(value).encode("ascii", "replace")
    else:
        data = np.asarray(value, _KINDS[column.kind]).ravel().tobytes()
    if column.pointer:
        kind = ">i4" if column.pointer == "P" else ">i8"
        length = len(data) if column.kind == "A" else np.size(value)
        pointer = np.array([length, len(heap)], kind).tobytes()
        heap += data
        return pointer
    if column.kind == "A":
        if len(data) > count:
            raise ValueError(f"column {column.name!r} holds {count} letters, {value!r} has more")
        return data.ljust(count, b"\0")
    if len(data) != column.size:
        raise ValueError(f"column {column.name!r} holds {count} values, {np.size(value)} given")
    return data

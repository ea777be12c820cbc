"""Rows of a FITS table as bytes, and the columns that they hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.catalogs.fields import Field
from skyloom.catalogs.io.fits_layout import FLAGS, FitsColumn, Layout, header_cards
from skyloom.errors import BadTable
from skyloom.images.afw.hdus import padded

__all__ = ["columns_of", "table_bytes"]

_BLOCK: Final = 1 << 19  # bytes of rows that are taken apart at once: they stay in the cache
_P_LIMIT: Final = (1 << 31) - 1  # bytes that a 32-bit descriptor can reach


def columns_of(layout: Layout, data: bytes, n_rows: int, heap_start: int) -> dict[str, Any]:
    """Return the columns of a table by the names of its fields.

    Parameters
    ----------
    layout : Layout
        What the header says.
    data : bytes
        Rows, gap and heap.
    n_rows : int
        Number of rows.
    heap_start : int
        Byte at which the heap begins.

    Raises
    ------
    BadTable
        If the data do not hold what the header says.
    """
    used = layout.width * n_rows
    if len(data) < used or not used <= heap_start <= len(data):
        raise BadTable(f"{len(data)} bytes of data do not hold {n_rows} rows of {layout.width}")
    raw = _split(layout, data, n_rows)
    heap = np.frombuffer(data, np.uint8)[heap_start:]
    columns: dict[str, Any] = {}
    flags = np.empty((0, n_rows), dtype=bool)
    if FLAGS in layout.columns:
        flags = _bits(raw[FLAGS], layout.columns[FLAGS].repeat)
    for field in layout.fields:
        if field.type == "Flag":
            columns[field.name] = flags[layout.bits[field.name]]
            continue
        columns[field.name] = _values(field, layout.columns[field.name], raw.pop(field.name), heap)
    return columns


def _split(layout: Layout, data: bytes, n_rows: int) -> dict[str, npt.NDArray[Any]]:
    """Return the columns as they are on disk, in native byte order."""
    made = {}
    parts = {}
    for key, column in layout.columns.items():
        dtype, shape = column.raw
        native = np.dtype(dtype).newbyteorder("=")
        made[key] = np.empty((n_rows, *shape), dtype=native)
        if column.size and n_rows:
            parts[key] = (np.dtype((dtype, shape)), column.offset)
    if not parts:
        return made
    rows = np.frombuffer(
        data,
        np.dtype({
            "names": [str(i) for i in range(len(parts))],
            "formats": [dtype for dtype, _ in parts.values()],
            "offsets": [offset for _, offset in parts.values()],
            "itemsize": layout.width,
        }),
        count=n_rows,
    )  # fmt: skip
    views = [(made[key], rows[str(i)]) for i, key in enumerate(parts)]
    step = max(1, _BLOCK // layout.width)
    for start in range(0, n_rows, step):
        block = slice(start, start + step)
        for target, source in views:
            target[block] = source[block]
    return made


def _bits(packed: npt.NDArray[Any], n: int) -> npt.NDArray[np.bool_]:
    """Return bits, shape (n, rows); FITS counts from the most significant one."""
    turned = np.unpackbits(np.ascontiguousarray(packed.T), axis=0, bitorder="big")
    n_bytes, n_rows = packed.shape[1], packed.shape[0]
    # unpackbits along axis 0 keeps the eight bits of a byte together, most significant first
    return turned.reshape(n_bytes * 8, n_rows)[:n].view(bool)


def _values(field: Field, column: FitsColumn, raw: Any, heap: Any) -> Any:
    if column.pointer:
        return _variable(field, column, raw, heap)
    if column.letter == "A":
        is_list = any(keyword == "TDIM" for keyword, _ in field.cards)
        return _text(np.where(raw == 0, ord(" "), raw).astype(np.uint8) if is_list else raw)
    if column.letter == "X":
        return np.unpackbits(raw, axis=1)[:, : column.repeat].astype(bool)
    values = _scaled(raw, field, column)
    return values if field.shape else values[:, 0]


def _scaled(raw: Any, field: Field, column: FitsColumn) -> Any:
    """Apply TZERO and TSCAL; logical values are T, F or 0."""
    dtype = np.dtype(field.info.dtype)
    if column.letter == "L":
        return raw == ord("T")
    if (column.scale, column.zero) == (1.0, 0.0):
        return raw.view(dtype) if raw.dtype.itemsize == dtype.itemsize else raw.astype(dtype)
    if dtype.kind == "f":
        return raw.astype(np.float64) * column.scale + column.zero
    # an offset of half the range: flip the most significant bit
    top = raw.dtype.type(np.iinfo(raw.dtype).min) if raw.dtype.kind == "i" else raw.dtype.type(128)
    return (raw ^ top).view(dtype)


def _text(raw: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """Return text up to its first NUL, without trailing blanks; bytes that are no UTF-8 survive."""
    n_rows, size = raw.shape
    if not size or not n_rows:
        return np.zeros(n_rows, dtype="U1")
    ended = np.cumsum(raw == 0, axis=1) > 0
    if ended.any():
        raw = np.where(ended, 0, raw).astype(np.uint8)
    text = np.ascontiguousarray(raw).view(f"S{size}")[:, 0]
    return np.char.rstrip(np.char.decode(text, "utf-8", "surrogateescape"), " ")


def _variable(field: Field, column: FitsColumn, raw: Any, heap: Any) -> Any:
    dtype, item = _heap_type(column)
    counts, starts = raw[:, 0].astype(np.int64), raw[:, 1].astype(np.int64)
    sizes = -(-counts // 8) if column.letter == "X" else counts * item
    bad = (counts < 0) | (counts > len(heap) * 8) | (starts < 0) | (starts > len(heap) - sizes)
    rows = np.flatnonzero(bad & (counts != 0))
    if rows.size:
        row = int(rows[0])
        raise BadTable(
            f"row {row + 1}, column {column.name}: an array of {counts[row]} elements at byte "
            f"{starts[row]} is outside the heap of {len(heap)} bytes",
            row=row + 1,
            column=column.name,
        )
    cells = []
    for count, start, size in zip(counts.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        piece = heap[start : start + size] if count else heap[:0]
        cells.append(_cell(field, column, piece, dtype, count))
    if field.type == "String":
        return np.array(cells, dtype=str) if cells else np.zeros(0, dtype="U1")
    values = np.empty(len(cells), dtype=object)
    values[:] = cells
    return values


def _cell(field: Field, column: FitsColumn, piece: Any, dtype: str, count: int) -> Any:
    if column.letter == "A":
        text = piece.tobytes().split(b"\0")[0]
        return text.decode("utf-8", "surrogateescape").rstrip(" ")
    if column.letter == "X":
        return np.unpackbits(piece)[:count].astype(bool)
    native = piece.view(dtype).astype(np.dtype(dtype).newbyteorder("="))
    return _scaled(native, field, column)


def _heap_type(column: FitsColumn) -> tuple[str, int]:
    dtype = FitsColumn(
        name=column.name, letter=column.letter, repeat=1, pointer="", offset=0
    ).raw[0]  # fmt: skip
    return dtype, np.dtype(dtype).itemsize


def table_bytes(
    fields: Iterable[Field],
    columns: Mapping[str, Any],
    n_rows: int,
    *,
    aliases: Mapping[str, str] | None = None,
    cards: Iterable[Any] = (),
    is_plain: bool = False,
) -> bytes:
    """Return a whole HDU: header, rows and heap.

    Parameters
    ----------
    fields : iterable of Field
        In order; flags are packed into a first column.
    columns : mapping of str to array
        The columns by the names of their fields.
    n_rows : int
        Number of rows.
    aliases : mapping, optional
        ALIAS cards.
    cards : iterable of Card or (keyword, value, comment)
        What else is to stand in the header.
    is_plain : bool
        Whether the table is not one of afw.

    Raises
    ------
    BadTable
        If a text is longer than its field, or a name cannot stand in a header.
    """
    fields = tuple(fields)
    flags = [columns[f.name] for f in fields if f.type == "Flag"]
    parts: dict[str, npt.NDArray[Any]] = {}
    forms: dict[str, str] = {}
    heap = bytearray()
    if flags:
        parts[FLAGS] = np.packbits(np.stack(flags, axis=1), axis=1)
        forms[FLAGS] = f"{len(flags)}X"
    for field in fields:
        if field.type != "Flag":
            forms[field.name], parts[field.name] = _encoded(field, columns[field.name], heap)
    rows = _joined(list(parts.values()), n_rows)
    header = fits.Header()
    for keyword, value, comment in (
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "8-bit bytes"),
        ("NAXIS", 2, "2-dimensional binary table"),
        ("NAXIS1", rows.dtype.itemsize if rows.dtype.names else 0, "width of table in bytes"),
        ("NAXIS2", n_rows, "number of rows in table"),
        ("PCOUNT", len(heap), "size of special data area"),
        ("GCOUNT", 1, "one data group (required keyword)"),
        ("TFIELDS", len(parts), "number of fields in each row"),
    ):
        header.append((keyword, value, comment), end=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # a comment is cut off
            made = header_cards(fields, aliases or {}, forms=forms, is_plain=is_plain)
            for entry in (*made, *cards):
                header.append(entry, end=True)
            head = header.tostring().encode("ascii")
    except (ValueError, UnicodeEncodeError, fits.VerifyError) as error:
        raise BadTable(f"a card of the header cannot be written: {error}") from error
    body = (rows.tobytes() if rows.dtype.names else b"") + bytes(heap)
    return bytes(head) + padded(body)


def _encoded(field: Field, values: Any, heap: bytearray) -> tuple[str, npt.NDArray[Any]]:
    """Return the format of a column, and its rows as they are on disk."""
    info = field.info
    if field.type == "String" and field.size is not None:
        return _encoded_text(field, values)
    if field.is_variable or field.type == "String":
        return _encoded_variable(field, values, heap)
    if info.form == "X":
        count = field.shape[0]
        return f"{count}X", np.packbits(values, axis=1)
    raw = _raw(field, values)
    count = field.shape[0] if field.shape else 1
    return f"{count}{info.form}", raw.reshape(len(values), count)


def _raw(field: Field, values: Any) -> Any:
    """Return numbers as they are on disk: big-endian, unsigned ones with an offset."""
    info = field.info
    if info.form == "L":
        return np.where(values, ord("T"), ord("F")).astype(np.uint8)
    native = np.ascontiguousarray(values, dtype=info.dtype)
    if info.zero:
        bits = native.view(f"u{native.dtype.itemsize}")
        native = bits ^ bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    return native.astype(native.dtype.newbyteorder(">"))


def _encoded_text(field: Field, values: Any) -> tuple[str, npt.NDArray[Any]]:
    size = field.size or 0
    text = np.char.encode(np.asarray(values, dtype=str), "utf-8", "surrogateescape")
    if text.dtype.itemsize > max(size, 1):
        longest = int(np.char.str_len(text).max(initial=0))
        if longest > size:
            row = int(np.char.str_len(text).argmax())
            raise BadTable(
                f"row {row + 1}, column {field.name}: a text of {longest} bytes does not fit into "
                f"the {size} of the field; give the field a larger size",
                row=row + 1,
                column=field.name,
            )
    fixed = text.astype(f"S{max(size, 1)}")
    return f"{size}A", fixed.view(np.uint8).reshape(len(values), fixed.dtype.itemsize)[:, :size]


def _encoded_variable(field: Field, values: Any, heap: bytearray) -> tuple[str, npt.NDArray[Any]]:
    pointers = np.zeros((len(values), 2), dtype=np.int64)
    longest = 0
    for row, value in enumerate(values):
        if field.type == "String":
            data = str(value).encode("utf-8", "surrogateescape")
            count = len(data)
        elif field.info.form == "X":
            data, count = np.packbits(value).tobytes(), len(value)
        else:
            data, count = _raw(field, np.atleast_1d(value)).tobytes(), len(value)
        pointers[row] = count, len(heap)
        longest = max(longest, count)
        heap += data
    letter = "P" if len(heap) <= _P_LIMIT else "Q"
    raw = pointers.astype(">i4" if letter == "P" else ">i8")
    return f"1{letter}{field.info.form}({longest})", raw


def _joined(parts: list[npt.NDArray[Any]], n_rows: int) -> npt.NDArray[Any]:
    """Return the rows of a table out of its columns, each of shape (rows, elements)."""
    formats = [np.dtype((p.dtype, p.shape[1:])) for p in parts]
    names = [str(i) for i in range(len(parts))]
    width = sum(f.itemsize for f in formats)
    if not width:
        return np.zeros(n_rows, dtype=np.uint8)
    rows = np.empty(n_rows, np.dtype(list(zip(names, formats, strict=True))))
    step = max(1, _BLOCK // width)
    for start in range(0, n_rows, step):
        block = slice(start, start + step)
        for name, part in zip(names, parts, strict=True):
            rows[name][block] = part[block]
    return rows

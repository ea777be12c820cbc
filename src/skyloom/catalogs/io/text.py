"""Tables on disk: CSV with its text untouched, and the image list.

A CSV cell is kept as the text it is: identifiers keep leading zeros, ``NA`` and ``null`` are names
like any other, and what was read is written back unchanged.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.table import Table

from skyloom.catalogs.values import column_as_text, text_array
from skyloom.errors import BadTable, MissingFile, UnreadableFile, Unwritable

__all__ = ["read_csv", "read_image_list", "write_csv"]


_BINARY = {
    b"SIMPLE  =": "a FITS file",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip archive or spreadsheet",
}
"""First bytes of what people hand in instead of text."""


def _read_text(path: Path, *, key: str) -> str:
    """Read a UTF-8 text file (a byte-order mark is dropped)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file; correct {key}", file=str(path)) from None
    except OSError as error:
        raise UnreadableFile(
            f"{path}: cannot be read ({error.strerror}); correct {key} or its permissions",
            file=str(path),
        ) from error
    kind = next((name for start, name in _BINARY.items() if data.startswith(start)), None)
    if kind is not None:
        raise UnreadableFile(
            f"{path}: this is {kind}, but text is needed here; save the table as CSV and name that "
            f"file as {key}",
            file=str(path),
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text; save the "
            "file as UTF-8",
            file=str(path),
            line=line,
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnreadableFile(
            f"{path}, line {line}: a NUL byte: this is not a text file; give a CSV file",
            file=str(path),
            line=line,
        )
    return text


def read_csv(path: Path | str, *, key: str = "the path") -> Table:
    """Read a CSV file with header; every column stays text.

    Parameters
    ----------
    path : path
        Comma-separated, UTF-8, quoted as in RFC 4180.  Blank lines are skipped; a column without
        name (the index that some programs write) becomes ``unnamed_1``, counted from the left.
    key : str
        The configuration key to name in the remedy.

    Returns
    -------
    Table
        Text columns; ``meta["path"]`` is the file.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent or no text.
    BadTable
        If it has no header, a column name twice, or a row with the wrong number of cells.
    """
    path = Path(path)
    reader = csv.reader(io.StringIO(_read_text(path, key=key), newline=""), strict=True)
    names: list[str] | None = None
    rows: list[list[str]] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if names is None:
                names = [c or f"unnamed_{i}" for i, c in enumerate(cells, start=1)]
                continue
            if len(cells) != len(names):
                is_short = len(cells) < len(names)
                remedy = "the file may be cut off: write it again"
                more = "quote cells that hold commas"
                if names[0].lstrip().startswith("#") and len(names) < len(cells):
                    more = "the first line has to name the columns: remove comment lines"
                raise BadTable(
                    f"{path}, row {len(rows) + 1} (line {reader.line_num}): {len(cells)} cells, "
                    f"but the header has {len(names)}; "
                    f"{remedy if is_short else more}",
                    file=str(path),
                    row=len(rows) + 1,
                    line=reader.line_num,
                )
            rows.append(cells)
    except csv.Error as error:
        raise UnreadableFile(
            f"{path}, line {reader.line_num}: not a CSV table ({error}); check the quotes",
            file=str(path),
            line=reader.line_num,
        ) from error
    if names is None:
        raise BadTable(
            f"{path}: the file is empty; a header line with column names is needed",
            file=str(path),
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadTable(
            f"{path}: the header names {', '.join(map(repr, twice))} more than once; rename the "
            "columns",
            file=str(path),
            columns=twice,
        )
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return Table([text_array(c) for c in columns], names=names, meta={"path": str(path)})


def write_csv(table: Table, path: Path | str) -> None:
    """Write a table as CSV: text verbatim, ``True``/``False``, shortest exact numbers.

    NaN, masked cells and None are written as empty cells; lines end in a line feed; the bytes
    depend on the table alone.

    Raises
    ------
    BadTable
        If a column is not one value per row.
    Unwritable
        If the file cannot be written.
    """
    cells = []
    for name in table.colnames:
        if np.asarray(table[name]).ndim != 1:
            raise BadTable(f"column {name}: CSV holds one value per cell", column=name)
        column = column_as_text(table, name).tolist()
        plain = not _needs_quotes("".join(column))  # one look at all cells
        cells.append(column if plain else [_quoted(cell) for cell in column])
    lines = [",".join(_quoted(name) for name in table.colnames)]
    lines.extend(map(",".join, zip(*cells, strict=True)))
    if len(cells) == 1:  # an empty line would be skipped on reading
        lines = [line or '""' for line in lines]
    try:
        Path(path).write_bytes(("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise unwritable(Path(path), error) from error


def _needs_quotes(text: str) -> bool:
    return "," in text or '"' in text or "\n" in text or "\r" in text


def _quoted(cell: str) -> str:
    if _needs_quotes(cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def unwritable(path: Path, error: OSError) -> Unwritable:
    """Return the error for a file that cannot be written."""
    return Unwritable(
        f"{path}: cannot be written ({error.strerror or error}); check the directory, its "
        "permissions and the free space",
        file=str(path),
    )


def read_image_list(path: Path | str, *, base: Path | str | None = None) -> tuple[Path, ...]:
    """Read the list of FITS files, one path per line; its order is the band order.

    Blank lines and lines whose first character is ``#`` are ignored, ``~`` is expanded.

    Parameters
    ----------
    path : path
        The list.
    base : path, optional
        Directory that relative lines start from (that of the configuration file); default: that
        of the list.

    Raises
    ------
    MissingFile
        If the list is absent or names no file.
    UnreadableFile
        If it is no text.
    """
    path = Path(path)
    start = path.parent if base is None else Path(base)
    key = "inputs.image_list_file"
    lines = [line.strip() for line in _read_text(path, key=key).splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise MissingFile(
            f"{path}: the image list is empty; write one FITS path per line, or correct {key}",
            file=str(path),
        )
    return tuple((start / Path(line).expanduser()).resolve() for line in named)

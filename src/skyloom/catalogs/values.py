"""Numbers, truth values and names out of table columns, text columns included.

Tables read from CSV hold text, byte for byte; a number is parsed when somebody asks for it.  Rows
in messages count from 1, the first row after the header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.errors import BadTable

__all__ = ["column_as_bool", "column_as_float", "column_as_text", "table_name", "text_array"]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "--"})
"""Cells that stand for "no value" in a numeric column, lower case, stripped."""

_TRUE = frozenset({"true", "t", "1", "1.0", "yes"})
_FALSE = frozenset({"false", "f", "0", "0.0", "no"}) | MISSING
_SEXAGESIMAL = re.compile(r"\s*[+-]?\d+\s*[:hd\s]\s*\d+\s*[:m\s]")  # 12:00:03.85, 12h00m03s


def table_name(table: Table) -> str:
    """Return what to call a table in messages: the file it came from, if known."""
    return str(table.meta.get("path", "table"))


def text_array(cells: Sequence[str]) -> npt.NDArray[np.str_]:
    """Return strings as an array wide enough for all of them."""
    return np.array(cells, dtype=np.str_) if len(cells) else np.zeros(0, dtype="U1")


def column_as_text(table: Table, name: str) -> npt.NDArray[np.str_]:
    """Return a column as strings; masked cells are empty, text stays as it is."""
    column = table[name]
    values = np.asarray(column)
    if values.dtype.kind == "f":
        text = np.where(np.isnan(values), "", values.astype(str))
    elif values.dtype.kind == "S":
        text = np.char.decode(values, "utf-8")
    elif values.dtype.kind == "O":
        text = text_array(["" if v is None else str(v) for v in values])
    else:
        text = values.astype(str)
    masked = _mask(column)
    return np.asarray(np.where(masked, "", text) if masked is not None else text)


def column_as_float(table: Table, name: str) -> Floats:
    """Return a column as float64.

    Parameters
    ----------
    table : Table
        Any table; ``meta["path"]`` names it in messages.
    name : str
        Column.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where the cell is empty, masked or one of the spellings of "no value" (NA, null, nan).

    Raises
    ------
    BadTable
        If a cell is not a number; names file, row and column.
    """
    column = table[name]
    values = np.asarray(column)
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
        masked = _mask(column)
        if masked is not None:
            numbers[masked] = np.nan
        return numbers
    cells = column_as_text(table, name)
    numbers = np.full(len(cells), np.nan)
    filled = cells != ""
    try:
        numbers[filled] = cells[filled].astype(np.float64)  # fast where every cell is a number
    except ValueError:
        pass
    else:
        return numbers
    bad: list[int] = []
    for row, cell in enumerate(cells.tolist()):
        if cell.strip().lower() in MISSING:
            continue
        try:
            numbers[row] = float(cell)
        except ValueError:
            bad.append(row)
    if bad:
        first = bad[0]
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise BadTable(
            f"{table_name(table)}, row {first + 1}, column {name}: {str(cells[first])!r} is not a "
            f"number{more}; "
            + (
                "write decimal degrees"
                if _SEXAGESIMAL.match(str(cells[first]))
                else "correct the cell or leave it empty"
            ),
            file=table_name(table),
            row=first + 1,
            column=name,
            rows=[row + 1 for row in bad],
        )
    return numbers


def column_as_bool(table: Table, name: str, *, missing: bool = False) -> Bools:
    """Return a column as booleans; empty and masked cells become ``missing``.

    Raises
    ------
    BadTable
        If a cell is neither true nor false.
    """
    column = table[name]
    values = np.asarray(column)
    if values.dtype.kind in "biuf":
        truth = (
            np.where(np.isnan(values), missing, values != 0)
            if values.dtype.kind == "f"
            else (values != 0)
        )
        masked = _mask(column)
        return np.asarray(truth if masked is None else np.where(masked, missing, truth), dtype=bool)
    truth = np.zeros(len(values), dtype=bool)
    for row, cell in enumerate(column_as_text(table, name).tolist()):
        word = cell.strip().lower()
        if word in MISSING:
            truth[row] = missing
        elif word in _TRUE:
            truth[row] = True
        elif word not in _FALSE:
            raise BadTable(
                f"{table_name(table)}, row {row + 1}, column {name}: {cell!r} is neither True nor "
                "False; correct the cell",
                file=table_name(table),
                row=row + 1,
                column=name,
            )
    return truth


def _mask(column: object) -> Bools | None:
    mask = getattr(column, "mask", None)
    return None if mask is None else np.asarray(mask, dtype=bool)

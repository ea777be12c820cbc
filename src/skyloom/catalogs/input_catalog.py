"""The source catalogue that the user hands in, checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.catalogs.columns import CatalogColumns, check_flux_bands, resolve_columns
from skyloom.catalogs.io import read_csv
from skyloom.catalogs.values import column_as_float, column_as_text, table_name, text_array
from skyloom.errors import BadTable

__all__ = [
    "InputCatalog",
    "as_input_catalog",
    "load_input_catalog",
    "odd_shapes",
    "source_types",
    "unique_keys",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputCatalog:
    """A checked catalogue: the user's table and what was read from it, row by row."""

    table: Table  # text columns as they stand in the file
    columns: CatalogColumns
    ra: Floats  # deg, NaN where missing
    dec: Floats  # deg
    key: npt.NDArray[np.str_]  # unique: the ID, or the row where that is empty

    def __len__(self) -> int:
        return len(self.table)

    @property
    def has_position(self) -> Bools:
        """Rows with finite coordinates; the others stay in the outputs without a fit."""
        return np.isfinite(self.ra) & np.isfinite(self.dec)


def load_input_catalog(path: Path | str, *, bands: Sequence[str]) -> InputCatalog:
    """Read and check the source catalogue (CSV).

    Parameters
    ----------
    path : path
        CSV with RA, DEC [deg] and, if known, ID, TYPE, ELL, THETA [deg], Re [pix], SERSIC_n,
        FLUX_{band} [scaled counts] and errors; other columns are carried along.
    bands : sequence of str
        Bands of the images.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file cannot be read.
    BadTable
        If it is empty, lacks RA or DEC, repeats an ID, or has a cell that is not a number.
    Mismatch
        If its ``FLUX_`` columns name other bands than the images.
    """
    return as_input_catalog(read_csv(path, key="inputs.input_catalog"), bands=bands)


def as_input_catalog(table: Table, *, bands: Sequence[str]) -> InputCatalog:
    """Check a table as a source catalogue; see `load_input_catalog`."""
    where = table_name(table)
    columns = resolve_columns(table, bands)
    if len(table) == 0:
        raise BadTable(
            f"{where}: the catalogue has no rows; give at least one source", file=where, rows=0
        )
    check_flux_bands(table, bands)
    for name in columns.numeric:
        column_as_float(table, name)
    ra, dec = column_as_float(table, columns.ra), column_as_float(table, columns.dec)
    _check_declination(table, columns.dec, dec)
    bad = ~(np.isfinite(ra) & np.isfinite(dec))
    if bad.any():
        log.warning(
            "%s: %d of %d rows have no finite RA, DEC (first: row %d); they stay in the outputs "
            "without a fit",
            where,
            int(bad.sum()),
            len(table),
            int(np.flatnonzero(bad)[0]) + 1,
        )
    for problem in odd_shapes(table, columns):
        log.warning("%s, %s", where, problem)
    ids = text_array([""] * len(table))
    if columns.id is not None:
        ids = column_as_text(table, columns.id)
        _check_duplicates(where, columns.id, ids)
    return InputCatalog(table=table, columns=columns, ra=ra, dec=dec, key=unique_keys(ids))


def _check_declination(table: Table, name: str, dec: Floats) -> None:
    outside = np.flatnonzero(np.isfinite(dec) & (np.abs(dec) > 90))
    if outside.size:
        row, where = int(outside[0]), table_name(table)
        raise BadTable(
            f"{where}, row {row + 1}, column {name}: {dec[row]:g} is not within +-90 deg; give "
            "positions in degrees (RA and DEC may be exchanged)",
            file=where,
            row=row + 1,
            column=name,
        )


def _check_duplicates(where: str, name: str, ids: npt.NDArray[np.str_]) -> None:
    """Refuse an ID that stands in two rows; empty IDs do not count."""
    values, first, count = np.unique(ids, return_index=True, return_counts=True)
    repeated = [i for i in np.flatnonzero(count > 1) if values[i].strip()]
    if not repeated:
        return
    repeated.sort(key=lambda i: first[i])
    examples = []
    for i in repeated[:3]:
        rows = np.flatnonzero(ids == values[i])[:3] + 1
        examples.append(f"{str(values[i])!r} in rows {', '.join(map(str, rows))}")
    raise BadTable(
        f"{where}, column {name}: {len(repeated)} IDs are not unique: {'; '.join(examples)}; "
        "give every source its own ID, or leave the ID empty",
        file=where,
        column=name,
        ids=[str(values[i]) for i in repeated],
    )


def unique_keys(ids: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return one key per row: the ID or, where it is blank or a repetition, ``row_{number}``."""
    taken = set(ids.tolist())
    seen: set[str] = set()
    keys = []
    for row, name in enumerate(ids.tolist(), start=1):
        key = name
        if not name.strip() or name in seen:
            key = f"row_{row}"
            while key in taken or key in seen:
                key += "_"
        seen.add(key)
        keys.append(key)
    return text_array(keys)


def odd_shapes(table: Table, columns: CatalogColumns) -> tuple[str, ...]:
    """Say which columns hold shapes that cannot be, as many rows as they are; often another unit.

    Returns
    -------
    tuple of str
        A sentence per column with its remedy.
    """
    rules = (
        (columns.ell, 0.0, 1.0, "ELL is 1 - b/a: fits start from the nearest value from 0 to 0.9"),
        (columns.re, 0.0, np.inf, "Re is a radius [pix]: fits start from 0.3 pix"),
        (columns.theta, -360.0, 360.0, "THETA is in degrees"),
    )
    found = []
    for name, low, high, meaning in rules:
        if name is None:
            continue
        values = column_as_float(table, name)
        rows = np.flatnonzero((values < low) | (values > high))
        if rows.size:
            limits = "negative" if high == np.inf else f"beyond {low:g} to {high:g}"
            found.append(
                f"column {name}: {rows.size} of {len(table)} values are {limits} (first: row "
                f"{rows[0] + 1}, {values[rows[0]]:g}); {meaning}, correct the column if it is not"
            )
    return tuple(found)


def source_types(table: Table, columns: CatalogColumns) -> npt.NDArray[np.str_]:
    """Return TYPE in upper case without blanks; empty where the catalogue says nothing."""
    if columns.type is None:
        return text_array([""] * len(table))
    return np.char.upper(np.char.strip(column_as_text(table, columns.type)))

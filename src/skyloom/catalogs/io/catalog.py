"""Source catalogues on disk: the content tells the format when reading, the name when writing."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.table import Table

from skyloom.catalogs.catalog_tables import catalog_from_table, catalog_to_table
from skyloom.catalogs.fields import Field
from skyloom.catalogs.io.anytable import read_table
from skyloom.catalogs.io.catalog_parquet import (
    parquet_bytes,
    parquet_length,
    parquet_schema,
    read_parquet_catalog,
)
from skyloom.catalogs.io.fits_catalog import (
    LDAC,
    fits_bytes,
    fits_length,
    fits_schema,
    ldac_bytes,
    read_fits_catalog,
)
from skyloom.catalogs.io.text import write_csv
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.source_catalog import SourceCatalog
from skyloom.errors import BadTable, MissingFile, UnreadableFile
from skyloom.images.afw.write import check_free, renamed

__all__ = ["read_catalog", "read_length", "read_schema", "write_catalog"]

log = logging.getLogger(__name__)

_ENDS: Final = {
    "ldac": (".ldac", ".cat"),
    "parquet": (".parquet", ".parq", ".pq"),
    "csv": (".csv",),
    "fits": (".fits", ".fit", ".fits.gz", ".fits.fz"),
}
_WHOLE: Final = re.compile(r"[+-]?\d{1,18}")


def read_catalog(path: Path | str, *, hdu: int | None = None) -> SourceCatalog:
    """Read a catalogue; the content, not the name, tells the format.

    Parameters
    ----------
    path : path
        FITS of afw (table versions 0 to 3), of other programs, or of SExtractor (``FITS_LDAC``);
        Parquet; CSV, ECSV and SExtractor's text.
    hdu : int, optional
        Number of the table in a FITS file, from 0; default: the first (the first of sources in
        FITS_LDAC; a warning names what else there is).

    Raises
    ------
    MissingFile
        If there is no such file.
    UnreadableFile
        If it is damaged in any way, or no catalogue; the message names file, HDU and row.
    """
    path = Path(path)
    form = _content(path)
    if form == "fits":
        return read_fits_catalog(path, hdu=hdu)
    if form == "parquet":
        return read_parquet_catalog(path)
    return _read_text(path)


def read_schema(path: Path | str, *, hdu: int | None = None) -> Schema:
    """Return the schema of a catalogue; of FITS and Parquet no row is read.

    Raises
    ------
    MissingFile, UnreadableFile
        See `read_catalog`.
    """
    path = Path(path)
    form = _content(path)
    if form == "fits":
        return fits_schema(path, hdu=hdu)
    if form == "parquet":
        return parquet_schema(path)
    return _read_text(path).schema


def read_length(path: Path | str, *, hdu: int | None = None) -> int:
    """Return the number of rows of a catalogue; of FITS and Parquet none is read.

    Raises
    ------
    MissingFile, UnreadableFile
        See `read_catalog`.
    """
    path = Path(path)
    form = _content(path)
    if form == "fits":
        return fits_length(path, hdu=hdu)
    if form == "parquet":
        return parquet_length(path)
    return len(_read_text(path))


def write_catalog(catalog: SourceCatalog, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a catalogue; the end of the name tells the format.

    Parameters
    ----------
    catalog : SourceCatalog
        The catalogue.
    path : path
        ``.fits`` (with footprints and archive; FITS_LDAC where it was read from one), ``.ldac`` or
        ``.cat`` (FITS_LDAC), ``.parquet``, ``.csv``.
    overwrite : bool
        Whether to replace a file.

    Raises
    ------
    OutputExists
        If the file is there and may not be replaced.
    BadTable
        If a text does not fit into its field.
    Unwritable
        If the file cannot be written.
    """
    path = Path(path)
    check_free(path, overwrite=overwrite)
    form = next((f for f, ends in _ENDS.items() if path.name.lower().endswith(ends)), "")
    if form == "fits" and _is_ldac(catalog):
        form = "ldac"
    if form != "fits" and catalog.has_footprints:
        log.warning("%s: footprints are left out; only FITS keeps them", path)
    if form == "csv":
        write_csv(_flat(catalog), path)
        return
    if form not in _MAKERS:
        listed = ", ".join(end for ends in _ENDS.values() for end in ends)
        raise ValueError(f"{path}: no format has that ending; use one of {listed}")
    data = _MAKERS[form](catalog)
    if path.name.lower().endswith(".gz"):
        import gzip  # noqa: PLC0415 - seldom

        data = gzip.compress(data, mtime=0)
    with renamed(path, overwrite=overwrite) as file:
        file.write(data)


_MAKERS: Final[dict[str, Any]] = {
    "fits": fits_bytes,
    "ldac": ldac_bytes,
    "parquet": parquet_bytes,
}


def _is_ldac(catalog: SourceCatalog) -> bool:
    return bool(catalog.metadata.get("EXTNAME") == LDAC)


def _content(path: Path) -> str:
    """Tell the format from the first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file; correct the path", file=str(path)) from None
    except OSError as error:
        raise UnreadableFile(
            f"{path}: cannot be read ({error.strerror}); name a file that can", file=str(path)
        ) from error
    if start.startswith(b"PAR1") or path.name.lower().endswith(_ENDS["parquet"]):
        return "parquet"
    is_fits = start.startswith((b"SIMPLE  =", b"\x1f\x8b")) or path.name.lower().endswith(
        _ENDS["fits"] + _ENDS["ldac"][:1]
    )
    return "fits" if is_fits else "text"


def _read_text(path: Path) -> SourceCatalog:
    try:
        table = read_table(path)
        for name in table.colnames:
            if table[name].dtype.kind in "UO":
                table.replace_column(name, _typed(table[name]))
        table.meta = {}
        return catalog_from_table(table)
    except (MissingFile, UnreadableFile):
        raise
    except BadTable as error:  # names file and row
        raise UnreadableFile(str(error), **error.facts) from error
    except ValueError as error:
        raise UnreadableFile(
            f"{path}: cannot be read as a catalogue ({error}); write it again", file=str(path)
        ) from error


def _typed(column: Any) -> Any:
    """Return a column of text as whole numbers, numbers or truths, where all cells are such."""
    cells = [str(cell).strip() for cell in column]
    for convert in (_as_whole, _as_numbers, _as_truths):
        values = convert(cells)
        if values is not None:
            return type(column)(values, name=column.name, description=column.description)
    return column


def _as_whole(cells: list[str]) -> Any:
    if cells and all(_WHOLE.fullmatch(c) and not re.match(r"[+-]?0\d", c) for c in cells):
        return np.array(cells, dtype=np.int64)
    return None


def _as_numbers(cells: list[str]) -> Any:
    filled = ["nan" if c == "" else c for c in cells]
    if not any(cells) or any(re.match(r"[+-]?0\d", c) for c in cells):
        return None  # 007 is a name
    try:
        return np.array(filled, dtype=np.float64)
    except ValueError:
        return None


def _as_truths(cells: list[str]) -> Any:
    words = {"true": True, "false": False}
    if cells and all(c.lower() in words for c in cells):
        return np.array([words[c.lower()] for c in cells])
    return None


def _flat(catalog: SourceCatalog) -> Table:
    """Return a table of plain columns: arrays and compound fields are taken apart."""
    table = catalog_to_table(catalog)
    flat = Table()
    for field in catalog.schema:
        column = table[field.name]
        if field.is_variable:
            log.warning("column %s of variable arrays is left out of the CSV", field.name)
        elif column.ndim == 1:
            flat[field.name] = column
        else:
            for i, label in enumerate(_labels(field)):
                flat[f"{field.name}_{label}"] = column[:, i]
    return flat


def _labels(field: Field) -> list[str]:
    return list(field.info.parts) or [str(i) for i in range(field.size or 0)]

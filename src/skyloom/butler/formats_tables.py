"""Tables and source catalogues as datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from astropy.table import Table

__all__ = [
    "catalog_length",
    "catalog_schema",
    "csv_length",
    "csv_schema",
    "fits_schema",
    "read_catalog",
    "read_csv_table",
    "read_fits_rows",
    "read_table",
    "table_length",
    "table_schema",
    "write_catalog",
    "write_csv_table",
    "write_fits_rows",
    "write_table",
]

# The readers are imported where they are used: pyarrow takes a while to load.


def read_table(path: Path) -> Table:
    """Read Parquet."""
    from skyloom.catalogs import read_parquet  # noqa: PLC0415

    return read_parquet(path)


def write_table(obj: object, path: Path) -> None:
    """Write Parquet."""
    from skyloom.catalogs import write_parquet  # noqa: PLC0415

    write_parquet(_table(obj), path)


def table_length(path: Path) -> int:
    """Count the rows of a Parquet file without reading them."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def table_schema(path: Path) -> Table:
    """Return the columns of a Parquet file, with units and metadata, as a table without rows."""
    return read_table(path)[:0]


def read_csv_table(path: Path) -> Table:
    """Read CSV."""
    from skyloom.catalogs import read_csv  # noqa: PLC0415

    table = read_csv(path)
    table.meta.pop("path", None)  # where a table was found must not get into what is made of it
    return table


def write_csv_table(obj: object, path: Path) -> None:
    """Write CSV."""
    from skyloom.catalogs import write_csv  # noqa: PLC0415

    write_csv(_table(obj), path)


def csv_length(path: Path) -> int:
    """Count the rows of a CSV file."""
    return len(read_csv_table(path))


def csv_schema(path: Path) -> Table:
    """Return the columns of a CSV file as a table without rows."""
    return read_csv_table(path)[:0]


def read_fits_rows(path: Path) -> Table:
    """Read the first extension of a FITS file as a table."""
    from skyloom.catalogs import read_fits_table  # noqa: PLC0415

    table = read_fits_table(path)
    table.meta.pop("path", None)
    return table


def write_fits_rows(obj: object, path: Path) -> None:
    """Write a FITS binary table."""
    from skyloom.catalogs import write_fits_table  # noqa: PLC0415

    write_fits_table(_table(obj), path)


def fits_schema(path: Path) -> Table:
    """Return the columns of a FITS table as a table without rows."""
    return read_fits_rows(path)[:0]


def read_catalog(path: Path) -> Any:
    """Read a source catalogue."""
    from skyloom.catalogs import SourceCatalog  # noqa: PLC0415

    return SourceCatalog.read(path)


def write_catalog(obj: object, path: Path) -> None:
    """Write a source catalogue."""
    from skyloom.catalogs import SourceCatalog  # noqa: PLC0415

    if not isinstance(obj, SourceCatalog):
        raise TypeError(f"a SourceCatalog is expected, not {type(obj).__name__}")
    named = path.with_name(f"{path.name}.fits")  # the end of the name tells the format
    try:
        obj.write(named)
        named.replace(path)
    finally:
        named.unlink(missing_ok=True)


def catalog_length(path: Path) -> int:
    """Count the rows of a FITS table or source catalogue without reading them."""
    from skyloom.catalogs import read_length  # noqa: PLC0415

    return int(read_length(path))


def catalog_schema(path: Path) -> Any:
    """Return the schema of a catalogue."""
    from skyloom.catalogs import read_schema  # noqa: PLC0415

    return read_schema(path)


def _table(obj: object) -> Table:
    if not isinstance(obj, Table):
        raise TypeError(f"a Table is expected, not {type(obj).__name__}")
    return obj

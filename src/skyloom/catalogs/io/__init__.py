"""Tables on disk: CSV, Parquet, FITS, SExtractor's, and the image list."""

from skyloom.catalogs.io.anytable import read_table
from skyloom.catalogs.io.binary import (
    read_fits_table,
    read_parquet,
    write_fits_table,
    write_parquet,
)
from skyloom.catalogs.io.text import read_csv, read_image_list, write_csv

__all__ = [
    "read_csv",
    "read_fits_table",
    "read_image_list",
    "read_parquet",
    "read_table",
    "write_csv",
    "write_fits_table",
    "write_parquet",
]

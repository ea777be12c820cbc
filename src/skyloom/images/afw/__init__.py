"""The FITS files of afw: where planes, masks and archived objects are in them."""

from skyloom.images.afw.archive import Archive, IndexEntry, Rows, read_archive
from skyloom.images.afw.tables import Column, FieldSpec, Table, make_table

__all__ = [
    "Archive",
    "Column",
    "FieldSpec",
    "IndexEntry",
    "Rows",
    "Table",
    "make_table",
    "read_archive",
]

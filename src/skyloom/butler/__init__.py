"""Datasets on disk: types, data IDs, files.

A *layout* names every file by its dataset type and data ID; a *butler* reads and writes through
it; a *format* turns objects into bytes, the same bytes each time.

>>> butler = Butler("work", "tile")
>>> butler.path("epsf", band="r", cell="r00_c01").name
'epsf.npy'
"""

from __future__ import annotations

from .butler import Butler, External, Handle
from .data_id import DataId, Value
from .files import Written, digest_file, is_disk_full, remove_temporaries, write_atomic
from .formats import FORMATS, Array, FitsImages, Format, plain, read_dataset, write_dataset
from .layout import DatasetType, Dimension, Layout

__all__ = [
    "FORMATS",
    "Array",
    "Butler",
    "DataId",
    "DatasetType",
    "Dimension",
    "External",
    "FitsImages",
    "Format",
    "Handle",
    "Layout",
    "Value",
    "Written",
    "digest_file",
    "is_disk_full",
    "plain",
    "read_dataset",
    "remove_temporaries",
    "write_atomic",
    "write_dataset",
]

"""Datasets on disk: types, data IDs, files.

A *layout* names every file by its dataset type and data ID; a *butler* reads and writes through
it; a *format* turns objects into bytes, the same bytes each time.

>>> butler = Butler("work", "tile")
>>> butler.path("epsf", band="r", cell="r00_c01").name
'epsf.npy'
"""

from __future__ import annotations

from .butler import Butler
from .data_id import DataId, Value
from .dataset_type import DatasetType, Dimension, Lookup
from .external import External
from .file_system import network_file_system
from .files import Written, digest_file, is_disk_full, remove_temporaries, write_atomic
from .formats import FORMATS, Format, plain, read_dataset, write_dataset
from .formats_fits import Array, FitsImages
from .handles import Handle
from .ingest import Damage, Rebuilt, ingest, rebuild, verify
from .layout import Layout
from .references import DataRef
from .registry import DatasetRow
from .roots import remember_layout

__all__ = [
    "FORMATS",
    "Array",
    "Butler",
    "Damage",
    "DataId",
    "DataRef",
    "DatasetRow",
    "DatasetType",
    "Dimension",
    "External",
    "FitsImages",
    "Format",
    "Handle",
    "Layout",
    "Lookup",
    "Rebuilt",
    "Value",
    "Written",
    "digest_file",
    "ingest",
    "is_disk_full",
    "network_file_system",
    "plain",
    "read_dataset",
    "rebuild",
    "remember_layout",
    "remove_temporaries",
    "verify",
    "write_atomic",
    "write_dataset",
]

"""Named arrays in one archive (``npz``): small ones are read and written by the thousand."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from .formats_fits import Array

__all__ = ["read_npz", "write_npz"]

_SMALL = 1 << 16  # byte
_START = 12  # byte: magic, version and length of the header


def read_npz(path: Path) -> dict[str, Array]:
    """Return all arrays by name; what checksums say is wrong is not read."""
    with zipfile.ZipFile(path) as archive:
        return {
            entry.filename.removesuffix(".npy"): _member(archive, entry)
            for entry in archive.infolist()
        }


def write_npz(obj: object, path: Path, *, level: int = 0) -> None:
    """Write arrays by name, compressed if ``level`` is not 0."""
    # numpy's own writer puts the time of day into the archive.
    if not isinstance(obj, Mapping):
        raise TypeError(f"npz holds a mapping of arrays, not {type(obj).__name__}")
    method = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in obj.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = method
            entry.create_system = 3  # Unix, on every system
            if level:  # a stream would have zlib's own level, whatever is asked for
                data = io.BytesIO()
                np.lib.format.write_array(data, _ordered(array), allow_pickle=False)
                archive.writestr(entry, data.getbuffer(), method, level)
                continue
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _ordered(array), allow_pickle=False)


def _ordered(array: object) -> Array:
    return np.asarray(array, order="C")


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    """Return one array: a large one straight into its memory, which numpy does in portions."""
    if entry.file_size <= _SMALL:
        return _array(archive.read(entry))
    with archive.open(entry) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _array(data: bytes) -> Array:
    """Return the array of a file in the format ``npy``."""
    major = data[6] if len(data) > _START else 0
    width = 2 if major == 1 else 4
    begin = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    shape, is_fortran, dtype = _header(data[:begin])
    if dtype.hasobject:
        raise ValueError("arrays of objects are not read")
    if begin + math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data) - begin} bytes are not an array {shape} of {dtype}")
    if 0 in shape:
        return np.empty(shape, dtype)
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    return np.ndarray(shape, dtype, data, begin, order=order).copy(order=order)


@lru_cache(maxsize=1024)
def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return what the header says: shape, whether columns come first, type.

    Parsing it takes longer than reading a small array, and the same headers come again and again.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"npy format {version} is not known")
    return readers[version](file)

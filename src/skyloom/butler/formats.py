"""How objects become files: a few formats, none of which can run code.

======================  ============================================================
name                    object in memory
======================  ============================================================
``table``               `astropy.table.Table`, as Parquet with units and metadata
``csv``                 `astropy.table.Table`, as text
``json``                dict or list; NaN and infinity become null
``npy``                 one array
``npz``                 dict of arrays (option ``level``: 0 stores, 1-9 compresses)
``fits_image``          `FitsImages`: a header and images by name
``fits_table``          `astropy.table.Table`, as a FITS binary table
``exposure``            `skyloom.images.Exposure`: pixels, mask, variance, components
``calibration``         the same; reads plain images and masked images too
``source_catalog``      `skyloom.catalogs.SourceCatalog`
``text``                str
``bytes``, ``png``      bytes, written as they are
======================  ============================================================

The same object always gives the same bytes: no dates, no host names, no unordered sets.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from skyloom.errors import InputError

from . import formats_exposures as exposures
from . import formats_models as models
from . import formats_tables as tables
from .files import Written, write_atomic
from .formats_fits import Array, read_fits, read_header, write_fits
from .formats_npz import read_npz, write_npz

__all__ = ["FORMATS", "Format", "known_format", "plain", "read_dataset", "write_dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way to store an object: ``read(path) -> object`` and ``write(object, path, **options)``."""

    name: str
    read: Callable[[Path], Any]
    write: Callable[..., None]
    parts: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Readers of a part of the object, without the rest: ``md``, ``len``, ``schema``, ..."""


def read_dataset(path: Path, format: str, part: str = "", **options: Any) -> Any:  # noqa: A002
    """Read a file in the named format, or a part of it: see `Format.parts`."""
    known = known_format(format)
    return (known.parts[part] if part else known.read)(path, **options)


def write_dataset(
    obj: object,
    path: Path,
    format: str,  # noqa: A002
    *,
    sync: bool = False,
    is_new: bool = False,
    **options: Any,
) -> Written:
    """Write an object in the named format: temporary name, rename, checksum.

    ``is_new`` refuses to replace a file; options go to the writer of the format.

    Raises
    ------
    TypeError, ValueError
        If the object does not fit the format.
    """
    writer = known_format(format).write
    return write_atomic(path, lambda part: writer(obj, part, **options), sync=sync, is_new=is_new)


def known_format(name: str) -> Format:
    """Return a format by its name, or raise `InputError` with those there are."""
    try:
        return FORMATS[name]
    except KeyError:
        raise InputError(
            f"storage format {name!r} does not exist; there are {', '.join(FORMATS)}"
        ) from None


def plain(obj: object, *, finite: bool = True) -> Any:  # noqa: PLR0911 - a table of types
    """Return ``obj`` in terms of dict, list, str, int, float, bool and None.

    NaN and infinities become None, unless ``finite=False`` keeps them.  Knows numpy, paths,
    enumerations, dataclasses, pydantic models and data IDs.

    Raises
    ------
    TypeError
        For anything else; sets among it, which have no order, and keys that are not text.
    """
    if obj is None or isinstance(obj, bool):
        return obj
    if isinstance(obj, enum.Enum):
        return plain(obj.value, finite=finite)
    if isinstance(obj, str):
        return str(obj)
    if isinstance(obj, (float, np.floating)):
        return float(obj) if math.isfinite(obj) or not finite else None
    if isinstance(obj, (int, np.integer)):
        return int(obj)
    if isinstance(obj, np.bool_):
        return bool(obj)
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    return _plain_container(obj, finite=finite)


def _plain_container(obj: object, *, finite: bool) -> Any:
    if isinstance(obj, Mapping):
        bad = next((key for key in obj if not isinstance(key, str)), None)
        if bad is not None:
            raise TypeError(f"JSON keys are text, this one is {bad!r}")
        return {str(key): plain(value, finite=finite) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [plain(value, finite=finite) for value in obj]
    if isinstance(obj, np.ndarray):
        return plain(obj.tolist(), finite=finite)
    if isinstance(obj, BaseModel):
        return {key: plain(getattr(obj, key), finite=finite) for key in type(obj).model_fields}
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: plain(getattr(obj, f.name), finite=finite) for f in dataclasses.fields(obj)}
    raise TypeError(f"{type(obj).__name__} has no place in JSON; turn it into dicts and lists")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(obj: object, path: Path) -> None:
    text = json.dumps(plain(obj), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _read_npy(path: Path) -> Array:
    return np.asarray(np.load(path, allow_pickle=False))


def _write_npy(obj: object, path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(obj, order="C"), allow_pickle=False)


def _read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def _write_text(obj: object, path: Path) -> None:
    if not isinstance(obj, str):
        raise TypeError(f"text holds a str, not {type(obj).__name__}")
    path.write_bytes(obj.encode("utf-8"))


def _write_bytes(obj: object, path: Path) -> None:
    if not isinstance(obj, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes expected, not {type(obj).__name__}")
    path.write_bytes(obj)


_FITS_PARTS: Final = {"md": read_header}

FORMATS: Final[Mapping[str, Format]] = {
    f.name: f
    for f in (
        Format(
            name="table",
            read=tables.read_table,
            write=tables.write_table,
            parts={"len": tables.table_length, "schema": tables.table_schema},
        ),
        Format(
            name="csv",
            read=tables.read_csv_table,
            write=tables.write_csv_table,
            parts={"len": tables.csv_length, "schema": tables.csv_schema},
        ),
        Format(
            name="fits_table",
            read=tables.read_fits_rows,
            write=tables.write_fits_rows,
            parts={**_FITS_PARTS, "len": tables.catalog_length, "schema": tables.fits_schema},
        ),
        Format(
            name="source_catalog",
            read=tables.read_catalog,
            write=tables.write_catalog,
            parts={**_FITS_PARTS, "len": tables.catalog_length, "schema": tables.catalog_schema},
        ),
        Format(name="json", read=_read_json, write=_write_json),
        Format(name="npy", read=_read_npy, write=_write_npy),
        Format(name="npz", read=read_npz, write=write_npz),
        Format(name="fits_image", read=read_fits, write=write_fits, parts=_FITS_PARTS),
        Format(
            name="exposure",
            read=exposures.read_exposure,
            write=exposures.write_exposure,
            parts=exposures.EXPOSURE_PARTS,
        ),
        Format(
            name="calibration",
            read=exposures.read_calibration,
            write=exposures.write_exposure,
            parts={**exposures.EXPOSURE_PARTS, "sub": exposures.read_calibration},
        ),
        Format(
            name="background",
            read=exposures.read_background,
            write=exposures.write_background,
            parts=exposures.BACKGROUND_PARTS,
        ),
        Format(name="psf", read=exposures.read_psf, write=exposures.write_psf, parts=_FITS_PARTS),
        Format(
            name="psfex_model",
            read=models.read_psfex_model,
            write=tables.write_fits_rows,
            parts=models.MODEL_PARTS,
        ),
        Format(
            name="sky_model",
            read=models.read_sky_model,
            write=tables.write_fits_rows,
            parts=models.MODEL_PARTS,
        ),
        Format(name="text", read=_read_text, write=_write_text),
        Format(name="bytes", read=Path.read_bytes, write=_write_bytes),
        Format(name="png", read=Path.read_bytes, write=_write_bytes),
    )
}
"""Every storage format by name."""

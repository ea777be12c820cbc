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
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.table import Table
from pydantic import BaseModel

from skyloom.errors import InputError

from .files import Written, write_atomic

__all__ = ["FORMATS", "Array", "FitsImages", "Format", "plain", "read_dataset", "write_dataset"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way to store an object: ``read(path) -> object`` and ``write(object, path, **options)``."""

    name: str
    read: Callable[[Path], Any]
    write: Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitsImages:
    """Images that share a header (usually the WCS).

    ``images`` maps extension names to arrays of shape (ny, nx); the name ``PRIMARY`` is the primary
    HDU.  The header is written to the primary HDU and to every image; no image at all is a file
    that is only a header.  FITS has no booleans: they become unsigned bytes.
    """

    header: fits.Header = field(default_factory=fits.Header)
    images: Mapping[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.images[name]


def read_dataset(path: Path, format: str) -> Any:  # noqa: A002 - the word of the layout table
    """Read a file in the named format."""
    return _known(format).read(path)


def write_dataset(
    obj: object,
    path: Path,
    format: str,  # noqa: A002
    *,
    sync: bool = False,
    **options: Any,
) -> Written:
    """Write an object in the named format: temporary name, rename, checksum.

    Raises
    ------
    TypeError, ValueError
        If the object does not fit the format.
    """
    writer = _known(format).write
    return write_atomic(path, lambda part: writer(obj, part, **options), sync=sync)


def _known(name: str) -> Format:
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


def _read_npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _write_npz(obj: object, path: Path, *, level: int = 0) -> None:
    # numpy's own writer puts the time of day into the archive.
    if not isinstance(obj, Mapping):
        raise TypeError(f"npz holds a mapping of arrays, not {type(obj).__name__}")
    method = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=level or None) as archive:
        for name, array in obj.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = method
            entry.create_system = 3  # Unix, on every system
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def _read_fits(path: Path) -> FitsImages:
    images = {}
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header.copy()
        for index, hdu in enumerate(hdus):
            if hdu.data is not None and hdu.is_image:
                name = "PRIMARY" if index == 0 else hdu.name or str(index)
                data = np.asarray(hdu.data)
                images[name] = np.ascontiguousarray(data, data.dtype.newbyteorder("="))
    for card in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "SIMPLE"):
        header.remove(card, ignore_missing=True)
    return FitsImages(header=header, images=images)


def _write_fits(obj: object, path: Path) -> None:
    if not isinstance(obj, FitsImages):
        raise TypeError(f"fits_image holds FitsImages, not {type(obj).__name__}")
    hdus = fits.HDUList([fits.PrimaryHDU(_fits_array(obj.images.get("PRIMARY")), obj.header)])
    hdus.extend(
        fits.ImageHDU(_fits_array(array), obj.header, name=name)
        for name, array in obj.images.items()
        if name != "PRIMARY"
    )
    hdus.update_extend()  # a header that was read from a file without extensions lacks the card
    with path.open("wb") as file:
        hdus.writeto(file, output_verify="exception")


def _fits_array(array: Array | None) -> Array | None:
    return array.astype(np.uint8) if array is not None and array.dtype == np.bool_ else array


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


def _read_table(path: Path) -> Table:
    from skyloom.catalogs import read_parquet  # noqa: PLC0415 - pyarrow takes a while to load

    return read_parquet(path)


def _write_table(obj: object, path: Path) -> None:
    from skyloom.catalogs import write_parquet  # noqa: PLC0415

    write_parquet(_table(obj), path)


def _read_csv(path: Path) -> Table:
    from skyloom.catalogs import read_csv  # noqa: PLC0415

    table = read_csv(path)
    table.meta.pop("path", None)  # where a table was found must not get into what is made of it
    return table


def _write_csv(obj: object, path: Path) -> None:
    from skyloom.catalogs import write_csv  # noqa: PLC0415

    write_csv(_table(obj), path)


def _table(obj: object) -> Table:
    if not isinstance(obj, Table):
        raise TypeError(f"a Table is expected, not {type(obj).__name__}")
    return obj


FORMATS: Final[Mapping[str, Format]] = {
    f.name: f
    for f in (
        Format(name="table", read=_read_table, write=_write_table),
        Format(name="csv", read=_read_csv, write=_write_csv),
        Format(name="json", read=_read_json, write=_write_json),
        Format(name="npy", read=_read_npy, write=_write_npy),
        Format(name="npz", read=_read_npz, write=_write_npz),
        Format(name="fits_image", read=_read_fits, write=_write_fits),
        Format(name="text", read=_read_text, write=_write_text),
        Format(name="bytes", read=Path.read_bytes, write=_write_bytes),
        Format(name="png", read=Path.read_bytes, write=_write_bytes),
    )
}
"""Every storage format by name."""

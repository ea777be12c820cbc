"""Tables in binary files: Parquet and FITS, with units, descriptions, masks and metadata.

The same table gives the same bytes (for one version of the libraries): no dates, no host names.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from skyloom.catalogs.io.text import unwritable
from skyloom.catalogs.plain_table import plain_table
from skyloom.errors import BadTable, InputError, MissingFile, UnreadableFile
from skyloom.images import opened_fits

__all__ = ["read_fits_table", "read_parquet", "write_fits_table", "write_parquet"]

_META = b"skyloom.meta"
_FEW_ROWS = 2000  # below, compressing takes half of the time and saves nothing


def write_parquet(table: Table, path: Path | str) -> None:
    """Write a table as Parquet.

    Text, booleans, integers and floats of one or more values per row; masked cells become nulls;
    units and descriptions stand in the field metadata, ``table.meta`` (what JSON can hold) in
    that of the schema.

    Raises
    ------
    BadTable
        If a column has a type that does not fit.
    Unwritable
        If the file cannot be written.
    """
    arrays, fields = [], []
    for name in table.colnames:
        array = _to_arrow(table[name], name)
        facts = {}
        if table[name].unit is not None:
            facts["unit"] = str(table[name].unit)
        if table[name].description:
            facts["description"] = str(table[name].description)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=facts or None))
    meta = {k: v for k, v in table.meta.items() if _is_json(v)}
    text = json.dumps(meta, sort_keys=True).encode()
    schema = pa.schema(fields, metadata={_META: text})
    buffer = io.BytesIO()
    compression = "none" if len(table) < _FEW_ROWS else "zstd"
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, compression=compression)
    _write(Path(path), buffer.getvalue())


def read_parquet(path: Path | str) -> Table:
    """Read a table written by `write_parquet` (or any flat Parquet file).

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFile(f"{path}: no such file", file=str(path))
    try:
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
        arrow = file.read(use_threads=file.metadata.num_rows >= _FEW_ROWS)
        schema = arrow.schema
        meta = json.loads((schema.metadata or {}).get(_META, b"{}"))
        columns = {f.name: _from_arrow(arrow.column(i), f) for i, f in enumerate(schema)}
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    return plain_table(columns, meta)


def write_fits_table(table: Table, path: Path | str) -> None:
    """Write a table as the first extension of a FITS file; units in TUNIT, sentences in TCOMM.

    Text is stored as UTF-8.  A masked column is stored with NaN (floats), the empty string (text)
    or TNULL (integers); a masked boolean column is refused.
    """
    columns = []
    for name in table.colnames:
        values, form, null = _fits_values(table[name], name)
        unit = None if table[name].unit is None else table[name].unit.to_string()
        columns.append(fits.Column(name=name, format=form, array=values, unit=unit, null=null))
    hdu = fits.BinTableHDU.from_columns(columns, nrows=len(table))
    for number, name in enumerate(table.colnames, start=1):
        if table[name].description:
            hdu.header[f"TCOMM{number}"] = str(table[name].description)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    _write(Path(path), buffer.getvalue())


def read_fits_table(path: Path | str, *, hdu: int = 1) -> Table:
    """Read a FITS binary table; text as str, TNULL as mask.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent, damaged, or has no table in that HDU.
    """
    path = Path(path)
    try:
        with opened_fits(path) as hdus:
            if not isinstance(hdus[hdu], fits.BinTableHDU):
                raise TypeError(f"HDU {hdu} is no binary table")  # noqa: TRY301
            data, header = hdus[hdu].data, hdus[hdu].header
            columns = []
            for number, column in enumerate(hdus[hdu].columns, start=1):
                values = np.asarray(data[column.name])
                if values.dtype.kind == "S":
                    values = np.char.decode(values, "utf-8")
                facts = {"unit": column.unit, "description": header.get(f"TCOMM{number}")}
                native = values.astype(values.dtype.newbyteorder("="))
                if column.null is not None:
                    mask = native == column.null
                    columns.append(MaskedColumn(native, name=column.name, mask=mask, **facts))
                else:
                    columns.append(Column(native, name=column.name, **facts))
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise _damaged(path, error) from error
    return Table(columns, meta={"path": str(path)})


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def _damaged(path: Path, error: Exception) -> UnreadableFile:
    reason = " ".join(str(error).split())
    return UnreadableFile(
        f"{path}: cannot be read as a table ({reason}); write or copy it again", file=str(path)
    )


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _to_arrow(column: Column, name: str) -> pa.Array:
    values = np.asarray(column)
    mask = getattr(column, "mask", None)
    mask = None if mask is None or not np.any(mask) else np.asarray(mask)
    if values.dtype.kind in "UO":
        cells = [None if v is None else str(v) for v in values.tolist()]
        if mask is not None:
            cells = [None if m else c for c, m in zip(cells, mask, strict=True)]
        return pa.array(cells, type=pa.string())
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2):
        raise BadTable(
            f"column {name}: type {values.dtype} with {values.ndim} axes cannot be written",
            column=name,
        )
    native = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if values.ndim == 2:
        if mask is not None:
            raise BadTable(f"column {name}: masked vectors cannot be written", column=name)
        return pa.FixedSizeListArray.from_arrays(pa.array(native.ravel()), values.shape[1])
    return pa.array(native, mask=mask)


def _from_arrow(chunks: pa.ChunkedArray, field: pa.Field) -> Column | npt.NDArray[Any]:
    """Return a column; a plain array where that is all there is, which is made faster."""
    array = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no rows: no chunks
        array = pa.array([], type=field.type)
    facts: dict[str, Any] = {"name": field.name}
    for key, value in (field.metadata or {}).items():
        if key in (b"unit", b"description"):
            facts[key.decode()] = value.decode()
    kind = field.type
    mask = np.asarray(array.is_null()) if array.null_count else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = np.array(array.fill_null("").to_pylist(), dtype=np.str_)
    elif pa.types.is_fixed_size_list(kind):
        flat = np.array(array.flatten().to_numpy(zero_copy_only=False))
        values = flat.reshape(len(array), kind.list_size)
    else:
        filled = (
            array.fill_null(False if pa.types.is_boolean(kind) else 0)
            if (mask is not None)
            else array
        )
        values = np.array(filled.to_numpy(zero_copy_only=False))
    if mask is not None:
        return MaskedColumn(values, mask=mask, **facts)
    return Column(values, **facts) if len(facts) > 1 else values


def _fits_values(column: Column, name: str) -> tuple[Any, str, int | None]:
    """Return the values, TFORM and TNULL of a column."""
    values = np.asarray(column)
    mask = getattr(column, "mask", None)
    mask = np.zeros(values.shape, dtype=bool) if mask is None else np.asarray(mask)
    kind = values.dtype.kind
    width = "" if values.ndim == 1 else str(values.shape[1])
    if kind in "UO" and values.ndim == 1:
        cells = ["" if m or v is None else str(v) for v, m in zip(values, mask, strict=True)]
        encoded = np.array([c.encode() for c in cells], dtype=np.bytes_)
        return encoded, f"{max(1, encoded.dtype.itemsize)}A", None
    if kind == "b" and not mask.any():
        return values, f"{width}L", None
    if kind == "f":
        small = values.dtype.itemsize <= 4
        return np.where(mask, np.nan, values), f"{width}{'E' if small else 'D'}", None
    if kind in "iu":
        # TNULL is the smallest int64: no index, count or flag comes near it.
        null = int(np.iinfo(np.int64).min) if mask.any() else None
        whole = values.astype(np.int64)
        return (whole if null is None else np.where(mask, null, whole)), f"{width}K", null
    raise BadTable(f"column {name}: type {values.dtype} cannot be written to FITS", column=name)

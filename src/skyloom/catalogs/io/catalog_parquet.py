"""Catalogues in Parquet: a column per field, with units, docs and types in its metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from skyloom.catalogs.catalog_tables import catalog_from_table
from skyloom.catalogs.fields import FIELD_TYPES, Field
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.source_catalog import SourceCatalog
from skyloom.errors import BadTable, MissingFile, UnreadableFile

__all__ = ["parquet_bytes", "parquet_length", "parquet_schema", "read_parquet_catalog"]

_META: Final = b"skyloom.catalog"


def parquet_bytes(catalog: SourceCatalog) -> bytes:
    """Return the Parquet file of a catalogue; footprints are left out."""
    arrays, fields = [], []
    for field in catalog.schema:
        array = _to_arrow(field, catalog.columns[field.name])
        words = {"unit": field.units, "description": field.doc, "type": field.type}
        if field.size is not None:
            words["size"] = str(field.size)
        kept = {key: value for key, value in words.items() if value}
        arrays.append(array)
        fields.append(pa.field(field.name, array.type, metadata=kept))
    facts = {
        "aliases": dict(catalog.schema.aliases),
        "aperture_radii": catalog.schema.aperture_radii,
        "kind": catalog.kind,
        "version": catalog.version,
        "header": catalog.metadata.tostring(padding=False),
        "primary": catalog.primary.tostring(padding=False),
    }
    schema = pa.schema(fields, metadata={_META: json.dumps(facts, sort_keys=True).encode()})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def read_parquet_catalog(path: Path) -> SourceCatalog:
    """Read a catalogue; see `skyloom.catalogs.read_catalog`."""
    with _named(path):
        table = pq.ParquetFile(io.BytesIO(path.read_bytes())).read()
        schema, facts = _schema(table.schema)
        columns = {
            field.name: _from_arrow(field, table.column(i)) for i, field in enumerate(schema)
        }
        if facts is None:  # of another program
            return catalog_from_table(Table(columns))
        return SourceCatalog(
            schema,
            columns,
            table.num_rows,
            metadata=fits.Header.fromstring(facts["header"]),
            primary=fits.Header.fromstring(facts["primary"]),
            kind=facts["kind"],
            version=facts["version"],
        )


def parquet_schema(path: Path) -> Schema:
    """Return the schema of a catalogue; no row is read."""
    with _named(path), path.open("rb") as file:
        return _schema(pq.read_schema(file))[0]


def parquet_length(path: Path) -> int:
    """Return the number of rows of a catalogue; none is read."""
    with _named(path), path.open("rb") as file:
        return int(pq.read_metadata(file).num_rows)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into `UnreadableFile`."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFile(f"{path}: no such file; correct the path", file=str(path)) from error
    except MemoryError:
        raise
    except Exception as error:  # pyarrow, json and our own checks
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableFile(
            f"{path}: cannot be read as Parquet ({reason}); copy or write the file again",
            file=str(path),
        ) from error


def _schema(arrow: Any) -> tuple[Schema, dict[str, Any] | None]:
    """Return the schema, and what the file says of itself; None for a file of another program."""
    fields = []
    for item in arrow:
        facts = {k.decode(): v.decode() for k, v in (item.metadata or {}).items()}
        kind = facts.get("type", "")
        if kind not in FIELD_TYPES:
            kind, facts["size"] = _guess(item.type)
        size = int(facts["size"]) if facts.get("size") else None
        fields.append(
            Field(item.name, kind, facts.get("description", ""), facts.get("unit", ""), size)
        )
    text = (arrow.metadata or {}).get(_META)
    if text is None:
        return Schema(fields), None
    facts = json.loads(text)
    return Schema(fields, facts["aliases"], facts["aperture_radii"]), facts


def _guess(kind: Any) -> tuple[str, str]:
    """Return type and size of a column of another program."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return "String", ""
    if pa.types.is_boolean(kind):
        return "Flag", ""
    if pa.types.is_fixed_size_list(kind):
        return f"Array{_guess(kind.value_type)[0]}", str(kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"Array{_guess(kind.value_type)[0]}", ""
    dtype = np.dtype(kind.to_pandas_dtype())
    for name, info in FIELD_TYPES.items():
        if info.kind == "Scalar" and np.dtype(info.dtype) == dtype:
            return name, ""
    raise BadTable(f"a column of type {kind} has no place in a catalogue; convert it")


def _to_arrow(field: Field, values: Any) -> pa.Array:
    if field.is_variable:
        return pa.array([v.tolist() for v in values], type=pa.list_(_arrow_type(field)))
    if field.type == "String":
        return pa.array(values.tolist(), type=pa.string())
    if field.info.dtype.startswith("c"):
        raise BadTable(f"column {field.name!r}: Parquet has no complex numbers; split it in two")
    if field.shape:
        flat = pa.array(np.ascontiguousarray(values).ravel(), type=_arrow_type(field))
        return pa.FixedSizeListArray.from_arrays(flat, field.shape[0])
    return pa.array(np.ascontiguousarray(values), type=_arrow_type(field))


def _arrow_type(field: Field) -> Any:
    return pa.from_numpy_dtype(np.dtype(field.info.dtype))


def _from_arrow(field: Field, chunks: Any) -> Any:
    n = len(chunks)
    if field.is_variable:
        return [np.asarray(cell or (), dtype=field.info.dtype) for cell in chunks.to_pylist()]
    if field.type == "String":
        return np.array([c or "" for c in chunks.to_pylist()], dtype=str)
    if field.shape:
        flat = pa.chunked_array([c.flatten() for c in chunks.chunks], type=chunks.type.value_type)
        return _numbers(flat, field).reshape(n, field.shape[0])
    return _numbers(chunks, field)


def _numbers(chunks: Any, field: Field) -> Any:
    """Return numbers; a null is NaN, or 0 where there is no NaN."""
    if chunks.null_count:
        blank = float("nan") if np.dtype(field.info.dtype).kind == "f" else 0
        blank = False if field.info.dtype == "?" else blank
        chunks = chunks.fill_null(blank)
    return chunks.to_numpy().astype(field.info.dtype)

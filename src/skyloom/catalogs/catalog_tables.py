"""Catalogues as astropy tables, and tables as catalogues."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.table import Column, Table
from astropy.units import Unit

from skyloom.catalogs.fields import FIELD_TYPES, Field, column_of, field_of
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.source_catalog import SourceCatalog

__all__ = ["catalog_from_table", "catalog_to_table"]

_TYPE: Final = "type"
_META: Final = "catalog"


def catalog_to_table(catalog: SourceCatalog) -> Table:
    """Return an astropy table.

    Columns have units and descriptions, and their field type in ``meta["type"]``; what astropy
    cannot read as a unit is kept as it is.  ``meta["catalog"]`` holds aliases, kind and version,
    ``meta["header"]`` the cards.  Footprints stay behind.
    """
    made = Table()
    for field in catalog.schema:
        values = catalog.columns[field.name]
        if field.is_variable:
            values = column_of(field, values, len(catalog))
        column = Column(values, name=field.name, description=field.doc, copy=True)
        if field.units:
            column.unit = Unit(field.units, parse_strict="silent")
        column.meta[_TYPE] = field.type
        column.meta["units"] = field.units
        if field.size is not None:
            column.meta["size"] = field.size
        made.add_column(column)
    made.meta[_META] = {
        "aliases": dict(catalog.schema.aliases),
        "kind": catalog.kind,
        "version": catalog.version,
    }
    made.meta["header"] = catalog.metadata.copy()
    made.meta["primary"] = catalog.primary.copy()
    return made


def catalog_from_table(table: Table) -> SourceCatalog:
    """Return the catalogue that an astropy table holds.

    Masked numbers become NaN, masked integers and text their blank value.

    Raises
    ------
    ValueError
        If a column is neither numbers nor text, or has more than two axes.
    """
    fields, columns = [], {}
    for name in table.colnames:
        column = table[name]
        values = _unmasked(column)
        fields.append(_field(name, column, values))
        columns[name] = values
    facts = table.meta.get(_META, {})
    header, primary = (table.meta.get(key) for key in ("header", "primary"))
    return SourceCatalog(
        Schema(fields, facts.get("aliases")),
        columns,
        len(table),
        metadata=header.copy() if isinstance(header, fits.Header) else None,
        primary=primary.copy() if isinstance(primary, fits.Header) else None,
        kind=facts.get("kind", ""),
        version=facts.get("version"),
    )


def _field(name: str, column: Any, values: Any) -> Field:
    """Return the field of a column: the one that it came from, or what its numbers say."""
    doc = getattr(column.info, "description", None) or ""
    meta = getattr(column, "meta", {})
    unit, kind = getattr(column, "unit", None), meta.get(_TYPE)
    units = str(meta.get("units", "" if unit is None else unit))
    guessed = field_of(name, values, doc=doc, units=units)
    if kind is None or kind not in FIELD_TYPES or kind == guessed.type:
        return guessed if kind != "String" else _with_size(guessed, column)
    field = Field(name, kind, doc, units, meta.get("size"))
    if field.dtype == values.dtype and (len(values), *field.shape) == values.shape:
        return field
    return guessed


def _with_size(field: Field, column: Any) -> Field:
    size = max(column.meta.get("size") or 0, field.size or 0)
    return Field(field.name, field.type, field.doc, field.units, size)


def _unmasked(column: Any) -> Any:
    values = np.asarray(getattr(column, "value", column))
    mask = getattr(column, "mask", None)
    if mask is None or not np.any(mask):
        if values.dtype.kind == "S":
            return np.char.decode(values, "utf-8", "surrogateescape")
        return values.astype(values.dtype.newbyteorder("="), copy=True)
    values = np.array(np.ma.getdata(column))
    blank = np.nan if values.dtype.kind in "fc" else values.dtype.type()
    values[np.asarray(mask)] = blank
    return values

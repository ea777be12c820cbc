"""Catalogues: sources with schema, slots and footprints; tables on disk; the user's input list."""

from skyloom.catalogs.band_columns import band_column, fitted_bands
from skyloom.catalogs.catalog_tables import catalog_from_table, catalog_to_table
from skyloom.catalogs.columns import CatalogColumns, check_flux_bands, resolve_columns
from skyloom.catalogs.exclusions import excluded_reason, near_saturated, with_exclusions
from skyloom.catalogs.fields import FIELD_TYPES, Field
from skyloom.catalogs.footprint import PEAK_SCHEMA, Footprint, HeavyFootprint, peak_catalog
from skyloom.catalogs.input_catalog import (
    InputCatalog,
    as_input_catalog,
    load_input_catalog,
    odd_shapes,
    source_types,
    unique_keys,
)
from skyloom.catalogs.io import (
    read_csv,
    read_fits_table,
    read_image_list,
    read_parquet,
    read_table,
    write_csv,
    write_fits_table,
    write_parquet,
)
from skyloom.catalogs.io.catalog import read_catalog, read_length, read_schema, write_catalog
from skyloom.catalogs.names import modern_name
from skyloom.catalogs.photometry import Magnitudes
from skyloom.catalogs.plain_table import plain_table
from skyloom.catalogs.quality import HARD_ISSUES, SOFT_ISSUES, quality_issues
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.slots import SLOTS, MomentErrors, Point
from skyloom.catalogs.source_catalog import SourceCatalog
from skyloom.catalogs.source_record import SourceRecord
from skyloom.catalogs.spans import SpanSet
from skyloom.catalogs.values import column_as_bool, column_as_float, column_as_text, text_array

__all__ = [
    "FIELD_TYPES",
    "HARD_ISSUES",
    "PEAK_SCHEMA",
    "SLOTS",
    "SOFT_ISSUES",
    "CatalogColumns",
    "Field",
    "Footprint",
    "HeavyFootprint",
    "InputCatalog",
    "Magnitudes",
    "MomentErrors",
    "Point",
    "Schema",
    "SourceCatalog",
    "SourceRecord",
    "SpanSet",
    "as_input_catalog",
    "band_column",
    "catalog_from_table",
    "catalog_to_table",
    "check_flux_bands",
    "column_as_bool",
    "column_as_float",
    "column_as_text",
    "excluded_reason",
    "fitted_bands",
    "load_input_catalog",
    "modern_name",
    "near_saturated",
    "odd_shapes",
    "peak_catalog",
    "plain_table",
    "quality_issues",
    "read_catalog",
    "read_csv",
    "read_fits_table",
    "read_image_list",
    "read_length",
    "read_parquet",
    "read_schema",
    "read_table",
    "resolve_columns",
    "source_types",
    "text_array",
    "unique_keys",
    "with_exclusions",
    "write_catalog",
    "write_csv",
    "write_fits_table",
    "write_parquet",
]

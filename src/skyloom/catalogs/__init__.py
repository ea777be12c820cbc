"""Catalogues: tables on disk, the user's source catalogue, exclusions, reliability."""

from skyloom.catalogs.band_columns import band_column, fitted_bands
from skyloom.catalogs.columns import CatalogColumns, check_flux_bands, resolve_columns
from skyloom.catalogs.exclusions import excluded_reason, near_saturated, with_exclusions
from skyloom.catalogs.input_catalog import (
    InputCatalog,
    as_input_catalog,
    load_input_catalog,
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
from skyloom.catalogs.quality import HARD_ISSUES, SOFT_ISSUES, quality_issues
from skyloom.catalogs.values import column_as_bool, column_as_float, column_as_text, text_array

__all__ = [
    "HARD_ISSUES",
    "SOFT_ISSUES",
    "CatalogColumns",
    "InputCatalog",
    "as_input_catalog",
    "band_column",
    "check_flux_bands",
    "column_as_bool",
    "column_as_float",
    "column_as_text",
    "excluded_reason",
    "fitted_bands",
    "load_input_catalog",
    "near_saturated",
    "quality_issues",
    "read_csv",
    "read_fits_table",
    "read_image_list",
    "read_parquet",
    "read_table",
    "resolve_columns",
    "source_types",
    "text_array",
    "unique_keys",
    "with_exclusions",
    "write_csv",
    "write_fits_table",
    "write_parquet",
]

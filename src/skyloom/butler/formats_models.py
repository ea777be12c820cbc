"""PSF and sky models of the Legacy Surveys as datasets: that of one CCD, or the table of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import formats_tables as tables
from .formats_fits import read_header

__all__ = ["MODEL_PARTS", "read_psfex_model", "read_sky_model"]

# skyloom.images is imported where it is used: it takes a while to load.

MODEL_PARTS: Final = {
    "md": read_header,
    "len": tables.catalog_length,
    "schema": tables.fits_schema,
    "table": tables.read_fits_rows,
}
"""Readers of the parts of a file of models, by suffix."""


def read_psfex_model(path: Path, *, expnum: int | None = None, ccdname: str | None = None) -> Any:
    """Read the PSF of a CCD."""
    from skyloom.images import read_psfex  # noqa: PLC0415

    return read_psfex(path, expnum=expnum, ccdname=ccdname)


def read_sky_model(path: Path, *, expnum: int | None = None, ccdname: str | None = None) -> Any:
    """Read the sky level of a CCD."""
    from skyloom.images import read_sky  # noqa: PLC0415

    return read_sky(path, expnum=expnum, ccdname=ccdname)

"""Names of columns where each band was fitted by itself."""

from __future__ import annotations

import re

from astropy.table import Table

__all__ = ["band_column", "fitted_bands"]

_POSITION = re.compile(r"x_pix_white_(.+)_fit")


def band_column(name: str, band: str) -> str:
    """Return the name of a column of a joint fit in a catalogue of single-band fits.

    The band stands before ``_fit`` and ``_err``, else at the end: ``x_pix_white_r_fit``,
    ``re_pix_r_err``, ``opt_niters_r``.  Names that hold the band already (``FLUX_r_fit``,
    ``chi2_r``) stay as they are.
    """
    for ending in ("_fit", "_err", ""):
        if name.endswith(ending):
            stem = name.removesuffix(ending)
            return name if stem.endswith(f"_{band}") else f"{stem}_{band}{ending}"
    return name


def fitted_bands(table: Table) -> tuple[str, ...]:
    """Return the bands that were fitted by themselves, sorted; empty after a joint fit."""
    matches = (_POSITION.fullmatch(name) for name in table.colnames)
    return tuple(sorted(match[1] for match in matches if match))

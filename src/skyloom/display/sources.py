"""Where the sources of a table are: its columns of positions, under the names that programs use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from skyloom.errors import BadTable

if TYPE_CHECKING:
    from astropy.table import Table

    from skyloom._types import Floats
    from skyloom.catalogs import SourceCatalog

__all__ = ["source_positions"]

_ON_IMAGE: Final = (  # columns, and the number of the first pixel
    ("base_SdssCentroid_x", "base_SdssCentroid_y", 0.0),
    ("x", "y", 0.0),
    ("X_IMAGE", "Y_IMAGE", 1.0),
)
_ON_SKY: Final = (("ra", "dec"), ("RA", "DEC"), ("ALPHA_J2000", "DELTA_J2000"))


def source_positions(
    table: Table | SourceCatalog, wcs: Any = None, *, where: str = ""
) -> tuple[Floats, Floats]:
    """Return positions in parent coordinates [pix], 0-based.

    Parameters
    ----------
    table : Table or SourceCatalog
        With columns ``x, y``, those of SExtractor, or ``ra, dec`` [deg]; a `SourceCatalog` knows
        its centroids.
    wcs : SkyWcs, optional
        For tables that have sky positions only.
    where : str
        Name of the table, for messages.

    Raises
    ------
    BadTable
        If it has neither, or sky positions only and there is no WCS.
    """
    if not hasattr(table, "colnames"):
        return np.asarray(table.x, float), np.asarray(table.y, float)
    for x, y, first in _ON_IMAGE:
        if x in table.colnames and y in table.colnames:
            return _column(table, x) - first, _column(table, y) - first
    sky = next((names for names in _ON_SKY if set(names) <= set(table.colnames)), None)
    if sky is None:
        shown = ", ".join(table.colnames[:8]) or "none"
        raise BadTable(
            f"{where}: no positions; name two columns x, y [pix] or ra, dec [deg] (there are: "
            f"{shown})",
            file=where,
        )
    if wcs is None:
        raise BadTable(
            f"{where}: has {sky[0]}, {sky[1]} but the image has no WCS; add x, y [pix]", file=where
        )
    ra, dec = _column(table, sky[0]), _column(table, sky[1])
    x_pix, y_pix = wcs.sky_to_pixel(ra, dec)
    return np.asarray(x_pix, float), np.asarray(y_pix, float)


def _column(table: Table, name: str) -> Floats:
    values = np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan)
    return np.asarray(values)

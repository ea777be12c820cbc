"""Two catalogues of the same field side by side: photometry, positions, shapes, types, losses."""

from .comparison import (
    Comparison,
    PositionComparison,
    ShapeComparison,
    Unmatched,
    compare_catalogs,
)
from .dialects import DIALECTS, Dialect, FluxNames
from .io import make_folder, write_comparison
from .measured import BandFluxes, MeasuredCatalog, measured_catalog
from .photometry import BandComparison, MagBin, compare_band
from .shapes import Shapes
from .statistics import Differences, Pulls
from .summary import pair_table, summary, unmatched_table, worst_pairs

__all__ = [
    "DIALECTS",
    "BandComparison",
    "BandFluxes",
    "Comparison",
    "Dialect",
    "Differences",
    "FluxNames",
    "MagBin",
    "MeasuredCatalog",
    "PositionComparison",
    "Pulls",
    "ShapeComparison",
    "Shapes",
    "Unmatched",
    "compare_band",
    "compare_catalogs",
    "make_folder",
    "measured_catalog",
    "pair_table",
    "summary",
    "unmatched_table",
    "worst_pairs",
    "write_comparison",
]

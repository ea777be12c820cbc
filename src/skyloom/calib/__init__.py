"""Calibration: reference stars, their place in the catalogue, zero points."""

from skyloom.calib.augment import Augmentation, augment_catalog, gaia_box, match_one_to_one
from skyloom.calib.io import (
    read_filter,
    read_filters,
    read_instrument,
    read_xp_spectra,
    read_xp_table,
)
from skyloom.calib.magnitudes import (
    FaintMagnitudes,
    apply_zero_points,
    asinh_magnitude,
    softening,
)
from skyloom.calib.motion import (
    GAIA_EPOCH,
    at_epoch,
    has_motion,
    julian_year,
    moved_positions,
)
from skyloom.calib.reference import GaiaReference, read_gaia_xp
from skyloom.calib.scatter import (
    ScatterFit,
    effective_number,
    fit_scatter,
    weighted_median_error,
)
from skyloom.calib.trends import (
    SurfaceKind,
    Trend,
    ZeroPointSurface,
    choose_surface,
    measure_trend,
)
from skyloom.calib.xp import (
    FilterCurve,
    SyntheticPhotometry,
    XpInstrument,
    XpModel,
    XpSpectra,
    absolute_spectrum,
    synthesize,
)
from skyloom.calib.zeropoint import mad_clip, measure_zero_points, weighted_median, zero_point
from skyloom.calib.zp_data import (
    BandZeroPoint,
    StarPhotometry,
    StarPlaces,
    ZeroPointError,
    ZeroPointEstimate,
    ZeroPoints,
)

__all__ = [
    "GAIA_EPOCH",
    "Augmentation",
    "BandZeroPoint",
    "FaintMagnitudes",
    "FilterCurve",
    "GaiaReference",
    "ScatterFit",
    "StarPhotometry",
    "StarPlaces",
    "SurfaceKind",
    "SyntheticPhotometry",
    "Trend",
    "XpInstrument",
    "XpModel",
    "XpSpectra",
    "ZeroPointError",
    "ZeroPointEstimate",
    "ZeroPointSurface",
    "ZeroPoints",
    "absolute_spectrum",
    "apply_zero_points",
    "asinh_magnitude",
    "at_epoch",
    "augment_catalog",
    "choose_surface",
    "effective_number",
    "fit_scatter",
    "gaia_box",
    "has_motion",
    "julian_year",
    "mad_clip",
    "match_one_to_one",
    "measure_trend",
    "measure_zero_points",
    "moved_positions",
    "read_filter",
    "read_filters",
    "read_gaia_xp",
    "read_instrument",
    "read_xp_spectra",
    "read_xp_table",
    "softening",
    "synthesize",
    "weighted_median",
    "weighted_median_error",
    "zero_point",
]

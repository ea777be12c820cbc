"""Calibration: reference stars, their place in the catalogue, zero points."""

from skyloom.calib.augment import Augmentation, augment_catalog, gaia_box, match_one_to_one
from skyloom.calib.reference import GaiaReference, read_gaia_xp
from skyloom.calib.zeropoint import (
    BandZeroPoint,
    StarPhotometry,
    ZeroPointError,
    ZeroPoints,
    apply_zero_points,
    mad_clip,
    measure_zero_points,
    weighted_median,
    zero_point,
)

__all__ = [
    "Augmentation",
    "BandZeroPoint",
    "GaiaReference",
    "StarPhotometry",
    "ZeroPointError",
    "ZeroPoints",
    "apply_zero_points",
    "augment_catalog",
    "gaia_box",
    "mad_clip",
    "match_one_to_one",
    "measure_zero_points",
    "read_gaia_xp",
    "weighted_median",
    "zero_point",
]

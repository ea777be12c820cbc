"""Gaia stars that may become PSF stars of a band."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from skyloom._types import Floats
from skyloom.calib import GaiaReference
from skyloom.geometry import Box, sky_to_pixel
from skyloom.images import Frame, frame_wcs

__all__ = ["gaia_seeds"]

log = logging.getLogger(__name__)


def gaia_seeds(
    gaia: GaiaReference, band: str, frame: Frame, settings: Any
) -> tuple[Floats, Floats, Floats] | None:
    """Return the Gaia stars of a band inside the magnitude window: x, y [pix], magnitude.

    Without any in the frame a warning says why; None without magnitudes of the band.
    """
    mag = gaia.mags.get(band)
    if mag is None:
        _warn(gaia, band, f"has no column mag_{band}; add it")
        return None
    keep = np.isfinite(mag) & (mag >= settings.gaia_mag_min) & (mag <= settings.gaia_mag_max)
    x, y = sky_to_pixel(frame_wcs(frame), gaia.ra[keep], gaia.dec[keep])
    if not Box.of_shape(frame.working_shape).contains(x, y).any():
        low, high = settings.gaia_mag_min, settings.gaia_mag_max
        _warn(
            gaia,
            band,
            f"has none in the frame with mag_{band} between epsf.gaia_mag_min = {low:g} and "
            f"gaia_mag_max = {high:g}; widen them, or check that the table covers the field",
        )
    inside = np.isfinite(x) & np.isfinite(y)
    return x[inside], y[inside], np.asarray(mag)[keep][inside]


def _warn(gaia: GaiaReference, band: str, lack: str) -> None:
    log.warning("%s: no PSF star comes from Gaia: %s %s", band, gaia.name, lack)

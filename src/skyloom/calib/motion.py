"""Proper motion: where the stars of a catalogue stood when an image was taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from skyloom._types import Bools, Floats
from skyloom.calib.reference import GaiaReference

__all__ = ["GAIA_EPOCH", "at_epoch", "has_motion", "julian_year", "moved_positions"]

GAIA_EPOCH: Final = 2016.0
"""Julian year of the positions of Gaia DR3, where a table has no ``ref_epoch``."""

_RADIAN: Final = np.pi / (180.0 * 3600.0 * 1000.0)  # of one mas


def julian_year(mjd: float) -> float:
    """Return the Julian year of an MJD."""
    return 2000.0 + (mjd - 51544.5) / 365.25


def moved_positions(
    ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, years: Floats | float
) -> tuple[Floats, Floats]:
    """Move stars along straight lines in space, of which proper motion is the part on the sky.

    Parameters
    ----------
    ra, dec : ndarray
        Positions [deg].
    pmra, pmdec : ndarray
        Proper motions [mas / yr]; pmra includes cos Dec.
    years : ndarray or float
        Time to move by [Julian years], negative into the past.

    Returns
    -------
    ra, dec : ndarray
        [deg], RA in [0, 360).

    Notes
    -----
    The unit vector p moves to ``p + years (pmra e_ra + pmdec e_dec)``, normalised, which holds at
    the poles too.  Radial motion and parallax are left out: the former changes nothing that an
    image shows, the latter averages out in a stack and stays below 0.02 arcsec beyond 50 pc.
    """
    lon, lat = np.radians(ra), np.radians(dec)
    sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    east, north = pmra * _RADIAN * years, pmdec * _RADIAN * years
    x = cos_lat * cos_lon - east * sin_lon - north * sin_lat * cos_lon
    y = cos_lat * sin_lon + east * cos_lon - north * sin_lat * sin_lon
    z = sin_lat + north * cos_lat
    return np.mod(np.degrees(np.arctan2(y, x)), 360.0), np.degrees(np.arctan2(z, np.hypot(x, y)))


def has_motion(gaia: GaiaReference) -> Bools:
    """Tell which stars have a proper motion."""
    if gaia.pmra is None or gaia.pmdec is None:
        return np.zeros(len(gaia), np.bool_)
    return np.isfinite(gaia.pmra) & np.isfinite(gaia.pmdec)


def at_epoch(gaia: GaiaReference, epoch: float | None) -> GaiaReference:
    """Return the stars where they stood at an epoch.

    Parameters
    ----------
    gaia : GaiaReference
        With proper motions; without them it comes back as it is.
    epoch : float or None
        Julian year; None: as it is.

    Returns
    -------
    GaiaReference
        ``epoch`` says which year each position is of: a star without a proper motion stays where
        it was, at ``ref_epoch`` (2016.0, that of Gaia DR3, where the table does not say).
    """
    if epoch is None or gaia.pmra is None or gaia.pmdec is None:
        return gaia
    moves = has_motion(gaia)
    reference = np.full(len(gaia), GAIA_EPOCH) if gaia.ref_epoch is None else gaia.ref_epoch
    reference = np.where(np.isfinite(reference), reference, GAIA_EPOCH)
    ra, dec = moved_positions(
        gaia.ra,
        gaia.dec,
        np.where(moves, gaia.pmra, 0.0),
        np.where(moves, gaia.pmdec, 0.0),
        epoch - reference,
    )
    return replace(
        gaia,
        ra=np.where(moves, ra, gaia.ra),
        dec=np.where(moves, dec, gaia.dec),
        epoch=np.where(moves, epoch, reference),
    )

"""Magnitudes and physical fluxes of a catalogue, from its zero points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from astropy.table import Column, Table

from skyloom._types import Floats
from skyloom.calib.trends import ZeroPointSurface
from skyloom.catalogs import column_as_float

__all__ = ["FaintMagnitudes", "apply_zero_points", "asinh_magnitude", "softening"]

FaintMagnitudes = Literal["none", "asinh", "limits"]

POGSON: Final = 2.5 / np.log(10.0)
"""Magnitudes per relative flux change."""
NJY_ZERO_POINT: Final = 31.4
"""AB magnitude of 1 nJy: f_nu = 10**(-0.4 (m + 48.6)) erg/s/cm2/Hz (Oke & Gunn 1983)."""
LIMIT_SIGMA: Final = 3.0
"""Rows below this S/N get an upper limit, this many errors above their flux."""
_COLUMNS: Final = (
    *("MAG_{}_fit", "MAGERR_{}_fit", "MAGERR_STAT_{}_fit", "NJY_{}", "NJYERR_{}"),
    *("ASINH_{}_fit", "ASINHERR_{}_fit", "LIM_{}_fit"),
)
_FAINT_MIN: Final = 10  # rows that say what the errors of faint sources are


def apply_zero_points(
    catalog: Table,
    zero_points: Mapping[str, tuple[float, float]],
    *,
    bands: Sequence[str],
    faint: FaintMagnitudes = "none",
    surfaces: Mapping[str, ZeroPointSurface] | None = None,
) -> Table:
    """Return a copy with magnitudes and fluxes in nJy as its last columns.

    Parameters
    ----------
    catalog : Table
        With ``FLUX_{band}_fit`` and ``FLUXERR_{band}_fit`` [scaled counts].
    zero_points : mapping of str to (float, float)
        Zero point and its error [mag] of each band that has one; the others get NaN.
    bands : sequence of str
        Bands; the columns come in sorted order.
    faint : {"none", "asinh", "limits"}
        What faint sources get besides.
    surfaces : mapping of str to ZeroPointSurface, optional
        Corrections of the zero points over the frame; their errors enter ``MAGERR``.

    Returns
    -------
    Table
        First ``MAG_{band}_fit`` and ``MAGERR_{band}_fit`` [mag] of all bands: NaN where the flux
        is not positive, the errors also where the flux error is not a positive number.  Behind
        them ``MAGERR_STAT_{band}_fit`` [mag] (flux error alone), ``NJY_{band}`` and
        ``NJYERR_{band}`` [nJy]; with ``asinh`` `asinh_magnitude` and its error in
        ``ASINH_{band}_fit`` and ``ASINHERR_{band}_fit``; with ``limits`` ``LIM_{band}_fit``, the
        magnitude of ``max(flux, 0) + 3 flux_err`` where S/N < 3.  Applying twice changes nothing;
        without any zero point the catalogue comes back as it was.
    """
    out = catalog.copy()
    if not zero_points:
        return out
    old = {name.format(band) for band in bands for name in _COLUMNS}
    out.remove_columns([name for name in out.colnames if name in old])
    extras: dict[str, Column] = {}
    for band in sorted(bands):
        zp, zp_err = zero_points.get(band, (np.nan, np.nan))
        level, level_err = _levels(catalog, band, zp, zp_err, (surfaces or {}).get(band))
        flux, flux_err = _fluxes(catalog, band)
        mag, mag_stat = _pogson(flux, flux_err, level)
        out[f"MAG_{band}_fit"] = Column(mag, unit="mag", description=f"AB magnitude in {band}")
        out[f"MAGERR_{band}_fit"] = Column(
            np.hypot(mag_stat, level_err),
            unit="mag",
            description="its error: flux error and zero-point error",
        )
        extras[f"MAGERR_STAT_{band}_fit"] = Column(
            mag_stat, unit="mag", description="the part of the flux error alone"
        )
        extras |= _physical(band, flux, flux_err, level)
        if faint == "asinh":
            extras |= _asinh_columns(band, flux, flux_err, level)
        elif faint == "limits":
            extras |= _limit_column(band, flux, flux_err, level)
    for name, column in extras.items():
        out[name] = column
    return out


def _levels(
    catalog: Table, band: str, zp: float, zp_err: float, surface: ZeroPointSurface | None
) -> tuple[Floats, Floats]:
    """Return the zero point of every row and its error [mag]."""
    level, error = np.full(len(catalog), zp), np.full(len(catalog), zp_err)
    if surface is None:
        return level, error
    x, y = frame_position(catalog, band)
    return level + surface(x, y), np.hypot(error, surface.error(x, y))


def frame_position(catalog: Table, band: str) -> tuple[Floats, Floats]:
    """Return positions in the working frame [pix]: fitted ones, else those of the start, else NaN.

    Single-band fits have a position for each band.
    """
    found: list[Floats] = []
    for axis in "xy":
        value = np.full(len(catalog), np.nan)
        for name in (f"{axis}_pix_white_{band}_fit", f"{axis}_pix_white_fit", f"{axis}_pix_white"):
            if name in catalog.colnames:
                column = column_as_float(catalog, name)
                value = np.where(np.isfinite(value), value, column)
        found.append(value)
    return found[0], found[1]


def _fluxes(catalog: Table, band: str) -> tuple[Floats, Floats]:
    """Return fluxes and errors [scaled counts]; errors that cannot be are NaN."""
    flux = column_as_float(catalog, f"FLUX_{band}_fit")
    name = f"FLUXERR_{band}_fit"
    error = np.full(len(catalog), np.nan)
    if name in catalog.colnames:
        error = column_as_float(catalog, name)
    with np.errstate(invalid="ignore"):
        return flux, np.where(np.isfinite(error) & (error > 0), error, np.nan)


def _pogson(flux: Floats, flux_err: Floats, level: Floats) -> tuple[Floats, Floats]:
    with np.errstate(invalid="ignore"):
        bright = np.isfinite(flux) & (flux > 0)
    safe = np.where(bright, flux, 1.0)
    mag = np.where(bright, level - 2.5 * np.log10(safe), np.nan)
    error = np.where(bright & np.isfinite(level), POGSON * flux_err / safe, np.nan)
    return mag, error


def _physical(band: str, flux: Floats, flux_err: Floats, level: Floats) -> dict[str, Column]:
    """Return fluxes in nJy; negative ones stay negative."""
    per_count = 10.0 ** (-0.4 * (level - NJY_ZERO_POINT))
    about = "flux error, without that of the zero point"
    return {
        f"NJY_{band}": Column(flux * per_count, unit="nJy", description=f"flux in {band}"),
        f"NJYERR_{band}": Column(flux_err * per_count, unit="nJy", description=about),
    }


def softening(flux: Floats, flux_err: Floats) -> float:
    """Return the softening of asinh magnitudes: 1.042 errors of a faint source.

    The median error of sources with S/N < 5 (of all, where fewer than 10 are that faint).

    References
    ----------
    Lupton, Gunn & Szalay 1999, AJ, 118, 1406: b = 1.042 sigma balances noise and bias.
    """
    known = np.isfinite(flux) & np.isfinite(flux_err)
    faint = known & (np.where(known, flux, 0.0) < 5.0 * np.where(known, flux_err, 0.0))
    chosen = faint if faint.sum() >= _FAINT_MIN else known
    return 1.042 * float(np.median(flux_err[chosen])) if chosen.any() else float("nan")


def asinh_magnitude(
    flux: Floats, flux_err: Floats, level: Floats, *, b: float
) -> tuple[Floats, Floats]:
    """Return asinh magnitudes and their errors; defined for fluxes of either sign.

    Parameters
    ----------
    flux, flux_err : ndarray
        Flux and error [scaled counts].
    level : ndarray
        Zero point [AB mag].
    b : float
        Softening [scaled counts]; a flux far above it has its usual magnitude.

    Notes
    -----
    ``level - a (asinh(flux / 2b) + ln b)``, ``a = 2.5 / ln 10`` (Lupton et al. 1999, eq. 3).
    """
    mag = level - POGSON * (np.arcsinh(flux / (2.0 * b)) + np.log(b))
    return mag, POGSON * flux_err / np.sqrt(4.0 * b**2 + flux**2)


def _asinh_columns(band: str, flux: Floats, flux_err: Floats, level: Floats) -> dict[str, Column]:
    b = softening(flux, flux_err)
    mag, error = asinh_magnitude(flux, flux_err, level, b=b)
    about = f"asinh magnitude, softening {b:.6g} scaled counts"
    return {
        f"ASINH_{band}_fit": Column(mag, unit="mag", description=about),
        f"ASINHERR_{band}_fit": Column(error, unit="mag", description="the part of the flux error"),
    }


def _limit_column(band: str, flux: Floats, flux_err: Floats, level: Floats) -> dict[str, Column]:
    with np.errstate(invalid="ignore"):
        faint = np.isfinite(flux) & np.isfinite(flux_err) & (flux < LIMIT_SIGMA * flux_err)
    most = np.where(faint, np.maximum(flux, 0.0) + LIMIT_SIGMA * flux_err, 1.0)
    limit = np.where(faint, level - 2.5 * np.log10(most), np.nan)
    about = f"not brighter than this, at {LIMIT_SIGMA:g} sigma; only where S/N < {LIMIT_SIGMA:g}"
    return {f"LIM_{band}_fit": Column(limit, unit="mag", description=about)}

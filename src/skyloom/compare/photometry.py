"""Fluxes of one band in two catalogues: differences, pulls, and the offset between zero points.

Signs: ``delta_mag`` is new - old (positive: fainter in the new one); ``pull`` is the difference of
the fluxes, new - old, over its error (positive: brighter in the new one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from skyloom._types import Floats, Ints

from .measured import BandFluxes
from .statistics import Differences, Pulls, differences, pulls, running

__all__ = ["BandComparison", "MagBin", "Offsets", "compare_band"]

Offsets = Literal["auto", "fit", "keep"]

_BRIGHT_SNR = 10.0  # sources that tell the offset of two zero points
_ENOUGH = 5
_OFFSET = 0.5  # mag; two instrumental scales that differ by more are brought together
_POGSON = 2.5 / np.log(10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MagBin:
    """Differences in a range of magnitudes."""

    mag_low: float
    mag_high: float
    delta_mag: Differences
    pull: Pulls


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandComparison:
    """One band; the arrays have one entry per matched pair."""

    band: str  # name in the new catalogue
    old_band: str
    is_ab: bool  # whether mag is on the AB scale
    offset: float  # mag, new - old of bright sources before anything was removed
    offset_err: float
    offset_removed: float  # mag, what was taken off delta_mag: the offset, or 0
    errors: Literal["both", "old", "new", "none"]  # which side has errors
    mag: Floats  # of the mean flux of both, in the old zero point (or the AB one)
    delta_mag: Floats  # new - old; NaN unless both fluxes are positive
    delta_mag_err: Floats  # from the errors there are
    pull: Floats  # flux difference / error; NaN where no error is known
    n: int  # pairs measured in both
    summary: Differences
    pulls: Pulls
    bins: tuple[MagBin, ...]


def compare_band(
    old: BandFluxes,
    new: BandFluxes,
    rows_old: Ints,
    rows_new: Ints,
    *,
    names: tuple[str, str],
    offsets: Offsets = "auto",
) -> BandComparison:
    """Compare the fluxes of matched sources in one band.

    Parameters
    ----------
    old, new : BandFluxes
        The two catalogues.
    rows_old, rows_new : ndarray of int, shape (n_pairs,)
        Which row is which.
    names : tuple of str
        The band in the old and the new catalogue.
    offsets : {"auto", "fit", "keep"}
        ``fit`` removes the median difference of the bright sources; ``keep`` never does;
        ``auto`` does if just one side is on the AB scale, or if neither is and they differ by
        more than 0.5 mag.
    """
    side_old, side_new = _side(old, rows_old), _side(new, rows_new)
    raw = _mags(side_new[0]) - _mags(side_old[0])
    bright = np.isfinite(raw) & (_snr(*side_old) > _BRIGHT_SNR) & (_snr(*side_new) > _BRIGHT_SNR)
    spread = differences(raw[bright] if bright.sum() >= _ENOUGH else raw)
    offset = spread.median if np.isfinite(spread.median) else 0.0
    removed = offset if _is_removed(old, new, offset, offsets) else 0.0
    # Both on one scale: the AB one if a side has it, else that of the old catalogue.
    to_old = new.is_ab and not old.is_ab
    flux_old, err_old = (v * (10 ** (-0.4 * removed) if to_old else 1.0) for v in side_old)
    flux_new, err_new = (v * (1.0 if to_old else 10 ** (0.4 * removed)) for v in side_new)
    variance = np.nan_to_num(err_old) ** 2 + np.nan_to_num(err_new) ** 2
    sigma = np.sqrt(np.where(variance > 0, variance, np.nan))
    pull = (flux_new - flux_old) / sigma
    delta = raw - removed
    mean = 0.5 * (flux_old + flux_new)
    mag = _mags(mean)
    err = _POGSON * np.hypot(_relative(flux_old, err_old), _relative(flux_new, err_new))
    return BandComparison(
        band=names[1],
        old_band=names[0],
        is_ab=old.is_ab or new.is_ab,
        offset=offset,
        offset_err=spread.stderr,
        offset_removed=removed,
        errors=_sides_with_errors(err_old, err_new),
        mag=mag,
        delta_mag=delta,
        delta_mag_err=np.where(np.isfinite(delta) & (err > 0), err, np.nan),
        pull=pull,
        n=int(np.isfinite(flux_old + flux_new).sum()),
        summary=differences(delta),
        pulls=pulls(pull),
        bins=_bins(mag, delta, pull),
    )


def _side(band: BandFluxes, rows: Ints) -> tuple[Floats, Floats]:
    """Return flux and error on the magnitude scale: flux 1 has magnitude 0."""
    unit = 10.0 ** (-0.4 * band.zeropoint)
    return band.flux[rows] * unit, band.flux_err[rows] * unit


def _mags(flux: Floats) -> Floats:
    mags = np.full(flux.shape, np.nan)
    np.log10(flux, out=mags, where=flux > 0)
    return -2.5 * mags


def _snr(flux: Floats, err: Floats) -> Floats:
    """Signal to noise; infinite where no error is known."""
    return np.where(np.isfinite(err), flux / err, np.inf)


def _relative(flux: Floats, err: Floats) -> Floats:
    return np.nan_to_num(err) / np.where(flux > 0, flux, np.nan)


def _is_removed(old: BandFluxes, new: BandFluxes, offset: float, offsets: Offsets) -> bool:
    if offsets != "auto":
        return offsets == "fit"
    if old.is_ab != new.is_ab:
        return True
    return not old.is_ab and abs(offset) > _OFFSET


def _sides_with_errors(err_old: Floats, err_new: Floats) -> Literal["both", "old", "new", "none"]:
    has_old, has_new = bool(np.isfinite(err_old).any()), bool(np.isfinite(err_new).any())
    if has_old and has_new:
        return "both"
    return "old" if has_old else "new" if has_new else "none"


def _bins(mag: Floats, delta: Floats, pull: Floats) -> tuple[MagBin, ...]:
    """Return differences in whole magnitudes (wider where the range is long)."""
    seen = mag[np.isfinite(mag) & np.isfinite(delta)]
    if not seen.size:
        return ()
    low, high = np.floor(seen.min()), np.floor(seen.max()) + 1.0
    edges = np.arange(low, high + 1.0, 1.0)
    number = np.digitize(mag, edges) - 1
    return tuple(
        MagBin(
            mag_low=float(edges[k]),
            mag_high=float(edges[k + 1]),
            delta_mag=found,
            pull=pulls(pull[number == k]),
        )
        for k, found in running(mag, delta, edges)
    )

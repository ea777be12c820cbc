"""Synthetic magnitudes from Gaia XP spectra and any filter curve.

The archive gives the mean BP and RP spectrum of a star as coefficients of basis functions in
pseudo-wavelength, with their covariance.  The instrument model turns each basis function into an
absolute spectrum; its mean flux density in a filter is then one number for each coefficient, and a
magnitude is a scalar product.  Its error comes from the covariance in the same way.

References
----------
De Angeli et al. 2023, A&A, 674, A2 (spectra); Montegriffo et al. 2023, A&A, 674, A3 (calibration);
Gaia Collaboration, Montegriffo et al. 2023, A&A, 674, A33 (synthetic photometry).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from skyloom._types import Bools, Floats

__all__ = [
    "FilterCurve",
    "SyntheticPhotometry",
    "XpInstrument",
    "XpModel",
    "XpSpectra",
    "absolute_spectrum",
    "synthesize",
]

log = logging.getLogger(__name__)

LIGHT: Final = 2.99792458e17  # nm / s
PLANCK: Final = 6.62607004e-34  # J s
PUPIL: Final = 0.7278  # m**2, Gaia's telescope
AB_ZERO: Final = -56.10  # mag of 1 W / m**2 / Hz: -48.60 - 2.5 log10(1000)
RANGE: Final = (330.0, 1050.0)  # nm that XP spectra cover
JOIN: Final = (635.0, 643.0)  # nm: below it BP alone, above it RP alone, in between both
STEP: Final = 0.25  # nm of the integrals; spectra have a resolution of some nm
COVERED: Final = 0.95  # least part of a filter's weight inside RANGE
WELL_COVERED: Final = 0.99  # below it a magnitude depends on light that was not seen
_MISSING: Final = 1e-3  # largest part of a filter's weight in a half that a star lacks
_ARMS: Final = ("bp", "rp")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class XpModel:
    """How one spectrometer sees absolute flux: tables of `XpInstrument`."""

    wavelength: Floats  # nm, of the dispersion
    pseudo_wavelength: Floats
    response_wavelength: Floats  # nm
    response: Floats  # photo-electrons per photon
    pseudo_range: tuple[float, float]
    hermite_range: tuple[float, float]  # argument of the Hermite functions over pseudo_range
    inverse_bases: Floats  # shape (n_bases, n_hermite)
    transformation: Floats  # shape (n_bases, n_bases)

    def basis_spectra(self, wavelength: Floats) -> Floats:
        """Return the absolute spectrum of each basis function [W / nm / m**2], shape (n, m).

        Parameters
        ----------
        wavelength : ndarray, shape (m,)
            Wavelengths [nm].
        """
        pseudo = CubicSpline(self.wavelength, self.pseudo_wavelength)(wavelength)
        (low, high), (first, last) = self.pseudo_range, self.hermite_range
        argument = first + (pseudo - low) * (last - first) / (high - low)
        functions = _hermite_functions(self.inverse_bases.shape[1], argument)
        response = CubicSpline(self.response_wavelength, self.response)(wavelength)
        seen = response > 0
        photon = LIGHT * PLANCK / (PUPIL * wavelength * np.where(seen, response, 1.0))
        bases = self.transformation @ self.inverse_bases @ functions
        return np.asarray(bases * np.where(seen, photon, 0.0))


def _hermite_functions(n: int, x: Floats) -> Floats:
    """Return the first ``n`` Hermite functions (orthonormal on the line), shape (n, len(x))."""
    out = np.empty((n, len(x)))
    out[0] = np.pi**-0.25 * np.exp(-0.5 * x * x)
    if n > 1:
        out[1] = np.sqrt(2.0) * x * out[0]
    for k in range(2, n):
        out[k] = np.sqrt(2.0 / k) * x * out[k - 1] - np.sqrt((k - 1) / k) * out[k - 2]
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class XpInstrument:
    """The two spectrometers."""

    bp: XpModel
    rp: XpModel

    def joined_spectra(self, wavelength: Floats) -> dict[str, Floats]:
        """Return the basis spectra of both, times their share of the joined spectrum."""
        share = np.clip((wavelength - JOIN[0]) / (JOIN[1] - JOIN[0]), 0.0, 1.0)
        return {
            "bp": self.bp.basis_spectra(wavelength) * (1.0 - share),
            "rp": self.rp.basis_spectra(wavelength) * share,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class XpSpectra:
    """Mean spectra of stars: coefficients, their errors and correlations for ``bp`` and ``rp``.

    A star that lacks a half has NaN there.
    """

    source_id: npt.NDArray[np.str_]
    coefficients: Mapping[str, Floats]  # arm -> shape (n_stars, n_bases)
    errors: Mapping[str, Floats]  # arm -> shape (n_stars, n_bases)
    correlations: Mapping[
        str, Floats
    ]  # arm -> (n_stars, n (n - 1) / 2): rows of the lower triangle

    def __len__(self) -> int:
        return len(self.source_id)

    def has(self, arm: str) -> Bools:
        """Tell which stars have a half."""
        return np.asarray(np.isfinite(self.coefficients[arm]).all(axis=1))

    def covariance(self, arm: str, star: int) -> Floats:
        """Return the covariance of the coefficients of one star and arm."""
        n = self.errors[arm].shape[1]
        correlation = np.eye(n)
        correlation[np.tril_indices(n, -1)] = self.correlations[arm][star]
        correlation = correlation + np.tril(correlation, -1).T
        error = self.errors[arm][star]
        return np.asarray(correlation * error[:, None] * error[None, :])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilterCurve:
    """Transmission of a filter (with telescope, detector and air, where they matter)."""

    name: str
    wavelength: Floats  # nm, ascending
    transmission: Floats  # of photons; any scale

    def on(self, wavelength: Floats) -> Floats:
        """Return the transmission at other wavelengths [nm], 0 outside the table."""
        return np.interp(wavelength, self.wavelength, self.transmission, left=0.0, right=0.0)

    def covered(self) -> float:
        """Return the part of its weight at wavelengths of XP spectra."""
        grid = np.arange(self.wavelength[0], self.wavelength[-1] + STEP, STEP)
        weight = self.on(grid) / grid
        inside = (grid >= RANGE[0]) & (grid <= RANGE[1])
        return float(weight[inside].sum() / weight.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticPhotometry:
    """AB magnitudes of stars in filters."""

    source_id: npt.NDArray[np.str_]
    flux: Mapping[str, Floats]  # W / m**2 / Hz
    flux_err: Mapping[str, Floats]
    mag: Mapping[str, Floats]  # AB; NaN where the flux is not positive or a half is missing
    mag_err: Mapping[str, Floats]


def absolute_spectrum(
    spectra: XpSpectra, instrument: XpInstrument, wavelength: Floats
) -> tuple[Floats, Floats]:
    """Return absolute spectra and their errors [W / nm / m**2], shape (n_stars, m).

    Parameters
    ----------
    spectra : XpSpectra
        The stars.
    instrument : XpInstrument
        See `read_instrument`.
    wavelength : ndarray, shape (m,)
        Wavelengths [nm] within 330 to 1050; NaN comes back where a needed half is missing.
    """
    return _project(spectra, instrument.joined_spectra(wavelength), None)


def synthesize(
    spectra: XpSpectra, filters: Sequence[FilterCurve], instrument: XpInstrument
) -> SyntheticPhotometry:
    """Return AB magnitudes from XP spectra.

    Parameters
    ----------
    spectra : XpSpectra
        The stars.
    filters : sequence of FilterCurve
        Those with less than 95 % of their weight at 330 to 1050 nm are left out, with a warning;
        of the others the part in that range counts.
    instrument : XpInstrument
        See `read_instrument`.

    Notes
    -----
    The mean flux density is that of a photon counter,
    ``<f_nu> = int f_lambda lambda T dlambda / (c int T / lambda dlambda)``, and the magnitude
    ``-2.5 log10 <f_nu> - 56.10`` with ``f_nu`` in W / m**2 / Hz (Oke & Gunn 1983).
    """
    grid = np.arange(RANGE[0], RANGE[1] + STEP / 2, STEP)
    joined = instrument.joined_spectra(grid)
    used = []
    for curve in filters:
        part = curve.covered()
        if part >= COVERED:
            used.append(curve)
        if part < WELL_COVERED:
            log.warning(
                "filter %s: %.1f %% of its weight lies at %.0f-%.0f nm, the range of Gaia XP; %s",
                curve.name,
                100 * part,
                *RANGE,
                "that part counts" if part >= COVERED else "no magnitudes",
            )
    weights = np.array([_flux_weights(curve, grid) for curve in used]).reshape(-1, len(grid))
    vectors = {arm: joined[arm] @ weights.T for arm in _ARMS}
    photons = weights / grid**2  # in proportion to transmission / wavelength
    share = np.clip((grid - JOIN[0]) / (JOIN[1] - JOIN[0]), 0.0, 1.0)
    of_rp = (photons @ share) / photons.sum(axis=1)
    flux, error = _project(spectra, vectors, {"bp": 1.0 - of_rp, "rp": of_rp})
    with np.errstate(invalid="ignore"):
        bright = flux > 0
    safe = np.where(bright, flux, 1.0)
    mag = np.where(bright, AB_ZERO - 2.5 * np.log10(safe), np.nan)
    mag_err = np.where(bright, 2.5 / np.log(10.0) * error / safe, np.nan)
    names = [curve.name for curve in used]
    flux_of, error_of, mag_of, mag_err_of = (
        {name: column[:, k] for k, name in enumerate(names)}
        for column in (flux, error, mag, mag_err)
    )
    return SyntheticPhotometry(
        source_id=spectra.source_id,
        flux=flux_of,
        flux_err=error_of,
        mag=mag_of,
        mag_err=mag_err_of,
    )


def _flux_weights(curve: FilterCurve, grid: Floats) -> Floats:
    """Return the weight of ``f_lambda`` at each wavelength of a grid in ``<f_nu>`` [nm s].

    The integrals run over the grid and the nodes of the curve, so that steep edges count where they
    are; spectra are interpolated linearly within the grid.
    """
    inside = (curve.wavelength > grid[0]) & (curve.wavelength < grid[-1])
    fine = np.union1d(grid, curve.wavelength[inside])
    width = np.zeros(len(fine))
    width[:-1] += 0.5 * np.diff(fine)
    width[1:] += 0.5 * np.diff(fine)
    photons = width * curve.on(fine)
    weight = photons * fine / (LIGHT * np.sum(photons / fine))
    place = np.clip(np.searchsorted(grid, fine, side="right") - 1, 0, len(grid) - 2)
    part = (fine - grid[place]) / (grid[place + 1] - grid[place])
    on_grid = np.bincount(place, weight * (1.0 - part), len(grid))
    return np.asarray(on_grid + np.bincount(place + 1, weight * part, len(grid)))


def _project(
    spectra: XpSpectra, vectors: Mapping[str, Floats], shares: Mapping[str, Floats] | None
) -> tuple[Floats, Floats]:
    """Return coefficients times vectors (n_bases, m) and their errors, BP and RP added.

    ``shares`` says how much of the result comes from each half; a star that lacks one that matters
    gets NaN.  Without it a half matters where its vector is not zero.
    """
    m = vectors["bp"].shape[1]
    value, variance = np.zeros((len(spectra), m)), np.zeros((len(spectra), m))
    for arm in _ARMS:
        vector, has = vectors[arm], spectra.has(arm)
        matters = (
            (vector != 0).any(axis=0) if shares is None else np.asarray(shares[arm]) > _MISSING
        )
        value[has] += spectra.coefficients[arm][has] @ vector
        for star in np.flatnonzero(has):
            covariance = spectra.covariance(arm, int(star))
            variance[star] += np.einsum("im,ij,jm->m", vector, covariance, vector, optimize=True)
        value[np.ix_(~has, matters)] = np.nan
        variance[np.ix_(~has, matters)] = np.nan
    return value, np.sqrt(variance)

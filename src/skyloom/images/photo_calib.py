"""From instrumental fluxes to magnitudes and nanojansky, and back.

AB magnitude 0 is 3630.78 Jy: ``mag = 31.4 - 2.5 log10(flux [nJy])``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import NotCalibrated

__all__ = ["AB_ZERO_NJY", "Field", "PhotoCalib", "magnitude_errors"]

AB_ZERO_NJY = 10.0 ** (0.4 * 31.4)
"""Flux of AB magnitude 0 [nJy], 3.6307805e12."""

_MAG_PER_LN = 2.5 / np.log(10.0)


class Field(Protocol):
    """A number that varies over an image."""

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return the values at parent positions [pix]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoCalib:
    """A photometric calibration, constant or varying over the image.

    Satisfies `skyloom.protocols.PhotoCalib`.  Where `field` is given, positions x, y change the
    answer; without positions the mean is used.
    """

    mean: float  # nJy per count
    err: float = 0.0  # nJy per count, of the mean
    field: Field | None = None  # nJy per count at x, y; None: the mean everywhere

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and self.mean > 0.0):
            raise NotCalibrated(
                f"a calibration of {self.mean} nJy per count is no calibration; measure the zero "
                "point first",
                mean=self.mean,
            )

    @classmethod
    def from_flux_mag0(cls, flux_mag0: float, flux_mag0_err: float = 0.0) -> Self:
        """Make a calibration from the counts of a source of magnitude 0 and their error.

        Raises
        ------
        NotCalibrated
            If `flux_mag0` is not positive; uncalibrated files say 0.
        """
        if not (np.isfinite(flux_mag0) and flux_mag0 > 0.0):
            raise NotCalibrated(
                f"FLUXMAG0 = {flux_mag0}: the image has no zero point; measure it first",
                flux_mag0=flux_mag0,
            )
        err = AB_ZERO_NJY * flux_mag0_err / flux_mag0**2
        return cls(mean=AB_ZERO_NJY / flux_mag0, err=err if np.isfinite(err) else 0.0)

    @classmethod
    def from_zeropoint(cls, zeropoint: float) -> Self:
        """Make a calibration from the AB magnitude of a source of one count."""
        return cls.from_flux_mag0(10.0 ** (0.4 * zeropoint))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Read FLUXMAG0 and FLUXMAG0ERR; None where there is no FLUXMAG0.

        Raises
        ------
        NotCalibrated
            If FLUXMAG0 is there and is no zero point.
        """
        value, err = metadata.get("FLUXMAG0"), metadata.get("FLUXMAG0ERR", 0.0)
        if value is None:
            return None
        for number in (value, err):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise NotCalibrated(f"FLUXMAG0 or its error, {number!r}, is not a number")
        return cls.from_flux_mag0(float(value), float(err))

    @property
    def flux_mag0(self) -> float:
        """Counts of a source of AB magnitude 0."""
        return AB_ZERO_NJY / self.mean

    @property
    def flux_mag0_err(self) -> float:
        """Error of `flux_mag0` [count]."""
        return self.flux_mag0 * self.err / self.mean

    @property
    def zeropoint(self) -> float:
        """AB magnitude of a source of one count, ``2.5 log10(flux_mag0)``."""
        return float(2.5 * np.log10(self.flux_mag0))

    def scale(self, x: npt.ArrayLike | None = None, y: npt.ArrayLike | None = None) -> Any:
        """Return the calibration at positions [pix], or the mean [nJy per count]."""
        if self.field is None or x is None or y is None:
            return self.mean
        return self.field(x, y)

    def nanojansky(
        self,
        flux: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
    ) -> Any:
        """Return fluxes [nJy] of instrumental fluxes [count]."""
        return np.asarray(flux, np.float64) * self.scale(x, y)

    def nanojansky_err(
        self,
        flux: npt.ArrayLike,
        flux_err: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        *,
        with_calibration: bool = False,
    ) -> Any:
        """Return errors of fluxes [nJy]; `with_calibration` adds that of the calibration."""
        err = np.asarray(flux_err, np.float64) * self.scale(x, y)
        if not with_calibration:
            return err
        return np.hypot(err, np.asarray(flux, np.float64) * self.err)

    def magnitude(
        self,
        flux: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
    ) -> Any:
        """Return AB magnitudes of instrumental fluxes [count]; NaN where ``flux <= 0``."""
        njy = np.asarray(self.nanojansky(flux, x, y))
        positive = np.where(njy > 0.0, njy, np.nan)
        return 31.4 - 2.5 * np.log10(positive)

    def magnitude_err(
        self,
        flux: npt.ArrayLike,
        flux_err: npt.ArrayLike,
        *,
        with_calibration: bool = False,
    ) -> Any:
        """Return errors of magnitudes; NaN where ``flux <= 0``.

        `with_calibration` adds the relative error of the calibration in quadrature.
        """
        calibration = self.err / self.mean if with_calibration else 0.0
        return magnitude_errors(flux, flux_err, calibration=calibration)

    def flux(
        self,
        magnitude: npt.ArrayLike,
        x: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
    ) -> Any:
        """Return instrumental fluxes [count] of AB magnitudes."""
        mag = np.asarray(magnitude, np.float64)
        return 10.0 ** (0.4 * (31.4 - mag)) / self.scale(x, y)


def magnitude_errors(
    flux: npt.ArrayLike, flux_err: npt.ArrayLike, *, calibration: float = 0.0
) -> Any:
    """Return errors of magnitudes, ``2.5 / ln 10`` times the relative errors of the fluxes.

    Parameters
    ----------
    flux, flux_err : array-like
        Fluxes and their errors, in the same unit.
    calibration : float
        Relative error of the calibration, added in quadrature.

    Returns
    -------
    ndarray or float
        Errors [mag]; NaN where the flux is not positive.
    """
    values = np.asarray(flux, np.float64)
    relative = np.asarray(flux_err, np.float64) / np.where(values > 0.0, values, np.nan)
    return _MAG_PER_LN * np.hypot(relative, calibration)

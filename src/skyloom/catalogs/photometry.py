"""Magnitudes of the fluxes of a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom._types import Floats
from skyloom.catalogs.lookup import Group
from skyloom.catalogs.names import modern_name
from skyloom.errors import NotCalibrated, UnknownColumn

if TYPE_CHECKING:
    from skyloom.catalogs.source_catalog import SourceCatalog

__all__ = ["FluxCalibration", "Magnitudes", "MosaicCalib", "calibrated", "magnitude_errors"]

_MAG_PER_LN = 2.5 / np.log(10.0)


class FluxCalibration(Protocol):
    """What turns fluxes at positions [pix] into magnitudes; `skyloom.images.PhotoCalib` does."""

    def magnitude(self, flux: npt.ArrayLike, x: Any = None, y: Any = None) -> Any:
        """Return AB magnitudes; NaN where ``flux <= 0``."""
        ...

    def magnitude_err(
        self, flux: npt.ArrayLike, flux_err: npt.ArrayLike, *, with_calibration: bool = False
    ) -> Any:
        """Return their errors."""
        ...


class Magnitudes(NamedTuple):
    """Magnitudes and their errors; NaN where the flux is not positive."""

    mag: Floats
    mag_err: Floats  # NaN where the flux has no error


class MosaicCalib:
    """The calibration of a mosaic correction: its FLUXMAG0 and a correction that varies.

    Parameters
    ----------
    flux_mag0 : float
        FLUXMAG0 of the *correction* (``fcr``), not that of the exposure [count].
    params : callable
        Correction of the zero point [mag] at positions x, y [pix]: a `FluxFitParams`.
    flux_mag0_err : float
        Error of the former [count].

    Raises
    ------
    NotCalibrated
        If FLUXMAG0 is not positive.
    """

    def __init__(self, flux_mag0: float, params: Any, *, flux_mag0_err: float = 0.0) -> None:
        if not (np.isfinite(flux_mag0) and flux_mag0 > 0.0):
            raise NotCalibrated(
                f"FLUXMAG0 = {flux_mag0}: the correction has no zero point; run the mosaic first",
                flux_mag0=flux_mag0,
            )
        self.flux_mag0 = flux_mag0
        self.flux_mag0_err = flux_mag0_err
        self.params = params

    def zeropoint(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return the AB magnitude of a source of one count at positions [pix]."""
        return 2.5 * np.log10(self.flux_mag0) + self.params(x, y)

    def magnitude(self, flux: npt.ArrayLike, x: Any = None, y: Any = None) -> Any:
        """Return AB magnitudes at positions [pix]; NaN where ``flux <= 0``."""
        if x is None or y is None:
            raise ValueError("the correction of a mosaic varies: give the positions x, y")
        return self.zeropoint(x, y) - 2.5 * np.log10(_positive(flux))

    def magnitude_err(
        self, flux: npt.ArrayLike, flux_err: npt.ArrayLike, *, with_calibration: bool = False
    ) -> Any:
        """Return errors of magnitudes; NaN where ``flux <= 0``."""
        relative = self.flux_mag0_err / self.flux_mag0 if with_calibration else 0.0
        return magnitude_errors(flux, flux_err, calibration=relative)


class _ZeroPoint:
    """A calibration that is one number [mag]."""

    def __init__(self, zeropoint: float) -> None:
        if not np.isfinite(zeropoint):
            raise NotCalibrated(f"zero point = {zeropoint} is no number; measure it first")
        self._zeropoint = zeropoint

    def magnitude(self, flux: npt.ArrayLike, x: Any = None, y: Any = None) -> Any:  # noqa: ARG002
        return self._zeropoint - 2.5 * np.log10(_positive(flux))

    def magnitude_err(
        self,
        flux: npt.ArrayLike,
        flux_err: npt.ArrayLike,
        *,
        with_calibration: bool = False,  # noqa: ARG002
    ) -> Any:
        return magnitude_errors(flux, flux_err)


def magnitude_errors(
    flux: npt.ArrayLike, flux_err: npt.ArrayLike, *, calibration: float = 0.0
) -> Any:
    """Return errors of magnitudes, ``2.5 / ln 10`` times the relative errors of the fluxes.

    ``calibration`` is the relative error of the calibration, added in quadrature.
    """
    relative = np.asarray(flux_err, np.float64) / _positive(flux)
    return _MAG_PER_LN * np.hypot(relative, calibration)


def calibrated(
    catalog: SourceCatalog, flux: str, calib: Any, *, with_calib_err: bool = False
) -> Magnitudes:
    """Return magnitudes of a flux; see `SourceCatalog.magnitudes`."""
    calibration = _calibration(calib)
    name, err_name = _flux_names(catalog, flux)
    values = np.asarray(catalog.get(name), np.float64)
    x = y = None
    if "slot_Centroid" in catalog.schema:
        x, y = catalog.get("slot_Centroid")
        if values.ndim == 2:
            x, y = x[:, None], y[:, None]
    mag = calibration.magnitude(values, x, y)
    if err_name is None:
        return Magnitudes(mag, np.full(values.shape, np.nan))
    errors = np.asarray(catalog.get(err_name), np.float64)
    return Magnitudes(
        mag, calibration.magnitude_err(values, errors, with_calibration=with_calib_err)
    )


def _calibration(calib: Any) -> FluxCalibration:
    """Return what a user gave as a calibration.

    Raises
    ------
    NotCalibrated
        If it is None, or a header without FLUXMAG0.
    """
    if isinstance(calib, int | float | np.number):
        return _ZeroPoint(float(calib))
    if isinstance(calib, dict | fits.Header):
        from skyloom.images import PhotoCalib  # noqa: PLC0415 - only here

        calib = PhotoCalib.from_metadata(calib)
    if calib is None:
        raise NotCalibrated(
            "no calibration is given; pass a zero point [mag], the exposure's photo_calib, or its "
            "header with FLUXMAG0"
        )
    given: FluxCalibration = calib
    return given


def _flux_names(catalog: SourceCatalog, flux: str) -> tuple[str, str | None]:
    """Return the names of a flux and of its error, None where it has none."""
    schema = catalog.schema
    names = [flux, f"{flux}_instFlux"]
    for name in names:
        if name in schema:
            found = schema.locate(name)
            if isinstance(found, Group) and found.kind != "array":
                continue
            err = _error_name(name, schema)
            return name, err
    raise UnknownColumn(
        f"the catalogue has no flux {flux!r}; print the schema to see what there is", name=flux
    )


def _error_name(name: str, schema: Any) -> str | None:
    found = schema.locate(name)
    own = name if isinstance(found, Group) else found.field.name
    choices = [f"{name}Err", f"{name}.err", f"{modern_name(own)}Err", f"{own}Err", f"{own}_err"]
    return next((choice for choice in choices if choice in schema), None)


def _positive(flux: npt.ArrayLike) -> Floats:
    values = np.asarray(flux, np.float64)
    return np.where(values > 0.0, values, np.nan)

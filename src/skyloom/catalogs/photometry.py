"""Magnitudes of the fluxes of a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy.io import fits

from skyloom._types import Floats
from skyloom.catalogs.lookup import Group
from skyloom.catalogs.names import modern_name
from skyloom.errors import NotCalibrated, UnknownColumn
from skyloom.images import FluxFitParams, MosaicCalib, PhotoCalib, magnitude_errors

if TYPE_CHECKING:
    from skyloom.catalogs.source_catalog import SourceCatalog

__all__ = ["Magnitudes", "calibrated"]


class Magnitudes(NamedTuple):
    """Magnitudes and their errors; NaN where the flux is not positive."""

    mag: Floats
    mag_err: Floats  # NaN where the flux has no error


def calibrated(
    catalog: SourceCatalog, flux: str, calib: Any, *, with_calibration: bool = False
) -> Magnitudes:
    """Return magnitudes of a flux; see `SourceCatalog.magnitudes`."""
    calibration = _calibration(calib)
    name, err_name = _flux_names(catalog, flux)
    values = np.asarray(catalog.get(name), np.float64)
    x: Any
    y: Any
    x, y = catalog.get("slot_Centroid") if "slot_Centroid" in catalog.schema else (None, None)
    if values.ndim == 2 and x is not None:
        x, y = x[:, None], y[:, None]
    if isinstance(calibration, MosaicCalib) and x is None:
        raise UnknownColumn(
            "the correction of a mosaic varies over the field and the catalogue has no centroid; "
            "define its slot: catalog.define_slot('Centroid', ...)",
            name="slot_Centroid",
        )
    mag = calibration.magnitude(values, x, y)
    relative = 0.0
    if with_calibration:
        if not isinstance(calibration, PhotoCalib) or isinstance(calib, int | float):
            raise ValueError(f"{type(calib).__name__} has no error; pass a PhotoCalib that has")
        relative = calibration.err / calibration.mean
    if err_name is None:
        return Magnitudes(mag, np.full(values.shape, np.nan))
    return Magnitudes(mag, magnitude_errors(values, catalog.get(err_name), calibration=relative))


def _calibration(calib: Any) -> PhotoCalib | MosaicCalib:
    """Return what a user gave as a calibration.

    Raises
    ------
    NotCalibrated
        If it is none.
    """
    if isinstance(calib, int | float | np.number):
        return PhotoCalib.from_zeropoint(float(calib))
    if isinstance(calib, dict | fits.Header):
        is_mosaic = FluxFitParams.is_in(calib)
        calib = (MosaicCalib if is_mosaic else PhotoCalib).from_metadata(calib)
    if not isinstance(calib, PhotoCalib | MosaicCalib):
        calib = getattr(calib, "photo_calib", None)  # of an exposure
    if isinstance(calib, PhotoCalib | MosaicCalib):
        return calib
    raise NotCalibrated(
        "no calibration is given; pass a zero point [mag], an exposure or its photo_calib, or a "
        "header with FLUXMAG0"
    )


def _flux_names(catalog: SourceCatalog, flux: str) -> tuple[str, str | None]:
    """Return the names of a flux and of its error, None where it has none."""
    schema = catalog.schema
    for name in (flux, f"{flux}_instFlux"):
        if name in schema:
            found = schema.locate(name)
            if not isinstance(found, Group) or found.kind == "array":
                return name, _error_name(name, schema)
    schema.find(f"{flux}_instFlux" if flux.startswith("slot_") else flux)  # says what there is
    raise UnknownColumn(f"{flux!r} is no flux; print the schema to see what there is", name=flux)


def _error_name(name: str, schema: Any) -> str | None:
    found = schema.locate(name)
    own = name if isinstance(found, Group) else found.field.name
    choices = [f"{name}Err", f"{name}.err", f"{modern_name(own)}Err", f"{own}Err", f"{own}_err"]
    return next((choice for choice in choices if choice in schema), None)

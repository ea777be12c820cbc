"""Archived numbers that vary over an image: calibrations, aperture corrections, their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skyloom.errors import MissingComponent
from skyloom.images.about import ArchivedObject
from skyloom.images.afw.archive import Rows
from skyloom.images.afw.ast_maps import read_map
from skyloom.images.afw.coordinate_map import UnsupportedMapping
from skyloom.images.afw.decode import DECODERS, Decoder, box_of, one
from skyloom.images.fields import (
    ApCorrMap,
    ChebyshevField,
    InverseField,
    MappedField,
    PixelAreaField,
    ProductField,
    scaled_field,
)
from skyloom.images.photo_calib import AB_ZERO_NJY, Field, PhotoCalib
from skyloom.images.sky_wcs import SkyWcs

__all__: list[str] = []

_NEWEST_CALIBRATION = 1


def _photo_calib(decoder: Decoder, parts: list[Rows]) -> PhotoCalib:
    """Make a calibration of any version.

    Version 1 says nanojansky per count.  Version 0, written with or without its number, says
    maggies per count (1 maggy is AB magnitude 0).  The files of the first months of 2017 say
    counts per maggy instead.
    """
    row = one(parts)
    version = int(row.get("version")) if "version" in row else 0
    if version > _NEWEST_CALIBRATION:
        raise MissingComponent(
            f"{row.table.where}: a PhotoCalib of version {version} is newer than those that are "
            f"known ({_NEWEST_CALIBRATION}); set photo_calib yourself",
            component="photo_calib",
        )
    varying = None if row.get("isConstant") else _field(decoder, int(row.get("field")))
    if "instFluxMag0" in row:
        constant = PhotoCalib.from_flux_mag0(row.get("instFluxMag0"), row.get("instFluxMag0Err"))
        if varying is None:
            return constant
        inverse = InverseField(numerator=AB_ZERO_NJY, field=varying)
        return PhotoCalib(mean=constant.mean, err=constant.err, field=inverse)
    unit = AB_ZERO_NJY if version == 0 else 1.0
    if varying is not None and version == 0:
        varying = scaled_field(varying, unit)
    return PhotoCalib(
        mean=row.get("calibrationMean") * unit,
        err=row.get("calibrationErr") * unit,
        field=varying,
    )


def _field(decoder: Decoder, id_: int) -> Field:
    made = decoder.get(id_)
    if isinstance(made, ArchivedObject):
        raise MissingComponent(
            f"{decoder.archive.index.where}: object {id_} is a {made.name}, which is not "
            "understood as a field; read the other parts",
            component=made.name,
        )
    if not isinstance(made, (ChebyshevField, ProductField, PixelAreaField, MappedField)):
        raise TypeError(f"object {id_}, a {type(made).__name__}, is no field")
    return made


def _chebyshev(_: Decoder, parts: list[Rows]) -> ChebyshevField:
    row = one(parts)
    values = np.atleast_1d(np.asarray(row.get("coefficients"), np.float64))
    nx = row.get("order_x") + 1
    if nx < 1 or values.size % nx:
        raise ValueError(f"{values.size} coefficients do not fit order_x = {nx - 1}")
    box = box_of(row, "bbox")
    if values.size > 1 and box.is_empty:
        raise ValueError("the box is empty")
    return ChebyshevField(box=box, coefficients=values.reshape(-1, nx))


def _product(decoder: Decoder, parts: list[Rows]) -> ProductField:
    rows = parts[0]
    factors = [_factor(decoder, int(rows.get("id", i))) for i in range(len(rows))]
    if not factors:
        raise ValueError("the product has no factors")
    return ProductField(factors=tuple(factors))


def _factor(decoder: Decoder, id_: int) -> Field:
    if isinstance(decoder.get(id_), ArchivedObject):
        raise UnsupportedMapping("a factor is not known")  # the product stays as it is
    return _field(decoder, id_)


def _pixel_area(decoder: Decoder, parts: list[Rows]) -> PixelAreaField:
    row = one(parts)
    wcs = decoder.get(int(row.get("wcs")))
    if isinstance(wcs, ArchivedObject):
        raise UnsupportedMapping("its WCS is not known")
    if not isinstance(wcs, SkyWcs):
        raise TypeError(f"a {type(wcs).__name__} is no WCS")
    return PixelAreaField(box=box_of(row, "bbox"), wcs=wcs, scaling=row.get("scaling"))


def _mapped(_: Decoder, parts: list[Rows]) -> MappedField:
    row = one(parts)
    text = bytes(row.get("frameSet")).decode("ascii")
    mapping = read_map(text)
    if (mapping.n_in, mapping.n_out) != (2, 1):
        raise UnsupportedMapping("the mapping is not from two axes to one")
    return MappedField(box=box_of(row, "bbox"), mapping=mapping.forward, text=text)


def _ap_corr_map(decoder: Decoder, parts: list[Rows]) -> ApCorrMap:
    rows = parts[0]
    return ApCorrMap(
        {rows.get("name", i): decoder.get(int(rows.get("field", i))) for i in range(len(rows))}
    )


_MAKERS: dict[str, Callable[[Decoder, list[Rows]], Any]] = {
    "ApCorrMap": _ap_corr_map,
    "ChebyshevBoundedField": _chebyshev,
    "PhotoCalib": _photo_calib,
    "PixelAreaBoundedField": _pixel_area,
    "ProductBoundedField": _product,
    "TransformBoundedField": _mapped,
}
DECODERS.update(_MAKERS)

"""Components in the rows that afw would write for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skyloom.errors import MissingComponent
from skyloom.geometry import Box
from skyloom.images.about import FilterLabel
from skyloom.images.afw.tables import FieldSpec
from skyloom.images.fields import (
    ApCorrMap,
    ChebyshevField,
    MappedField,
    PixelAreaField,
    ProductField,
)
from skyloom.images.photo_calib import PhotoCalib

__all__ = [
    "WRITERS",
    "Encoder",
    "Written",
    "array",
    "box_fields",
    "encode",
    "point",
    "scalar",
    "text_bytes",
]

Written = Sequence[Sequence[FieldSpec]]
Objects = list[tuple[int, str, str, Written]]


class Encoder:
    """Collects objects with ids in order."""

    def __init__(self, objects: Objects, next_id: int) -> None:
        self.objects = objects
        self.next_id = next_id

    def put(self, value: Any) -> int:
        """Add an object, and those within it; return its id.

        Raises
        ------
        MissingComponent
            If it is of a class that is not written.
        """
        for kind, (name, module, write) in WRITERS.items():
            if isinstance(value, kind):
                try:
                    parts = write(self, value)
                except ValueError as error:
                    raise MissingComponent(
                        f"a {type(value).__name__} has no place in the archive ({error})",
                        component=type(value).__name__,
                    ) from error
                id_ = self.next_id
                self.next_id += 1
                self.objects.append((id_, name, module, parts))
                return id_
        raise MissingComponent(
            f"a component of the class {type(value).__name__} has no place in the archive; "
            "calibrations, filters, aperture corrections, gnomonic WCS, and PSFs that are a "
            "KernelPsf, a PsfexPsf or constant have",
            component=type(value).__name__,
        )


def encode(name: str, value: Any, objects: Objects, next_id: int) -> int:
    """Add a component to a list of objects; return its id.

    Raises
    ------
    MissingComponent
        If it is of a class that is not written.
    """
    try:
        return Encoder(objects, next_id).put(value)
    except MissingComponent as error:
        message = f"{name} cannot be written: {error.message}"
        raise MissingComponent(message, component=name) from error


def point(name: str, form: str, doc: str, values: Sequence[Any], unit: str = "") -> list[FieldSpec]:
    """Return the two columns of a pair of numbers."""
    return [
        FieldSpec(
            name=f"{name}_{axis}", form=form, doc=doc, unit=unit, values=[v[i] for v in values]
        )
        for i, axis in enumerate("xy")
    ]


def box_fields(name: str, box: Box) -> list[FieldSpec]:
    """Return the four columns of a box: its first and its last pixel."""
    first, last = [(box.x0, box.y0)], [(box.x1 - 1, box.y1 - 1)]
    return [
        *point(f"{name}_min", "1J", "bounding box (minimum)", first, "pixel"),
        *point(f"{name}_max", "1J", "bounding box (maximum)", last, "pixel"),
    ]


def array(name: str, letter: str, doc: str, values: Any) -> FieldSpec:
    """Return a column of one array."""
    flat = np.ravel(values)
    return FieldSpec(name=name, form=f"{flat.size}{letter}", doc=doc, kind="Array", values=[flat])


def text_bytes(name: str, doc: str, text: str) -> FieldSpec:
    """Return a column of one text, as an array of bytes of any length."""
    data = np.frombuffer(text.encode("ascii"), np.uint8)
    form = f"1QB({data.size})"
    return FieldSpec(name=name, form=form, doc=doc, kind="Array", values=[data])


def scalar(name: str, form: str, doc: str, value: Any, unit: str = "") -> FieldSpec:
    """Return a column of one number, text or flag."""
    kind = "String" if form.endswith("A") else "Scalar"
    return FieldSpec(name=name, form=form, doc=doc, unit=unit, kind=kind, values=[value])


def _photo_calib(encoder: Encoder, value: PhotoCalib) -> Written:
    field = value.field
    is_constant = field is None
    if field is None:
        nowhere = Box(0, 0, 0, 0)
        field = ChebyshevField(box=nowhere, coefficients=np.array([[value.mean]]))
    mean, err = value.mean, value.err
    return [
        [
            scalar("calibrationMean", "1D", "mean calibration on this domain", mean, "count"),
            scalar("calibrationErr", "1D", "1-sigma error on calibrationMean", err, "count"),
            scalar("isConstant", "flag", "Is this spatially-constant?", is_constant),
            scalar("field", "1J", "archive ID of the BoundedField object", encoder.put(field)),
            scalar("version", "1J", "version of this PhotoCalib", 1),
        ]
    ]


def _chebyshev(_: Encoder, value: ChebyshevField) -> Written:
    order = value.coefficients.shape[1] - 1
    doc = "Chebyshev function coefficients, ordered by y then x"
    return [
        [
            scalar("order_x", "1J", "maximum Chebyshev function order in x", order),
            *box_fields("bbox", value.box),
            array("coefficients", "D", doc, value.coefficients),
        ]
    ]


def _product(encoder: Encoder, value: ProductField) -> Written:
    ids = [encoder.put(factor) for factor in value.factors]
    doc = "Archive ID of a BoundedField factor."
    return [[FieldSpec(name="id", form="1J", doc=doc, values=ids)]]


def _pixel_area(encoder: Encoder, value: PixelAreaField) -> Written:
    return [
        [
            *box_fields("bbox", value.box),
            scalar("wcs", "1J", "Archive ID for SkyWcs instance.", encoder.put(value.wcs)),
            scalar("scaling", "1D", "Scaling factor", value.scaling),
        ]
    ]


def _mapped(_: Encoder, value: MappedField) -> Written:
    doc = "FrameSet contained in the Transform"
    return [[*box_fields("bbox", value.box), text_bytes("frameSet", doc, value.text)]]


def _filter(_: Encoder, value: FilterLabel) -> Written:
    return [
        [
            scalar("band_exists", "flag", "Is a band given?", value.band is not None),
            scalar("band", "32A", "name of the band", value.band or ""),
            scalar("physical_exists", "flag", "Is a filter given?", value.physical is not None),
            scalar("physical", "32A", "name of the physical filter", value.physical or ""),
        ]
    ]


def _ap_corr_map(encoder: Encoder, value: ApCorrMap) -> Written:
    names = list(value)
    ids = [encoder.put(value[name]) for name in names]
    doc = "name of the aperture correction"
    return [
        [
            FieldSpec(name="name", form="64A", doc=doc, kind="String", values=names),
            FieldSpec(name="field", form="1J", doc="archive ID of the BoundedField", values=ids),
        ]
    ]


WRITERS: dict[type[Any], tuple[str, str, Callable[..., Written]]] = {
    PhotoCalib: ("PhotoCalib", "", _photo_calib),
    ChebyshevField: ("ChebyshevBoundedField", "lsst.afw.math", _chebyshev),
    MappedField: ("TransformBoundedField", "lsst.afw.math", _mapped),
    PixelAreaField: ("PixelAreaBoundedField", "lsst.afw.math", _pixel_area),
    ProductField: ("ProductBoundedField", "lsst.afw.math", _product),
    FilterLabel: ("FilterLabel", "lsst.afw.image", _filter),
    ApCorrMap: ("ApCorrMap", "lsst.afw.image", _ap_corr_map),
}
"""Class -> its name in the archive, its module there, and what writes it; the first that fits."""

"""Fields of a catalogue: the types that a column may have, in memory and in FITS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

__all__ = ["FIELD_TYPES", "Field", "FieldType", "column_of", "field_of"]


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a type is in numpy and in FITS."""

    dtype: str  # native numpy type of one element; "" for text
    form: str  # letter of the FITS format
    kind: str = "Scalar"  # value of TCCLS
    parts: tuple[str, ...] = ()  # elements of a compound column, in order
    zero: int = 0  # TZERO: unsigned integers are stored with an offset


_SCALARS: Final = {
    "L": FieldType("i8", "K"),
    "I": FieldType("i4", "J"),
    "U": FieldType("u2", "I", zero=1 << 15),
    "B": FieldType("u1", "B"),
    "F": FieldType("f4", "E"),
    "D": FieldType("f8", "D"),
    # not of afw, but in tables that other programs write
    "Short": FieldType("i2", "I"),
    "Byte": FieldType("i1", "B", zero=-(1 << 7)),
    "UInt": FieldType("u4", "J", zero=1 << 31),
    "ULong": FieldType("u8", "K", zero=1 << 63),
    "Logical": FieldType("?", "L"),
    "ComplexF": FieldType("c8", "C"),
    "ComplexD": FieldType("c16", "M"),
}
_POINT, _MOMENTS = ("x", "y"), ("xx", "yy", "xy")
_COV_POINT: Final = ("xErr", "x_y_Cov", "yErr")
_COV_MOMENTS: Final = ("xxErr", "xx_yy_Cov", "yyErr", "xx_xy_Cov", "yy_xy_Cov", "xyErr")

FIELD_TYPES: Final[Mapping[str, FieldType]] = {
    **_SCALARS,
    "Angle": FieldType("f8", "D", "Angle"),
    "Flag": FieldType("?", "X", "Flag"),
    "String": FieldType("", "A", "String"),
    **{f"Array{k}": FieldType(t.dtype, t.form, "Array", zero=t.zero) for k, t in _SCALARS.items()},
    "ArrayBit": FieldType("?", "X", "Array"),
    # compound columns of old files (table version 0); covariances are packed as
    # (0,0) (0,1) (1,1) (0,2) (1,2) (2,2), and the *squares* of the errors are on the diagonal
    "PointI": FieldType("i4", "J", "Point", _POINT),
    "PointF": FieldType("f4", "E", "Point", _POINT),
    "PointD": FieldType("f8", "D", "Point", _POINT),
    "MomentsF": FieldType("f4", "E", "Moments", _MOMENTS),
    "MomentsD": FieldType("f8", "D", "Moments", _MOMENTS),
    "Coord": FieldType("f8", "D", "Coord", ("ra", "dec")),
    "CovPointF": FieldType("f4", "E", "Covariance(Point)", _COV_POINT),
    "CovPointD": FieldType("f8", "D", "Covariance(Point)", _COV_POINT),
    "CovMomentsF": FieldType("f4", "E", "Covariance(Moments)", _COV_MOMENTS),
    "CovMomentsD": FieldType("f8", "D", "Covariance(Moments)", _COV_MOMENTS),
}
"""Types by name.

``L I U B F D`` are int64, int32, uint16, uint8, float32, float64; ``Angle`` is in radians,
``Flag`` one bit on disk, ``String`` text of at most `Field.size` bytes (None: of any length);
``Array`` and a letter is an array of `Field.size` elements (None: of any number).
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One column: name, type, and what it means.

    Parameters
    ----------
    name : str
        As in the file.
    type : str
        One of `FIELD_TYPES`.
    doc : str
        One sentence.
    units : str
        As in the file (``count``, ``pixel^2``); "" for none.
    size : int, optional
        Elements of an array, or bytes of a text; None: any number.
    cards : tuple of (keyword, value)
        More keywords of the FITS column, without number (``("TDISP", "F8.3")``).
    """

    name: str
    type: str
    doc: str = ""
    units: str = ""
    size: int | None = None
    cards: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.type not in FIELD_TYPES:
            raise ValueError(
                f"field {self.name!r}: there is no type {self.type!r}; use one of "
                f"{', '.join(FIELD_TYPES)}"
            )
        if not self.name:
            raise ValueError("a field needs a name")
        if self.size is not None and self.size < 0:
            raise ValueError(f"field {self.name!r}: size = {self.size} must not be negative")

    @property
    def info(self) -> FieldType:
        """The type in numpy and FITS."""
        return FIELD_TYPES[self.type]

    @property
    def is_array(self) -> bool:
        """Whether a row holds an array."""
        return self.info.kind == "Array"

    @property
    def is_variable(self) -> bool:
        """Whether the number of elements differs from row to row."""
        return self.is_array and self.size is None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row in memory."""
        if self.is_array and self.size is not None:
            return (self.size,)
        return (len(self.info.parts),) if self.info.parts else ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the column in memory."""
        if self.is_variable:
            return np.dtype(object)
        if self.type == "String":
            return np.dtype(f"U{max(self.size or 1, 1)}")
        return np.dtype(self.info.dtype)

    @property
    def type_name(self) -> str:
        """Type with the size of arrays and texts: ``ArrayF[10]``, ``String[64]``."""
        sized = self.is_array or self.type == "String"
        return f"{self.type}[{'*' if self.size is None else self.size}]" if sized else self.type

    def __str__(self) -> str:
        units = f" [{self.units}]" if self.units else ""
        return f"{self.type_name:<12} {self.name}: {self.doc}{units}"


_BY_DTYPE: Final = {np.dtype(t.dtype): name for name, t in _SCALARS.items()}


def field_of(name: str, values: Any, *, doc: str = "", units: str = "") -> Field:
    """Return the field that holds an array.

    Raises
    ------
    ValueError
        If numbers of that type or shape cannot stand in a catalogue.
    """
    array = np.asarray(values)
    if array.dtype.kind in "US" or (array.dtype == object and _is_text(array)):
        text = array.astype(str)
        size = max((len(t.encode()) for t in text.ravel().tolist()), default=1)
        if array.ndim == 1:
            return Field(name, "String", doc, units, max(size, 1))
    if array.dtype == object and array.ndim == 1:
        kinds = {np.asarray(v).dtype.newbyteorder("=") for v in array}
        code = _BY_DTYPE.get(kinds.pop()) if len(kinds) == 1 else None
        if code is not None:
            return Field(name, f"Array{code}", doc, units)
    native = array.dtype.newbyteorder("=")
    code = "Flag" if native.kind == "b" else _BY_DTYPE.get(native)
    if code is not None and array.ndim == 1:
        return Field(name, code, doc, units)
    if code is not None and array.ndim == 2:
        code = "Logical" if code == "Flag" else code
        return Field(name, f"Array{code}", doc, units, array.shape[1])
    raise ValueError(
        f"column {name!r}: type {array.dtype} with {array.ndim} axes has no place in a catalogue; "
        "convert it to numbers or text, one value or vector per row"
    )


def _is_text(array: Any) -> bool:
    return all(isinstance(v, str) for v in array.ravel())


def column_of(spec: Field, values: Any, n: int) -> Any:
    """Return values as a column of a field with n rows, without copying where that is possible.

    Raises
    ------
    ValueError
        If the values do not fit.
    """
    if spec.is_variable:
        column = np.empty(n, dtype=object)
        if len(values) != n:
            raise ValueError(f"column {spec.name!r}: {len(values)} rows given, {n} needed")
        for row, value in enumerate(values):
            column[row] = np.asarray(value, dtype=spec.info.dtype).ravel()
        return column
    array = np.asarray(values)
    expected = (n, *spec.shape)
    if array.ndim == 0:
        array = np.broadcast_to(array, expected).copy()
    if array.shape != expected:
        raise ValueError(f"column {spec.name!r}: shape {array.shape} given, {expected} needed")
    dtype = spec.dtype
    if spec.type == "String" and array.dtype.kind == "U":
        dtype = array.dtype if array.dtype.itemsize >= dtype.itemsize else dtype
    return array.astype(dtype, copy=False)

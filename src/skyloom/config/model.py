"""The base of every configuration section, and the kinds of value a field may have.

A field carries its unit as `Unit` metadata and its sentence as the string under it; the sample
file, the reference table and the error messages all read these two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = [
    "DEMAND",
    "AutoInt",
    "AutoPath",
    "Config",
    "Float",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OddInt",
    "Percentile",
    "PlainNumber",
    "PositiveFloat",
    "PositiveInt",
    "Unit",
    "UserPath",
    "config_subset",
]


DEMAND: Final = "demand"
"""Pydantic error type of our own checks; the message is what the value must be."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a field, as metadata: ``Annotated[Float, Unit("pix")]``."""

    name: str


class Config(BaseModel):
    """Base of all configuration sections: strict, closed and immutable.

    Unknown keys are refused. Values are not converted between types, except that a float takes an
    integer, a tuple takes a list and a path takes text. Change means ``model_copy(update=...)``.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class PlainNumber(str):
    """An unquoted scalar such as ``1e-12``: text for YAML 1.1, a float for YAML 1.2.

    The reader keeps the text, so that a string field sees what was written; `Float` fields read
    it as a number.
    """

    __slots__ = ()


def _plain_number(value: object) -> object:
    return float(value) if isinstance(value, PlainNumber) else value


def _auto_int(value: object) -> object:
    """Turn ``auto`` in any case and decimal text into what an `AutoInt` holds."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text == "auto":
            return "auto"
        digits = text.removeprefix("-").removeprefix("+")
        if digits.isascii() and digits.isdigit() and len(digits) < 20:
            return int(text)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("auto_int_type", "must be an integer or 'auto'")


def _auto_path(value: object) -> object:
    """Turn ``auto`` in any case, with blanks around it or not, into what an `AutoPath` holds."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    return _user_path(value)


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError(DEMAND, "odd")
    return value


def _user_path(value: object) -> object:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("path_type", "must be a path")
    if not value.strip():
        raise PydanticCustomError(DEMAND, "the name of a file or directory, not empty")
    return Path(value)


Float: TypeAlias = Annotated[float, BeforeValidator(_plain_number), Field(allow_inf_nan=False)]
"""A finite number; integers are taken, booleans and text are not."""

PositiveFloat: TypeAlias = Annotated[Float, Gt(0)]
NonNegativeFloat: TypeAlias = Annotated[Float, Ge(0)]
Percentile: TypeAlias = Annotated[Float, Ge(0), Le(100)]
PositiveInt: TypeAlias = Annotated[int, Gt(0)]
NonNegativeInt: TypeAlias = Annotated[int, Ge(0)]

OddInt: TypeAlias = Annotated[int, Gt(0), AfterValidator(_odd)]
"""A positive odd integer: the side of a stamp with a central pixel."""

AutoInt: TypeAlias = Annotated[int | Literal["auto"], BeforeValidator(_auto_int)]
"""An integer, decimal text, or ``"auto"``."""

UserPath: TypeAlias = Annotated[Path, BeforeValidator(_user_path)]
"""A path as the user wrote it; never empty."""


AutoPath: TypeAlias = Annotated[Path | Literal["auto"], BeforeValidator(_auto_path)]
"""A path as the user wrote it, or ``"auto"``."""


def config_subset(config: Config, keys: Iterable[str]) -> dict[str, Any]:
    """Dump the effective values of some dotted keys as plain JSON data.

    Parameters
    ----------
    config : Config
        Any configuration.
    keys : iterable of str
        Dotted keys of fields (``"crop.margin"``) or of whole sections (``"epsf"``).

    Returns
    -------
    dict
        ``{dotted key: value}`` in the order of ``keys``; sections become nested mappings, tuples
        lists and paths strings.

    Raises
    ------
    KeyError
        If a key is not a field of the configuration: a mistake of the calling stage.
    """
    dump = config.model_dump(mode="json")
    subset: dict[str, Any] = {}
    for key in keys:
        value: Any = dump
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                msg = f"{key} is not a field of {type(config).__name__}"
                raise KeyError(msg)
            value = value[part]
        subset[key] = value
    return subset

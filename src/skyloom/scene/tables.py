"""Sources from a table of columns, checked row by row before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.errors import BadTable

from ._records import DEV, EXP, REX, SERSIC, STAR
from .shape import parameters_from_ellipse

__all__ = ["SourceColumns", "read_columns"]

TYPES = {
    "STAR": STAR,
    "PSF": STAR,
    "REX": REX,
    "EXP": EXP,
    "DEV": DEV,
    "SERSIC": SERSIC,
    "SER": SERSIC,
}
"""Names of source types as catalogues write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumns:
    """What `Sources.create` takes, one entry per row."""

    kind: Ints
    x: Floats
    y: Floats
    r: Floats
    g1: Floats
    g2: Floats
    n: Floats


def read_columns(table: Table | Mapping[str, Any]) -> SourceColumns:
    """Return the sources of a table; see `Sources.from_table` for its columns.

    Raises
    ------
    BadTable
        With attributes ``row`` and ``column``.
    """
    names = set(table.keys())
    for name in ("x", "y"):
        if name not in names:
            raise BadTable(
                f"sources: column '{name}' is missing among {', '.join(sorted(map(str, names)))}; "
                "positions are x and y [pix], 0-based: rename the columns",
                column=name,
            )
    x, y = _numbers(table, "x"), _numbers(table, "y")
    rows = len(x)
    kind = _types(table, rows) if "type" in names else np.full(rows, STAR, np.int64)
    everywhere, galaxy = np.ones(rows, np.bool_), kind != STAR
    for name, values in (("x", x), ("y", y)):
        _require(
            np.isfinite(values), everywhere, values, name, "drop the row or give a position [pix]"
        )
    r, g1, g2 = _ellipses(table, names, galaxy)
    n = _numbers(table, "n", rows) if "n" in names else np.full(rows, 2.0)
    sersic = kind == SERSIC
    _require(np.isfinite(n) & (n > 0), sersic, n, "n", "give a Sersic index > 0, such as 2")
    n = np.where(sersic, n, 2.0)
    return SourceColumns(kind=kind, x=x, y=y, r=r, g1=g1, g2=g2, n=n)


def _ellipses(
    table: Table | Mapping[str, Any], names: set[str], galaxy: Bools
) -> tuple[Floats, Floats, Floats]:
    """Return circularised radii and ellipticities; those of stars are round and of 1 pixel."""
    rows = len(galaxy)
    ab = _numbers(table, "ab", rows) if "ab" in names else np.ones(rows)
    theta = _numbers(table, "theta", rows) if "theta" in names else np.zeros(rows)
    size = "a" if "a" in names else "r"
    if {"a", "r"} <= names:
        raise BadTable(
            "sources: columns 'r' and 'a' both give a size; keep r (circularised half-light "
            "radius) or a (along the major axis)",
            column="a",
        )
    if galaxy.any() and size not in names:
        row = int(np.flatnonzero(galaxy)[0])
        raise BadTable(
            f"sources, row {row}: a galaxy without size; add column r (half-light radius [pix]; "
            "2 is a fair start), or a, ab and theta",
            row=row,
            column="r",
        )
    radius = _numbers(table, size, rows) if size in names else np.ones(rows)
    _require(
        np.isfinite(radius) & (radius > 0), galaxy, radius, size, "give a half-light radius > 0"
    )
    _require((ab > 0) & (ab <= 1), galaxy, ab, "ab", "give an axis ratio b/a in (0, 1]")
    _require(np.isfinite(theta), galaxy, theta, "theta", "give an angle [deg], 0 where round")
    ab, theta = np.where(galaxy, ab, 1.0), np.where(galaxy, theta, 0.0)
    circular, g1, g2 = parameters_from_ellipse(radius, ab, theta)
    r = circular if size == "a" else radius
    return np.where(galaxy, r, 1.0), g1, g2


def _numbers(table: Table | Mapping[str, Any], name: str, rows: int | None = None) -> Floats:
    """Return a column as numbers, NaN where it is masked."""
    try:
        column = np.ma.asarray(table[name]).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadTable(
            f"sources: column '{name}' does not hold numbers ({error}); convert it", column=name
        ) from error
    values = np.asarray(np.ma.filled(column, np.nan))
    _require_length(values, name, rows)
    return values


def _require_length(values: np.ndarray[Any, Any], name: str, rows: int | None) -> None:
    """Complain unless a column is one-dimensional and as long as the others."""
    if values.ndim != 1 or (rows is not None and len(values) != rows):
        wanted = "(n,)" if rows is None else f"({rows},)"
        raise BadTable(
            f"sources: column '{name}' has shape {values.shape}, {wanted} is needed; "
            "give one value per source",
            column=name,
        )


def _types(table: Table | Mapping[str, Any], rows: int) -> Ints:
    """Return the `SourceType` of every row."""
    column = np.asarray(table["type"])
    _require_length(column, "type", rows)
    kind = np.empty(rows, np.int64)
    known = set(TYPES.values())
    for row, value in enumerate(column.tolist()):
        text = value.decode() if isinstance(value, bytes) else value
        found = TYPES.get(text.strip().upper()) if isinstance(text, str) else text
        if isinstance(found, bool) or found not in known:
            raise BadTable(
                f"sources, row {row}: type {text!r} is unknown; write one of {', '.join(TYPES)}",
                row=row,
                column="type",
            )
        kind[row] = found
    return kind


def _require(good: Bools, where: Bools, values: Floats, name: str, remedy: str) -> None:
    """Complain about the first row that is not good."""
    bad = np.flatnonzero(where & ~good)
    if len(bad):
        row = int(bad[0])
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise BadTable(
            f"sources, row {row}: {name} = {values[row]}{more}; {remedy}", row=row, column=name
        )

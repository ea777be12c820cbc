"""Names of source types, and which rows their own catalogue does not trust."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools
from skyloom.catalogs.values import column_as_bool, column_as_float, column_as_text, text_array

from .dialects import Dialect, find_columns

__all__ = ["Trust", "read_trust", "read_types"]

Texts = npt.NDArray[np.str_]
Trust = tuple[Bools, Texts]
"""Rows that their catalogue trusts, and its reason where it does not."""

_SAME: Final = {
    "psf": "star",
    "simp": "rex",
    "ser": "sersic",
    "gal": "galaxy",
    "comp": "composite",
    "": "",
    "none": "",
    "nan": "",
}
_STELLAR: Final = 0.5  # CLASS_STAR from which SExtractor's classifier says star
_CLASSES: Final = {0: "star", 1: "galaxy", 2: "other"}  # SPREAD_CLASS
_SERIOUS: Final = 4  # SExtractor FLAGS from here on: saturated, cut, corrupted
_BRIGHT_BITS: Final = 0b100_1111_1110  # maskbits: near bright stars, saturated, all masked, bailout


def read_types(table: Table, dialect: Dialect) -> tuple[Texts, tuple[str, ...]]:
    """Return the types in lower case, one name for one thing, and how they were found.

    ``star rex exp dev sersic composite galaxy``; empty where the file says nothing.
    """
    for name in find_columns(table, ("SPREAD_CLASS",)):
        code = column_as_float(table, name)
        return text_array([_CLASSES.get(c, "") for c in code.tolist()]), (f"types: {name}",)
    columns = find_columns(table, dialect.type)
    if columns:
        cells = text_array([""] * len(table))
        for name in columns:  # where the fitted type is missing, the type asked for
            text = [t.strip().lower() for t in column_as_text(table, name).tolist()]
            named = text_array([_SAME.get(t, t) for t in text])
            cells = np.where(cells == "", named, cells)
        return cells, (f"types: {columns[0]}",)
    for name in find_columns(table, ("CLASS_STAR",)):
        stellar = column_as_float(table, name)
        cells = np.where(stellar >= _STELLAR, "star", np.where(stellar >= 0, "galaxy", ""))
        return cells, (f"types: {name} >= {_STELLAR} is a star",)
    return text_array([""] * len(table)), ()


def read_trust(table: Table, dialect: Dialect) -> Trust:
    """Return which rows their catalogue trusts, and the reason against the others."""
    reason = text_array([""] * len(table))
    for name in find_columns(table, ("fit_is_reliable",)):
        bad = ~column_as_bool(table, name)
        issues = find_columns(table, ("fit_quality_issues",))
        why = column_as_text(table, issues[0]) if issues else "unreliable"
        reason = np.where(bad, np.where(why == "", "unreliable", why), reason)
    for name in find_columns(table, ("excluded_any",)):
        bad = column_as_bool(table, name)
        issues = find_columns(table, ("excluded_reason",))
        why = np.char.add("excluded: ", column_as_text(table, issues[0])) if issues else "excluded"
        reason = np.where(bad, why, reason)
    if dialect.name == "tractor":
        for name in find_columns(table, ("maskbits",)):
            bits = np.nan_to_num(column_as_float(table, name)).astype(np.int64)
            reason = np.where((bits & _BRIGHT_BITS) != 0, "maskbits", reason)
        for name in find_columns(table, ("brick_primary",)):
            reason = np.where(column_as_bool(table, name, missing=True), reason, "not primary")
    if dialect.name in {"sextractor", "shapepipe"}:
        for name in find_columns(table, ("IMAFLAGS_ISO",)):
            reason = np.where(column_as_float(table, name) > 0, name, reason)
        for name in find_columns(table, ("FLAGS",)):
            reason = np.where(column_as_float(table, name) >= _SERIOUS, name, reason)
    return np.asarray(reason == ""), np.asarray(reason, dtype=np.str_)

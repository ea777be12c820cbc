"""Which class of object a dataset type takes."""

from __future__ import annotations

import importlib
from typing import Final

from .dataset_type import DatasetType

__all__ = ["check_type"]

_HOMES: Final = {
    **dict.fromkeys((f"Exposure{letter}" for letter in ("", *"FDIUL")), "skyloom.images"),
    "BackgroundList": "skyloom.images",
    "SourceCatalog": "skyloom.catalogs",
}
"""Modules of the classes that layouts name."""


def check_type(kind: DatasetType, obj: object) -> None:
    """Refuse an object of another class than the layout says.

    Raises
    ------
    TypeError
        Naming both types.
    """
    if kind.python not in _HOMES:
        return
    wanted = getattr(importlib.import_module(_HOMES[kind.python]), kind.python)
    fits = isinstance(obj, wanted) if isinstance(wanted, type) else wanted.matches(obj)
    if not fits:
        raise TypeError(f"dataset {kind.name}: takes {kind.python}, not {_name(obj)}")


def _name(obj: object) -> str:
    """Return the class of an object, with the type of its pixels."""
    image = getattr(obj, "image", None)
    dtype = getattr(getattr(image, "array", None), "dtype", None)
    return type(obj).__name__ if dtype is None else f"{type(obj).__name__} of {dtype}"

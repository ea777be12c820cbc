"""Storage classes of ``lsst-daf-butler`` for our formats, with their components.

A repository that the bridge makes knows them; any other is told by a line in its ``butler.yaml``,
``includeConfigs: resource://skyloom.butler/lsst.yaml`` (that file is `storage_yaml`).
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import yaml

from skyloom.errors import InputError

from .formats import FORMATS

__all__ = [
    "BY_CLASS",
    "CONFIG",
    "PART",
    "component_of",
    "lsst_butler",
    "storage_class",
    "storage_classes",
    "storage_yaml",
]

PART: Final = "SkyloomPart"
"""Storage class of a component: any object."""

CONFIG: Final = "resource://skyloom.butler/lsst.yaml"

_NAMES: Final = {"md": "metadata", "len": "rowcount", "photo_calib": "photoCalib"}
"""Suffix here -> component there, where they differ."""

_PARAMETERS: Final = {"sub": "bbox"}
"""Suffix here -> parameter there."""


def lsst_butler() -> Any:
    """Return the package ``lsst.daf.butler``.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module("lsst.daf.butler")
    except ImportError as error:
        raise InputError(
            "lsst-daf-butler is not installed; pip install 'skyloom[lsst]' does it"
        ) from error


def storage_class(format_: str) -> str:
    """Return the name of the storage class for one of our formats."""
    return "Skyloom" + "".join(part.capitalize() for part in format_.split("_"))


BY_CLASS: Final = {storage_class(name): name for name in FORMATS}
"""Storage class -> format."""


def storage_classes() -> dict[str, dict[str, Any]]:
    """Return the definitions of all our storage classes."""
    found: dict[str, dict[str, Any]] = {PART: {"pytype": "object"}}
    for name, format_ in FORMATS.items():
        parts = [part for part in format_.parts if part not in _PARAMETERS]
        one: dict[str, Any] = {"pytype": "object"}
        if parts:
            one["derivedComponents"] = {_NAMES.get(part, part): PART for part in parts}
        if parameters := [_PARAMETERS[part] for part in format_.parts if part in _PARAMETERS]:
            one["parameters"] = parameters
        found[storage_class(name)] = one
    return found


def component_of(component: str) -> str:
    """Return the suffix here that a component there is."""
    return {there: here for here, there in _NAMES.items()}.get(component, component)


def storage_yaml() -> str:
    """Return the content of ``lsst.yaml``."""
    head = (
        "# Storage classes of skyloom for lsst-daf-butler, made by skyloom.butler.bridge_storage.\n"
    )
    return head + yaml.safe_dump({"storageClasses": storage_classes()}, sort_keys=False)

"""Suffixes: a part of a dataset, asked for by the name of its type: ``calexp_md``."""

from __future__ import annotations

from typing import Final

from skyloom.errors import UnknownDatasetType

from .dataset_type import DatasetType
from .formats import known_format
from .layout import Layout

__all__ = ["SUFFIXES", "check_part", "split_suffix"]

SUFFIXES: Final = (
    "filename",
    "md",
    "len",
    "schema",
    "table",
    "sub",
    "wcs",
    "photo_calib",
    "psf",
    "mask",
    "variance",
    "image",
)
"""Parts, in the order in which they are tried; a type of the full name goes before."""


def split_suffix(layout: Layout, name: str) -> tuple[str, str]:
    """Return the dataset type and the part that a name means; the part is empty for a type.

    Raises
    ------
    UnknownDatasetType
        If it is neither; the message lists near names.
    """
    if name not in layout:
        for suffix in SUFFIXES:
            base = name.removesuffix(f"_{suffix}")
            if base != name and base in layout:
                return base, suffix
    return layout[name].name, ""


def check_part(kind: DatasetType, part: str) -> None:
    """Refuse a part that the format of a type does not have.

    Raises
    ------
    UnknownDatasetType
    """
    known = known_format(kind.format).parts
    if part not in known:
        parts = ", ".join(f"{kind.name}_{p}" for p in ("filename", *known))
        raise UnknownDatasetType(
            f"dataset {kind.name}: {kind.format} has no part {part!r}; there are {parts}",
            name=f"{kind.name}_{part}",
        )

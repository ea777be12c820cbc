"""The user's own files, whose paths the layout does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from skyloom.errors import BadDataId

from .data_id import DataId
from .layout import Layout

__all__ = ["External", "paths_by_id"]

External: TypeAlias = Mapping[str, Path | str | Mapping[Any, Path | str]]
"""The user's files by type: one path, or paths by value (one dimension) or by `DataId`."""


def paths_by_id(
    layout: Layout, name: str, paths: Path | str | Mapping[Any, Path | str]
) -> dict[DataId, Path]:
    """Return the paths of one of the user's types by data ID, in their order.

    Raises
    ------
    UnknownDatasetType, BadDataId
        If they do not fit the layout.
    """
    kind = layout[name]
    if not kind.is_external:
        raise BadDataId(f"dataset {name} is made by the pipeline; it cannot be supplied")
    if not isinstance(paths, Mapping):
        paths = {DataId(): paths}
    found = {}
    for key, path in paths.items():
        values = key
        if not isinstance(key, Mapping):
            if len(kind.dimensions) != 1:
                raise BadDataId(f"dataset {name}: {key!r} is no data ID; it takes a DataId")
            values = {kind.dimensions[0]: key}
        found[layout.data_id(name, values)] = Path(path).absolute()
    return found

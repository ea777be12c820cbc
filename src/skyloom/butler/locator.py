"""Where datasets are: their own files, those of the whole they are part of, the user's."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from skyloom.errors import DataNotFound

from .data_id import DataId, Value
from .dataset_type import DatasetType
from .layout import Layout
from .lookup import Finder

__all__ = ["Locator"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Finds the files of datasets.

    ``roots`` are searched in their order; what does not exist would be in the first.
    """

    layout: Layout
    roots: tuple[Path, ...]
    finder: Finder
    external: Mapping[str, Mapping[DataId, Path]]  # the user's files by type

    def locate(
        self, kind: DatasetType, values: Mapping[str, Value], *, only_existing: bool = False
    ) -> tuple[DataId, Path]:
        """Return the complete data ID and the path: the first that exists, else our own.

        ``only_existing`` saves the search for what belongs to a visit of which there is no such
        file.
        """
        if kind.is_external:
            return self._external_file(kind, values)
        for other in kind.first_of:
            with contextlib.suppress(DataNotFound):
                found = self.locate(self.layout[other], values, only_existing=only_existing)
                if found[1].is_file():
                    return found
        if kind.first_of:
            first = self.layout[kind.first_of[0]]
            return self.locate(first, values, only_existing=only_existing)
        if kind.component_of:
            return self._part(kind, values, only_existing=only_existing)
        return self._file(kind, values, only_existing=only_existing)

    def _part(
        self, kind: DatasetType, values: Mapping[str, Value], *, only_existing: bool
    ) -> tuple[DataId, Path]:
        """Return the file of its own that a part has, or else that of the whole."""
        if kind.template is not None:
            with contextlib.suppress(DataNotFound):
                found = self._file(kind, values, only_existing=True)
                if found[1].is_file():
                    return found
        whole = self.layout[kind.component_of]
        return self.locate(whole, values, only_existing=only_existing)

    def _file(
        self, kind: DatasetType, values: Mapping[str, Value], *, only_existing: bool
    ) -> tuple[DataId, Path]:
        full = self.finder.complete(kind.name, values, only_existing=only_existing)
        place = self.layout.place(kind.name, full)
        if len(self.roots) > 1:
            for root in self.roots:
                path = root / place
                if path.is_file():
                    return full, path
        return full, self.roots[0] / place

    def _external_file(self, kind: DatasetType, values: Mapping[str, Value]) -> tuple[DataId, Path]:
        full = self.layout.data_id(kind.name, values)
        try:
            return full, self.external[kind.name][full]
        except KeyError:
            raise DataNotFound(
                f"dataset {kind.name}({full}) is the user's own file, and none was given",
                name=kind.name,
            ) from None

    def others(self, name: str, tried: str) -> tuple[str, ...]:
        """Return the types that hold the same as one that was tried, and come after it."""
        first_of = self.layout[name].first_of
        return first_of[first_of.index(tried) + 1 :] if tried in first_of else ()

    def stored(self, kind: DatasetType, part: str, path: Path) -> tuple[DatasetType, str]:
        """Return the type whose format a file has, and which part of it is wanted."""
        if not (kind.component_of or kind.first_of):
            return kind, part
        root = self._root_of(path)
        for other in kind.first_of:
            if self.layout.parse(other, path, root=root) is not None:
                return self.stored(self.layout[other], part, path)
        if kind.template is not None and self.layout.parse(kind.name, path, root=root):
            return kind, part
        whole = self.layout[kind.component_of]
        return whole, part or kind.component

    def _root_of(self, path: Path) -> Path:
        return next((root for root in self.roots if path.is_relative_to(root)), self.roots[0])

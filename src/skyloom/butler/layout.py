"""Layouts: the table that names every file."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from skyloom.errors import BadDataId, InputError, UnknownDatasetType

from .data_id import DataId, Value
from .dataset_type import DatasetType, Dimension, Lookup
from .layout_file import known_layouts, layout_rows, read_layout_table
from .templates import Places, absolute, pieces

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Dataset types by name, with the variables and dimensions of their templates.

    A template such as ``{epsf_dir}/{band}/{cell}/epsf.npy`` mixes variables (directories, fixed
    when the layout is bound) and dimensions (the data ID).  A variable may be an absolute path.
    """

    name: str
    dimensions: Mapping[str, Dimension]
    variables: Mapping[str, str]
    types: Mapping[str, DatasetType]
    tables: Mapping[str, Lookup] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Key of the parts: (key of the whole, table that lists them)."""
    registry: bool = False
    """Whether a directory has an index of its datasets; else file names alone tell."""
    foreign: tuple[str, ...] = ()
    """Databases of other programs with lookup tables: names below a root, with variables."""
    source: Path | None = None
    """The file it was read from, if it does not ship."""
    _places: dict[tuple[str, Path], Places] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def load(cls, name: str | Path) -> Layout:
        """Read a layout: the name of one that ships (``tile``) or the path of a YAML file.

        Raises
        ------
        MissingFile, UnreadableFile, InputError
            If it does not exist, is not YAML, or its templates cannot be used.
        """
        if isinstance(name, str) and name in known_layouts():
            return _shipped(name)
        table, stem = read_layout_table(name)
        return replace(cls.from_mapping(table, name=stem), source=Path(name).absolute())

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any], *, name: str = "layout") -> Layout:
        """Build a layout from the content of its YAML file.

        Raises
        ------
        UnreadableFile, InputError
            If it is no layout, or its templates cannot be used.
        """
        return cls(name=name, **layout_rows(table, name))

    @property
    def address(self) -> str | None:
        """What `load` takes to read it again: a name or a path; None for one made in memory."""
        if self.source is not None:
            return str(self.source)
        return self.name if self.name in known_layouts() else None

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {key: getattr(self, key) for key in self.__slots__ if not key.startswith("_")}
        return _rebuild, (facts,)

    def bind(self, **variables: str | os.PathLike[str]) -> Layout:
        """Return the layout with some variables set, such as ``epsf_dir="/scratch/EPSFs"``."""
        for key in variables:
            if key not in self.variables:
                known = ", ".join(sorted(self.variables)) or "none"
                raise InputError(f"layout {self.name}: no variable {key!r}; there are {known}")
        new = {key: os.fspath(value) for key, value in variables.items()}
        return replace(self, variables={**self.variables, **new})

    def with_options(self, name: str, **options: Any) -> Layout:
        """Return the layout with other options for the writer of a type, such as ``level=1``."""
        kind = replace(self[name], options={**self[name].options, **options})
        return replace(self, types={**self.types, name: kind})

    def __getitem__(self, name: str) -> DatasetType:
        try:
            return self.types[name]
        except KeyError:
            near = difflib.get_close_matches(name, self.types, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise UnknownDatasetType(
                f"layout {self.name}: no dataset type {name!r}{hint}", name=name
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def data_id(self, name: str, values: Mapping[str, Value]) -> DataId:
        """Return the data ID of a dataset: checked, complete, in the order of the template.

        Raises
        ------
        BadDataId
            If a dimension is missing, unknown, or has a value that cannot name a file.
        """
        kind = self[name]
        missing = [key for key in kind.dimensions if key not in values]
        unknown = [key for key in values if key not in kind.dimensions]
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"has no {', '.join(unknown)}"
            wants = ", ".join(kind.dimensions) or "nothing"
            raise BadDataId(
                f"dataset {name}: data ID ({DataId(values)}) {what}; it takes {wants}", name=name
            )
        plain = values if isinstance(values, DataId) else DataId(values)
        return DataId.trusted(
            {key: self.dimensions[key].check(plain[key]) for key in kind.dimensions}
        )

    def check(self, values: Mapping[str, Value]) -> DataId:
        """Return values in the types of their keys, whatever dataset they are for.

        Raises
        ------
        BadDataId
            If the layout has no such key (the message lists those it has), or a value is wrong.
        """
        self.check_keys(values)
        plain = values if isinstance(values, DataId) else DataId(values)
        return DataId.trusted({key: self.dimensions[key].check(v) for key, v in plain.items()})

    def check_keys(self, keys: Iterable[str]) -> None:
        """Refuse keys that the layout does not have; the message lists those it has."""
        for key in keys:
            if key not in self.dimensions:
                near = difflib.get_close_matches(key, self.dimensions, n=1)
                hint = f"did you mean {near[0]!r}? It" if near else "it"
                known = ", ".join(self.dimensions) or "none"
                raise BadDataId(
                    f"data ID: layout {self.name} has no key {key!r}; {hint} has {known}", key=key
                )

    def path(self, name: str, values: Mapping[str, Value], *, root: Path) -> Path:
        """Return the path of a dataset below ``root`` (or where an absolute variable puts it)."""
        return root / self.place(name, self.data_id(name, values))

    def place(self, name: str, data_id: DataId) -> str:
        """Return the path of a dataset relative to its root; the data ID is complete."""
        return "".join(
            piece.literal
            + (
                piece.text(data_id[piece.key])
                if piece.key in data_id
                else self.variables.get(piece.key, "")
            )
            for piece in pieces(self._template(name))
        )

    def foreign_files(self, root: Path) -> list[Path]:
        """Return the databases of other programs that a root has."""
        filled = [
            "".join(p.literal + self.variables.get(p.key, "") for p in pieces(template))
            for template in self.foreign
        ]
        return [root / name for name in filled if (root / name).is_file()]

    def parse(self, name: str, path: Path, *, root: Path) -> DataId | None:
        """Return the data ID whose path is ``path``, or None if no data ID has it."""
        text = absolute(path)
        match = self._placed(name, root).regex.fullmatch(text)
        if match is None:
            return None
        try:
            data_id = self.data_id(name, match.groupdict(default=""))
        except BadDataId:
            return None
        back = absolute(root / self.place(name, data_id))
        return data_id if back == text else None

    def find(
        self, name: str, *, root: Path, known: Mapping[str, Value] | None = None
    ) -> Iterator[tuple[DataId, Path]]:
        """Yield data ID and path of every file of this type on disk, in no order.

        ``known`` values, of keys of the type, narrow the search.
        """
        deep = frozenset(k for k in self[name].dimensions if self.dimensions[k].kind == "path")
        pattern = self._placed(name, root).pattern(known or {}, deep)
        for found in glob.iglob(pattern, include_hidden=True, recursive=True):  # noqa: PTH207
            data_id = self.parse(name, Path(found), root=root)
            if data_id is not None and (not known or data_id.agrees(known)):
                yield data_id, Path(found)

    def identify(self, path: Path, *, root: Path) -> list[tuple[str, DataId]]:
        """Return the dataset types and data IDs whose path is ``path``."""
        found = []
        for name, kind in self.types.items():
            data_id = None if kind.template is None else self.parse(name, path, root=root)
            if data_id is not None:
                found.append((name, data_id))
        return found

    def pattern(self, name: str, known: Mapping[str, Value]) -> str:
        """Return the glob pattern of a type relative to its root, for messages."""
        full = self._placed(name, Path("/")).pattern(known)
        return full.lstrip("/")

    def _template(self, name: str) -> str:
        template = self[name].template
        if template is None:
            raise InputError(f"dataset {name}: the user's own file has no place in the layout")
        return template

    def _placed(self, name: str, root: Path) -> Places:
        if (name, root) not in self._places:
            self._places[name, root] = Places(
                self._template(name), root, look=self._regex, variables=self.variables
            )
        return self._places[name, root]

    def _regex(self, key: str) -> str | None:
        return self.dimensions[key].regex if key in self.dimensions else None


def _rebuild(facts: dict[str, Any]) -> Layout:
    return Layout(**facts)


@cache
def _shipped(name: str) -> Layout:
    table, stem = read_layout_table(name)
    return Layout.from_mapping(table, name=stem)

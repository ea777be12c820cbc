"""Layouts: the table that names every file."""

from __future__ import annotations

import difflib
import glob
import os
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from skyloom.errors import BadDataId, InputError, MissingFile, UnknownDatasetType, UnreadableFile

from .data_id import DataId, Value

__all__ = ["DatasetType", "Dimension", "Layout"]

_LONGEST_VALUE = 200  # file systems allow 255 bytes per name; the template adds to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One key of a data ID."""

    name: str
    kind: Literal["str", "int"] = "str"
    pattern: str | None = None  # regular expression that every value matches
    doc: str = ""

    @property
    def regex(self) -> str:
        """What a value looks like inside a file name."""
        if self.pattern is not None:
            return self.pattern
        return r"\d+" if self.kind == "int" else r"[^/\\]+"

    def check(self, value: Value) -> Value:
        """Return the value in the type of the dimension, or raise `BadDataId`.

        Integers may come as decimal text.  Names must not be able to leave their directory.
        """
        if self.kind == "int":
            if isinstance(value, str) and re.fullmatch(r"\d+", value):
                value = int(value)
            if isinstance(value, str) or value < 0:
                raise self._bad(value, "is not a number >= 0")
            return value
        if not isinstance(value, str):
            raise self._bad(value, "is not text")
        if not value or value != value.strip() or value.startswith("."):
            raise self._bad(value, "is empty, starts with a dot, or has blanks at its ends")
        if ".." in value or any(c in '/\\<>:"|?*' or not c.isprintable() for c in value):
            raise self._bad(value, "holds '..' or a character that cannot stand in a file name")
        if len(value.encode()) > _LONGEST_VALUE:
            raise self._bad(value, f"is longer than {_LONGEST_VALUE} bytes")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise self._bad(value, f"does not look like {self.pattern}")
        return value

    def _bad(self, value: Value, why: str) -> BadDataId:
        return BadDataId(f"data ID: {self.name} = {value!r} {why}", key=self.name, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetType:
    """A kind of dataset: what it is called, where it lives, how it is stored."""

    name: str
    format: str
    template: str | None  # None: the user's files, whose paths the pipeline supplies
    dimensions: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)  # for the writer of the format
    doc: str = ""

    @property
    def is_external(self) -> bool:
        """True for the user's own files."""
        return self.template is None


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

    @classmethod
    def load(cls, name: str | Path) -> Layout:
        """Read a layout: the name of one that ships (``tile``) or the path of a YAML file.

        Raises
        ------
        MissingFile, UnreadableFile, InputError
            If it does not exist, is not YAML, or its templates cannot be used.
        """
        file = Path(name)
        if isinstance(name, str) and re.fullmatch(r"\w+", name):
            shipped = resources.files(__package__) / "layouts" / f"{name}.yaml"
            if not shipped.is_file():
                raise MissingFile(f"layout {name!r} does not ship with skyloom; give a YAML file")
            text = shipped.read_text(encoding="utf-8")
        elif not file.is_file():
            raise MissingFile(f"{file}: layout not found; give the path of a YAML file", path=file)
        else:
            text = file.read_text(encoding="utf-8")
        try:
            return cls.from_mapping(yaml.safe_load(text), name=file.stem)
        except (yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
            raise UnreadableFile(f"layout {name}: not a layout table: {error}") from error

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any], *, name: str = "layout") -> Layout:
        """Build a layout from the content of its YAML file."""
        dimensions = {
            key: Dimension(name=key, **(row or {})) for key, row in table["dimensions"].items()
        }
        variables = {key: str(value) for key, value in (table.get("variables") or {}).items()}
        clash = sorted(set(dimensions) & set(variables))
        if clash:
            raise InputError(f"layout {name}: {clash[0]} is both a variable and a dimension")
        types = {
            key: _dataset_type(name, key, row, dimensions, variables)
            for key, row in table["datasets"].items()
        }
        return cls(name=name, dimensions=dimensions, variables=variables, types=types)

    def bind(self, **variables: str | os.PathLike[str]) -> Layout:
        """Return the layout with some variables set, such as ``epsf_dir="/scratch/EPSFs"``."""
        for key in variables:
            if key not in self.variables:
                known = ", ".join(sorted(self.variables))
                raise InputError(f"layout {self.name}: no variable {key!r}; there are {known}")
        new = {key: os.fspath(value) for key, value in variables.items()}
        return replace(self, variables={**self.variables, **new})

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
        return DataId({key: self.dimensions[key].check(values[key]) for key in kind.dimensions})

    def path(self, name: str, values: Mapping[str, Value], *, root: Path) -> Path:
        """Return the path of a dataset below ``root`` (or where an absolute variable puts it)."""
        data_id = self.data_id(name, values)
        text = "".join(
            literal
            + (format(data_id[key], spec) if key in data_id else self.variables.get(key, ""))
            for literal, key, spec in _pieces(self._template(name))
        )
        return root / text

    def parse(self, name: str, path: Path, *, root: Path) -> DataId | None:
        """Return the data ID whose path is ``path``, or None if no data ID has it."""
        regex, _ = self._compiled(name, root)
        match = re.fullmatch(regex, _absolute(path))
        if match is None:
            return None
        try:
            data_id = self.data_id(name, match.groupdict())
        except BadDataId:
            return None
        back = _absolute(self.path(name, data_id, root=root))
        return data_id if back == _absolute(path) else None

    def find(self, name: str, *, root: Path) -> Iterator[tuple[DataId, Path]]:
        """Yield data ID and path of every file of this type on disk, in no order."""
        _, pattern = self._compiled(name, root)
        for found in glob.iglob(pattern, include_hidden=True):  # noqa: PTH207 - absolute
            data_id = self.parse(name, Path(found), root=root)
            if data_id is not None:
                yield data_id, Path(found)

    def _template(self, name: str) -> str:
        template = self[name].template
        if template is None:
            raise InputError(f"dataset {name}: the user's own file has no place in the layout")
        return template

    def _compiled(self, name: str, root: Path) -> tuple[str, str]:
        """Return regular expression and glob pattern of the absolute paths of a type."""
        marked = "".join(
            literal + (f"\0{key}\0" if key in self.dimensions else self.variables.get(key, ""))
            for literal, key, _ in _pieces(self._template(name))
        )
        # the absolute path of the whole, so that a variable may hold ".." or be absolute
        parts = _absolute(root / marked).split("\0")
        regex, pattern = "", ""
        for index, part in enumerate(parts):
            if index % 2 == 0:
                regex += re.escape(part)
                pattern += glob.escape(part)
            else:
                again = f"(?P<{part}>" in regex
                regex += f"(?P={part})" if again else f"(?P<{part}>{self.dimensions[part].regex})"
                pattern += "*"
        return regex, pattern


def _absolute(path: Path) -> str:
    """Return an absolute path without ``..``; symbolic links stay what they are."""
    return os.path.normpath(path.absolute())


def _pieces(template: str) -> Iterable[tuple[str, str, str]]:
    """Split a template into (literal text, name that follows it, its format)."""
    for literal, key, spec, _ in string.Formatter().parse(template):
        yield literal, key or "", spec or ""


def _dataset_type(
    layout: str,
    name: str,
    row: Mapping[str, Any],
    dimensions: Mapping[str, Dimension],
    variables: Mapping[str, str],
) -> DatasetType:
    where = f"layout {layout}: dataset {name}"
    extra = set(row) - {"format", "template", "external", "dimensions", "options", "doc"}
    if extra or "format" not in row or ("template" in row) == bool(row.get("external")):
        raise InputError(
            f"{where} needs format and either template or external: true"
            + (f", and has no use for {', '.join(sorted(extra))}" if extra else "")
        )
    template = row.get("template")
    if template is None:
        names = tuple(row.get("dimensions") or ())
    else:
        keys = [key for _, key, _ in _pieces(template) if key]
        names = tuple(dict.fromkeys(key for key in keys if key not in variables))
        _check_unambiguous(where, template, dimensions)
    for key in names:
        if key not in dimensions:
            raise InputError(f"{where}: {{{key}}} is neither a variable nor a dimension")
    return DatasetType(
        name=name,
        format=row["format"],
        template=template,
        dimensions=names,
        options=dict(row.get("options") or {}),
        doc=row.get("doc", ""),
    )


def _check_unambiguous(where: str, template: str, dimensions: Mapping[str, Dimension]) -> None:
    """Refuse a template by which two data IDs could share one file."""
    for part in template.split("/"):
        found = [(literal, key) for literal, key, _ in _pieces(part) if key in dimensions]
        free = {k for _, k in found if dimensions[k].kind == "str" and not dimensions[k].pattern}
        touching = any(not literal for literal, _ in found[1:])
        if len(free) > 1 or (touching and len({k for _, k in found}) > 1):
            raise InputError(
                f"{where}: {part!r} cannot be read back; separate the dimensions, or give all but "
                "one of them a pattern"
            )

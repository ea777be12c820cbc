"""Layout files: YAML or TOML tables of dataset types, checked when they are read."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from skyloom.errors import InputError, MissingFile, UnreadableFile

from .dataset_type import DatasetType, Dimension, Lookup
from .templates import Piece, pieces

__all__ = ["known_layouts", "layout_rows", "read_layout_table"]

log = logging.getLogger(__name__)

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where built
_SECTIONS: Final = (
    *("dimensions", "variables", "tables", "levels", "datasets"),
    *("registry", "foreign", "doc"),
)
_ARGUMENTS: Final = (
    "name",
    "data_id",
    "keys",
    "obj",
    "overwrite",
    "bbox",
    "jacobian",
    "validity",
    "checksum",
)
"""Arguments of the butler, beside which keys are given."""

_LISTS: Final = ("tables", "columns", "fills", "first_of", "picks")
_TEXTS: Final = ("doc", "python", "level", "validity", "component_of", "component")
_STORAGES: Final = {
    "FitsStorage": "exposure",
    "FitsCatalogStorage": "source_catalog",
    "TextStorage": "text",
    "JsonStorage": "json",
    "ParquetStorage": "table",
}
"""Storage formats by the names that policy files of the original use."""


def known_layouts() -> tuple[str, ...]:
    """Return the names of the layouts that ship."""
    return ("hsc", "legacysurvey", "tile")


def read_layout_table(name: str | Path) -> tuple[Any, str]:
    """Return the content and the name of a layout file: one that ships, or a path."""
    file = Path(name)
    if isinstance(name, str) and re.fullmatch(r"\w+", name):
        shipped = resources.files(__package__) / "layouts" / f"{name}.yaml"
        if not shipped.is_file():
            known = ", ".join(known_layouts())
            raise MissingFile(
                f"layout {name!r} does not ship with skyloom, {known} do; give a YAML file"
            )
        text = shipped.read_text(encoding="utf-8")
    elif not file.is_file():
        raise MissingFile(f"{file}: layout not found; give the path of a YAML file", path=file)
    else:
        text = file.read_text(encoding="utf-8")
    try:
        table = tomllib.loads(text) if file.suffix == ".toml" else _from_yaml(text)
    except (yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        raise UnreadableFile(f"layout {name}: not a layout table: {error}") from error
    if isinstance(table, dict) and "extends" in table:
        table = _extended(table, name)
    return table, file.stem


def _from_yaml(text: str) -> Any:
    loader = _LOADER(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _extended(table: Mapping[str, Any], name: str | Path) -> dict[str, Any]:
    """Return the layout that a table extends, with its own rows added; they win."""
    base = str(table["extends"])
    if not re.fullmatch(r"\w+", base):
        base = str(Path(name).parent / base)
    if Path(base) == Path(name):
        raise InputError(f"layout {name}: extends itself")
    merged = dict(read_layout_table(base)[0])
    for section, rows in table.items():
        if isinstance(rows, Mapping) and isinstance(merged.get(section), Mapping):
            merged[section] = {**merged[section], **rows}
        elif section != "extends":
            merged[section] = rows
    return merged


def layout_rows(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the fields of a layout from its table."""
    try:
        return _rows(table, name)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise UnreadableFile(
            f"layout {name}: not a layout table: {type(error).__name__}: {error}"
        ) from error


def _rows(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    _warn_unknown(f"layout {name}", set(table) - set(_SECTIONS))
    dimensions = _dimensions(table)
    variables = {key: str(value) for key, value in (table.get("variables") or {}).items()}
    for key in dimensions:
        if key in _ARGUMENTS:
            raise InputError(f"layout {name}: a key cannot be called {key}; choose another name")
    clash = sorted(set(dimensions) & set(variables))
    if clash:
        raise InputError(f"layout {name}: {clash[0]} is both a variable and a dimension")
    tables = {
        key: _lookup(name, key, row, dimensions) for key, row in (table.get("tables") or {}).items()
    }
    types = {
        key: _dataset_type(name, key, row, dimensions, variables)
        for key, row in table["datasets"].items()
    }
    _check_references(name, types, tables)
    types = {key: _with_keys(kind, types) for key, kind in types.items()}
    levels = {
        key: (row["of"], row.get("table", "")) for key, row in (table.get("levels") or {}).items()
    }
    return {
        "dimensions": dimensions,
        "variables": variables,
        "types": types,
        "tables": tables,
        "levels": levels,
        "registry": bool(table.get("registry", False)),
        "foreign": _listed(table, "foreign"),
    }


def _warn_unknown(where: str, fields: set[str]) -> None:
    if fields:
        log.warning("%s: %s unknown, ignored", where, ", ".join(sorted(map(str, fields))))


def _dimensions(table: Mapping[str, Any]) -> dict[str, Dimension]:
    """Return the keys that the table declares, or else those of its templates."""
    rows = table.get("dimensions")
    if rows is not None:
        return {
            key: Dimension(name=key, **{**(row or {}), "header": _listed((row or {}), "header")})
            for key, row in rows.items()
        }
    variables = table.get("variables") or {}
    found: dict[str, Dimension] = {}
    for row in table["datasets"].values():
        for piece in pieces(row.get("template") or ""):
            if piece.key and piece.key not in variables and piece.first is None:
                kind: Any = piece.kind
                found.setdefault(piece.key, Dimension(name=piece.key, kind=kind))
    return found


def _lookup(
    layout: str, name: str, row: Mapping[str, Any], dimensions: Mapping[str, Dimension]
) -> Lookup:
    where = f"layout {layout}: table {name}"
    _warn_unknown(where, set(row) - {"keys", "identity", "optional", "reader", "doc"})
    keys = _listed(row, "keys")
    for key in keys:
        if key not in dimensions:
            raise InputError(f"{where}: {key} is not a dimension")
    return Lookup(
        name=name,
        keys=keys,
        identity=_listed(row, "identity") or keys,
        optional=_listed(row, "optional"),
        reader=row.get("reader", ""),
    )


def _listed(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = row.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _dataset_type(
    layout: str,
    name: str,
    row: Mapping[str, Any],
    dimensions: Mapping[str, Dimension],
    variables: Mapping[str, str],
) -> DatasetType:
    where = f"layout {layout}: dataset {name}"
    known = {"format", "storage", "template", "external", "dimensions", "options", "input"}
    _warn_unknown(where, set(row) - known - set(_LISTS) - set(_TEXTS))
    template = row.get("template")
    sources = [template is not None, bool(row.get("external"))]
    is_elsewhere = bool(row.get("component_of") or row.get("first_of"))
    if sum(sources) != 1 and not (is_elsewhere and not sources[1]):
        raise InputError(f"{where} needs format and either template or external: true")
    format_ = row.get("format") or _storage(where, row)
    if format_ is None and not is_elsewhere:
        raise InputError(f"{where} needs format and either template or external: true")
    names = _keys(where, template, row, dimensions, variables)
    more: dict[str, Any] = {key: _listed(row, key) for key in _LISTS}
    more.update((key, str(row.get(key) or "")) for key in _TEXTS)
    return DatasetType(
        name=name,
        format=format_ or "",
        template=template,
        dimensions=names,
        options=dict(row.get("options") or {}),
        input=bool(row.get("input", False)),
        **more,
    )


def _storage(where: str, row: Mapping[str, Any]) -> str | None:
    storage = row.get("storage")
    if storage is None:
        return None
    if storage not in _STORAGES:
        raise InputError(f"{where}: storage {storage!r} is unknown; take {', '.join(_STORAGES)}")
    return _STORAGES[storage]


def _keys(
    where: str,
    template: str | None,
    row: Mapping[str, Any],
    dimensions: Mapping[str, Dimension],
    variables: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the keys of the data IDs of a type, in their order."""
    if template is None:
        names = _listed(row, "dimensions")
    else:
        keys = [piece.key for piece in pieces(template) if piece.key]
        names = tuple(dict.fromkeys(key for key in keys if key not in variables))
        _check_template(where, template, dimensions)
    for key in names:
        if key not in dimensions:
            raise InputError(f"{where}: {{{key}}} is neither a variable nor a dimension")
    return names


def _check_template(where: str, template: str, dimensions: Mapping[str, Dimension]) -> None:
    """Refuse a template by which two data IDs could share one file."""
    found = [piece for piece in pieces(template) if piece.key in dimensions]
    whole = {piece.key for piece in found if piece.first is None}
    for piece in found:
        if piece.key not in whole:
            raise InputError(f"{where}: only a part of {piece.key} stands in {template!r}")
        if dimensions[piece.key].kind == "text":
            raise InputError(f"{where}: {piece.key} is of kind text, which stands in no path")
        if dimensions[piece.key].kind == "int" and piece.kind != "int" and piece.spec:
            raise InputError(f"{where}: {piece.key} is a number; format it with d")
    part: list[Piece] = []
    for piece in pieces(template):
        if "/" in piece.literal:
            _check_part(where, part, dimensions)
            part = [replace(piece, literal=piece.literal.rpartition("/")[2] or "/")]
        else:
            part.append(piece)
    _check_part(where, part, dimensions)


def _check_part(where: str, part: list[Piece], dimensions: Mapping[str, Dimension]) -> None:
    """Check the pieces of one directory or file name."""
    found = [p for p in part if p.key in dimensions and p.first is None]
    free = {
        p.key
        for p in found
        if dimensions[p.key].kind in {"str", "path"} and not dimensions[p.key].pattern
    }
    touching = any(not (p.literal or p.lead) for p in found[1:])
    if len(free) > 1 or (touching and len({p.key for p in found}) > 1):
        text = "".join(f"{p.literal}{{{p.key}}}" for p in part)
        raise InputError(
            f"{where}: {text!r} cannot be read back; separate the dimensions, or give all but "
            "one of them a pattern"
        )


def _with_keys(kind: DatasetType, types: Mapping[str, DatasetType]) -> DatasetType:
    """Give a type without files of its own the data IDs of the type that holds it."""
    if kind.template is not None or kind.dimensions or kind.is_external:
        return kind
    other = types[kind.component_of or kind.first_of[0]]
    return replace(
        kind,
        dimensions=_with_keys(other, types).dimensions,
        tables=kind.tables or other.tables,
        level=kind.level or other.level,
    )


def _check_references(
    layout: str, types: Mapping[str, DatasetType], tables: Mapping[str, Lookup]
) -> None:
    for name, kind in types.items():
        where = f"layout {layout}: dataset {name}"
        named: Sequence[str] = [*kind.tables, *kind.fills, kind.validity]
        for table in filter(None, named):
            if table not in tables:
                raise InputError(f"{where}: there is no table {table!r}")
        for other in filter(None, [kind.component_of, *kind.first_of]):
            if other not in types:
                raise InputError(f"{where}: there is no dataset type {other!r}")

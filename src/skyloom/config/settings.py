"""What a configuration model says about its own fields: type, unit, limits, sentence, default."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from .model import Config, Unit

__all__ = ["Setting", "is_section", "item_section", "list_settings", "pattern_of", "sections"]

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "string",
    Path: "path",
    type(None): "null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of a configuration, described for people."""

    key: str  # dotted, from the root; ``*`` stands for a name of the user's
    kind: str  # "number", "integer or auto", "list of 2 numbers", "'a' or 'b'"
    limits: str  # "> 0", ">= 0 and <= 100", or ""
    unit: str  # "pix", or "" where there is none
    default: Any  # plain JSON data
    sentence: str  # what the field means

    @property
    def section(self) -> str:
        """Dotted key of the section that holds the field; "" at the root."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition(".")[2]


def is_section(annotation: Any) -> bool:
    """Tell whether a field's annotation is a nested `Config`."""
    return isinstance(annotation, type) and issubclass(annotation, Config)


def item_section(annotation: Any) -> type[Config] | None:
    """Return the section that stands behind each name where a field maps names to sections."""
    args = get_args(annotation)
    if get_origin(annotation) in {dict, Mapping} and len(args) == 2 and is_section(args[1]):
        return cast(type[Config], args[1])
    return None


def sections(model: type[Config], prefix: str = "") -> Iterator[tuple[str, type[Config]]]:
    """Yield ``(dotted key, model)`` of every section, the root first (key ``""``).

    Sections behind names of the user's have ``*`` in place of the name.
    """
    yield prefix, model
    for name, field in model.model_fields.items():
        annotation = field.annotation
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(annotation, type) and issubclass(annotation, Config):
            yield from sections(annotation, key)
        elif (item := item_section(annotation)) is not None:
            yield from sections(item, f"{key}.*")


def pattern_of(model: type[Config], place: Iterable[int | str]) -> str:
    """Return the dotted key of a place in the user's file as `list_settings` writes it.

    Parameters
    ----------
    model : type of Config
        The whole configuration.
    place : iterable of int or str
        Names from the root on; positions in lists are left out, names of the user's become ``*``.
    """
    section: type[Config] | None = model
    item: type[Config] | None = None
    parts = []
    for name in (part for part in place if isinstance(part, str)):
        if item is not None:
            parts.append("*")
            section, item = item, None
            continue
        parts.append(name)
        field = section.model_fields.get(name) if section is not None else None
        annotation = field.annotation if field is not None else None
        section = cast(type[Config], annotation) if is_section(annotation) else None
        item = item_section(annotation)
    return ".".join(parts)


def list_settings(model: type[Config]) -> list[Setting]:
    """List every leaf field of a model and of its sections, in declaration order."""
    return [
        _setting(f"{prefix}.{name}" if prefix else name, field)
        for prefix, section in sections(model)
        for name, field in section.model_fields.items()
        if not is_section(field.annotation)
    ]


def _setting(key: str, field: FieldInfo) -> Setting:
    unit = next((m.name for m in field.metadata if isinstance(m, Unit)), "")
    return Setting(
        key=key,
        kind=_kind(field.annotation),
        limits=_limits(field),
        unit=unit,
        default=None
        if field.is_required()
        else to_jsonable_python(field.get_default(call_default_factory=True)),
        sentence=" ".join((field.description or "").split()),
    )


def _kind(annotation: Any) -> str:
    """Say in words what values a field takes."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(args[0])
    if origin is Literal:
        return " or ".join(str(a) if a == "auto" else f"'{a}'" for a in args)
    if origin in {Union, types.UnionType}:
        return " or ".join(_kind(a) for a in args)
    if item_section(annotation) is not None:
        return "mapping of names to settings"
    if origin is tuple:
        count = "" if Ellipsis in args else f"{len(args)} "
        return f"list of {count}{_kind(args[0])}s"
    return _WORDS.get(annotation, str(annotation))


def _limits(field: FieldInfo) -> str:
    """Say in symbols what range a field has."""
    metadata = list(field.metadata)
    if get_origin(field.annotation) in {Union, types.UnionType}:
        for arm in get_args(field.annotation):
            metadata += get_args(arm)[1:] if get_origin(arm) is Annotated else []
    found = []
    for item in metadata:
        match item:
            case Gt(gt=bound):
                found.append(f"> {bound}")
            case Ge(ge=bound):
                found.append(f">= {bound}")
            case Lt(lt=bound):
                found.append(f"< {bound}")
            case Le(le=bound):
                found.append(f"<= {bound}")
    return " and ".join(found)

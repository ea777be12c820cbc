"""Turn a mapping into a configuration model, with our errors instead of pydantic's."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from skyloom.errors import ConfigError, UnknownKey, WrongType, WrongValue

from .io import YamlDocument
from .model import DEMAND, Config
from .settings import Setting, list_settings, pattern_of, sections

__all__ = ["build_config"]

ConfigT = TypeVar("ConfigT", bound=Config)

_NO_KEYS: Mapping[str, str] = {}
_UNKNOWN = frozenset({"extra_forbidden", "invalid_key"})
_COMPARISONS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}


def build_config(
    model: type[ConfigT], document: YamlDocument, *, old_keys: Mapping[str, str] = _NO_KEYS
) -> ConfigT:
    """Validate a mapping against a model.

    Parameters
    ----------
    model : type of Config
        What the mapping should be.
    document : YamlDocument
        The user's mapping, the name of its file, and the lines of its keys.
    old_keys : mapping of str to str
        Dotted keys of earlier releases, with the remedy that the message shall give.

    Returns
    -------
    Config
        An instance of ``model``; what the user left out has its default.

    Raises
    ------
    UnknownKey
        If a key does not exist. Unknown keys are reported before anything else.
    WrongType
        If a value has the wrong type.
    WrongValue
        If a value is outside its choices or range, or two values contradict each other.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as failure:
        problems = failure.errors(include_url=False)
    settings = {s.key: s for s in list_settings(model)}
    unknown = [p for p in problems if p["type"] in _UNKNOWN]
    if unknown:
        raise _unknown_key(model, document, unknown, old_keys)
    wrong_type = [p for p in problems if _is_type_problem(p)]
    if wrong_type:
        raise _wrong(WrongType, model, document, wrong_type, settings)
    raise _wrong(WrongValue, model, document, problems, settings)


def _unknown_key(
    model: type[Config],
    document: YamlDocument,
    problems: list[ErrorDetails],
    old_keys: Mapping[str, str],
) -> UnknownKey:
    places = {".".join(map(str, p["loc"])): p["loc"] for p in problems}
    keys = sorted(places, key=_line_of(document))
    key = keys[0]
    remedy = old_keys.get(key) or _suggestion(model, pattern_of(model, places[key]))
    shown = key if key.isprintable() else ascii(key)
    msg = f"{document.where(key)}: Unknown config key: {shown}; {remedy}{_others(keys)}"
    return UnknownKey(msg, key=key, keys=keys, file=document.name)


def _suggestion(model: type[Config], key: str) -> str:
    """Say which existing key may have been meant."""
    parent, _, name = key.rpartition(".")
    known = {prefix: list(section.model_fields) for prefix, section in sections(model)}
    siblings = known.get(parent, [])
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    elsewhere = [
        f"{prefix}.{name}" if prefix else name for prefix, names in known.items() if name in names
    ]
    if elsewhere:
        return f"did you mean {' or '.join(repr(k) for k in elsewhere)}?"
    shown = ", ".join(siblings[:8]) + (", ..." if len(siblings) > 8 else "")
    return f"remove it; known here: {shown}"


def _is_type_problem(problem: ErrorDetails) -> bool:
    """Tell a value of the wrong type from one that is out of range."""
    if problem["type"] == "literal_error":
        return not isinstance(problem["input"], str)
    return problem["type"].endswith(("_type", "_parsing", "_from_float", "recursion_loop"))


def _wrong(
    kind: type[WrongType | WrongValue],
    model: type[Config],
    document: YamlDocument,
    problems: list[ErrorDetails],
    settings: Mapping[str, Setting],
) -> ConfigError:
    """Make the error of the first problem and name the others."""
    problems = sorted(problems, key=lambda p: _line_of(document)(_dotted(p)))
    first = problems[0]
    key, item = _dotted(first), _item(first)
    if first["loc"][-1:] == ("[key]",):
        key = key.removesuffix(".[key]")
        is_ours = first["type"] == DEMAND
        demand = first["msg"] if is_ours else "text; put it in quotes"
        what = f"{key}: the name {_short(first['input'])} must be {demand}"
    elif first["type"] == "value_error":  # a check of ours that involves two fields
        reason = str(first.get("ctx", {}).get("error", first["msg"]))
        what = f"{key}.{reason}" if key else reason
    else:
        setting = settings.get(pattern_of(model, first["loc"]))
        short_of_items = first["type"] == "missing"
        value = "" if short_of_items else f" = {_short(first['input'])}"
        if short_of_items:
            item = ""
        what = f"{key}{item}{value} must be {_demand(first, setting)}"
    keys = list(dict.fromkeys(_dotted(p) for p in problems))
    msg = f"{document.where(key)}: {what}{_others(keys)}"
    return kind(msg, key=key, value=first["input"], keys=keys, file=document.name)


def _demand(problem: ErrorDetails, setting: Setting | None) -> str:
    """Say what the value should have been."""
    kind = problem["type"]
    if setting is None:
        return "a mapping of settings" if kind == "model_type" else problem["msg"]
    unit = f" [{setting.unit}]" if setting.unit else ""
    if kind in _COMPARISONS:
        sign, bound = _COMPARISONS[kind]
        return f"{sign} {problem['ctx'][bound]}{unit}"
    if kind == DEMAND:
        return f"{problem['msg']}{unit}"
    if kind == "finite_number":
        return f"a finite number{unit}"
    hint = ""
    if kind == "literal_error":
        near = difflib.get_close_matches(str(problem["input"]), setting.kind.split("'"), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
    wanted = setting.kind
    if wanted.startswith("list") and _item(problem) and kind != "missing":
        wanted = f"{wanted.split()[-1].removesuffix('s')} in a {wanted}"
    return f"{_article(wanted)}{wanted}{unit}{hint}"


def _article(kind: str) -> str:
    if kind.startswith(("'", "true")):
        return ""
    return "an " if kind[0] in "aeiou" else "a "


def _dotted(problem: ErrorDetails) -> str:
    """Dotted key of a problem, without list positions."""
    return ".".join(str(p) for p in problem["loc"] if isinstance(p, str))


def _item(problem: ErrorDetails) -> str:
    return "".join(f"[{p}]" for p in problem["loc"] if isinstance(p, int))


def _line_of(document: YamlDocument) -> Any:
    """Sort key: the order of the file, so that the first message is about its first mistake."""
    return lambda key: (document.lines.get(key, math.inf), key)


def _others(keys: list[str]) -> str:
    if len(keys) == 1:
        return ""
    return f" (also wrong: {', '.join(k if k.isprintable() else ascii(k) for k in keys[1:])})"


def _short(value: object) -> str:
    """Show a value in the YAML spelling, at most 60 characters."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case dict() | list() if not value:
            text = str(value)
        case dict():
            text = "{...}"
        case _:
            text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

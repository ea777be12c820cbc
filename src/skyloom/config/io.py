"""Read YAML configuration files: the safe subset, with the line of every key kept."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from skyloom.errors import ConfigError, MissingConfig, WrongType

from .model import PlainNumber

__all__ = ["YamlDocument", "parse_yaml", "read_yaml"]

# YAML 1.2 core schema, 10.3.2: floats that YAML 1.1 takes for text because the dot is missing.
_FLOAT_12 = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|[-+]?\.[0-9]+[eE][-+]?[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """The mapping of a configuration file and where each key stands in it."""

    name: str  # of the file, for messages
    data: dict[Any, Any]
    lines: dict[str, int] = field(default_factory=dict)  # dotted key -> line, first line 1

    def where(self, key: str) -> str:
        """Return ``name:line`` of a dotted key, or of the nearest section above it."""
        part = key
        while part and part not in self.lines:
            part = part.rpartition(".")[0]
        return f"{self.name}:{self.lines[part]}" if part else self.name


class _Loader(yaml.SafeLoader):
    """The safe loader; unquoted ``1e-12`` becomes a `PlainNumber`, a doubled key an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                continue
            line = key_node.start_mark.line + 1
            if key_node.value in seen:
                problem = f"key {key_node.value!r} is given twice, first on line"
                raise yaml.constructor.ConstructorError(
                    None, None, f"{problem} {seen[key_node.value]}", key_node.start_mark
                )
            seen[key_node.value] = line
        return super().construct_mapping(node, deep=deep)


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    is_plain = node.style is None
    return PlainNumber(text) if is_plain and _FLOAT_12.fullmatch(text) else text


_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)


def read_yaml(path: str | Path) -> YamlDocument:
    """Read a YAML file whose root is a mapping; an empty file gives an empty mapping.

    Parameters
    ----------
    path : path
        File to read, UTF-8.

    Returns
    -------
    YamlDocument
        The mapping and the line of each key.

    Raises
    ------
    MissingConfig
        If there is no such file.
    WrongType
        If the root is not a mapping.
    ConfigError
        If the file cannot be read or is not valid YAML; the message has the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        msg = f"Config not found: {path}; give the path of an existing YAML file"
        raise MissingConfig(msg, path=str(path)) from None
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8 text; is this the YAML file?"
        raise ConfigError(msg, path=str(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path}: the config cannot be read ({reason})"
        raise ConfigError(msg, path=str(path)) from None
    return parse_yaml(text, name=path.name)


def parse_yaml(text: str, *, name: str = "config") -> YamlDocument:
    """Parse YAML text whose root is a mapping; ``name`` stands for the file in messages.

    Raises
    ------
    WrongType
        If the root is not a mapping.
    ConfigError
        If the text is not valid YAML, or a key stands twice in one mapping.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            data = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        where = f"{name}:{line}" if line is not None else name
        msg = f"{where}: {error.problem or error.context}; mend the YAML of this line"
        raise ConfigError(msg, file=name, line=line) from None
    except (yaml.YAMLError, ValueError) as error:  # a control character; 2024-13-45
        msg = f"{name}: {str(error).splitlines()[0]}; quote the value if it is meant as text"
        raise ConfigError(msg, file=name) from None
    except RecursionError:
        msg = f"{name}: nested too deeply; a configuration has three levels"
        raise ConfigError(msg, file=name) from None
    if node is None or data is None:
        return YamlDocument(name=name, data={})
    if not isinstance(data, dict):
        found = type(data).__name__
        msg = f"{name}: Config root must be a mapping, not {found}; write 'key: value' lines"
        raise WrongType(msg, file=name)
    return YamlDocument(name=name, data=data, lines=_key_lines(node))


def _key_lines(root: yaml.Node) -> dict[str, int]:
    """Map dotted keys to lines, as deep as mappings go; an alias counts where it is first met."""
    lines: dict[str, int] = {}
    pending: list[tuple[str, yaml.Node]] = [("", root)]
    visited: set[int] = set()
    while pending:
        prefix, node = pending.pop()
        if not isinstance(node, yaml.MappingNode) or id(node) in visited:
            continue
        visited.add(id(node))
        for key_node, value_node in node.value:
            key = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
            lines.setdefault(key, key_node.start_mark.line + 1)
            pending.append((key, value_node))
    return lines

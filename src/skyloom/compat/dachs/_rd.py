"""Resource descriptors: sources and properties of a data element."""

from __future__ import annotations

import os
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from skyloom.errors import ConfigError, MissingConfig, UnknownKey
from skyloom.process import DataSpec, Sources

__all__ = ["OldData", "OldResource", "get_config", "read_rd"]

_DEFAULT_INPUTS: Final = Path("/var/gavo/inputs")
_TRUE: Final = ("true", "yes", "t", "y", "on", "1", "enabled")
_MACRO: Final = re.compile(r"\\(\w+)(\{[^}]*\})?")
_NEW_NAMES: Final = {"previewDir": "preview_dir"}


_LAST_INPUTS: Final[list[Path]] = []
"""The inputs directory of the descriptor that was read last."""


def get_config(name: str) -> str:
    """Return a configuration item of old: ``inputsDir`` is the only one.

    Raises
    ------
    UnknownKey
        If it is another one.
    """
    if name != "inputsDir":
        raise UnknownKey(f"getConfig({name!r}): only inputsDir is known here; write its value")
    given = os.environ.get("GAVO_INPUTSDIR")
    return str(Path(given).absolute() if given else [_DEFAULT_INPUTS, *_LAST_INPUTS][-1])


_MADE: Final[dict[str, list[str]]] = {}
"""The tables that each data element makes, by the id of the `DataSpec`."""


class OldTable:
    """A table that a data element makes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def getQName(self) -> str:  # noqa: N802
        """Return its name with that of its schema."""
        return self._name


class OldMake:
    """What a data element makes: ``dd.makes[0].table``."""

    def __init__(self, name: str) -> None:
        self.table = OldTable(name)


class OldResource:
    """What scripts ask of a resource descriptor: ``dd.rd``."""

    def __init__(self, spec: DataSpec) -> None:
        self.resdir = str(spec.resdir)
        self.sourceId = spec.id.partition("#")[0]
        self._spec = spec

    def getAbsPath(self, relPath: str) -> str:  # noqa: N802
        """Return the absolute path of something in the resource directory."""
        return self._spec.get_abs_path(relPath)


class OldData:
    """What scripts ask of a data descriptor."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec
        self.rd = OldResource(spec)
        self.makes = [OldMake(name) for name in _MADE.get(spec.id, ())]
        self.id = spec.id.partition("#")[2] or spec.id

    def getProperty(self, key: str, default: str | None = None) -> str:  # noqa: N802
        """Return a property; an error names one that is not set."""
        return self.spec.get_property(_NEW_NAMES.get(key, key), default)

    def iterSources(self) -> Iterator[str]:  # noqa: N802
        """Yield the sources."""
        return self.spec.sources.identifiers(self.spec.resdir)


def read_rd(rd_id: str, dd_id: str, *, inputs_dir: str | Path | None = None) -> DataSpec:
    r"""Read sources and properties of a data element from a resource descriptor.

    Parameters
    ----------
    rd_id : str
        Path of the descriptor relative to the inputs directory, without ``.rd``; or its path.
    dd_id : str
        The id of the data element.
    inputs_dir : path, optional
        The inputs directory.  Default: ``$GAVO_INPUTSDIR``; the nearest directory above the
        current one that has the descriptor; ``/var/gavo/inputs``.

    Raises
    ------
    MissingConfig
        If there is no such descriptor.
    UnknownKey
        If it has no such data element.
    ConfigError
        If it cannot be read, or uses a macro other than ``\resdir``, ``\schema``, ``\rdId``.
    """
    path, inputs = _find(rd_id, inputs_dir)
    _LAST_INPUTS[:] = [inputs]
    root = _parse(path)
    schema = _atom(root, "schema") or path.stem
    resdir = Path(os.path.normpath(inputs / (_atom(root, "resdir") or schema)))
    data = next((e for e in root.iter("data") if e.get("id") == dd_id), None)
    if data is None:
        known = ", ".join(e.get("id", "?") for e in root.iter("data")) or "none"
        raise UnknownKey(f"{path}: there is no data element {dd_id!r}; it has {known}", key=dd_id)
    macros = {"resdir": str(resdir), "schema": schema, "rdId": rd_id}

    def expand(text: str) -> str:
        return _MACRO.sub(lambda match: _macro(match, macros, path), text.strip())

    properties = {}
    for element in (*root.findall("property"), *data.findall("property")):
        name = element.get("name") or element.get("key") or ""
        properties[_NEW_NAMES.get(name, name)] = expand(element.text or "")
    _MADE[f"{rd_id}#{dd_id}"] = [f"{schema}.{m.get('table')}" for m in data.findall("make")]
    found = data.find("sources")
    return DataSpec(
        id=f"{rd_id}#{dd_id}",
        resdir=resdir,
        inputs_dir=inputs if resdir.is_relative_to(inputs) else resdir,
        sources=Sources() if found is None else _sources(found, resdir, expand),
        properties=properties,
    )


def _find(rd_id: str, inputs_dir: str | Path | None) -> tuple[Path, Path]:
    """Return the file of a descriptor and the inputs directory."""
    given = inputs_dir or os.environ.get("GAVO_INPUTSDIR")
    here = Path.cwd()
    places = [Path(given).absolute()] if given else [here, *here.parents, _DEFAULT_INPUTS]
    for place in places:
        for path in (place / f"{rd_id}.rd", place / rd_id):
            if path.is_file() and path.suffix == ".rd":
                # An RD named by its path: its resource directory is below the inputs directory.
                is_by_path = "/" not in rd_id or Path(rd_id).is_absolute()
                return path, path.parent.parent if is_by_path and not given else place
    tried = ", ".join(str(place) for place in places)
    raise MissingConfig(
        f"{rd_id}.rd: there is no such resource descriptor in {tried}; set GAVO_INPUTSDIR to the "
        "inputs directory",
        path=rd_id,
    )


def _parse(path: Path) -> ET.Element:
    try:
        text = path.read_bytes()
        if b"<!ENTITY" in text:
            raise ConfigError(f"{path}: entities are not read; write them out", path=str(path))
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ConfigError(f"{path}: {error}; mend the XML", path=str(path)) from None
    if root.tag != "resource":
        raise ConfigError(
            f"{path}: the root element is {root.tag}, not resource; is this an RD?", path=str(path)
        )
    return root


def _atom(element: ET.Element, name: str) -> str | None:
    """Return an atomic attribute, which may be written as a child."""
    child = element.find(name)
    value = element.get(name) if child is None else child.text
    return value.strip() if value else None


def _sources(element: ET.Element, resdir: Path, expand: object) -> Sources:
    assert callable(expand)
    many = {
        name: [
            *([element.get(name, "")] if name in element.attrib else []),
            *(child.text or "" for child in element.findall(name)),
        ]
        for name in ("item", "pattern")
    }
    ignore: list[str] = []
    for rule in (*element.findall("ignoredSources"), *element.findall("ignoreSources")):
        ignore += [expand(child.text or "") for child in rule.findall("pattern")]
        if rule.get("pattern"):
            ignore.append(expand(rule.get("pattern")))
        if rule.get("fromfile"):
            lines = (resdir / expand(rule.get("fromfile"))).read_text(encoding="utf-8")
            ignore += [line.strip() for line in lines.splitlines() if line.strip()]
        if rule.get("fromdb"):
            warnings.warn(
                "ignoredSources fromdb needs the database; no source is left out by it",
                stacklevel=2,
            )
    text = expand(element.text or "")
    return Sources(
        items=tuple(expand(text) for text in many["item"]),
        patterns=tuple(expand(text) for text in many["pattern"]),
        recurse=(_atom(element, "recurse") or "").lower() in _TRUE,
        ignore=tuple(ignore),
        file=text or None,
    )


def _macro(match: re.Match[str], macros: dict[str, str], path: Path) -> str:
    if match[1] not in macros:
        raise ConfigError(
            f"{path}: macro \\{match[1]} is not known here; write its value", path=str(path)
        )
    return macros[match[1]]

"""What is processed, and where it lives."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from skyloom.errors import ConfigError, MissingConfig, UnknownKey, WrongType, WrongValue

from .sources import Sources

__all__ = ["DataSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """A set of files and their surroundings.

    Parameters
    ----------
    id : str
        A name for messages and reports.
    resdir : path
        The resource directory: patterns and relative paths start here.  Made absolute.
    inputs_dir : path, optional
        An ancestor of ``resdir``, or the same directory (default); product keys start here.
    sources : Sources, mapping, str, or iterable of str
        Identifiers.  A mapping has the fields of `Sources`; text is one shell glob; a list is taken
        as it is.
    properties : mapping of str to str
        Settings of single processors; ``preview_dir`` is the folder of previews.

    Raises
    ------
    WrongValue
        If ``resdir`` is not inside ``inputs_dir``.
    """

    id: str = "data"
    resdir: Path = Path()
    inputs_dir: Path = None  # type: ignore[assignment]  # a Path once it is made
    sources: Sources = field(default_factory=Sources)
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        resdir = _absolute(self.resdir)
        given: Path | None = self.inputs_dir
        inputs = resdir if given is None else _absolute(given)
        if not resdir.is_relative_to(inputs):
            raise WrongValue(
                f"data {self.id}: resdir {resdir} is not inside inputs_dir {inputs}; give an "
                "ancestor of it",
                resdir=str(resdir),
                inputs_dir=str(inputs),
            )
        sources: Any = self.sources
        if isinstance(sources, (str, Path)):
            sources = Sources(patterns=(str(sources),))
        elif isinstance(sources, Mapping):
            sources = Sources(**sources)
        elif not isinstance(sources, Sources):
            sources = Sources(items=tuple(sources))
        for name, value in (
            ("resdir", resdir),
            ("inputs_dir", inputs),
            ("sources", sources),
            ("properties", MappingProxyType(dict(self.properties))),
        ):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        return _rebuild, ({**state, "properties": dict(self.properties)},)

    def get_abs_path(self, rel: str | Path) -> str:
        """Return the absolute path of something below the resource directory."""
        return str(_absolute(self.resdir / rel))

    def get_property(self, name: str, default: str | None = None) -> str:
        """Return a property.

        Raises
        ------
        UnknownKey
            If it is not set and no default is given.
        """
        value = self.properties.get(name, default)
        if value is None:
            raise UnknownKey(
                f"data {self.id}: property {name} is not set; add it to properties", key=name
            )
        return value

    @classmethod
    def from_glob(cls, *patterns: str, resdir: str | Path = ".", **more: Any) -> DataSpec:
        """Take the files that match shell globs below ``resdir``."""
        return cls(resdir=Path(resdir), sources=Sources(patterns=patterns), **more)

    @classmethod
    def from_list(cls, items: Iterable[str | Path], **more: Any) -> DataSpec:
        """Take a list of identifiers."""
        return cls(sources=Sources(items=tuple(str(item) for item in items)), **more)

    @classmethod
    def from_toml(cls, path: str | Path) -> DataSpec:
        """Read a description written in TOML; paths in it are relative to the file.

        Raises
        ------
        MissingConfig, ConfigError, UnknownKey, WrongType
            If the file is absent or wrong; the message names the file and the key.
        """
        path = Path(path)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingConfig(
                f"{path}: there is no such file; give the TOML file of the data", path=str(path)
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}; mend the TOML", path=str(path)) from None
        return _from_mapping(raw, path)


def _rebuild(state: dict[str, Any]) -> DataSpec:
    return DataSpec(**state)


def _absolute(path: str | Path) -> Path:
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def _from_mapping(raw: dict[str, Any], path: Path) -> DataSpec:
    _check(raw, f"{path}: ", {"id": str, "resdir": str, "inputs_dir": str, "sources": dict,
                              "properties": dict})  # fmt: skip
    named = raw.get("sources", {})
    _check(named, f"{path}: sources.", {"items": list, "patterns": list, "recurse": bool,
                                        "ignore": list, "file": str})  # fmt: skip
    properties = raw.get("properties", {})
    _check(properties, f"{path}: properties.", dict.fromkeys(properties, str))
    home = path.absolute().parent
    resdir = home / raw.get("resdir", ".")
    return DataSpec(
        id=raw.get("id", path.stem),
        resdir=resdir,
        inputs_dir=home / raw["inputs_dir"] if "inputs_dir" in raw else resdir,
        sources=Sources(**named),
        properties=properties,
    )


def _check(raw: Mapping[str, Any], where: str, known: Mapping[str, type]) -> None:
    for key, value in raw.items():
        if key not in known:
            raise UnknownKey(f"{where}{key} is no setting; there are {', '.join(known)}", key=key)
        if not isinstance(value, known[key]):
            raise WrongType(
                f"{where}{key} = {value!r} must be a {known[key].__name__}", key=key, value=value
            )

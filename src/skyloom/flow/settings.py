"""The part of the configuration that a stage reads, and nothing else.

A product depends on the configuration through the keys that its stage declares.  If a stage could
read others, a changed key might leave a stale product in place; so it cannot.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, final

from typing_extensions import override

from skyloom.butler import plain

__all__ = ["ConfigView", "UndeclaredKeyError", "key_values"]


class UndeclaredKeyError(LookupError):
    """A stage reads a configuration key that it does not declare: a bug of the stage."""


@final
class ConfigView:
    """Looks like the configuration but shows only the declared keys.

    Parameters
    ----------
    target : object
        A configuration model, section or mapping.
    keys : iterable of str
        Dotted keys or sections; a leading ``-`` (may be read, does not count) makes no difference.
    owner : str
        Named in the error.
    """

    __slots__ = ("_keys", "_owner", "_prefix", "_target")

    def __init__(
        self, target: object, keys: Iterable[str], *, owner: str, prefix: str = ""
    ) -> None:
        self._target = target
        self._keys = frozenset(key.removeprefix("-") for key in keys)
        self._owner = owner
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = self._prefix + name
        if path in self._keys:
            return _item(self._target, name)
        if any(key.startswith(path + ".") for key in self._keys):
            child = _item(self._target, name)
            return ConfigView(child, self._keys, owner=self._owner, prefix=path + ".")
        raise UndeclaredKeyError(
            f"stage {self._owner} reads the configuration key {path!r} but does not declare it; "
            "add it to config_keys"
        )

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    @override
    def __repr__(self) -> str:
        return f"ConfigView({', '.join(sorted(self._keys))})"


def key_values(config: object, keys: Iterable[str], *, owner: str) -> dict[str, Any]:
    """Return the declared values that count, as plain data by dotted key.

    Raises
    ------
    UndeclaredKeyError
        If the configuration has no such key.
    """
    keys = tuple(keys)
    ignored = [key[1:] for key in keys if key.startswith("-")]
    for key in ignored:
        _follow(config, key, owner)
    found = {}
    for key in keys:
        if not key.startswith("-"):
            value = plain(_follow(config, key, owner), finite=False)
            for other in ignored:
                if other.startswith(key + "."):
                    _drop(value, other[len(key) + 1 :].split("."))
            found[key] = value
    return found


def _follow(config: object, key: str, owner: str) -> Any:
    value = config
    for name in key.split("."):
        try:
            value = _item(value, name)
        except (AttributeError, KeyError):
            near = difflib.get_close_matches(name, _names(value), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UndeclaredKeyError(
                f"stage {owner} declares the configuration key {key!r}, which does not exist{hint}"
            ) from None
    return value


def _drop(value: Any, path: list[str]) -> None:
    for name in path[:-1]:
        value = value[name]
    value.pop(path[-1], None)


def _item(target: Any, name: str) -> Any:
    return target[name] if isinstance(target, Mapping) else getattr(target, name)


def _names(target: Any) -> list[str]:
    return [str(name) for name in (target if isinstance(target, Mapping) else dir(target))]

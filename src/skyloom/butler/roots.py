"""Roots: where a butler writes, and where else it looks.

A rerun holds only what it made.  Its ``_parent`` (a symbolic link to a directory, or a text file
with its path) names the rerun or data root that it was made from, and so on; a rerun in
``DATA/rerun/NAME`` ends with ``DATA``.

The layout of a directory is told by, in this order: ``skyloom/layout.json`` (a run of ours left
it), the registry, a layout of its own in ``butler.yaml``, files that only one layout has, and then
the same of the parents.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from skyloom.errors import DataDamaged, InputError, UnreadableFile

from .files import write_atomic
from .layout import Layout
from .layout_file import known_layouts
from .registry import REGISTRY_FILE

__all__ = ["LAYOUT_FILE", "detect_layout", "find_roots", "remember_layout", "set_parent"]

LAYOUT_FILE: Final = "skyloom/layout.json"
_OWN: Final = "butler.yaml"
_PARENT: Final = "_parent"
_MARKS: Final = {
    "tile": ("skyloom/ledger.sqlite",),
    "legacysurvey": (
        "survey-ccds*.fits*",
        "survey-bricks*.fits*",
        "tractor/*/tractor-*.fits",
        "tractor-i/*/tractor-i-*.fits",
    ),
    "hsc": ("_mapper", "deepCoadd-results", "deepCoadd", "*/*/corr/CORR-*.fits", "CALIB"),
}
"""Glob patterns, one of which tells that a directory follows a layout."""


def find_roots(root: Path, parent: Path | None = None) -> tuple[Path, ...]:
    """Return the root and those it was made from, nearest first.

    Raises
    ------
    InputError
        If a parent does not exist, or the chain comes back to where it was.
    """
    chain = [root]
    following = parent if parent is not None else _parent_of(root)
    while following is not None:
        if not following.is_dir():
            raise InputError(
                f"{chain[-1] / _PARENT}: names {following}, which is no directory; correct it",
                path=chain[-1] / _PARENT,
            )
        if any(_same(following, other) for other in chain):
            raise InputError(
                f"{chain[-1] / _PARENT}: the chain of parents comes back to {following}",
                path=chain[-1] / _PARENT,
            )
        chain.append(following)
        following = _parent_of(following)
    data = next((p.parent for p in chain[-1].parents if p.name == "rerun"), None)
    if data is not None and data.is_dir() and not any(_same(data, other) for other in chain):
        chain.append(data)
    return tuple(chain)


def _parent_of(root: Path) -> Path | None:
    mark = root / _PARENT
    if mark.is_dir():
        return Path(os.path.realpath(mark))
    if mark.is_symlink():
        return Path(os.path.normpath(root / mark.readlink()))
    if mark.is_file():
        text = mark.read_text(encoding="utf-8").strip()
        return Path(os.path.normpath(root / text)) if text else None
    return None


def _same(one: Path, other: Path) -> bool:
    return Path(os.path.realpath(one)) == Path(os.path.realpath(other))


def set_parent(root: Path, parent: Path) -> None:
    """Write down what a new rerun is made from; a mark that is there stays.

    Raises
    ------
    InputError
        If the rerun has another parent already.
    """
    before = _parent_of(root)
    if before is not None:
        if not _same(before, parent):
            raise InputError(
                f"{root / _PARENT}: the parent is {before}, not {parent}; take another rerun",
                path=root / _PARENT,
            )
        return
    root.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(parent, root)
    try:
        (root / _PARENT).symlink_to(target, target_is_directory=True)
    except OSError:  # no symbolic links here
        (root / _PARENT).write_text(target + "\n", encoding="utf-8")


def remember_layout(root: Path, layout: Layout) -> None:
    """Write down the layout and its directories, so that ``Butler(root)`` finds its products."""
    about = {"layout": layout.address, "variables": _inside(root, layout.variables)}
    path = root / LAYOUT_FILE
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    write_atomic(path, write)


def _inside(root: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Write paths below the root relative to it, so that the directory can move."""
    found = {}
    for key, value in variables.items():
        path = Path(value)
        inside = path.is_absolute() and path.is_relative_to(root)
        found[key] = path.relative_to(root).as_posix() if inside else value
    return found


def detect_layout(roots: tuple[Path, ...]) -> Layout | None:
    """Return the layout of the first root that tells, or None."""
    for root in roots:
        layout = _left_behind(root) or _in_registry(root) or _by_marks(root)
        if layout is not None:
            return layout
    return None


def _left_behind(root: Path) -> Layout | None:
    path = root / LAYOUT_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    except ValueError as error:
        raise DataDamaged(
            f"{path}: not JSON ({error}); delete it and run the pipeline again", path=path
        ) from error
    return _load(path, about)


def _in_registry(root: Path) -> Layout | None:
    path = root / REGISTRY_FILE
    if not path.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as database:
            about = {k: json.loads(v) for k, v in database.execute("SELECT * FROM meta")}
    except (sqlite3.Error, ValueError):
        return None  # damaged, or another program's; whoever needs its rows will say so
    return _load(path, about)


def _load(path: Path, about: Any) -> Layout | None:
    try:
        if about["layout"] is None:
            return None
        layout = Layout.load(about["layout"])
        variables = {k: v for k, v in about["variables"].items() if k in layout.variables}
        return layout.bind(**variables)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableFile(
            f"{path}: does not name a layout ({error}); give layout=...", path=path
        ) from error


def _by_marks(root: Path) -> Layout | None:
    own = root / _OWN
    if own.is_file():
        return Layout.load(own)
    for name in known_layouts():
        if any(next(root.glob(pattern), None) is not None for pattern in _MARKS[name]):
            layout = Layout.load(name)
            if name == "hsc" and (root / "CALIB").is_dir():
                layout = layout.bind(calib_dir="CALIB")
            return layout
    return None

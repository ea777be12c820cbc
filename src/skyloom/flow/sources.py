"""Which code a stage consists of: the module that defines it and what that imports.

In a working copy the version number of the package does not change with every edit, so keys hold a
digest of the source files as well.  Only the modules that a stage can reach through imports count:
an edit of a plot redoes the plots, not the fits.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import skyloom
from skyloom.butler import digest_file

__all__ = ["code_digest", "libraries", "package_digest"]

_PACKAGE = Path(skyloom.__file__).parent
_NUMBERS = ("numpy", "scipy", "numba", "astropy", "sep", "pyarrow")  # what they do shows in results
# How work is scheduled does not change what comes out of it; keys hold `keys.FLOW_VERSION`.
_NOT_CONTENT = "skyloom.flow"
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]+))",
    re.MULTILINE,
)


@functools.cache
def code_digest(module: str) -> str:
    """Return a digest of the code behind a module.

    Installed packages are known by their version alone; in a working copy, the module itself, all
    modules of skyloom that it imports (and they), and the package's data files are read.  A module
    outside skyloom counts in either case; one without a file (a notebook) does not.
    """
    digest = hashlib.sha256(skyloom.__version__.encode())
    files: list[Path] = []
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is not None and not module.startswith("skyloom."):
        files.append(Path(file))
    if _is_working_copy():
        start = module if module.startswith("skyloom.") else None
        roots = [start] if start else [*_imports(files[0], module)] if files else []
        files += [*_reachable(roots), *_data_files(_PACKAGE)]
    for path in files:
        digest.update(f"{path.name}\0{_file_digest(path)}\0".encode())
    return digest.hexdigest()


@functools.cache
def package_digest() -> str:
    """Return a digest of all source and data files of the package."""
    digest = hashlib.sha256()
    for path in (*sorted(_PACKAGE.rglob("*.py")), *_data_files(_PACKAGE)):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0{_file_digest(path)}\0".encode())
    return digest.hexdigest()


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute."""
    found = {"Python": platform.python_version()}
    for name in _NUMBERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a build without metadata
            continue
    return found


@functools.cache
def _file_digest(path: Path) -> str:
    return digest_file(path)


def _is_working_copy() -> bool:
    return not {"site-packages", "dist-packages"} & set(_PACKAGE.parts)


@functools.cache
def _data_files(package: Path) -> tuple[Path, ...]:
    found = (p for p in package.rglob("*") if p.suffix in {".yaml", ".json", ".csv", ".npz"})
    return tuple(sorted(found))


def _reachable(roots: list[str]) -> list[Path]:
    """Return the files of modules and of all that they import, sorted."""
    seen: dict[str, Path] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in seen or f"{name}.".startswith(_NOT_CONTENT + "."):
            continue
        path = _file_of(name, _PACKAGE)
        if path is None:
            continue
        seen[name] = path
        todo.extend(_imports(path, name))
    return [seen[name] for name in sorted(seen)]


@functools.cache
def _file_of(name: str, package: Path) -> Path | None:
    if not f"{name}.".startswith("skyloom."):
        return None
    base = package.joinpath(*name.split(".")[1:])
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@functools.cache
def _imports(path: Path, name: str) -> tuple[str, ...]:
    """Return the names that a module imports; too many rather than too few."""
    return tuple(dict.fromkeys(_imported(path, name)))


def _imported(path: Path, name: str) -> Iterator[str]:
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for origin, names, plain in _IMPORT.findall(path.read_text(encoding="utf-8")):
        if plain:
            yield from (part.split()[0] for part in plain.split(",") if part.split())
            continue
        dots = len(origin) - len(origin.lstrip("."))
        start = ".".join(package[: len(package) - dots + 1]) if dots else ""
        full = ".".join(part for part in (start, origin.lstrip(".")) if part)
        yield full
        # a name may be a module of its own: from skyloom import flags
        for word in re.findall(r"\w+", re.sub(r"#[^\n]*", "", names)):
            yield f"{full}.{word}"

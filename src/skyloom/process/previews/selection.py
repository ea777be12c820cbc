"""From what a user names to a description of data: files, directories, a TOML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from skyloom.errors import MissingFile, WrongValue
from skyloom.process.command import read_sources
from skyloom.process.data import DataSpec
from skyloom.process.sources import Sources

__all__ = ["select_data"]

_ENDS: Final = (".fits", ".fit", ".fts", ".fz")
_PACKED: Final = (".gz", ".bz2", ".xz")


def select_data(paths: Sequence[str | Path], out: str | Path | None = None) -> DataSpec:
    """Return the FITS files that are named, with all below directories.

    Parameters
    ----------
    paths : sequence of path
        Files, globs, directories, ``@LIST`` for a text file with one path a line; or one
        description of data in TOML.
    out : path, optional
        Directory of the previews; default: that of the description, or else ``previews`` in the
        current directory.

    Returns
    -------
    DataSpec
        Its ``inputs_dir`` holds data and previews.

    Raises
    ------
    MissingFile
        If there is no such file, or no FITS file below a directory.
    WrongValue
        If a description is named together with other things.
    """
    names = [str(path) for path in paths]
    if any(name.endswith(".toml") for name in names):
        if len(names) > 1:
            raise WrongValue(f"{names[0]}: a description of data in TOML is named alone")
        return _described(Path(names[0]), out)
    files = [Path(os.path.abspath(file)) for name in names for file in _files(name)]  # noqa: PTH100
    homes = [os.path.abspath(n) if Path(n).is_dir() else None for n in names]  # noqa: PTH100
    home = Path(os.path.commonpath([*filter(None, homes), *(file.parent for file in files)]))
    previews = Path(os.path.abspath(out or "previews"))  # noqa: PTH100
    root = Path(os.path.commonpath([home, previews.parent]))
    return DataSpec(
        id=home.name or "data",
        resdir=root,
        sources=Sources(items=tuple(map(str, dict.fromkeys(files)))),
        properties={"preview_dir": str(previews.relative_to(root))},
    )


def _described(path: Path, out: str | Path | None) -> DataSpec:
    data = DataSpec.from_toml(path)
    if out is None:
        return data
    folder = os.path.relpath(os.path.abspath(out), data.resdir)  # noqa: PTH100
    return replace(data, properties={**data.properties, "preview_dir": folder})


def _files(name: str) -> list[str]:
    """Return the files that an argument names; those below a directory in order."""
    if not Path(name).is_dir():
        found = list(read_sources([name]).items)
        lost = next((file for file in found if not Path(file).is_file()), None if found else name)
        if lost is not None:
            raise MissingFile(f"{lost}: no such file or directory; correct the path", file=lost)
        return found
    found = []
    for folder, names, files in os.walk(name):
        names[:] = sorted(n for n in names if not n.startswith("."))
        found += [str(Path(folder, file)) for file in sorted(files) if _is_fits(file)]
    if not found:
        raise MissingFile(
            f"{name}: no FITS file below this directory ({', '.join(_ENDS)}, also packed); name "
            "files to draw what is called otherwise",
            file=name,
        )
    return found


def _is_fits(name: str) -> bool:
    stem = name.lower()
    for end in _PACKED:
        stem = stem.removesuffix(end)
    return stem.endswith(_ENDS) and not name.startswith(".")

"""From what a user names to a description of data: files, directories, a TOML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from skyloom.errors import MissingFile, WrongValue
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
        Files and directories, or one description of data in TOML.
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
    full = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - keeps links
    if any(path.suffix == ".toml" for path in full):
        if len(full) > 1:
            raise WrongValue(f"{full[0]}: a description of data in TOML is named alone")
        return _described(full[0], out)
    files = [file for path in full for file in _files(path)]
    folders = [path if path.is_dir() else path.parent for path in full]
    home = Path(os.path.commonpath(folders))
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


def _files(path: Path) -> list[Path]:
    """Return a file, or the FITS files below a directory in order."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingFile(f"{path}: no such file or directory; correct the path", file=str(path))
    found = []
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder) / name for name in sorted(files) if _is_fits(name)]
    if not found:
        raise MissingFile(
            f"{path}: no FITS file below this directory ({', '.join(_ENDS)}, also packed); name "
            "files to draw what is called otherwise",
            file=str(path),
        )
    return found


def _is_fits(name: str) -> bool:
    stem = name.lower()
    for end in _PACKED:
        stem = stem.removesuffix(end)
    return stem.endswith(_ENDS) and not name.startswith(".")

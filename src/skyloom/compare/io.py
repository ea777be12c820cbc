"""The files of a comparison: ``compare.csv``, ``unmatched.csv``, ``summary.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from skyloom.catalogs.io import write_csv
from skyloom.errors import OutputExists, Unwritable

from .comparison import Comparison
from .summary import pair_table, summary, unmatched_table

__all__ = ["make_folder", "write_comparison"]


def make_folder(folder: Path) -> Path:
    """Make a folder for the results, and its parents.

    Raises
    ------
    Unwritable
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the tables and numbers of a comparison into an existing folder.

    Parameters
    ----------
    comparison : Comparison
        What to write.
    folder : Path
        Files of the same name in it are replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OutputExists
        If a file would replace one of the two catalogues.
    Unwritable
        If a file cannot be written.
    """
    text = json.dumps(summary(comparison), indent=1, allow_nan=False) + "\n"
    files: dict[str, Callable[[Path], object]] = {
        "compare.csv": lambda path: write_csv(pair_table(comparison), path),
        "unmatched.csv": lambda path: write_csv(unmatched_table(comparison), path),
        "summary.json": lambda path: path.write_text(text, encoding="utf-8"),
    }
    inputs = {Path(c.name).resolve() for c in (comparison.old, comparison.new)}
    for name in files:
        if (folder / name).resolve() in inputs:
            raise OutputExists(
                f"{folder / name}: one of the two catalogues would be replaced; name another "
                "folder with --out",
                path=folder / name,
            )
    return [_written(folder / name, write) for name, write in files.items()]


def _written(path: Path, write: Callable[[Path], object]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _unwritable(path: Path, error: OSError) -> Unwritable:
    cause = error.__cause__ if isinstance(error, Unwritable) else error
    reason = getattr(cause, "strerror", None) or cause
    return Unwritable(
        f"{path}: cannot be written ({reason}); name another folder with --out, "
        "or check its permissions and the free space",
        file=str(path),
    )

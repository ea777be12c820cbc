"""Where the identifiers of a processor come from."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyloom.errors import BadTable, MissingFile, UnreadableFile, WrongValue

if TYPE_CHECKING:
    from skyloom.butler import Butler

__all__ = ["Sources"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Identifiers and patterns, in the order in which they are processed.

    Items come first, then the files of each pattern, then the single file.
    """

    items: tuple[str, ...] = ()
    """Passed through as they are: paths, access references, anything."""
    patterns: tuple[str, ...] = ()
    """Shell globs, relative to the resource directory."""
    recurse: bool = False
    """Whether the last part of a pattern is looked for in all directories below, too."""
    ignore: tuple[str, ...] = ()
    """Identifiers to leave out; also shell globs, of the path or of the last part of it."""
    file: str | None = None
    """One more file, relative to the resource directory."""

    def __post_init__(self) -> None:
        for name in ("items", "patterns", "ignore"):
            value = getattr(self, name)
            if isinstance(value, (str, bytes)):
                raise WrongValue(
                    f"sources.{name} = {value!r} must be a list of strings; write [{value!r}]"
                )
            object.__setattr__(self, name, tuple(str(item) for item in value))

    def identifiers(self, resdir: Path) -> Iterator[str]:
        """Yield the identifiers; paths are absolute.

        Parameters
        ----------
        resdir : Path
            What patterns are relative to.
        """
        for identifier in self._all(resdir):
            if not self._is_ignored(identifier, resdir):
                yield identifier

    def _all(self, resdir: Path) -> Iterator[str]:
        yield from self.items
        for pattern in self.patterns:
            yield from _matches(str(resdir / pattern), recurse=self.recurse)
        if self.file is not None:
            yield str(resdir / self.file)

    def _is_ignored(self, identifier: str, resdir: Path) -> bool:
        if not self.ignore:
            return False
        names = {identifier, identifier.rpartition("/")[2]}
        if identifier.startswith(f"{resdir}/"):
            names.add(identifier[len(f"{resdir}/") :])
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.ignore) or any(
            identifier == pattern
            for pattern in self.ignore  # a name with brackets in it
        )

    @classmethod
    def from_butler(cls, butler: Butler, name: str, **where: Any) -> Sources:
        """Take the files of a dataset type that exist.

        Parameters
        ----------
        butler : Butler
            Where to look.
        name : str
            The dataset type.
        **where
            Values of dimensions that the data IDs must have: ``band="r"``.
        """
        found = butler.query(name, **where)
        return cls(items=tuple(str(butler.path(name, data_id)) for data_id in found))

    @classmethod
    def from_table(cls, path: str | Path, column: str = "path") -> Sources:
        """Take the identifiers that stand in a column of a table.

        Parameters
        ----------
        path : path
            CSV, ECSV, FITS, VOTable or Parquet; anything that astropy reads by its name.
        column : str
            The column.

        Raises
        ------
        MissingFile, UnreadableFile, BadTable
            If the table cannot be read or has no such column.
        """
        from astropy.table import Table  # noqa: PLC0415 - slow

        try:
            table = Table.read(path)
        except FileNotFoundError:
            raise MissingFile(f"{path}: no such table; correct the path", path=str(path)) from None
        except Exception as error:  # each format has its own
            reason = str(error).partition("\n")[0]
            raise UnreadableFile(
                f"{path}: cannot be read as a table ({reason}); it may be CSV, ECSV, FITS, VOTable "
                "or Parquet",
                path=str(path),
            ) from None
        if column not in table.colnames:
            raise BadTable(
                f"{path}: there is no column {column!r}; it has {', '.join(table.colnames)}",
                path=str(path),
                column=column,
            )
        values = table[column].tolist()
        return cls(items=tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values))


def _matches(pattern: str, *, recurse: bool) -> Iterator[str]:
    """Yield the files that match: directories in order, and the files in each."""
    head, _, tail = os.path.abspath(pattern).rpartition("/")  # noqa: PTH100 - keeps links
    found = [d for d in glob.glob(head or "/") if Path(d).is_dir()]  # noqa: PTH207
    directories = {below for d in found for below in _below(d)} if recurse else set(found)
    for directory in sorted(directories):
        with os.scandir(directory) as entries:
            names = [e.name for e in entries if fnmatchcase(e.name, tail) and e.is_file()]
        for name in sorted(names):
            if not name.startswith(".") or tail.startswith("."):
                yield os.path.join(directory, name)  # noqa: PTH118 - a Path takes ten times longer


def _below(top: str) -> Iterator[str]:
    for directory, names, _ in os.walk(top):
        names[:] = [name for name in names if not name.startswith(".")]
        yield directory

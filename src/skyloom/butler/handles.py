"""Handles: datasets that are read when they are needed; and how a file is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, final

from skyloom.errors import (
    DataDamaged,
    DataNotFound,
    MissingComponent,
    SkyloomError,
    UnreadableFile,
)

from .data_id import DataId
from .formats import read_dataset

__all__ = ["Handle", "not_found", "read_file"]

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Handle(Generic[T]):
    """A dataset that has not been read yet: where it is and what its content is."""

    type: str
    data_id: DataId
    path: Path
    digest: str  # SHA-256 of the file
    format: str
    external: bool = False  # one of the user's own files

    def read(self) -> T:
        """Read it whole.

        Raises
        ------
        DataNotFound
            If the file does not exist.
        DataDamaged, UnreadableFile
            If a product, or one of the user's files, cannot be read.
        """
        ours = not self.external
        return cast(T, read_file(self.type, self.data_id, self.path, self.format, ours=ours))


def not_found(name: str, data_id: DataId, path: Path) -> DataNotFound:
    """Return the error for a dataset without a file."""
    return DataNotFound(f"dataset {name}({data_id}): {path} does not exist", name=name, path=path)


def read_file(
    name: str,
    data_id: DataId,
    path: Path,
    format_: str,
    *,
    ours: bool,
    part: str = "",
    **options: Any,
) -> Any:
    """Read a file, or a part of it, and say what is wrong with one that cannot be read.

    Raises
    ------
    DataNotFound
        If it does not exist.
    DataDamaged, UnreadableFile
        If one that we made, or one of the user's, cannot be read.
    """
    try:
        return read_dataset(path, format_, part, **options)
    except FileNotFoundError as error:
        raise not_found(name, data_id, path) from error
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, MissingComponent) or (isinstance(error, SkyloomError) and not ours):
            raise
        what = f"{path}: cannot be read as {format_} ({type(error).__name__}: {error})"
        if ours:
            raise DataDamaged(
                f"{what}; delete it and run again: it will be made anew", path=path
            ) from error
        raise UnreadableFile(f"{what}; repair or replace the file", path=path) from error

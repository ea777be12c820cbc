"""The butler: finds, reads and writes datasets by type and data ID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast, final

from skyloom.errors import (
    BadDataId,
    DataDamaged,
    DataNotFound,
    SkyloomError,
    UnreadableFile,
    Unwritable,
)

from .data_id import DataId, Value
from .files import Written, digest_file
from .formats import read_dataset, write_dataset
from .layout import Layout

__all__ = ["Butler", "External", "Handle"]

T = TypeVar("T")

External: TypeAlias = Mapping[str, Path | str | Mapping[Any, Path | str]]
"""The user's files by type: one path, or paths by value (one dimension) or by `DataId`."""


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
        return cast(T, _read(self.type, self.data_id, self.path, self.format, ours=ours))


@final
class Butler:
    """Finds, reads and writes datasets below ``root`` as a layout says.

    Parameters
    ----------
    root : path
        The work directory.
    layout : Layout or str
        A layout, or the name of one that ships.
    external : mapping, optional
        Paths of the user's own files, by dataset type: one path for a type without dimensions,
        otherwise a mapping from the value (one dimension) or `DataId` to the path.  Their order is
        kept: it is the order of the image list.
    writeable : bool
        A butler only reads unless it is told otherwise.

    Raises
    ------
    UnknownDatasetType, BadDataId
        If ``external`` does not fit the layout.
    """

    def __init__(
        self,
        root: Path | str,
        layout: Layout | str = "tile",
        *,
        external: External | None = None,
        writeable: bool = False,
    ) -> None:
        self.root = Path(root).absolute()
        self.layout = layout if isinstance(layout, Layout) else Layout.load(layout)
        self.writeable = writeable
        self._external = {
            name: self._external_paths(name, paths) for name, paths in (external or {}).items()
        }

    def _external_paths(
        self, name: str, paths: Path | str | Mapping[Any, Path | str]
    ) -> dict[DataId, Path]:
        kind = self.layout[name]
        if not kind.is_external:
            raise BadDataId(f"dataset {name} is made by the pipeline; it cannot be supplied")
        if not isinstance(paths, Mapping):
            paths = {DataId(): paths}
        found = {}
        for key, path in paths.items():
            values = key
            if not isinstance(key, Mapping):
                if len(kind.dimensions) != 1:
                    raise BadDataId(f"dataset {name}: {key!r} is no data ID; it takes a DataId")
                values = {kind.dimensions[0]: key}
            found[self.layout.data_id(name, values)] = Path(path).absolute()
        return found

    def path(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value) -> Path:
        """Return where a dataset is or would be.

        Raises
        ------
        UnknownDatasetType, BadDataId
        DataNotFound
            If it is one of the user's files and no path was supplied.
        """
        values = {**(data_id or {}), **more}
        if not self.layout[name].is_external:
            return self.layout.path(name, values, root=self.root)
        full = self.layout.data_id(name, values)
        try:
            return self._external[name][full]
        except KeyError:
            raise DataNotFound(
                f"dataset {name}({full}) is the user's own file, and none was given", name=name
            ) from None

    def exists(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value) -> bool:
        """Tell whether the file of a dataset exists."""
        try:
            return self.path(name, data_id, **more).is_file()
        except DataNotFound:
            return False

    def get(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value) -> Any:
        """Read a dataset.

        Raises
        ------
        UnknownDatasetType, BadDataId
        DataNotFound
            If the file does not exist.
        DataDamaged, UnreadableFile
            If a product, or one of the user's files, cannot be read.
        """
        kind = self.layout[name]
        path = self.path(name, data_id, **more)
        full = self.layout.data_id(name, {**(data_id or {}), **more})
        return _read(name, full, path, kind.format, ours=not kind.is_external)

    def put(
        self, obj: object, name: str, data_id: Mapping[str, Value] | None = None, **more: Value
    ) -> Written:
        """Write a dataset: temporary name, rename, checksum.

        Raises
        ------
        Unwritable
            If the butler is read-only, the type is the user's own, or the directory refuses.
        """
        kind = self.layout[name]
        if not self.writeable or kind.is_external:
            why = "this butler only reads" if not self.writeable else "it is the user's own file"
            raise Unwritable(f"dataset {name}: cannot be written, {why}", name=name)
        path = self.path(name, data_id, **more)
        return write_dataset(obj, path, kind.format, **kind.options)

    def query(self, name: str, **constraints: Value) -> list[DataId]:
        """List the data IDs of the files that exist, sorted (the user's files: in their order)."""
        if self.layout[name].is_external:
            found = [key for key, path in self._external.get(name, {}).items() if path.is_file()]
        else:
            found = sorted(key for key, _ in self.layout.find(name, root=self.root))
        return [key for key in found if all(key.get(k) == v for k, v in constraints.items())]

    def external(self, name: str) -> Mapping[DataId, Path]:
        """Return the paths that were supplied for one of the user's types, in their order."""
        return self._external.get(name, {})

    def handle(
        self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value
    ) -> Handle[Any]:
        """Return a dataset without reading its content, except for the checksum."""
        path = self.path(name, data_id, **more)
        full = self.layout.data_id(name, {**(data_id or {}), **more})
        if not path.is_file():
            raise _not_found(name, full, path)
        kind = self.layout[name]
        return Handle(
            type=name,
            data_id=full,
            path=path,
            digest=digest_file(path),
            format=kind.format,
            external=kind.is_external,
        )


def _not_found(name: str, data_id: DataId, path: Path) -> DataNotFound:
    return DataNotFound(f"dataset {name}({data_id}): {path} does not exist", name=name, path=path)


def _read(name: str, data_id: DataId, path: Path, format_: str, *, ours: bool) -> Any:
    try:
        return read_dataset(path, format_)
    except FileNotFoundError as error:
        raise _not_found(name, data_id, path) from error
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, SkyloomError) and not ours:
            raise
        what = f"{path}: cannot be read as {format_} ({type(error).__name__}: {error})"
        if ours:
            raise DataDamaged(
                f"{what}; delete it and run again: it will be made anew", path=path
            ) from error
        raise UnreadableFile(f"{what}; repair or replace the file", path=path) from error

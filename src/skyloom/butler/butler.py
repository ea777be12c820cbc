"""The butler: finds, reads and writes datasets by type and data ID."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, final, overload

from skyloom.errors import (
    BadDataId,
    DataNotFound,
    ReadOnlyError,
    UnknownDatasetType,
    Unwritable,
)

from .data_id import DataId, Value
from .dataset_type import DatasetType, Lookup
from .external import External, paths_by_id
from .files import Written, digest_file
from .formats import write_dataset
from .handles import Handle, not_found, read_file
from .ingest import Damage, Rebuilt, ingest, rebuild, verify
from .layout import Layout
from .lookup import Finder
from .python_types import check_type
from .queries import query
from .references import DataRef
from .registry import DatasetRow, Registry
from .roots import detect_layout, find_roots, set_parent
from .suffixes import check_part, split_suffix

__all__ = ["Butler"]


@final
class Butler:
    """Finds, reads and writes datasets below ``root`` as a layout says.

    Parameters
    ----------
    root : path
        The work directory, rerun or data root.
    layout : Layout, path or str, optional
        A layout, the name of one that ships, or a YAML file.  By default what the directory tells
        (see `skyloom.butler.roots`), else ``tile``.
    external : mapping, optional
        Paths of the user's own files, by dataset type: one path for a type without dimensions,
        otherwise a mapping from the value (one dimension) or `DataId` to the path.  Their order is
        kept: it is the order of the image list.
    writeable : bool
        A butler only reads unless it is told otherwise.
    parent : path, optional
        Where to look for what the root does not have; by default what its ``_parent`` says.

    Attributes
    ----------
    roots : tuple of Path
        Where it looks, in this order; it writes to the first only.
    registry : Registry
        The index of the root, where the layout has one.
    finder : Finder
        Looks up what data IDs lack.

    Raises
    ------
    UnknownDatasetType, BadDataId
        If ``external`` does not fit the layout.
    InputError
        If a parent or the layout cannot be used.

    Examples
    --------
    >>> butler = Butler("rerun/mine", "hsc")  # doctest: +SKIP
    >>> butler.get("calexp", visit=1234, ccd=56)  # doctest: +SKIP
    >>> butler.get("calexp_md", visit=1234, ccd=56)["FLUXMAG0"]  # doctest: +SKIP
    """

    def __init__(
        self,
        root: Path | str,
        layout: Layout | Path | str | None = None,
        *,
        external: External | None = None,
        writeable: bool = False,
        parent: Path | str | None = None,
    ) -> None:
        self.root = Path(root).absolute()
        self.roots = find_roots(self.root, None if parent is None else Path(parent).absolute())
        found = detect_layout(self.roots) if layout is None else layout
        self._is_assumed = found is None
        if not isinstance(found, Layout):
            found = Layout.load("tile" if found is None else found)
        self.layout = found
        self.writeable = writeable
        if writeable and parent is not None:
            set_parent(self.root, Path(parent).absolute())
        self.registry = Registry(self.root, found, writeable=writeable)
        others = [Registry(other, found) for other in self.roots[1:]]
        self.finder = Finder(found, [self.registry, *others])
        self._external = {
            name: paths_by_id(found, name, paths) for name, paths in (external or {}).items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the registries; they open again when they are needed."""
        for registry in self.finder.registries:
            registry.close()

    # -- where datasets are

    def dataset_types(self) -> dict[str, str]:
        """Return the dataset types with a sentence on each."""
        return {name: kind.doc for name, kind in self.layout.types.items()}

    def path(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value) -> Path:
        """Return where a dataset is or would be.

        Raises
        ------
        UnknownDatasetType, BadDataId
        DataNotFound
            If nothing tells the keys that the data ID lacks, or it is one of the user's files and
            no path was supplied.
        """
        return self._locate(self._kind(name), _merged(data_id, more))[1]

    def exists(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value) -> bool:
        """Tell whether the file of a dataset exists."""
        kind = self._kind(split_suffix(self.layout, name)[0] if name not in self.layout else name)
        try:
            return self._locate(kind, _merged(data_id, more))[1].is_file()
        except DataNotFound:
            return False

    def data_id(
        self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value
    ) -> DataId:
        """Return the complete data ID of a dataset; see `get` for what is looked up."""
        return self._locate(self._kind(name), _merged(data_id, more))[0]

    def _kind(self, name: str) -> DatasetType:
        try:
            return self.layout[name]
        except UnknownDatasetType as error:
            if not self._is_assumed:
                raise
            raise UnknownDatasetType(
                f"{error}. Nothing in {self.root} tells its layout, so that of a tile was taken; "
                "give layout='hsc', 'legacysurvey' or a YAML file",
                name=name,
            ) from None

    def _locate(self, kind: DatasetType, values: Mapping[str, Value]) -> tuple[DataId, Path]:
        """Return the complete data ID and the path: the first that exists, else our own."""
        if kind.is_external:
            return self._locate_external(kind, values)
        for other in kind.first_of:
            found = self._locate(self.layout[other], values)
            if found[1].is_file():
                return found
        if kind.first_of:
            return self._locate(self.layout[kind.first_of[0]], values)
        if kind.component_of:
            return self._locate_part(kind, values)
        return self._locate_file(kind, values)

    def _locate_part(self, kind: DatasetType, values: Mapping[str, Value]) -> tuple[DataId, Path]:
        """Return the file of its own that a part has, or else that of the whole."""
        if kind.template is not None:
            with contextlib.suppress(DataNotFound):
                found = self._locate_file(kind, values)
                if found[1].is_file():
                    return found
        return self._locate(self.layout[kind.component_of], values)

    def _locate_file(self, kind: DatasetType, values: Mapping[str, Value]) -> tuple[DataId, Path]:
        full = self.finder.complete(kind.name, values)
        place = self.layout.place(kind.name, full)
        if len(self.roots) > 1:
            for root in self.roots:
                path = root / place
                if path.is_file():
                    return full, path
        return full, self.root / place

    def _locate_external(
        self, kind: DatasetType, values: Mapping[str, Value]
    ) -> tuple[DataId, Path]:
        full = self.layout.data_id(kind.name, values)
        try:
            return full, self._external[kind.name][full]
        except KeyError:
            raise DataNotFound(
                f"dataset {kind.name}({full}) is the user's own file, and none was given",
                name=kind.name,
            ) from None

    # -- reading

    def get(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Any) -> Any:
        """Read a dataset, or a part of it.

        Parameters
        ----------
        name : str
            A dataset type; or one with a suffix: ``_filename`` (the path, of a file that may not
            exist), ``_md`` (header cards, without pixels), ``_len``, ``_schema``, ``_sub`` (the
            part in ``bbox=``, in parent coordinates), ``_wcs``, ``_photo_calib``, ``_psf``,
            ``_mask``, ``_variance``, ``_image``.
        data_id : mapping, optional
            Which one.  Keys that are not given are looked up: in the registry, or in the names of
            the files that exist.
        **more : str, int or float
            More keys; they win.

        Raises
        ------
        UnknownDatasetType, BadDataId
        AmbiguousDataId
            If keys are lacking for which there are several values.
        DataNotFound
            If the file does not exist.
        DataDamaged, UnreadableFile
            If a product, or one of the user's files, cannot be read.
        """
        base, part = split_suffix(self.layout, name) if name not in self.layout else (name, "")
        kind = self._kind(base)
        options = {"bbox": more.pop("bbox")} if part == "sub" and "bbox" in more else {}
        if part == "sub" and not options:
            raise BadDataId(f"{name}: needs bbox=, a box in parent coordinates", name=name)
        values = _merged(data_id, more)
        full, path = self._locate(kind, values)
        if part == "filename":
            return str(path)
        kind, part = self._stored(kind, part, path)
        if part:
            check_part(kind, part)
        for key in kind.picks if not part else ():
            options.update(self._picked(kind, key, values))
        try:
            return read_file(
                base, full, path, kind.format, ours=self._is_ours(kind), part=part, **options
            )
        except DataNotFound as error:
            wrong = self.finder.contradiction(base, full)
            if wrong is not None:
                raise wrong from error
            if len(self.roots) > 1:
                raise DataNotFound(
                    f"{error}, nor does it below {', '.join(map(str, self.roots[1:]))}",
                    name=base,
                    path=path,
                ) from error
            raise

    def _stored(self, kind: DatasetType, part: str, path: Path) -> tuple[DatasetType, str]:
        """Return the type whose format a file has, and which part of it is wanted."""
        if not (kind.component_of or kind.first_of):
            return kind, part
        root = self._root_of(path)
        for other in kind.first_of:
            if self.layout.parse(other, path, root=root) is not None:
                return self._stored(self.layout[other], part, path)
        if kind.template is not None and self.layout.parse(kind.name, path, root=root):
            return kind, part
        whole = self.layout[kind.component_of]
        return whole, part or kind.component

    def _root_of(self, path: Path) -> Path:
        return next((root for root in self.roots if path.is_relative_to(root)), self.root)

    def _picked(self, kind: DatasetType, key: str, values: Mapping[str, Value]) -> dict[str, Value]:
        for name in kind.tables:
            table = self.layout.tables[name]
            rows = self.finder.rows(name, self.layout.check(values).subset(table.keys))
            found = {row[key] for row in rows if key in row}
            if len(found) == 1:
                return {key: found.pop()}
        return {}

    def _is_ours(self, kind: DatasetType) -> bool:
        return not (kind.is_external or kind.input or self.layout.registry)

    # -- writing

    def put(
        self,
        obj: object,
        name: str,
        data_id: Mapping[str, Value] | None = None,
        *,
        overwrite: bool = False,
        **more: Value,
    ) -> Written:
        """Write a dataset: temporary name, rename, checksum; then its row in the registry.

        Raises
        ------
        ReadOnlyError, Unwritable
            If the butler is read-only, the type is the user's own, or the directory refuses.
        ConflictError
            If the dataset exists and ``overwrite`` does not allow to replace it.
        TypeError
            If the object is of another type than the dataset.
        """
        kind = self._kind(name)
        if not self.writeable:
            raise ReadOnlyError(
                f"dataset {name}: cannot be written, this butler only reads; open it with "
                "writeable=True",
                name=name,
            )
        self._check_writeable(kind)
        values = _merged(data_id, more)
        full = self.finder.complete(name, values, existing=False)
        facts = self.facts(kind, full.replace(self.layout.check(values)))
        check_type(kind, obj)
        path = self.root / self.layout.place(name, full)
        for table, known in facts:
            self.registry.merged(table, known)
        try:
            done = write_dataset(obj, path, kind.format, is_new=not overwrite, **kind.options)
        except TypeError as error:
            raise TypeError(f"dataset {name}({full}): {error}") from error
        if self.layout.registry:
            self.registry.record([_row(name, full, done)], facts)
        return done

    def _check_writeable(self, kind: DatasetType) -> None:
        why = ""
        if kind.is_external or kind.input:
            why = "it is the user's own file"
        elif kind.template is None:
            why = f"it is a part of {kind.component_of or ' or '.join(kind.first_of)}; put that"
        if why:
            raise Unwritable(f"dataset {kind.name}: cannot be written, {why}", name=kind.name)

    def facts(
        self, kind: DatasetType, known: Mapping[str, Value]
    ) -> list[tuple[Lookup, dict[str, Value]]]:
        """Return the rows that a dataset adds to lookup tables.

        Raises
        ------
        BadDataId
            If a key that the tables need is not known.
        """
        found = []
        for name in kind.fills:
            table = self.layout.tables[name]
            lacking = [k for k in table.keys if k not in known and k not in table.optional]
            if lacking:
                raise BadDataId(
                    f"dataset {kind.name}({DataId(known)}): lacks {', '.join(lacking)}, which "
                    f"table {name} needs",
                    name=kind.name,
                )
            found.append((table, {key: known[key] for key in table.keys if key in known}))
        return found

    # -- the registry

    def ingest(
        self,
        paths: Path | str | Iterable[Path | str],
        type_: str | None = None,
        *,
        validity: int | None = None,
        checksum: bool = False,
        **known: Value,
    ) -> list[DatasetRow]:
        """Add files that stand below the root to the registry; see `skyloom.butler.ingest`."""
        several = [paths] if isinstance(paths, (Path, str)) else paths
        return ingest(self, several, type_=type_, validity=validity, checksum=checksum, known=known)

    def verify(self, *, checksum: bool = False) -> list[Damage]:
        """Return the datasets that are not as the registry says; see `skyloom.butler.verify`."""
        found = verify(self, checksum=checksum)
        return [item for item in found if isinstance(item, Damage)]

    def rebuild(self, *, validity: int | None = None, checksum: bool = False) -> Rebuilt:
        """Make the registry anew from the tree; see `skyloom.butler.rebuild`."""
        return rebuild(self, validity=validity, checksum=checksum)

    # -- what there is

    @overload
    def query(self, name: str, keys: None = None, **constraints: Value) -> list[DataId]: ...
    @overload
    def query(self, name: str, keys: str, **constraints: Value) -> list[Value]: ...
    @overload
    def query(
        self, name: str, keys: list[str] | tuple[str, ...], **constraints: Value
    ) -> list[tuple[Value, ...]]: ...
    def query(
        self,
        name: str,
        keys: str | list[str] | tuple[str, ...] | None = None,
        **constraints: Value,
    ) -> list[DataId] | list[Value] | list[tuple[Value, ...]]:
        """List the datasets of a type, or the values of some keys of theirs.

        Parameters
        ----------
        name : str
            Dataset type.
        keys : str or sequence of str, optional
            Keys whose distinct values are wanted; those of the lookup tables too.
        **constraints : str, int or float
            Values that the datasets have.

        Returns
        -------
        list
            Complete data IDs, sorted (the user's files: in their order); or values of the key; or
            tuples of values of the keys.

        Raises
        ------
        UnknownDatasetType, BadDataId
        """
        kind = self._kind(name)
        if kind.is_external:
            found = [key for key, path in self._external.get(name, {}).items() if path.is_file()]
            return [key for key in found if all(key.get(k) == v for k, v in constraints.items())]
        return query(self.finder, kind, keys, constraints)

    def subset(self, name: str, **constraints: Value) -> list[DataRef]:
        """Return a reference to each dataset of a type that exists and agrees."""
        return [DataRef(self, data_id) for data_id in self.query(name, None, **constraints)]

    def data_ref(self, data_id: Mapping[str, Value] | None = None, **more: Value) -> DataRef:
        """Return a reference that gets and puts datasets of one data ID.

        Raises
        ------
        BadDataId
            If the layout has no such key, or a value is wrong.
        """
        return DataRef(self, self.layout.check(_merged(data_id, more)))

    def rows(self, name: str | None = None) -> Iterator[DatasetRow]:
        """Yield what exists (of a type) below the root, with paths; not its parents."""
        if self.registry.is_there:
            yield from self.registry.rows(name)
            return
        names = self.layout.types if name is None else [name]
        for each in names:
            if self._kind(each).template is not None:
                found = sorted(self.layout.find(each, root=self.root), key=lambda pair: pair[1])
                for data_id, path in found:
                    yield DatasetRow(type=each, data_id=data_id, path=path)

    def external(self, name: str) -> Mapping[DataId, Path]:
        """Return the paths that were supplied for one of the user's types, in their order."""
        return self._external.get(name, {})

    def handle(
        self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value
    ) -> Handle[Any]:
        """Return a dataset without reading its content, except for the checksum."""
        kind = self._kind(name)
        full, path = self._locate(kind, _merged(data_id, more))
        if not path.is_file():
            raise not_found(name, full, path)
        return Handle(
            type=name,
            data_id=full,
            path=path,
            digest=digest_file(path),
            format=kind.format,
            external=kind.is_external,
        )


def _merged(data_id: Mapping[str, Value] | None, more: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the keys of both; what the caller gave stays as it is."""
    return {**(data_id or {}), **more} if more else data_id or {}


def _row(name: str, data_id: DataId, done: Written) -> DatasetRow:
    return DatasetRow(
        type=name,
        data_id=data_id,
        path=done.path,
        size=done.size,
        mtime_ns=done.mtime_ns,
        checksum=done.digest,
    )

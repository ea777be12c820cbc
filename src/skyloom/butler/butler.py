"""The butler: finds, reads and writes datasets by type and data ID."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, final, overload

from skyloom.errors import (
    BadDataId,
    DataNotFound,
    MissingComponent,
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
from .locator import Locator
from .lookup import Finder
from .python_types import check_type
from .queries import RUN, query
from .references import DataRef
from .registry import DatasetRow, Registry
from .registry_file import run_name
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
    is_layout_assumed : bool
        Whether nothing told the layout, so that it is a guess.
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
        self.is_layout_assumed = found is None
        if not isinstance(found, Layout):
            found = Layout.load("tile" if found is None else found)
        self.layout = found
        self.writeable = writeable
        if writeable and parent is not None:
            set_parent(self.root, Path(parent).absolute())
        self.registry = Registry(self.root, found, writeable=writeable)
        others = [Registry(other, found) for other in self.roots[1:]]
        foreign = [
            Registry(other, found, file=str(path))
            for other in self.roots
            for path in found.foreign_files(other)
        ]
        self.finder = Finder(found, [self.registry, *others], foreign)
        self._external = {
            name: paths_by_id(found, name, paths) for name, paths in (external or {}).items()
        }
        self._locator = Locator(
            layout=found, roots=self.roots, finder=self.finder, external=self._external
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the registries; they open again when they are needed."""
        for registry in (*self.finder.registries, *self.finder.foreign):
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
        return self._locator.locate(self._kind(name), _merged(data_id, more))[1]

    def exists(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value) -> bool:
        """Tell whether the file of a dataset exists."""
        kind = self._split(name)[0]
        try:
            values = _merged(data_id, more)
            return self._locator.locate(kind, values, only_existing=True)[1].is_file()
        except DataNotFound:
            return False

    def data_id(
        self, name: str, data_id: Mapping[str, Value] | None = None, **more: Value
    ) -> DataId:
        """Return the complete data ID of a dataset; see `get` for what is looked up."""
        return self._locator.locate(self._kind(name), _merged(data_id, more))[0]

    def _kind(self, name: str) -> DatasetType:
        return self.layout[name] if name in self.layout else self._split(name, suffixes=False)[0]

    def _split(self, name: str, *, suffixes: bool = True) -> tuple[DatasetType, str]:
        """Return the dataset type that a name means, and the part of it."""
        try:
            base, part = split_suffix(self.layout, name) if suffixes else (name, "")
            return self.layout[base], part
        except UnknownDatasetType as error:
            if not self.is_layout_assumed:
                raise
            why = (
                f"Nothing in {self.root} tells its layout"
                if self.root.is_dir()
                else f"There is no directory {self.root}"
            )
            raise UnknownDatasetType(
                f"{error}. {why}, so that of a tile was taken; "
                "give layout='hsc', 'legacysurvey' or a YAML file",
                name=name,
            ) from None

    # -- reading

    def get(self, name: str, data_id: Mapping[str, Value] | None = None, **more: Any) -> Any:
        """Read a dataset, or a part of it.

        Parameters
        ----------
        name : str
            A dataset type; or one with a suffix: ``_filename`` (the path, of a file that may not
            exist), ``_md`` (header cards, without pixels), ``_len``, ``_schema``, ``_table`` (all
            rows of a file of models), ``_sub`` (the part in ``bbox=``, in parent coordinates),
            ``_wcs``, ``_photo_calib``, ``_psf``, ``_mask``, ``_variance``, ``_image``.
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
        kind, part = self._split(name)
        base = kind.name
        options = {"bbox": more.pop("bbox")} if part == "sub" and "bbox" in more else {}
        if part == "sub" and not options:
            raise BadDataId(f"{name}: needs bbox=, a box in parent coordinates", name=name)
        if "bbox" in more:
            raise BadDataId(f"{name}: bbox= cuts {base}_sub; get that", name=name)
        values = _merged(data_id, more)
        full, path = self._locator.locate(kind, values)
        if part == "filename":
            return str(path)
        kind, part = self._locator.stored(kind, part, path)
        if part:
            check_part(kind, part)
        for key in kind.picks if not part else ():
            options.update(self.finder.picked(kind, key, values))
        try:
            return read_file(
                base, full, path, kind.format, ours=self._is_ours(kind), part=part, **options
            )
        except MissingComponent:
            for other in self._locator.others(base, kind.name):  # a file without this CCD
                with contextlib.suppress(DataNotFound, MissingComponent):
                    return self.get(f"{other}_{part}" if part else other, data_id, **more)
            raise
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

    def get_calibrated(
        self,
        data_id: Mapping[str, Value] | None = None,
        *,
        jacobian: bool = False,
        **more: Value,
    ) -> Any:
        """Read a calexp with the WCS and the flux correction of the mosaic solution.

        Parameters
        ----------
        data_id : mapping, optional
            Which one; ``tract`` too, if the solutions of several are there.
        jacobian : bool
            Multiply fluxes by the relative area of their pixels in the new WCS, too; see
            `skyloom.images.MosaicCalib`.
        **more : str, int or float
            More keys; they win.

        Raises
        ------
        UnsupportedFcr
            If the flux correction is not in the documented format.
        UnknownDatasetType, BadDataId, AmbiguousDataId, DataNotFound, UnreadableFile
            See `get`.
        """
        from skyloom.images import MosaicCalib  # noqa: PLC0415 - takes a while to load

        exposure = self.get("calexp", data_id, **more)
        exposure.wcs = wcs = self.get("wcs_wcs", data_id, **more)
        cards = self.get("fcr_md", data_id, **more)
        correction = MosaicCalib.from_metadata(cards, wcs=wcs if jacobian else None)
        exposure.photo_calib = correction.photo_calib(exposure.box)
        return exposure

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
            Keys whose distinct values are wanted; those of the lookup tables too, and ``run``, the
            rerun that has a dataset: then each is listed that has it, shadowed ones too.
        **constraints : str, int or float
            Values that the datasets have; ``run=`` the name of a rerun of the chain.

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

    def found(self, name: str, **constraints: Value) -> list[tuple[DataId, Path]]:
        """Return data ID and path of each dataset that `query` lists; of a run, those in it."""
        ids = self.query(name, None, **constraints)
        if RUN not in constraints or RUN in self.layout.dimensions:
            return [(data_id, self.path(name, data_id)) for data_id in ids]
        root = {run_name(root): root for root in self.roots}[str(constraints[RUN])]
        stored = self.layout[self._kind(name).component_of or name]
        return [(data_id, root / self.layout.place(stored.name, data_id)) for data_id in ids]

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
        full, path = self._locator.locate(kind, _merged(data_id, more))
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
    if data_id is not None and not isinstance(data_id, Mapping):
        raise BadDataId(f"data ID: {data_id!r} is no mapping of keys; give visit=..., or a dict")
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

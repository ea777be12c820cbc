"""The way back: datasets of a repository of ``lsst-daf-butler`` become ours.

Files are copied (or linked) to where the layout wants them; what is stored in another format there
is read by their butler and written by ours.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skyloom.errors import BadDataId, DataNotFound, InputError, ReadOnlyError

from .bridge_ids import Translator
from .bridge_storage import BY_CLASS, lsst_butler
from .data_id import DataId, Value
from .files import write_atomic
from .ingest import ingest

if TYPE_CHECKING:
    from .butler import Butler

__all__ = ["Adopted", "adopt"]

Transfer = Literal["copy", "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What a butler has taken over."""

    datasets: int
    known: int  # it had these already
    left_out: Mapping[str, str] = field(default_factory=dict)  # dataset type: why


def adopt(
    butler: Butler,
    repository: Path | str,
    types: Iterable[str] = (),
    *,
    collections: str | Iterable[str] = "skyloom",
    filters: Mapping[str, str] | None = None,
    transfer: Transfer = "copy",
    **known: Value,
) -> Adopted:
    """Take datasets over from a repository of ``lsst-daf-butler``.

    Parameters
    ----------
    butler : Butler
        Writeable, with a layout that has a registry.
    repository : path
        The LSST repository; it is only read.
    types : iterable of str, optional
        Dataset types, of the same name here and there; all that both have by default.
    collections : str or iterable of str
        Where to look for them there, in this order.
    filters : mapping, optional
        Band there -> filter here, for coadds; needed where a band has several filters.
    transfer : str
        ``copy``, or ``link``: a hard link to the same file, for which both have to be on one disk.
    **known : str, int or float
        Keys that the repository does not know, such as ``pointing=705``; those of a visit that the
        butler knows are looked up.

    Returns
    -------
    Adopted

    Raises
    ------
    InputError
        If ``lsst-daf-butler`` is not installed, there is no such repository or type, or a type
        that was asked for cannot be taken over.
    BadDataId, DataNotFound
        If nothing tells a key that a file name needs.
    ReadOnlyError
        If the butler only reads.
    """
    if not butler.writeable or not butler.layout.registry:
        raise ReadOnlyError(
            f"{butler.root}: cannot take datasets over, this butler only reads or has no registry; "
            "open one with writeable=True and a layout that has one, such as 'hsc' (--layout hsc)"
        )
    source = _opened(Path(repository), collections)
    wanted = tuple(types)
    adopter = _Adopter(butler, source, filters or {}, transfer)
    translator = Translator(butler, "", "", 1)
    done = known_already = 0
    left_out: dict[str, str] = {}
    for name in _names(butler, source, wanted):
        is_calibration = translator.is_calibration(name)
        try:
            for ref, timespan in _refs(source, name, is_calibration=is_calibration):
                full = source.registry.expandDataId(ref.dataId)
                values = {**translator.ours(name, full, timespan, ref.run), **known}
                new = adopter.take(name, ref, adopter.with_filter(name, values, full))
                done, known_already = done + new, known_already + (not new)
        except _CannotTake as error:
            if wanted:
                raise InputError(f"dataset {name}: cannot be taken over, {error}") from error
            left_out[name] = str(error)
    return Adopted(datasets=done, known=known_already, left_out=left_out)


class _CannotTake(Exception):  # noqa: N818 - never leaves this module
    """A dataset type has no counterpart."""


def _opened(repository: Path, collections: str | Iterable[str]) -> Any:
    package = lsst_butler()
    if not (repository / "butler.yaml").is_file():
        raise InputError(f"{repository}: is no repository of lsst-daf-butler; correct the path")
    names = [collections] if isinstance(collections, str) else list(collections)
    opened = package.Butler.from_config(str(repository), writeable=False)
    there = set(opened.registry.queryCollections())
    lacking = [name for name in names if name not in there]
    if lacking:
        raise InputError(
            f"{repository}: has no collection {', '.join(lacking)}; there are "
            f"{', '.join(sorted(there)) or 'none'}"
        )
    return package.Butler.from_config(str(repository), collections=names, writeable=False)


def _names(butler: Butler, source: Any, wanted: tuple[str, ...]) -> list[str]:
    """Return the dataset types that both have, in the order of our layout."""
    there = {kind.name for kind in source.registry.queryDatasetTypes()}
    for name in wanted:
        butler.layout[name]
        if name not in there:
            raise InputError(
                f"dataset {name}: the repository has no such type; it has "
                f"{', '.join(sorted(there)) or 'none'}"
            )
    return [
        name
        for name, kind in butler.layout.types.items()
        if name in there and (name in wanted if wanted else kind.template is not None)
    ]


def _refs(source: Any, name: str, *, is_calibration: bool) -> Iterator[tuple[Any, Any]]:
    """Yield datasets there, with the time for which they hold; of calibrations, all that hold."""
    if not is_calibration:
        for ref in source.registry.queryDatasets(name, findFirst=True):
            yield ref, None
        return
    package = lsst_butler()
    held: dict[Any, list[Any]] = {}
    for one in source.registry.queryDatasetAssociations(
        name, collectionTypes={package.CollectionType.CALIBRATION}, flattenChains=True
    ):
        held.setdefault(one.ref, []).append(one.timespan)
    for ref, times in held.items():  # a range with a gap: the whole, and nearness decides
        begins, ends = [t.begin for t in times], [t.end for t in times]
        begin = None if None in begins else min(begins)
        end = None if None in ends else max(ends)
        yield ref, package.Timespan(begin, end)


@dataclass(frozen=True, slots=True)
class _Adopter:
    """Takes single datasets over."""

    butler: Butler
    source: Any
    filters: Mapping[str, str]
    transfer: Transfer

    def with_filter(self, name: str, values: dict[str, Value], full: Any) -> dict[str, Value]:
        """Return the keys with the filter of a coadd, which there is a band."""
        keys = self.butler.layout[name].dimensions
        if "filter" not in keys or "filter" in values or "band" not in full.mapping:
            return values
        band = str(full.mapping["band"])
        records = self.source.registry.queryDimensionRecords("physical_filter")
        known = {record.name for record in records if record.band == band}
        if band not in self.filters and len(known) != 1:
            names = ", ".join(sorted(known)) or "none"
            raise InputError(
                f"dataset {name}: band {band} has the filters {names}; say which, "
                f"filters={{{band!r}: NAME}}"
            )
        return {**values, "filter": self.filters.get(band) or known.pop()}

    def take(self, name: str, ref: Any, values: Mapping[str, Value]) -> bool:
        """Take one dataset over; tell whether it is new."""
        butler = self.butler
        kind = butler.layout[name]
        inside = {key: values[key] for key in values if key in kind.dimensions}
        try:
            full = butler.finder.complete(name, inside, existing=False)
        except DataNotFound as error:
            text = f"{error}; keys that the repository lacks are given by name (pointing=705)"
            raise DataNotFound(text, name=name) from error
        path = butler.root / butler.layout.place(name, full)
        if path.exists():
            return False
        more = {key: value for key, value in values.items() if key not in kind.dimensions}
        uri = self.source.getURIs(ref).primaryURI
        if uri is None:
            raise _CannotTake("it is stored in several files there")
        is_same = ref.datasetType.storageClass_name in BY_CLASS
        if is_same or uri.getExtension() == path.suffix:
            with uri.as_local() as local:
                write_atomic(path, _copier(Path(local.ospath), self.transfer), is_new=True)
            try:
                ingest(butler, [path], type_=name, known=more)
            except BadDataId:
                path.unlink()
                raise
            return True
        obj = self.source.get(ref)
        try:
            butler.put(obj, name, DataId({**more, **full}))
        except TypeError as error:
            what = type(obj).__name__
            raise _CannotTake(f"{what}, as it comes from there, is nothing for it here") from error
        return True


def _copier(file: Path, transfer: str) -> Any:
    def place(part: Path) -> None:
        if transfer == "link":
            os.link(file, part)
        else:
            shutil.copyfile(file, part)

    return place

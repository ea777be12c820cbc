"""What exists in a run: datasets by type and data ID, and those that failures cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from skyloom.butler import Butler, DataId, Handle, Value
from skyloom.errors import MissingFile

from .ledger import Output

__all__ = ["Blocked", "Datasets", "View"]


class Blocked(Exception):  # noqa: N818 - not an error of anybody's: something upstream failed
    """A unit cannot run because something that it reads was not made."""


@final
class Datasets:
    """Datasets by type, in the order of their producers, and the gaps that failures left.

    Parameters
    ----------
    butler : Butler
        Knows the user's files, which are part of it.
    digests : callable
        Returns the checksums of some of the user's files.
    """

    def __init__(self, butler: Butler, digests: Callable[[Sequence[Path]], Sequence[str]]) -> None:
        self._butler = butler
        self._digests = digests
        self._found: dict[str, dict[DataId, Handle[Any]]] = defaultdict(dict)
        self._gaps: dict[str, list[DataId]] = defaultdict(list)
        self._groups: dict[tuple[str, tuple[str, ...]], dict[DataId, list[Handle[Any]]]] = {}

    def add(self, outputs: Iterable[Output]) -> None:
        """Note what a unit wrote."""
        self._groups.clear()
        for out in outputs:
            self._found[out.type][out.data_id] = Handle(
                type=out.type,
                data_id=out.data_id,
                path=out.path,
                digest=out.digest,
                format=self._butler.layout[out.type].format,
            )

    def drop(self, outputs: Iterable[Output]) -> None:
        """Forget what a unit wrote in an earlier run and could not make again."""
        self._groups.clear()
        for out in outputs:
            self._found[out.type].pop(out.data_id, None)

    def lose(self, type_: str, known: DataId) -> None:
        """Note that the datasets which agree with ``known`` could not be made."""
        self._gaps[type_].append(known.subset(self._butler.layout[type_].dimensions))

    def gap(self, type_: str, wanted: DataId) -> bool:
        """Tell whether a failure cost a dataset that agrees with ``wanted``."""
        return any(known.agrees(wanted) for known in self._gaps.get(type_, ()))

    def ids(self, type_: str) -> list[DataId]:
        """List the data IDs of a type; those that a failure cost stand where they are known."""
        kind = self._butler.layout[type_]
        if kind.is_external:
            return list(self._butler.external(type_))
        lost = [key for key in self._gaps.get(type_, ()) if len(key) == len(kind.dimensions)]
        return list(dict.fromkeys([*self._found.get(type_, ()), *lost]))

    def holes(self, type_: str) -> list[DataId]:
        """List what is known of lost datasets whose whole data ID nobody knows."""
        size = len(self._butler.layout[type_].dimensions)
        return [known for known in self._gaps.get(type_, ()) if len(known) < size]

    def of(self, type_: str) -> list[DataId]:
        """List the data IDs of what was made."""
        return list(self._found.get(type_, ()))

    def handles(self, type_: str) -> list[Handle[Any]]:
        """List what was made."""
        return list(self._found.get(type_, {}).values())

    def find(self, type_: str, data_id: DataId) -> Handle[Any] | None:
        """Return one dataset."""
        kind = self._butler.layout[type_]
        if kind.is_external:
            return self._external(type_).get(data_id)
        return self._found.get(type_, {}).get(data_id)

    def select(self, type_: str, fixed: DataId) -> Sequence[Handle[Any]]:
        """Return all datasets that have the values of ``fixed``, in the order of their producer."""
        dimensions = tuple(fixed)
        if (type_, dimensions) not in self._groups:
            kind = self._butler.layout[type_]
            found = self._external(type_) if kind.is_external else self._found.get(type_, {})
            groups: dict[DataId, list[Handle[Any]]] = defaultdict(list)
            for data_id, handle in found.items():
                groups[data_id.subset(dimensions)].append(handle)
            self._groups[type_, dimensions] = groups
        return self._groups[type_, dimensions].get(fixed, [])

    def _external(self, type_: str) -> dict[DataId, Handle[Any]]:
        if type_ not in self._found:
            kind = self._butler.layout[type_]
            paths = self._butler.external(type_)
            self._found[type_] = {
                data_id: Handle(
                    type=type_,
                    data_id=data_id,
                    path=paths[data_id],
                    digest=digest,
                    format=kind.format,
                    external=True,
                )
                for data_id, digest in zip(paths, self._digests([*paths.values()]), strict=True)
            }
        return self._found[type_]

    def check_external(self, types: Iterable[str]) -> None:
        """Raise `MissingFile` if a user's file of these types does not exist."""
        for type_ in types:
            for data_id, path in self._butler.external(type_).items():
                if not path.is_file():
                    what = f"{type_}({data_id})" if data_id else type_
                    raise MissingFile(
                        f"{path}: this file ({what}) does not exist; correct the path", path=path
                    )


@final
class View:
    """What one stage sees while it lists its units; see `Upstream`."""

    def __init__(
        self,
        datasets: Datasets,
        butler: Butler,
        allowed: Iterable[str],
        dimensions: Mapping[str, Sequence[Value]],
    ) -> None:
        self._datasets = datasets
        self._butler = butler
        self._allowed = frozenset(allowed)
        self._dimensions = dimensions
        self.holes: dict[DataId, str] = {}  # what the listed data IDs lack, and of which type

    def get(self, type_: str, **dims: Value) -> Any:
        """Read a dataset."""
        self._check(type_)
        data_id = self._butler.layout.data_id(type_, dims)
        handle = self._datasets.find(type_, data_id)
        if handle is None:
            raise Blocked(f"{type_}({data_id}) was not made" if data_id else f"no {type_}")
        return handle.read()

    def ids(self, type_: str) -> Sequence[DataId]:
        """List the data IDs of a type."""
        self._check(type_)
        self.holes.update(dict.fromkeys(self._datasets.holes(type_), type_))
        return self._datasets.ids(type_)

    def values(self, dimension: str) -> Sequence[Value]:
        """List the values of a dimension that is known from the start."""
        return self._dimensions.get(dimension, ())

    def dimensions(self, type_: str) -> tuple[str, ...]:
        """Return the dimensions of a dataset type."""
        return self._butler.layout[type_].dimensions

    def _check(self, type_: str) -> None:
        if type_ not in self._allowed:
            raise LookupError(
                f"units() reads {type_!r}; declare it as an input or in units_from first"
            )

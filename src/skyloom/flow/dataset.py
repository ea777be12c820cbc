"""What a stage reads and writes, said in the annotations of two dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

__all__ = ["Dataset", "Dim", "Field", "fields_of"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A field that is a dataset, or many of them.

    Parameters
    ----------
    type : str
        Name in the layout; its dimensions come from there.
    gather : str or tuple of str
        Input: dimensions that the unit does not fix; the field becomes a dict of all datasets,
        keyed by the value (``gather="cell"``) or by `DataId` (``gather=("band", "cell")``).
    scatter : str or tuple of str
        Output: the same the other way round, a dict that becomes many files.
    optional : bool
        The field is None where the dataset does not exist; an output that is None is not written.
    lazy : bool
        Input: the field is a `Handle` with path and checksum, opened by whoever wants to.
    """

    type: str
    gather: str | tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    scatter: str | tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    optional: bool = dataclasses.field(default=False, kw_only=True)
    lazy: bool = dataclasses.field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Dim:
    """An input field that is a dimension of the unit; without a name, the whole `DataId`."""

    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of an inputs or outputs dataclass, with what its annotation says."""

    name: str
    source: Dataset | Dim

    @property
    def spread(self) -> tuple[str, ...]:
        """Dimensions over which it is a dict."""
        if isinstance(self.source, Dim):
            return ()
        over = self.source.gather or self.source.scatter
        return (over,) if isinstance(over, str) else over

    @property
    def by_value(self) -> bool:
        """True where the keys of that dict are values, not data IDs."""
        dataset = self.source
        return isinstance(dataset, Dataset) and isinstance(dataset.gather or dataset.scatter, str)


def fields_of(record: type[Any]) -> tuple[Field, ...]:
    """Read the annotations of an inputs or outputs dataclass.

    Raises
    ------
    TypeError
        If it is no dataclass, or a field is not ``Annotated[..., Dataset(...)]`` or ``Dim(...)``.
    """
    if record not in _KNOWN:
        _KNOWN[record] = _read(record)
    return _KNOWN[record]


_KNOWN: dict[type[Any], tuple[Field, ...]] = {}


def _read(record: type[Any]) -> tuple[Field, ...]:
    if not dataclasses.is_dataclass(record):
        raise TypeError(f"{record.__qualname__} has to be a dataclass")
    try:
        hints = typing.get_type_hints(record, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{record!r}: {error}; define the class at module level and import the types of its "
            "fields at run time"
        ) from error
    return tuple(_field(record, f.name, hints[f.name]) for f in dataclasses.fields(record))


def _field(record: Any, name: str, hint: Any) -> Field:
    found = [m for m in get_args(hint)[1:] if isinstance(m, (Dataset, Dim))]
    if get_origin(hint) is not Annotated or len(found) != 1:
        raise TypeError(
            f"{record.__qualname__}.{name}: write Annotated[type, Dataset(...)] or "
            "Annotated[type, Dim(...)]"
        )
    return Field(name=name, source=found[0])

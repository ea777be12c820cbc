"""From a name, in any vocabulary, to the columns that hold it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from skyloom.catalogs.fields import Field
from skyloom.catalogs.names import (
    APERTURE_RADII,
    APERTURES,
    DEFAULT_SLOTS,
    DOTTED,
    SLOT_TWINS,
    aperture_label,
    modern_name,
)
from skyloom.errors import BadTable, UnknownColumn

__all__ = ["Group", "Lookup", "Part", "resolve_alias"]


@dataclass(frozen=True, slots=True)
class Part:
    """A column, or one element of a compound column."""

    field: Field
    element: int | None = None
    is_square: bool = False  # the variance of what was asked for


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that belong together: a position, moments, fluxes in apertures."""

    kind: str  # "point", "moments", "coord", "point_err", "moments_err", "array"
    parts: tuple[Part, ...]


_GROUPS: Final = (
    ("moments", ("xx", "yy", "xy")),
    ("coord", ("ra", "dec")),
    ("point", ("x", "y")),
)
_OLD_ENDINGS: Final = {
    **dict.fromkeys(("_instFlux", "_flux"), ""),
    **dict.fromkeys(("_instFluxErr", "_fluxErr", "_fluxSigma"), "err"),
    "_flag": "flags",
}
"""Modern ending of a name -> what stands there in table version 0, behind a dot."""
_APERTURE_NAME: Final = re.compile(rf"{APERTURES}_(instFlux|instFluxErr|flag)")


def resolve_alias(name: str, aliases: Mapping[str, str]) -> str:
    """Replace aliases of the file, whole or as prefixes, until none is left.

    Raises
    ------
    BadTable
        If they run in a circle.
    """
    seen = [name]
    while True:
        start = _longest_alias(name, aliases)
        if start is None:
            return name
        name = aliases[start] + name[len(start) :]
        if name in seen or len(seen) > len(aliases):
            raise BadTable(
                f"aliases of the catalogue run in a circle: {' -> '.join([*seen, name])}; correct "
                "its ALIAS cards",
                aliases=[*seen, name],
            )
        seen.append(name)


def _longest_alias(name: str, aliases: Mapping[str, str]) -> str | None:
    end = len(name)
    while end > 0:
        if name[:end] in aliases:
            return name[:end]
        end = max(name.rfind("_", 0, end), name.rfind(".", 0, end))
    return None


class Lookup:
    """Names of one catalogue.

    Parameters
    ----------
    fields : sequence of Field
        The columns.
    aliases : mapping of str to str
        Those of the file: slots and prefixes.
    radii : sequence of float, optional
        Radii [pix] of the array ``flux.aperture`` of a dotted file.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        aliases: Mapping[str, str],
        radii: Sequence[float] | None = None,
    ) -> None:
        self._fields = {f.name: f for f in fields}
        self._aliases = aliases
        self._radii = None if radii is None else tuple(radii)
        self._known: dict[str, Part | Group] = {}

    def find(self, name: str) -> Part | Group:
        """Return where a quantity is.

        Raises
        ------
        UnknownColumn
            If the catalogue does not have it; the message lists near names.
        BadTable
            If the name could be either of two fields, or aliases run in a circle.
        """
        known = self._known.get(name)
        if known is None:
            known = self._find(name)
            if known is None:
                raise self._unknown(name)
            self._known[name] = known
        return known

    def __contains__(self, name: str) -> bool:
        return name in self._known or self._find(name) is not None

    def _find(self, name: str) -> Part | Group | None:
        if name in self._fields:
            return _whole(self._fields[name])
        target = resolve_alias(name, self._aliases)
        if target in self._fields:
            return _whole(self._fields[target])
        modern = modern_name(target)
        if modern.startswith("slot_"):
            return self._find_slot(modern)
        return self._find_modern(modern, name) or self._find_old(target)

    def _find_old(self, target: str) -> Part | Group | None:
        """Find what the modern ending of a field of an old table means there.

        A flux of version 0 has the name itself, ``err`` and ``flags`` behind it.
        """
        for ending, old in _OLD_ENDINGS.items():
            base = target.removesuffix(ending)
            if base == target or not (old or "flux" in base):
                continue
            for dot in (".", "_"):
                field = self._fields.get(f"{base}{dot}{old}" if old else base)
                if field is not None:
                    return _whole(field)
        return None

    def _find_slot(self, modern: str) -> Part | Group | None:
        """Find a slot under its other name, or where it is by default."""
        for slot, twin in SLOT_TWINS.items():
            if _starts(modern, slot) and twin in self._aliases:
                return self._find(twin + modern[len(slot) :])
        for slot, choices in DEFAULT_SLOTS.items():
            if _starts(modern, slot):
                for choice in choices:
                    found = self._find_modern(choice + modern[len(slot) :], modern)
                    if found is not None:
                        return found
        return None

    def _find_modern(self, modern: str, asked: str) -> Part | Group | None:
        for index, key in ((self._by_modern, modern), (self._by_folded, modern.casefold())):
            parts = index.get(key, [])
            if len(parts) > 1:
                names = ", ".join(repr(part.field.name) for part in parts)
                raise BadTable(
                    f"{asked!r} could be any of {names}; ask for one by its own name",
                    names=[part.field.name for part in parts],
                )
            if parts:
                return parts[0]
        return self._find_group(modern)

    def _find_group(self, modern: str) -> Group | None:
        base, ending, kind_ending = modern, "", ""
        if modern.endswith("_err"):
            base, ending, kind_ending = modern[:-4], "Err", "_err"
        for kind, names in _GROUPS:
            found = [self._by_modern.get(f"{base}_{n}{ending}", []) for n in names]
            if all(len(parts) == 1 for parts in found):
                return Group(kind + kind_ending, tuple(parts[0] for parts in found))
        aperture = _APERTURE_NAME.fullmatch(modern)
        if aperture is None:
            return None
        pattern = re.compile(rf"{APERTURES}_\d+_\d+_{aperture[1]}")
        parts = [p[0] for key, p in self._by_modern.items() if pattern.fullmatch(key)]
        return Group("array", tuple(parts)) if parts else None

    @cached_property
    def _by_modern(self) -> dict[str, list[Part]]:
        index: dict[str, list[Part]] = {}
        for field in self._fields.values():
            for key, part in self._parts(field):
                index.setdefault(key, []).append(part)
        return index

    @cached_property
    def _by_folded(self) -> dict[str, list[Part]]:
        index: dict[str, list[Part]] = {}
        for key, parts in self._by_modern.items():
            index.setdefault(key.casefold(), []).extend(parts)
        return index

    def _parts(self, field: Field) -> Iterable[tuple[str, Part]]:
        """Yield the modern names of what is in a column."""
        key = modern_name(field.name)
        if not field.info.parts:
            yield key, Part(field)
        if field.info.kind.startswith("Covariance("):
            key = key.removesuffix("_err")
        for element, name in enumerate(field.info.parts):
            is_square = name.endswith("Err")
            yield f"{key}_{name}", Part(field, element, is_square)
        aperture = _APERTURE_NAME.fullmatch(key)
        if aperture is not None and field.is_array and field.size is not None:
            radii = self._radii
            if radii is None and field.size == len(APERTURE_RADII):
                radii = APERTURE_RADII
            if radii is not None and len(radii) == field.size:
                for element, radius in enumerate(radii):
                    label = aperture_label(radius)
                    yield f"{APERTURES}_{label}_{aperture[1]}", Part(field, element)

    def _unknown(self, name: str) -> UnknownColumn:
        if name.startswith("slot_"):
            slots = [key for key in self._aliases if key.startswith("slot_")]
            return UnknownColumn(
                f"the catalogue does not say what {name!r} is (slots: "
                f"{', '.join(slots) or 'none'}); set an alias for it, or ask for a field by name",
                name=name,
            )
        near = self._near(name)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else (
            "print the schema to see what there is"
        )  # fmt: skip
        return UnknownColumn(f"the catalogue has no field {name!r}; {hint}", name=name, near=near)

    def _near(self, name: str) -> list[str]:
        """Return names that resemble one, as the catalogue or the user writes them."""
        choices = {n: n for n in (*self._fields, *self._aliases)}
        choices |= {key: parts[0].field.name for key, parts in self._by_modern.items()}
        if "." in name:
            choices |= {dotted: dotted for dotted in DOTTED if dotted in self}
        found: list[str] = []
        for wanted in (name, modern_name(name)):
            for near in difflib.get_close_matches(wanted, choices, n=3, cutoff=0.7):
                if choices[near] not in found:
                    found.append(choices[near])
        return found[:3]


def _whole(field: Field) -> Part | Group:
    """Return a field, or all that is in a compound one."""
    if not field.info.parts:
        return Part(field)
    kind, _, content = field.info.kind.partition("(")
    if content:  # Covariance(Point): the errors
        kind = content[:-1]
    elements = [
        Part(field, i, bool(content)) for i, n in enumerate(field.info.parts) if "Cov" not in n
    ]
    return Group(kind.lower() + ("_err" if content else ""), tuple(elements))


def _starts(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + "_")

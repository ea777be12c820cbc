"""The schema of a catalogue: its fields in order, and the names that lead to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from skyloom.catalogs.fields import Field
from skyloom.catalogs.lookup import Group, Lookup, Part

__all__ = ["Schema"]


class Schema:
    """Ordered fields and aliases; printing it lists one field per line.

    Parameters
    ----------
    fields : iterable of Field
        Names must differ.
    aliases : mapping of str to str
        Slots (``slot_PsfFlux``) and prefixes, and what they stand for.
    aperture_radii : sequence of float, optional
        Radii [pix] of an array ``flux.aperture``.

    Examples
    --------
    >>> schema = Schema([Field("base_PsfFlux_flux", "D", "PSF flux", "count")])
    >>> print(schema)
    D            base_PsfFlux_flux: PSF flux [count]
    >>> schema.find("flux.psf").name
    'base_PsfFlux_flux'
    """

    def __init__(
        self,
        fields: Iterable[Field] = (),
        aliases: Mapping[str, str] | None = None,
        aperture_radii: Sequence[float] | None = None,
    ) -> None:
        self._fields: dict[str, Field] = {}
        for field in fields:
            if field.name in self._fields:
                raise ValueError(f"two fields are called {field.name!r}; rename one")
            self._fields[field.name] = field
        self._aliases = dict(aliases or {})
        self.aperture_radii = aperture_radii
        self._lookup = Lookup(tuple(self._fields.values()), self._aliases, aperture_radii)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Slots and prefixes, and what they stand for."""
        return MappingProxyType(self._aliases)

    @property
    def names(self) -> list[str]:
        """Names of the fields, in order."""
        return list(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields.values())

    def __contains__(self, name: object) -> bool:
        """Tell whether a quantity is there, under any of its names."""
        return isinstance(name, str) and name in self._lookup

    def __getitem__(self, name: str) -> Field:
        return self.find(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return list(self) == list(other) and self.aliases == other.aliases

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "\n".join(str(field) for field in self)

    def __repr__(self) -> str:
        return f"<Schema of {len(self)} fields, {len(self.aliases)} aliases>"

    def find(self, name: str) -> Field:
        """Return the field of a quantity, under any of its names.

        Raises
        ------
        UnknownColumn
            If there is none.  Of a quantity that is spread over several fields (``coord``), the
            first is returned.
        """
        found = self.locate(name)
        return found.field if isinstance(found, Part) else found.parts[0].field

    def locate(self, name: str) -> Part | Group:
        """Return where a quantity is: in a field, in an element of one, or in several."""
        return self._lookup.find(name)

    def with_field(self, field: Field) -> Schema:
        """Return the schema with one field more."""
        return Schema([*self, field], self.aliases, self.aperture_radii)

    def without(self, *names: str) -> Schema:
        """Return the schema without some fields."""
        dropped = {self.find(name).name for name in names}
        kept = [field for field in self if field.name not in dropped]
        return Schema(kept, self.aliases, self.aperture_radii)

    def with_aliases(self, aliases: Mapping[str, str]) -> Schema:
        """Return the schema with more aliases, or with other meanings of them."""
        return Schema(self, {**self.aliases, **aliases}, self.aperture_radii)

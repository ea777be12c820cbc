"""What the header of a FITS table says of its columns, and the header for given columns.

Tables of afw and of other programs are read alike.  Fields stand in the order of their cards, so
that flags keep their place among the columns although their bits are packed into one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from astropy.io import fits

from skyloom.catalogs.fields import FIELD_TYPES, Field
from skyloom.catalogs.io.fits_text import card_text, text_card
from skyloom.errors import BadTable

__all__ = ["FLAGS", "FitsColumn", "Layout", "header_cards", "parse_layout"]

FLAGS: Final = "flags\0"  # key of the packed flags: a field may be called flags
_COLUMN: Final = re.compile(
    r"(TTYPE|TFORM|TUNIT|TDOC|TCCLS|TSCAL|TZERO|TNULL|TDISP|TDIM|TCOMM|TUCD|TUTYP"
    r"|TMIN|TMAX|TLMIN|TLMAX|TDMIN|TDMAX|TCTYP|TCUNI|TCRPX|TCRVL|TCDLT|TCROT|TRPOS)([1-9]\d{0,3})"
)
_BIT: Final = re.compile(r"(TFLAG|TFDOC)([1-9]\d{0,5})")
_FORM: Final = re.compile(r"(\d{0,18})([PQ]?)([LXBIJKAEDCM])(?:\(\d*\))?.*", re.DOTALL)
_STRUCTURE: Final = {
    "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP",
    "FLAGCOL", "ALIAS", "END", "CHECKSUM", "DATASUM", "AR_HDU", "AFW_TABLE_VERSION", "AFW_TYPE",
}  # fmt: skip
_DESCRIBED: Final = {"TTYPE", "TFORM", "TUNIT", "TDOC", "TCCLS", "TSCAL", "TZERO", "TCOMM"}
_RAW: Final = {
    "L": "u1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "A": "u1",
    "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16", "P": ">i4", "Q": ">i8",
}  # fmt: skip
_BY_FORM: Final[Mapping[tuple[str, float], str]] = {
    (info.form, info.zero): name for name, info in FIELD_TYPES.items() if info.kind == "Scalar"
}
_COMPOUND: Final = {
    (info.kind, info.form): name for name, info in FIELD_TYPES.items() if info.parts
}
_MOST_COLUMNS: Final = 999
_MOST_FLAGS: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsColumn:
    """Where a column is in a row, and how its bytes become values."""

    name: str
    letter: str  # of the FITS format; of a variable array, that of its elements
    repeat: int
    pointer: str  # "P" or "Q" for a variable array, else ""
    offset: int  # byte in the row
    scale: float = 1.0  # TSCAL
    zero: float = 0.0  # TZERO

    @property
    def raw(self) -> tuple[str, tuple[int, ...]]:
        """Type and shape of one row on disk."""
        if self.pointer:
            return _RAW[self.pointer], (2,)
        count = -(-self.repeat // 8) if self.letter == "X" else self.repeat
        return _RAW[self.letter], (count,)

    @property
    def size(self) -> int:
        """Bytes in the row."""
        dtype, shape = self.raw
        return int(np.dtype(dtype).itemsize * shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Fields of a table, and where they are on disk."""

    fields: tuple[Field, ...]
    columns: Mapping[str, FitsColumn]  # of the fields that are not flags, and FLAGS
    bits: Mapping[str, int]  # of the fields that are flags, from 0
    width: int  # byte of a row
    metadata: fits.Header = field(default_factory=fits.Header)


def parse_layout(header: fits.Header) -> Layout:
    """Understand the header of a binary table.

    Raises
    ------
    BadTable
        If its keywords make no table.
    """
    by_column, by_bit, order, rest = _sorted_cards(header)
    number = header.get("TFIELDS", 0)
    if not isinstance(number, int) or not 0 <= number <= _MOST_COLUMNS:
        raise BadTable(f"TFIELDS = {number!r} is not the number of columns")
    flag_number = header.get("FLAGCOL")
    names: dict[str, int] = {}
    columns: dict[str, FitsColumn] = {}
    fields: dict[tuple[str, int], Field] = {}
    offset = 0
    for n in range(1, number + 1):
        column = _column(n, by_column.get(n, {}), offset)
        offset += column.size
        if n == flag_number and column.letter == "X" and not column.pointer:
            columns[FLAGS] = column
            continue
        if column.name in names:
            raise BadTable(f"columns {names[column.name]} and {n} are both called {column.name!r}")
        names[column.name] = n
        columns[column.name] = column
        fields["column", n] = _field(column, by_column[n])
        if ("column", n) not in order:
            order.append(("column", n))
    bits: dict[str, int] = {}
    if FLAGS in columns:
        n_bits = columns[FLAGS].repeat
        for bit in range(min(n_bits, _MOST_FLAGS)):
            cards = by_bit.get(bit + 1, {})
            name = card_text(cards.get("TFLAG")) or f"flag_{bit + 1}"
            if name in names or name in bits:
                raise BadTable(f"flag {bit + 1} has the name {name!r}, which is used already")
            bits[name] = bit
            fields["bit", bit + 1] = Field(name, "Flag", _doc(cards, "TFDOC", "TFLAG"))
            if ("bit", bit + 1) not in order:
                order.append(("bit", bit + 1))
    return Layout(
        fields=tuple(fields[key] for key in order if key in fields),
        columns=columns,
        bits=bits,
        width=offset,
        metadata=rest,
    )


def _sorted_cards(header: fits.Header) -> tuple[Any, Any, list[tuple[str, int]], fits.Header]:
    """Tell cards of columns, of flags and others apart; and the order in which fields begin."""
    by_column: dict[int, dict[str, fits.Card]] = {}
    by_bit: dict[int, dict[str, fits.Card]] = {}
    order: dict[tuple[str, int], None] = {}
    rest: list[fits.Card] = []
    for card in header.cards:
        keyword = card.keyword
        bit = _BIT.fullmatch(keyword) if "FLAGCOL" in header else None
        column = None if bit else _COLUMN.fullmatch(keyword)
        if bit:
            by_bit.setdefault(int(bit[2]), {}).setdefault(bit[1], card)
            order["bit", int(bit[2])] = None
        elif column:
            by_column.setdefault(int(column[2]), {}).setdefault(column[1], card)
            if column[1] == "TTYPE":
                order["column", int(column[2])] = None
        elif keyword not in _STRUCTURE:
            rest.append(card)
    return by_column, by_bit, list(order), fits.Header(rest)


def _column(n: int, cards: Mapping[str, fits.Card], offset: int) -> FitsColumn:
    form = card_text(cards.get("TFORM"))
    match = _FORM.fullmatch(form)
    if match is None:
        raise BadTable(f"TFORM{n} = {form!r} is not the format of a column")
    zero, scale = _number(cards.get("TZERO"), 0.0), _number(cards.get("TSCAL"), 1.0)
    return FitsColumn(
        name=card_text(cards.get("TTYPE")) or f"column_{n}",
        letter=match[3],
        repeat=int(match[1]) if match[1] else 1,
        pointer=match[2],
        offset=offset,
        scale=scale,
        zero=zero,
    )


def _field(column: FitsColumn, cards: Mapping[str, fits.Card]) -> Field:
    more = tuple((key, card.value) for key, card in cards.items() if key not in _DESCRIBED)
    doc = _doc(cards, "TDOC", "TCOMM", "TTYPE")
    kind, size = _type(column, card_text(cards.get("TCCLS")))
    return Field(column.name, kind, doc, card_text(cards.get("TUNIT")), size, more)


def _type(column: FitsColumn, tccls: str) -> tuple[str, int | None]:
    """Return type and size of the field that a column holds."""
    letter, repeat = column.letter, column.repeat
    if letter == "A":
        return "String", None if column.pointer else repeat
    if letter == "X":
        return "ArrayBit", None if column.pointer else repeat
    # scaled numbers become double
    scalar = _BY_FORM.get((letter, column.zero), "D") if column.scale == 1.0 else "D"
    if column.pointer:
        return f"Array{scalar}", None
    compound = _COMPOUND.get((tccls, letter))
    if compound is not None and len(FIELD_TYPES[compound].parts) == repeat:
        return compound, None
    if repeat != 1 or tccls == "Array":
        return f"Array{scalar}", repeat
    return ("Angle", None) if (scalar, tccls) == ("D", "Angle") else (scalar, None)


def header_cards(
    fields: Iterable[Field],
    aliases: Mapping[str, str],
    *,
    forms: Mapping[str, str],
    is_plain: bool = False,
) -> Iterator[fits.Card | tuple[str, Any, str]]:
    """Yield the cards of columns, flags and aliases, as afw orders them.

    Parameters
    ----------
    fields : iterable of Field
        In the order of the schema.
    aliases : mapping of str to str
        To be written as ALIAS cards.
    forms : mapping of str to str
        FITS format of each column, and of `FLAGS` where there are flags.
    is_plain : bool
        Whether to leave out the class of the field (TCCLS) where the format says enough.
    """
    number = bit = 0
    if FLAGS in forms:
        number += 1
        yield text_card(f"TTYPE{number}", "flags", "bits for all Flag fields; see also TFLAGn")
        yield text_card(f"TFORM{number}", forms[FLAGS], "format of field")
        yield "FLAGCOL", number, "Column number for the bitflags."
    for item in fields:
        if item.type == "Flag":
            bit += 1
            yield text_card(f"TFLAG{bit}", item.name)
            yield text_card(f"TFDOC{bit}", item.doc)
            continue
        number += 1
        yield text_card(f"TTYPE{number}", item.name)
        yield text_card(f"TFORM{number}", forms[item.name], "format of field")
        if item.doc:
            yield text_card(f"TDOC{number}", item.doc)
        if item.units:
            yield text_card(f"TUNIT{number}", item.units)
        if item.info.zero:
            yield f"TSCAL{number}", 1, ""
            yield f"TZERO{number}", item.info.zero, "offset of unsigned numbers"
        if not is_plain or item.info.kind not in {"Scalar", "Array", "String"}:
            comment = "Field template used by lsst.afw.table"
            yield text_card(f"TCCLS{number}", item.info.kind, comment)
        for keyword, value in item.cards:
            yield f"{keyword}{number}", value, ""
    for alias, target in sorted(aliases.items()):
        yield text_card("ALIAS", f"{alias}:{target}")


def _number(card: fits.Card | None, default: float) -> float:
    value = default if card is None else card.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTable(f"{card.keyword if card else ''} = {value!r} is not a number")
    return float(value)


def _doc(cards: Mapping[str, fits.Card], *keywords: str) -> str:
    """Return the sentence on a column: a card of its own, or the comment of its name."""
    for keyword in keywords[:-1]:
        if keyword in cards:
            return card_text(cards[keyword])
    last = cards.get(keywords[-1])
    return "" if last is None else last.comment

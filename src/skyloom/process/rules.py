"""Harmonising headers by a YAML file: renames, values, units, without Python."""

# ruff: noqa: RUF012 - pydantic copies defaults

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from annotated_types import Len
from astropy.io import fits
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from skyloom.config import DEMAND, Config, PlainNumber, build_config, read_yaml

from .errors import CannotComputeHeader
from .templates import add_history_card

__all__ = ["HeaderRules", "RuleBlock", "UnitRule", "apply_rules", "read_rules"]

_KEYWORD: Final = re.compile(r"[A-Z0-9_-]{1,8}|HIERARCH [\x20-\x7e]+|[A-Z0-9_-]+( [A-Z0-9_-]+)+")
_PROTECTED: Final = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|END|PCOUNT|GCOUNT|GROUPS")
_UNIT: Final = re.compile(r"\s*\[[^\]]*\]\s*")


def _keyword(name: object) -> object:
    text = str(name).upper() if isinstance(name, str) else name
    if not isinstance(text, str) or not _KEYWORD.fullmatch(text):
        raise PydanticCustomError(DEMAND, "a FITS keyword: up to 8 of A-Z 0-9 _ -")
    if _PROTECTED.fullmatch(text):
        raise PydanticCustomError(DEMAND, "a keyword that does not describe the data layout")
    return text


def _scalar(value: object) -> object:
    return float(value) if isinstance(value, PlainNumber) else value


def _unit(name: str) -> str:
    from astropy.units import Unit  # noqa: PLC0415 - slow

    try:
        Unit(name)
    except (ValueError, TypeError):
        raise PydanticCustomError(
            DEMAND, "a unit that astropy knows, such as s or arcsec"
        ) from None
    return name


Keyword: TypeAlias = Annotated[str, BeforeValidator(_keyword)]
Scalar: TypeAlias = Annotated[bool | int | float | str, BeforeValidator(_scalar)]
UnitName: TypeAlias = Annotated[str, AfterValidator(_unit)]


class UnitRule(Config):
    """A conversion of a value between units."""

    from_: Annotated[UnitName, Field(alias="from")]
    """Unit of the values as they are, unless their comment says ``[unit]``."""
    to: UnitName
    """Unit of the values as they shall be; the comment then starts with ``[unit]``."""


class RuleBlock(Config):
    """Changes of a header, done in this order."""

    rename: dict[Keyword, Keyword] = {}
    """Old name: new name; left alone where the new name exists."""
    copy_from: dict[Keyword, Keyword] = {}
    """New name: keyword whose value and comment it gets if it is missing."""
    translate: dict[Keyword, dict[str, Scalar]] = {}
    """Keyword: {old value: new value}."""
    types: dict[Keyword, Literal["int", "float", "str", "bool"]] = {}
    """Keyword: type; turns ``'12.5'`` into 12.5."""
    units: dict[Keyword, UnitRule] = {}
    """Keyword: {from: unit, to: unit}."""
    defaults: dict[Keyword, Scalar] = {}
    """Keyword: value that it gets where it is missing or undefined."""
    values: dict[Keyword, Scalar] = {}
    """Keyword: value that it gets in any case."""
    comments: dict[Keyword, str] = {}
    """Keyword: comment."""
    delete: list[str] = []
    """Keywords, or shell patterns of them, to remove."""


class CaseBlock(RuleBlock):
    """Changes for some files only."""

    when: Annotated[dict[Keyword, str], Len(min_length=1)]
    """Keyword: shell pattern that its value must match; all must."""


class HeaderRules(RuleBlock):
    """Rules for the primary headers of a collection of files."""

    cases: list[CaseBlock] = []
    """Rules for those files only whose keywords match; done first, in order."""
    require: list[Keyword] = []
    """Keywords that must be there in the end; a file without one fails and stays as it is."""
    history: str | None = None
    """Line for HISTORY, with the date, in files that are changed."""


def read_rules(path: str | Path) -> HeaderRules:
    """Read a rule file.

    Raises
    ------
    ConfigError
        If it is missing or wrong; the message has file, line, key and remedy.
    """
    return build_config(HeaderRules, read_yaml(path))


def apply_rules(header: fits.Header, rules: HeaderRules, *, where: str = "header") -> bool:
    """Change a header as rules say; applying them twice changes nothing more.

    Parameters
    ----------
    header : Header
        Is changed.
    rules : HeaderRules
        What to do.
    where : str
        The file, for messages.

    Returns
    -------
    bool
        Whether anything changed.

    Raises
    ------
    CannotComputeHeader
        If a value does not fit its rule, or a required keyword is missing.
    """
    before = [card.image for card in header.cards]
    for case in rules.cases:
        if all(fnmatchcase(_text(header, key), glob) for key, glob in case.when.items()):
            _apply_block(header, case, where)
    _apply_block(header, rules, where)
    missing = [key for key in rules.require if _is_missing(header, key)]
    if missing:
        raise CannotComputeHeader(
            f"{where}: required keyword {', '.join(missing)} is missing; add a default",
            missing=missing,
        )
    is_changed = before != [card.image for card in header.cards]
    if is_changed and rules.history:
        add_history_card(header, rules.history, rules.history)
    return is_changed


def _text(header: fits.Header, key: str) -> str:
    return "" if _is_missing(header, key) else str(header[key])


def _is_missing(header: fits.Header, key: str) -> bool:
    return key not in header or isinstance(header[key], fits.card.Undefined)


def _apply_block(header: fits.Header, block: RuleBlock, where: str) -> None:
    for old, new in block.rename.items():
        if old in header and new not in header:
            header.rename_keyword(old, new)
    for new, old in block.copy_from.items():
        if old in header and _is_missing(header, new):
            header.set(new, header[old], header.comments[old], after=old)
    _apply_values(header, block, where)
    for pattern in block.delete:
        for key in {k for k in header if fnmatchcase(k, pattern.upper())}:
            if not _PROTECTED.fullmatch(key):
                header.remove(key, remove_all=True)


def _apply_values(header: fits.Header, block: RuleBlock, where: str) -> None:
    for key, table in block.translate.items():
        if _text(header, key) in table:
            header[key] = table[_text(header, key)]
    for key, kind in block.types.items():
        if not _is_missing(header, key):
            _set(header, key, _converted(header[key], kind, f"{where}: {key}"))
    for key, rule in block.units.items():
        if not _is_missing(header, key):
            _convert_unit(header, key, rule, where)
    for key, value in block.defaults.items():
        if _is_missing(header, key):
            header[key] = value
    for key, value in block.values.items():
        _set(header, key, value)
    for key, comment in block.comments.items():
        if key in header:
            header.comments[key] = comment


def _set(header: fits.Header, key: str, value: Any) -> None:
    if _is_missing(header, key) or header[key] != value or type(header[key]) is not type(value):
        header[key] = value


def _converted(value: Any, kind: str, where: str) -> Any:
    try:
        if kind == "str":
            return str(value)
        if kind == "float":
            return float(value)
        if kind == "int":
            number = float(value)
            if number != int(number):
                raise ValueError  # noqa: TRY301 - answered below
            return int(number)
        return _BOOLEANS[str(value).strip().lower()]
    except (ValueError, TypeError, OverflowError, KeyError):
        raise CannotComputeHeader(
            f"{where} = {value!r} cannot be turned into {kind}; correct the value or the rule"
        ) from None


_BOOLEANS: Final[Mapping[str, bool]] = {
    "t": True, "true": True, "yes": True, "1": True, "on": True,
    "f": False, "false": False, "no": False, "0": False, "off": False,
}  # fmt: skip


def _convert_unit(header: fits.Header, key: str, rule: UnitRule, where: str) -> None:
    """Convert a value; the unit in the comment tells whether that was done before."""
    from astropy.units import Unit, UnitConversionError  # noqa: PLC0415 - slow

    comment = header.comments[key]
    stated = re.match(r"\s*\[([^\]]*)\]", comment)
    source = stated[1].strip() if stated else rule.from_
    if source == rule.to:
        return
    value = _converted(header[key], "float", f"{where}: {key}")
    try:
        new = float(Unit(source).to(Unit(rule.to), value))
    except (ValueError, UnitConversionError) as error:
        raise CannotComputeHeader(
            f"{where}: {key} in [{source}] cannot be turned into [{rule.to}] ({error}); correct "
            "the comment or the rule"
        ) from None
    header[key] = (float(f"{new:.15g}"), f"[{rule.to}] {_UNIT.sub('', comment, count=1)}".rstrip())

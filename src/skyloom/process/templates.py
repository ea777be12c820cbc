"""Headers with a fixed order of cards, from templates.

A template is a list.  An element is a complete card, put in as it stands, or a pair of keyword and
comment, which becomes a card where a value is given.
"""

from __future__ import annotations

import copy
import datetime
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeAlias

import yaml
from astropy.io import fits

from skyloom.errors import WrongValue

from .errors import FITSError, NotFoundError

__all__ = [
    "MINIMAL_IMAGE_TEMPLATE",
    "WFPDB_TEMPLATE",
    "Template",
    "add_history_card",
    "copy_fields",
    "get_template_name_from_history",
    "make_header_from_template",
    "register_template",
    "ruler",
    "update_templated_header",
]

Template: TypeAlias = Sequence["fits.Card | tuple[str, str]"]

_SIGNATURE: Final = "GAVO DaCHS template used: "
_COMMENTARY: Final = ("HISTORY", "COMMENT", "")
_NTH: Final = {1: "1st", 2: "2nd", 3: "3rd"}
_HISTORY_WIDTH: Final = 72  # columns
_NOT_COPIED: Final = frozenset(
    {"simple", "bitpix", "naxis", "naxis1", "naxis2", "imageh", "imagew", "datamin", "datamax",
     "date"}
)  # fmt: skip


def ruler(title: str) -> fits.Card:
    """Return a card without keyword that opens a section."""
    return fits.Card("", f"{'-' * 20} {title}")


def _load(name: str) -> list[list[fits.Card | tuple[str, str]]]:
    """Read the sections of a template that ships with the package."""
    text = (files("skyloom.process") / name).read_text(encoding="utf-8")
    return [list(_section(section)) for section in yaml.safe_load(text)]


def _section(section: Mapping[str, Any]) -> Iterator[fits.Card | tuple[str, str]]:
    if section["title"]:
        yield ruler(section["title"])
    fixed = section.get("fixed", {})
    for keyword, comment in section["keys"].items():
        if keyword in fixed:
            yield fits.Card(keyword, *fixed[keyword])
        elif "{n}" in keyword:
            for n, nth in _NTH.items():
                yield keyword.replace("{n}", str(n)), comment.replace("{nth}", nth)
        else:
            yield keyword, comment
    for name, order in section.get("sip", {}).items():
        yield f"{name}_ORDER", "order of the SIP polynomial"
        for i in range(order + 1):
            for j in range(order + 1 - i):
                yield f"{name}_{i}_{j}", "SIP coefficient"


_SECTIONS: Final = _load("wfpdb.yaml")

MINIMAL_IMAGE_TEMPLATE: Final[Template] = _SECTIONS[0]
"""What an image needs at least."""

WFPDB_TEMPLATE: Final[Template] = [item for section in _SECTIONS for item in section]
"""A digitised photographic plate."""

_TEMPLATES: dict[str, Template] = {"minimal": MINIMAL_IMAGE_TEMPLATE, "wfpdb": WFPDB_TEMPLATE}


def register_template(name: str, template: Template) -> None:
    """Give a template a name.

    Raises
    ------
    WrongValue
        If the name is taken by another template, or does not fit into the signature.
    """
    if _TEMPLATES.get(name, template) is not template:
        raise WrongValue(f"template {name} exists; choose another name", name=name)
    if not name or len(_SIGNATURE + name) > _HISTORY_WIDTH or not name.isprintable():
        limit = _HISTORY_WIDTH - len(_SIGNATURE)
        raise WrongValue(f"template name {name!r} must have 1 to {limit} characters", name=name)
    _TEMPLATES[name] = template


def _find(template: str | Template) -> tuple[str, Template]:
    if isinstance(template, str):
        if template not in _TEMPLATES:
            known = ", ".join(sorted(_TEMPLATES))
            raise NotFoundError(f"there is no template {template!r}; there are {known}")
        return template, _TEMPLATES[template]
    for name, known_template in _TEMPLATES.items():
        if known_template is template:
            return name, template
    warnings.warn(
        "this template is not registered, so nobody can tell which it was; call register_template",
        stacklevel=3,
    )
    return "anonymous", template


def make_header_from_template(
    template: str | Template, original_header: fits.Header | None = None, **values: Any
) -> fits.Header:
    """Make a header in the order of a template.

    Parameters
    ----------
    template : str or list
        A registered name, or a template.
    original_header : Header, optional
        Cards that the new header lacks are taken from it, HISTORY and COMMENT too.
    **values
        Values by keyword; ``-`` of a keyword is ``_`` here.  None: no card.

    Returns
    -------
    Header
        Its last card says which template was used.

    Raises
    ------
    NotFoundError
        If there is no template of that name.
    FITSError
        If a card cannot be made of a value; the message names the keyword.
    """
    name, items = _find(template)
    left = {_normal(key): value for key, value in values.items()}
    header = fits.Header()
    for item in items:
        if isinstance(item, fits.Card):
            header.append(copy.copy(item), end=True)
            left.pop(_normal(item.keyword), None)
            continue
        keyword, comment = item
        value = left.pop(_normal(keyword), None)
        if value is not None:
            header.append(_card(keyword, value, comment), end=True)
    if original_header is not None:
        _add_original(header, original_header)
    else:
        _add_left_over(header, left)
    header.append(fits.Card("HISTORY", f"{_SIGNATURE}{name}"), end=True)
    return header


def _normal(name: str) -> str:
    return name.upper().replace("-", "_")


def _card(keyword: str, value: Any, comment: str | None = None) -> fits.Card:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            card = fits.Card(keyword, value, comment)
            card.verify("exception")
    except Exception as error:
        reason = " ".join(str(error).split())
        raise FITSError(
            f"card {keyword} cannot be made of {value!r}: {reason}; correct the value",
            keyword=keyword,
        ) from error
    return card


def _add_original(header: fits.Header, original: fits.Header) -> None:
    present = set(header)
    for card in original.cards:
        if card.keyword not in _COMMENTARY and card.keyword not in present:
            header.append(copy.copy(card), end=True)
    for card in original.cards:
        if card.keyword == "HISTORY" and not str(card.value).startswith(_SIGNATURE):
            header.append(copy.copy(card), end=True)
    header.append(fits.Card(), end=True)
    for card in original.cards:
        if card.keyword == "COMMENT":
            header.append(copy.copy(card), end=True)


def _add_left_over(header: fits.Header, left: Mapping[str, Any]) -> None:
    left = {name.replace("_", "-"): value for name, value in left.items() if value is not None}
    if not left:
        return
    warnings.warn(
        f"values that are not in the template stand at the end: {', '.join(left)}", stacklevel=3
    )
    for keyword, value in left.items():
        header.append(_card(keyword, value), end=True)


def get_template_name_from_history(header: fits.Header) -> str:
    """Return the name of the template that a header was made from.

    Raises
    ------
    NotFoundError
        If its HISTORY does not say.
    """
    for line in header.get("HISTORY", ()):
        if str(line).startswith(_SIGNATURE):
            return str(line)[len(_SIGNATURE) :].strip()
    raise NotFoundError("the header's HISTORY names no template; give template_name")


def update_templated_header(
    header: fits.Header, template_name: str | None = None, **values: Any
) -> fits.Header:
    """Make a header again from its own values and some new ones.

    Parameters
    ----------
    header : Header
        Stays as it is.
    template_name : str, optional
        Default: the one that its HISTORY names.
    **values
        New values, as for `make_header_from_template`; None removes a card.
    """
    name = get_template_name_from_history(header) if template_name is None else template_name
    new = {_normal(key): value for key, value in values.items()}
    removed = {key for key, value in new.items() if value is None}
    original = fits.Header(
        [copy.copy(card) for card in header.cards if _normal(card.keyword) not in removed]
    )
    own = {
        _normal(card.keyword): card.value
        for card in original.cards
        if card.keyword not in _COMMENTARY
    }
    return make_header_from_template(name, original_header=original, **{**own, **new})


def add_history_card(header: fits.Header, entry: str, recognizer: str | None = None) -> None:
    """Add a line with today's date to HISTORY.

    Parameters
    ----------
    header : Header
        Is changed.
    entry : str
        The text, at most 61 characters.
    recognizer : str, optional
        The first line that contains it is overwritten instead.

    Raises
    ------
    ValueError
        If the text is too long.
    """
    line = f"{datetime.datetime.now(tz=datetime.UTC).date().isoformat()} {entry}"
    if len(line) > _HISTORY_WIDTH:
        raise WrongValue(
            f"history entry {entry!r} has {len(entry)} characters, {_HISTORY_WIDTH - 11} fit; "
            "shorten it",
            entry=entry,
        )
    if recognizer is not None:
        for n, old in enumerate(header.get("HISTORY", ())):
            if recognizer in str(old):
                header["HISTORY", n] = line
                return
    header["HISTORY"] = line


def copy_fields(
    header: fits.Header,
    cards: Iterable[fits.Card] | fits.Header,
    ignored: Iterable[str] = _NOT_COPIED,
) -> None:
    """Copy cards into a header.

    Parameters
    ----------
    header : Header
        Is changed: COMMENT and HISTORY are appended, other cards replace those of their name.
    cards : iterable of Card
        What is copied.
    ignored : iterable of str
        Keywords that are left out, in lower case.
    """
    skip = set(ignored)
    for card in cards.cards if isinstance(cards, fits.Header) else cards:
        if card.keyword.lower() in skip or not card.keyword:
            continue
        if card.keyword in _COMMENTARY:
            header.append(copy.copy(card), end=True)
        elif card.keyword in header:
            header.set(card.keyword, card.value, card.comment)
        else:
            header.append(copy.copy(card))

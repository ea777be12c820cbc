"""Text in cards of FITS headers: apostrophes and long texts, by the rules of the standard.

An apostrophe is doubled, and what is longer than a card goes on in CONTINUE cards.  astropy 7 ends
a text at an apostrophe before a slash, and may cut a doubled one in two; both would change what
the docs of a catalogue say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from astropy.io import fits

from skyloom.errors import BadTable

__all__ = ["card_text", "text_card"]

_CARD: Final = 80
_SHORT: Final = 68  # characters between the apostrophes of one card
_QUOTED: Final = re.compile(r"\s*'((?:[^']|'')*)'")


def card_text(card: fits.Card | None) -> str:
    """Return the text of a card without blanks around it; "" where it is none."""
    value = None if card is None else card.value
    if not isinstance(value, str):
        return ""
    if card is not None and "'" in value:
        value = _from_image(card.image, value)
    return value.strip()


def _from_image(image: str, value: str) -> str:
    pieces = []
    for start in range(0, len(image), _CARD):
        quoted = _QUOTED.match(image[start : start + _CARD], 10)
        if quoted is None:
            return value
        pieces.append(quoted[1].replace("''", "'"))
    continued = [piece.rstrip().removesuffix("&") for piece in pieces[:-1]]
    return "".join([*continued, pieces[-1]])


def text_card(keyword: str, text: str, comment: str = "") -> fits.Card:
    """Return a card that holds a text of any length.

    Raises
    ------
    BadTable
        If the text has characters that a header cannot hold.
    """
    if not (text.isascii() and (text.isprintable() or not text)):
        raise BadTable(
            f"a card of the header cannot be written: {keyword} = {text!r} has characters beyond "
            "printable ASCII; replace them",
            keyword=keyword,
        )
    pieces = list(_pieces(text))
    lines = [f"{keyword:<8}= '{pieces[0]:<8}'"]
    if len(pieces) == 1 and comment:
        lines[0] = f"{lines[0]:<30} / {comment}"[:_CARD]
    lines += [f"CONTINUE  '{piece}'" for piece in pieces[1:]]
    return fits.Card.fromstring("".join(f"{line:<80}" for line in lines))


def _pieces(text: str) -> Iterator[str]:
    """Yield what goes between the apostrophes of each card."""
    escaped = text.replace("'", "''")
    while len(escaped) > _SHORT:
        end = _SHORT - 1  # an ampersand follows
        if (end - len(escaped[:end].rstrip("'"))) % 2:
            end -= 1  # keep a doubled apostrophe together
        yield escaped[:end] + "&"
        escaped = escaped[end:]
    yield escaped

"""The order of cards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from astropy.io import fits

from .errors import FITSError
from .structure import naxis_keys

__all__ = ["CardSequence", "Keep", "sort_headers"]

Keep: TypeAlias = Callable[[str], bool]
CardSequence: TypeAlias = Sequence[str | tuple[str, bool] | fits.Card]

_MANDATORY: Final = ("SIMPLE", "BITPIX", "NAXIS")
_AFTER: Final = ("EXTEND", "BZERO", "BSCALE")
_COMMENTARY: Final = ("HISTORY", "COMMENT")


def sort_headers(
    header: fits.Header,
    comment_filter: Keep | None = None,
    history_filter: Keep | None = None,
    card_sequence: CardSequence | None = None,
) -> fits.Header:
    """Return a header with its cards in order.

    The mandatory cards, the axes, EXTEND, BZERO, BSCALE; then ``card_sequence``; the other values
    as they stand; a blank card and HISTORY; a blank card and COMMENT.  Repeated HISTORY and COMMENT
    lines and empty cards are dropped; cards with text but without keyword keep their place.

    Parameters
    ----------
    header : Header
        Stays as it is.
    comment_filter, history_filter : callable, optional
        Take the text of a card and return whether it is kept.
    card_sequence : sequence, optional
        Names, pairs ``(name, is_mandatory)``, or cards, which are put in as they are.

    Raises
    ------
    FITSError
        If a mandatory card is missing.
    """
    rest = [card for card in header.cards if card.keyword or not card.is_blank]
    found = fits.Header()
    for card in _first(rest, naxis_keys(header)):
        found.append(card, end=True)
    for card in _in_sequence(rest, card_sequence or ()):
        found.append(card, end=True)
    for card in rest:
        if card.keyword not in _COMMENTARY:
            found.append(copy.copy(card), end=True)
    for keyword, keep in zip(_COMMENTARY, (history_filter, comment_filter), strict=True):
        lines = [card for card in rest if card.keyword == keyword]
        if keyword in header:
            found.append(fits.Card(), end=True)
        for card in _distinct(lines, keep):
            found.append(copy.copy(card), end=True)
    return found


def _first(rest: list[fits.Card], axes: list[str]) -> Iterator[fits.Card]:
    for name in (*_MANDATORY, *axes, *_AFTER):
        card = _take(rest, name)
        if card is not None:
            yield card
        elif name in _MANDATORY:
            raise FITSError(f"mandatory card {name} is missing", keyword=name)


def _in_sequence(rest: list[fits.Card], sequence: CardSequence) -> Iterator[fits.Card]:
    for item in sequence:
        if isinstance(item, fits.Card):
            # Where the header has been sorted before, the card is in it already.
            same = next((card for card in rest if card.image == item.image), None)
            if same is not None:
                rest.remove(same)
            yield copy.copy(item)
            continue
        name, is_mandatory = (item, False) if isinstance(item, str) else item
        card = _take(rest, name)
        if card is not None:
            yield card
        elif is_mandatory and not _is_structural(name):
            raise FITSError(f"card {name} is missing; the card sequence demands it", keyword=name)


def _is_structural(name: str) -> bool:
    return name in _MANDATORY or name in _AFTER or name.startswith("NAXIS")


def _take(rest: list[fits.Card], name: str) -> fits.Card | None:
    """Take the first card of that name out of a list."""
    for index, card in enumerate(rest):
        if card.keyword == name.upper():
            return copy.copy(rest.pop(index))
    return None


def _distinct(lines: list[fits.Card], keep: Keep | None) -> Iterator[fits.Card]:
    seen = set()
    for card in lines:
        text = str(card.value)
        if text not in seen and (keep is None or keep(text)):
            seen.add(text)
            yield card

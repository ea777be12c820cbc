"""Headers as text."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from .cards import CARD, get_primary_header

__all__ = ["shown_cards"]


def shown_cards(path: str, keys: Sequence[str] = ()) -> list[str]:
    """Return the cards of a primary header as they stand on disk.

    Parameters
    ----------
    path : str
        The file.
    keys : sequence of str
        Keywords, or shell patterns of them; none: all.

    Raises
    ------
    FITSError, EOFError, OSError
        If the header cannot be read.
    """
    patterns = [key.upper() for key in keys]
    lines = []
    for card in get_primary_header(path).cards:
        if not patterns or any(fnmatchcase(card.keyword, p) for p in patterns):
            image = card.image
            lines += [image[i : i + CARD].rstrip() for i in range(0, len(image), CARD)]
    return lines

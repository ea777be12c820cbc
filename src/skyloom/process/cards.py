"""Header cards that keep their bytes, and reading and writing whole headers.

A card that nobody changes is written as the 80 bytes that were read, however odd they are; astropy
formats only what is new or changed.
"""

from __future__ import annotations

import gzip
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from astropy.io import fits
from typing_extensions import override

from skyloom.errors import Unprocessable

from .errors import FITSError

__all__ = [
    "BLOCK",
    "CARD",
    "KeptCard",
    "TruncatedHeader",
    "get_primary_header",
    "parse_header",
    "read_header_bytes",
    "serialize_header",
]

log = logging.getLogger(__name__)

BLOCK: Final = 2880  # bytes
CARD: Final = 80  # bytes
MAX_BLOCKS: Final = 80
_END: Final = b"END     "


class TruncatedHeader(Unprocessable, EOFError):  # noqa: N818 - named as those in errors.py
    """A file ends before its header does."""


class KeptCard(fits.Card):  # type: ignore[misc]
    """A card that is written as it was read unless it has been changed."""

    raw: str | None = None

    @classmethod
    def from_raw(cls, raw: bytes) -> KeptCard:
        """Make a card of its 80 columns, or of those of a string with its CONTINUE cards.

        Bytes that are not ASCII are dropped from its value and comment, but written again.
        """
        text = raw.decode("latin1")
        card = cls.fromstring(text if text.isascii() else _ascii(raw))
        assert isinstance(card, KeptCard)
        card.raw = text
        return card

    @property
    def is_kept(self) -> bool:
        """Whether the card is as it was read."""
        return self.raw is not None and not self._modified

    @property
    @override
    def image(self) -> str:
        """The columns of the card."""
        return self.raw if self.is_kept and self.raw is not None else str(super().image)

    @property
    @override
    def is_blank(self) -> bool:
        """Whether there is nothing on the card."""
        if self.is_kept and self.raw is not None:
            return not self.raw.strip()
        return bool(super().is_blank)


def _ascii(raw: bytes) -> str:
    cards = (raw[i : i + CARD].decode("ascii", "ignore") for i in range(0, len(raw), CARD))
    return "".join(card.ljust(CARD) for card in cards)


def read_header_bytes(
    file: BinaryIO, *, max_blocks: int = MAX_BLOCKS, name: str = "header"
) -> bytes:
    """Read whole blocks until one has the END card; data are not read.

    Parameters
    ----------
    file : binary file
        Positioned at the start of a header.
    max_blocks : int
        Blocks of 2880 bytes after which the search is given up.
    name : str
        The file, for messages.

    Raises
    ------
    TruncatedHeader
        If the file ends first; also an EOFError.
    FITSError
        If there is no END card in ``max_blocks`` blocks.
    """
    blocks = b""
    for _ in range(max_blocks):
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise TruncatedHeader(_truncated(name, blocks + block), file=name)
        blocks += block
        if find_end(block) is not None:
            return blocks
    raise FITSError(
        f"{name}: no END card within {max_blocks} blocks of {BLOCK} bytes; this is not FITS, or "
        "the header is damaged",
        file=name,
    )


def _truncated(name: str, found: bytes) -> str:
    if not found:
        return f"{name}: the file is empty; fetch it again"
    if not found.startswith(b"SIMPLE"):
        return f"{name}: not a FITS file, it starts with {found[:8]!r}; leave it out"
    return f"{name}: the file ends after {len(found)} bytes, inside its header; fetch it again"


def find_end(block: bytes) -> int | None:
    """Return where the END card of a block starts."""
    start = block.find(_END)
    while start >= 0:
        if start % CARD == 0:
            return start
        start = block.find(_END, start + 1)
    return None


def parse_header(data: bytes) -> fits.Header:
    """Turn the bytes of a header into a `Header` of cards that keep their bytes.

    Parameters
    ----------
    data : bytes
        Up to and including the END card.  Bytes that are not ASCII are dropped.
    """
    header = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cards that astropy does not like are kept all the same
        for raw in _logical_cards(data):
            header.append(KeptCard.from_raw(raw), end=True)
    return header


def _logical_cards(data: bytes) -> Iterator[bytes]:
    pending = b""
    for start in range(0, len(data), CARD):
        card = data[start : start + CARD]
        if card.startswith(_END):
            break
        if pending and card.startswith(b"CONTINUE"):
            pending += card
            continue
        if pending:
            yield pending
        pending = card
    if pending:
        yield pending


def get_primary_header(path: str | Path, *, max_blocks: int = MAX_BLOCKS) -> fits.Header:
    """Read the primary header of a FITS file; names that end in ``.gz`` are unpacked.

    Parameters
    ----------
    path : path
        The file.
    max_blocks : int
        Blocks of 2880 bytes after which the search for END is given up.

    Raises
    ------
    TruncatedHeader
        If the file ends inside the header, or is empty; also an EOFError.
    FITSError
        If there is no END card in ``max_blocks`` blocks.
    OSError
        If the file cannot be opened.
    """
    name = str(path)
    opened: Any = gzip.open if name.endswith(".gz") else open
    with opened(name, "rb") as file:
        return parse_header(read_header_bytes(file, max_blocks=max_blocks, name=name))


def serialize_header(header: fits.Header) -> bytes:
    """Return the bytes of a header: its cards, END, and blanks up to a multiple of 2880.

    Raises
    ------
    FITSError
        If a card cannot be written as FITS.
    """
    text = "".join(_images(header))
    data = text.encode("latin1") + _END.ljust(CARD)
    return data.ljust(-(-len(data) // BLOCK) * BLOCK)


def _images(header: fits.Header) -> Iterator[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for card in header.cards:
            try:
                yield _image(card)
            except Exception as error:
                reason = " ".join(str(error).split())
                raise FITSError(
                    f"card {card.keyword} cannot be written: {reason}; correct its value",
                    keyword=card.keyword,
                ) from error
    for warning in caught:
        if "truncated" in str(warning.message):
            log.warning("a header card: %s", warning.message)


def _image(card: fits.Card) -> str:
    if getattr(card, "_modified", False):
        card.verify("silentfix+exception")
    image = str(card.image)
    is_kept = isinstance(card, KeptCard) and card.is_kept
    if not (is_kept or image.isascii()) or len(image) % CARD:
        raise ValueError(f"{image!r} is not a multiple of {CARD} ASCII characters")
    return image

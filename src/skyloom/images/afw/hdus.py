"""Where the HDUs of a FITS file are, found by reading headers and nothing else.

Pixels and table rows are not touched, so that headers of a file that is cut off in its pixels can
still be read, and HDUs that are not understood can be copied byte for byte.
"""

from __future__ import annotations

import gzip
import io
import re
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from astropy.io import fits

from skyloom.errors import MissingFile, SkyloomError, UnreadableFile

__all__ = ["BLOCK", "Hdu", "damaged", "opened", "padded", "quiet", "scan"]

BLOCK = 2880  # byte; everything in a FITS file comes in blocks of this size
_CARD = 80
_END = b"END" + b" " * 77
_MOST_BLOCKS = 20_000  # of one header: 720 000 cards
_PRINTABLE = bytes(range(32, 127))
_BITPIX = {8, 16, 32, 64, -32, -64}
_VALUE = re.compile(
    rb"\s*(?:'(?P<text>(?:[^']|'')*)'|(?P<truth>[TF])|(?P<whole>[+-]?\d{1,19})"
    rb"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?))\s*(?:/.*)?$"
)
_QUIET = threading.RLock()
_LARGEST = 1 << 62  # byte; a larger HDU is a damaged header


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdu:
    """One HDU on disk: its header, and where its data are."""

    path: Path
    number: int  # from 0
    raw_header: bytes  # whole blocks
    start: int  # byte in the file
    data_start: int  # byte in the file
    data_size: int  # byte, without padding

    @property
    def where(self) -> str:
        """File and HDU, as error messages name them."""
        return f"{self.path}[{self.number}]"

    @property
    def stop(self) -> int:
        """Byte at which the next HDU starts."""
        return self.data_start + -(-self.data_size // BLOCK) * BLOCK

    @cached_property
    def header(self) -> fits.Header:
        """The header with all its cards in order, as astropy has it."""
        return self.header_of([card for _, card in self.cards])

    def header_of(self, cards: Sequence[bytes]) -> fits.Header:
        """Make a header of cards whose values astropy can read.

        Raises
        ------
        UnreadableFile
            If one of them cannot be read.
        """
        with damaged(self.path, self.number), quiet():
            header: fits.Header = fits.Header.fromstring(b"".join(cards))
            for raw in cards:
                if _value(raw) is None:  # not plainly a value: commentary, blank, or damaged
                    card = fits.Card.fromstring(raw)
                    _ = card.value, card.comment
        return header

    @cached_property
    def cards(self) -> list[tuple[str, bytes]]:
        """Keywords and cards as they are in the file, in order; continued ones in one piece."""
        found: list[tuple[str, bytes]] = []
        for start in range(0, len(self.raw_header), _CARD):
            card = self.raw_header[start : start + _CARD]
            if card == _END:
                break
            if card.startswith(b"CONTINUE") and found:
                found[-1] = (found[-1][0], found[-1][1] + card)
            else:
                found.append((_keyword(card), card))
        return found

    @cached_property
    def _first(self) -> dict[str, bytes]:
        return dict(reversed(self.cards))

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def value(self, name: str, default: Any = None) -> Any:
        """Return the value of the first card of a keyword, read without astropy.

        None where it has no value that can be read; `default` where there is no such card.
        """
        card = self._first.get(name)
        return default if card is None else _value(card)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return the value of an integer keyword.

        Raises
        ------
        UnreadableFile
            If it is absent and has no default, or is not an integer.
        """
        value = self.value(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self.error(f"keyword {name} is missing or is not an integer")

    def text(self, name: str) -> str:
        """Return the value of a text keyword without trailing blanks; "" where it is absent."""
        value = self.value(name)
        return value.rstrip() if isinstance(value, str) else ""

    @property
    def is_compressed(self) -> bool:
        """Whether it is an image in the form of a table of compressed tiles."""
        return self.value("ZIMAGE") is True

    def error(self, what: str, remedy: str = "copy or write the file again") -> UnreadableFile:
        """Return the error that names this HDU."""
        return UnreadableFile(
            f"{self.where}: {what}; {remedy}", file=str(self.path), hdu=self.number
        )

    def read_data(self, file: BinaryIO) -> bytes:
        """Read the data, without padding, as they are on disk."""
        available = file.seek(0, io.SEEK_END) - self.data_start
        if available < self.data_size:
            raise self.error(
                f"the file is truncated: {max(0, available)} of {self.data_size} bytes are there"
            )
        file.seek(self.data_start)
        return file.read(self.data_size)


@contextmanager
def damaged(path: Path, number: int | None = None) -> Iterator[None]:
    """Turn whatever astropy, numpy or zlib raise on damaged files into `UnreadableFile`."""
    try:
        yield
    except (SkyloomError, MemoryError):
        raise
    except Exception as error:  # a dozen types, of several packages
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        where = str(path) if number is None else f"{path}[{number}]"
        raise UnreadableFile(
            f"{where}: cannot be read as FITS ({reason}); copy or write the file again",
            file=str(path),
            hdu=number,
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Do not show what astropy says about cards and WCS that are not quite standard.

    The filter of warnings is one for the process: one thread at a time.
    """
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; one that is packed with gzip is unpacked in memory.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no such file, or it cannot be opened.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise MissingFile(f"{path}: no such file; correct the path", file=str(path)) from error
    except OSError as error:
        raise UnreadableFile(
            f"{path}: cannot be opened ({error.strerror}); change its permissions or the path",
            file=str(path),
        ) from error
    with file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not is_packed:
            yield file
            return
        try:
            whole = gzip.decompress(file.read())
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableFile(
                f"{path}: cannot be unpacked ({error}); copy it again", file=str(path)
            ) from error
        yield io.BytesIO(whole)


def scan(file: BinaryIO, path: Path, *, most: int | None = None) -> list[Hdu]:
    """Find the HDUs of an open file, or the first few of them.

    Raises
    ------
    UnreadableFile
        If it is not FITS, or a header is damaged or cut off.
    """
    size = file.seek(0, io.SEEK_END)
    found: list[Hdu] = []
    start = 0
    while start < size and (most is None or len(found) < most):
        hdu = _read_header(file, path, len(found), start)
        if hdu is None:
            break
        found.append(hdu)
        start = hdu.stop
    if not found:
        raise UnreadableFile(f"{path}: is empty or not FITS; give a FITS file", file=str(path))
    return found


def padded(data: bytes, fill: bytes = b"\0") -> bytes:
    """Return data filled up to whole blocks."""
    return data + fill * (-len(data) % BLOCK)


def _read_header(file: BinaryIO, path: Path, number: int, start: int) -> Hdu | None:
    file.seek(start)
    blocks: list[bytes] = []
    expected = b"XTENSION= '" if number else b"SIMPLE  ="
    for _ in range(_MOST_BLOCKS):
        block = file.read(BLOCK)
        if number and not blocks and not block.strip(b"\0 "):
            return None  # nothing but padding
        if not blocks and not block.startswith(expected):
            what = "an extension" if number else "a FITS file"
            raise _bad(path, number, f"{what} should start at byte {start}, something else does")
        if len(block) < BLOCK:
            raise _bad(path, number, "the header is cut off")
        if block.translate(None, _PRINTABLE):
            raise _bad(path, number, "the header holds bytes that are not text")
        blocks.append(block)
        if any(block[i : i + _CARD] == _END for i in range(0, BLOCK, _CARD)):
            break
    else:
        raise _bad(path, number, "the header has no end")
    raw = b"".join(blocks)
    data_start = start + len(raw)
    size = _data_size(raw, path, number)
    return Hdu(
        path=path,
        number=number,
        raw_header=raw,
        start=start,
        data_start=data_start,
        data_size=size,
    )


def _data_size(raw: bytes, path: Path, number: int) -> int:
    def need(name: str, lowest: int) -> int:
        value = _integer(raw, name)
        if value is None or value < lowest:
            raise _bad(path, number, f"keyword {name} is missing or has no usable value")
        return value

    bitpix = _integer(raw, "BITPIX")
    if bitpix not in _BITPIX:
        raise _bad(path, number, f"BITPIX = {bitpix} is none of 8, 16, 32, 64, -32, -64")
    naxis = need("NAXIS", 0)
    if naxis > 999:
        raise _bad(path, number, f"NAXIS = {naxis} is too large")
    if naxis == 0:
        return 0
    values = 1
    for axis in range(1, naxis + 1):
        values *= need(f"NAXIS{axis}", 0)
        if values > _LARGEST:
            raise _bad(path, number, "the axes are impossibly long")
    extra = need("PCOUNT", 0) if _position(raw, "PCOUNT") >= 0 else 0
    groups = need("GCOUNT", 0) if _position(raw, "GCOUNT") >= 0 else 1
    size = abs(bitpix) // 8 * groups * (extra + values)
    if size > _LARGEST:
        raise _bad(path, number, "the data are impossibly long")
    return size


def _keyword(card: bytes) -> str:
    """Return the keyword of a card; of a HIERARCH card, what follows."""
    if card.startswith(b"HIERARCH "):
        name, equals, _ = card[9:].partition(b"=")
        if equals:
            return name.decode("ascii").strip().upper()
    return card[:8].decode("ascii").rstrip()


def _value(card: bytes) -> Any:
    """Return the value of a card: bool, int, float, text, or None."""
    after = card[:_CARD].partition(b"=")[2]
    match = _VALUE.match(after)
    if match is None:
        return None
    if match["text"] is not None:
        text = match["text"].replace(b"''", b"'").decode("ascii")
        for start in range(_CARD, len(card), _CARD):
            more = _VALUE.match(card[start + 8 : start + _CARD])
            if not text.endswith("&") or more is None or more["text"] is None:
                break
            text = text[:-1] + more["text"].replace(b"''", b"'").decode("ascii")
        return text
    if match["truth"] is not None:
        return match["truth"] == b"T"
    if match["whole"] is not None:
        return int(match["whole"])
    return float(match["number"].upper().replace(b"D", b"E"))


def _position(raw: bytes, name: str) -> int:
    """Return the byte at which the card of a keyword starts; -1 where there is none."""
    key = name.encode().ljust(8) + b"="
    position = raw.find(key)
    while position >= 0 and position % _CARD:
        position = raw.find(key, position + 1)
    return position


def _integer(raw: bytes, name: str) -> int | None:
    position = _position(raw, name)
    if position < 0:
        return None
    value = raw[position + 9 : position + _CARD].split(b"/")[0].strip()
    return int(value) if re.fullmatch(rb"[+-]?\d{1,19}", value) else None


def _bad(path: Path, number: int, what: str) -> UnreadableFile:
    facts: dict[str, Any] = {"file": str(path), "hdu": number}
    return UnreadableFile(f"{path}[{number}]: {what}; copy or write the file again", **facts)

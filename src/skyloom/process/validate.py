"""A fast look at the structure of FITS files: no pixels are interpreted, no library is needed.

Checked are: blocks, END, the order and values of mandatory keywords, the form of each card, the
size of the data, the columns of binary tables, what follows the last HDU, and checksums where there
are any.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from typing_extensions import override

from .cards import BLOCK, CARD, read_header_bytes
from .checksums import add_sums, data_sum, stream_sum
from .errors import FITSError
from .processor import FileProcessor

__all__ = ["Finding", "InvalidFITS", "Validator", "check_fits"]

_MAX_BLOCKS: Final = 2000  # of one header: 72 000 cards
_BITPIX: Final = (8, 16, 32, 64, -32, -64)
_ALL_ONES: Final = 0xFFFFFFFF
_COMMENTARY: Final = (b"COMMENT ", b"HISTORY ", b"        ", b"CONTINUE", b"HIERARCH")

_NOT_PRINTABLE: Final = re.compile(rb"[^\x20-\x7e]")
_KEYWORD: Final = re.compile(rb"[A-Z0-9_-]+ *")
_VALUE: Final = re.compile(
    rb" *(?:'(?:[^']|'')*'"  # text
    rb"|[TF]"
    rb"|[+-]?(?:\d+\.?\d*|\.\d+)(?:[ED][+-]?\d+)?"
    rb"|\( *[+-]?[\d.]+(?:[ED][+-]?\d+)? *, *[+-]?[\d.]+(?:[ED][+-]?\d+)? *\)"
    rb"|) *(?:/.*)?"
)
_TFORM: Final = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_WIDTH: Final = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8, "P": 8,
                 "M": 16, "Q": 16}  # fmt: skip


class InvalidFITS(FITSError):  # noqa: N818 - as its base
    """A file breaks the FITS standard; `findings` has the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a file."""

    hdu: int
    kind: str  # a few words, for counting
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"[{self.hdu}]: {self.message}"


def check_fits(path: str | Path, *, checksums: bool = True) -> list[Finding]:
    """Check a FITS file against the standard.

    Parameters
    ----------
    path : path
        The file; names that end in ``.gz`` are unpacked.
    checksums : bool
        Whether CHECKSUM and DATASUM are compared with the bytes, which reads the whole file.

    Returns
    -------
    list of Finding
        Empty if nothing is wrong.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    name = str(path)
    opened: Any = gzip.open if name.endswith(".gz") else open
    with opened(name, "rb") as file:
        size = _size(file)
        return list(_findings(file, size, checksums=checksums))


def _size(file: BinaryIO) -> int:
    if not isinstance(file, gzip.GzipFile):
        return os.fstat(file.fileno()).st_size
    try:
        return file.seek(0, os.SEEK_END)
    finally:
        file.seek(0)


def _findings(file: BinaryIO, size: int, *, checksums: bool) -> Iterator[Finding]:
    start = number = 0
    while start < size:
        if number and not _is_extension(file, size - start):
            yield Finding(
                hdu=number - 1,
                kind="bytes after the end",
                message=f"{size - start} bytes follow the last HDU",
                severity="warning",
            )
            return
        try:
            raw = read_header_bytes(file, max_blocks=_MAX_BLOCKS, name="header")
        except (EOFError, FITSError) as error:
            reason = str(error).removeprefix("header: ")
            yield Finding(hdu=number, kind="header", message=reason)
            return
        hdu = _Hdu(number, raw)
        yield from hdu.check()
        if hdu.data_size is None:
            return
        end = start + len(raw) + hdu.data_size
        padded = -(-end // BLOCK) * BLOCK
        if size < end:
            message = f"truncated, {end - size} bytes of the data are missing"
            yield Finding(hdu=number, kind="truncated", message=message)
            return
        if size < padded:
            message = f"the last block is not filled, {padded - size} bytes are missing"
            yield Finding(hdu=number, kind="padding", message=message)
        if checksums:
            yield from hdu.check_sums(file, min(size, padded) - start - len(raw))
        start, number = padded, number + 1
        file.seek(start)
    if number == 0:
        yield Finding(hdu=0, kind="empty", message="the file is empty")


def _is_extension(file: BinaryIO, left: int) -> bool:
    if left < BLOCK:
        return False
    here = file.tell()
    first = file.read(8)
    file.seek(here)
    return first == b"XTENSION"


class _Hdu:
    """The header of one HDU, as bytes."""

    def __init__(self, number: int, raw: bytes) -> None:
        self.number = number
        self.raw = raw
        self.data_size: int | None = None  # bytes; None: unknown
        cards = [raw[i : i + CARD] for i in range(0, len(raw), CARD)]
        end = next(n for n, card in enumerate(cards) if card.startswith(b"END     "))
        self.cards, self.rest = cards[:end], cards[end:]
        self.values: dict[str, bytes] = {}
        self.repeated: list[str] = []
        for card in self.cards:
            if card[8:10] == b"= ":
                key = card[:8].decode("ascii", "replace").rstrip()
                if key in self.values:
                    self.repeated.append(key)
                self.values.setdefault(key, card[10:])

    def _finding(self, kind: str, message: str, *, is_error: bool = True) -> Finding:
        severity: Literal["error", "warning"] = "error" if is_error else "warning"
        return Finding(hdu=self.number, kind=kind, message=message, severity=severity)

    def check(self) -> Iterator[Finding]:
        """Check everything but the data; sets `data_size`."""
        wrong = list(self._mandatory())
        yield from wrong
        if not wrong:
            self.data_size = self._data_size()
            yield from self._order()
            yield from self._columns()
        yield from self._forms()
        for key in dict.fromkeys(self.repeated):
            yield self._finding("repeated keyword", f"{key} is given twice", is_error=False)
        if b"".join(self.rest)[3:].strip(b" "):
            yield self._finding("after END", "END is followed by text")

    def _mandatory(self) -> Iterator[Finding]:
        first = "XTENSION" if self.number else "SIMPLE"
        if not self.cards or self.cards[0][:10] != f"{first:8}= ".encode():
            found = self.cards[0][:8].decode("ascii", "replace") if self.cards else "nothing"
            yield self._finding("mandatory keyword", f"starts with {found!r}, not with {first}")
            return
        bitpix, naxis = self._integer("BITPIX"), self._integer("NAXIS")
        if bitpix not in _BITPIX:
            yield self._finding("mandatory keyword", self._wrong("BITPIX", f"one of {_BITPIX}"))
        if naxis is None or not 0 <= naxis <= 999:
            yield self._finding("mandatory keyword", self._wrong("NAXIS", "0 to 999"))
            return
        for key in self._leading(naxis)[3:]:
            value = self._integer(key)
            if value is None or value < 0:
                yield self._finding("mandatory keyword", self._wrong(key, "an integer >= 0"))

    def _leading(self, naxis: int) -> list[str]:
        """Return the keywords that a header must start with."""
        axes = [f"NAXIS{n}" for n in range(1, naxis + 1)]
        if self.number:
            return ["XTENSION", "BITPIX", "NAXIS", *axes, "PCOUNT", "GCOUNT"]
        return ["SIMPLE", "BITPIX", "NAXIS", *axes]

    def _order(self) -> Iterator[Finding]:
        wanted = self._leading(self._integer("NAXIS") or 0)
        first = [card[:8].decode("ascii", "replace").rstrip() for card in self.cards[: len(wanted)]]
        if first != wanted:
            text = f"the first keywords must be {', '.join(wanted)}"
            yield self._finding("order of keywords", text)
        if not self.number and self._bare("SIMPLE") != "T":
            yield self._finding("not standard", "SIMPLE is not T", is_error=False)

    def _wrong(self, key: str, demand: str) -> str:
        if key not in self.values:
            return f"{key} is missing"
        return f"{key} = {self._bare(key)} must be {demand}"

    def _bare(self, key: str) -> str:
        return self.values.get(key, b"").decode("ascii", "replace").partition("/")[0].strip()

    def _integer(self, key: str) -> int | None:
        text = self._bare(key)
        return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else None

    def _data_size(self) -> int:
        naxis = self._integer("NAXIS") or 0
        if naxis == 0:
            return 0
        axes = [self._integer(f"NAXIS{n}") or 0 for n in range(1, naxis + 1)]
        if axes[0] == 0 and self._bare("GROUPS") == "T":
            axes = axes[1:]
        product = 1
        for axis in axes:
            product *= axis
        pcount, gcount = self._integer("PCOUNT"), self._integer("GCOUNT")
        count = (1 if gcount is None else gcount) * ((pcount or 0) + product)
        return abs(self._integer("BITPIX") or 8) // 8 * count

    def _columns(self) -> Iterator[Finding]:
        """Check that the columns of a binary table fill its rows."""
        if self._bare("XTENSION").strip("' ") != "BINTABLE":
            return
        total = 0
        for n in range(1, (self._integer("TFIELDS") or 0) + 1):
            match = _TFORM.match(self._bare(f"TFORM{n}").strip("' "))
            if match is None:
                yield self._finding("columns", self._wrong(f"TFORM{n}", "a format such as 1J"))
                return
            repeat = int(match[1] or 1)
            total += (repeat + 7) // 8 if match[2] == "X" else repeat * _WIDTH[match[2]]
        if total != self._integer("NAXIS1"):
            message = f"the columns have {total} bytes, a row NAXIS1 = {self._bare('NAXIS1')}"
            yield self._finding("columns", message)

    def _forms(self) -> Iterator[Finding]:
        """Check the form of each card."""
        for n, card in enumerate(self.cards, 1):
            odd = _NOT_PRINTABLE.search(card)
            if odd is not None:
                text = f"card {n} ({_show(card)}) has the byte {odd[0][0]:#04x}"
                yield self._finding("not ASCII", text)
            elif card[:8] in _COMMENTARY:
                continue
            elif not _KEYWORD.fullmatch(card[:8]):
                message = f"card {n}: {_show(card[:8])} is no keyword"
                yield self._finding("form of a card", message)
            elif card[8:10] == b"= " and not _VALUE.fullmatch(card[10:]):
                message = f"card {n}: the value of {_show(card)} cannot be read"
                yield self._finding("form of a card", message)

    def check_sums(self, file: BinaryIO, size: int) -> Iterator[Finding]:
        """Compare checksums with ``size`` bytes of data, at which the file stands."""
        has_sum, has_datasum = "CHECKSUM" in self.values, "DATASUM" in self.values
        if not (has_sum or has_datasum):
            return
        total = stream_sum(file, size)
        stored = self._bare("DATASUM").strip("' ")
        if has_datasum and stored and (not stored.isdigit() or int(stored) != total):
            message = f"the data have the sum {total}, DATASUM says {stored}: they are damaged"
            yield self._finding("DATASUM", message)
        if has_sum and self._bare("CHECKSUM").strip("' "):
            whole = add_sums(data_sum(self.raw), total)
            if whole not in (0, _ALL_ONES):
                yield self._finding("CHECKSUM", "CHECKSUM is wrong: header or data are damaged")


def _show(raw: bytes) -> str:
    return repr(" ".join(raw.decode("ascii", "replace").split())[:40])


class Validator(FileProcessor):
    """Check the structure of FITS files.

    A file that breaks the standard fails; ``--report`` counts what is wrong.
    """

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        FileProcessor.add_options(parser)
        add = parser.add_argument
        add("--no-checksums", dest="checksums", action="store_false",
            help="do not compare CHECKSUM and DATASUM with the bytes")  # fmt: skip
        add("--pedantic", action="store_true",
            help="let warnings be failures: repeated keywords, bytes after the end")  # fmt: skip

    def _check(self, identifier: str) -> list[Finding]:
        found = check_fits(identifier, checksums=self.opts.checksums)
        if self.opts.pedantic:
            return found
        return [finding for finding in found if finding.severity == "error"]

    @override
    def process(self, identifier: str) -> None:
        """Check one file.

        Raises
        ------
        InvalidFITS
            If it breaks the standard.
        """
        found = self._check(identifier)
        if found:
            text = "; ".join(str(finding) for finding in found)
            raise InvalidFITS(f"{identifier}{text}", findings=[str(finding) for finding in found])

    @override
    def classify(self, identifier: str) -> str:
        """Return ``valid`` or the kinds of what is wrong."""
        kinds = dict.fromkeys(finding.kind for finding in self._check(identifier))
        return ", ".join(kinds) or "valid"

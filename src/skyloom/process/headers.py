"""Processors that change primary headers."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, ClassVar, Final

from astropy.io import fits
from typing_extensions import override

from .cards import get_primary_header, serialize_header
from .errors import CannotComputeHeader, FITSError
from .processor import FileProcessor
from .rewrite import back_up_header, recover_header, replace_primary_header_in_place
from .sorting import CardSequence, sort_headers
from .structure import SCALING_KEYS, describing_cards, naxis_keys, structure

__all__ = ["HeaderProcessor", "ImmediateHeaderProcessor"]

_SUMS: Final = ("CHECKSUM", "DATASUM")


class _HeaderWriter(FileProcessor):
    """What both kinds of header processors share."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        FileProcessor.add_options(parser)
        add = parser.add_argument
        add("--reprocess", action="store_true", help="process files that are processed already")
        add("--backup", action="store_true",
            help="keep the old header beside a file that is changed, as NAME.oldhdr")  # fmt: skip
        add("--sync", action="store_true",
            help="wait until each change is on the disk itself: survives a power cut")  # fmt: skip

    def _replace(self, identifier: str, header: fits.Header) -> None:
        if self.opts.backup:
            back_up_header(identifier)
        replace_primary_header_in_place(identifier, header, sync=self.opts.sync)


class ImmediateHeaderProcessor(_HeaderWriter):
    """Edits the primary header of each file and writes it back at once.

    Override `_change_header`, and `_is_processed` unless the edit may be repeated.
    """

    def _is_processed(self, identifier: str, header: fits.Header) -> bool:  # noqa: ARG002 - hook
        """Tell from its header whether a file needs no work."""
        return False

    def _change_header(self, identifier: str, header: fits.Header) -> None:
        """Edit a header in place."""
        raise NotImplementedError(f"{type(self).__name__} has no _change_header")

    @override
    def process(self, identifier: str) -> None:
        """Edit one header.

        Raises
        ------
        FITSError
            If the file is damaged, or the hook changes BITPIX or an axis.
        """
        recover_header(identifier)
        header = self.get_primary_header(identifier)
        if not self.opts.reprocess and self._is_processed(identifier, header):
            return
        before = structure(header, where=identifier)
        self._change_header(identifier, header)
        after = structure(header, where=f"{identifier}: changed header")
        if before != after:
            raise FITSError(
                f"{identifier}: BITPIX and the axes describe the data; change {before} by "
                f"rewriting the image, not the header to {after}",
                file=identifier,
            )
        self._replace(identifier, header)

    @override
    def classify(self, identifier: str) -> str:
        """Return ``processed`` or ``new``."""
        header = self.get_primary_header(identifier)
        return "processed" if self._is_processed(identifier, header) else "new"


class HeaderProcessor(_HeaderWriter):
    """Computes new headers into caches beside the files, and writes them into the files on request.

    Override `_is_processed`, and `_munge_header` or `_get_header`.  The header that these return
    is complete: other cards are lost, except `keep_keys`.
    """

    header_ext: ClassVar[str] = ".hdr"
    """What is appended to the name of a file for its cache."""
    max_header_blocks: ClassVar[int] = 40
    """Blocks of 2880 bytes that a cache may have."""
    card_sequence: ClassVar[CardSequence | None] = None
    """Cards that come first; see `sort_headers`."""
    keep_keys: Any = frozenset(
        {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "BZERO", "BSCALE"}
    )
    """Cards of the file that no cache replaces; extend it by ``self.keep_keys | {...}``."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        _HeaderWriter.add_options(parser)
        add = parser.add_argument
        add("--no-compute", dest="compute", action="store_false",
            help="compute no headers, use what is in caches")  # fmt: skip
        add("--apply", action="store_true", help="write cached headers into the files")
        add("--reheader", action="store_true", help="write into processed files, too")

    @staticmethod
    def comment_filter(value: str) -> bool:  # noqa: ARG004 - hook
        """Tell whether a COMMENT is kept."""
        return True

    @staticmethod
    def history_filter(value: str) -> bool:  # noqa: ARG004 - hook
        """Tell whether a HISTORY line is kept."""
        return True

    def _is_processed(self, identifier: str) -> bool:  # noqa: ARG002 - hook
        """Tell whether a file has its new header already."""
        return False

    def _munge_header(self, identifier: str, header: fits.Header) -> fits.Header:  # noqa: ARG002
        """Turn the header of a file into the new one."""
        return header

    def _get_header(self, identifier: str) -> fits.Header | None:
        """Compute the new header of a file.

        Raises
        ------
        CannotComputeHeader
            If input is missing or makes no sense.
        """
        return self._munge_header(identifier, self.get_primary_header(identifier))

    @override
    def process(self, identifier: str) -> None:
        """Bring one file a step further, as the options say.

        Raises
        ------
        CannotComputeHeader
            If there is no new header; a cache that exists stays.
        FITSError
            If the file, its cache or the new header is damaged.
        """
        opts = self.opts
        recover_header(identifier)
        if not (opts.reprocess or opts.reheader) and self._is_processed(identifier):
            return
        if opts.compute and (opts.reprocess or not self._cache(identifier).exists()):
            self._compute(identifier)
        cached = self.read_cache(identifier)
        if cached is None or not opts.apply:
            return
        if opts.reheader or not self._is_processed(identifier):
            self._apply(identifier, cached)

    @override
    def classify(self, identifier: str) -> str:
        """Return ``processed``, ``cached`` (not yet applied) or ``new``."""
        if self._is_processed(identifier):
            return "processed"
        return "cached" if self._cache(identifier).exists() else "new"

    def _cache(self, identifier: str) -> Path:
        return Path(f"{identifier}{self.header_ext}")

    def read_cache(self, identifier: str) -> fits.Header | None:
        """Return the cached header of a file; None if there is none.

        Raises
        ------
        FITSError, EOFError
            If the cache is damaged.
        """
        path = self._cache(identifier)
        if not path.exists():
            return None
        return get_primary_header(path, max_blocks=self.max_header_blocks)

    def _compute(self, identifier: str) -> None:
        header = self._get_header(identifier)
        if header is None:
            raise CannotComputeHeader(
                f"{identifier}: _get_header returned no header; see why, or leave the file out",
                file=identifier,
            )
        self._write_cache(identifier, header)

    def _write_cache(self, identifier: str, header: fits.Header) -> None:
        """Write a header-only FITS file under a temporary name, and rename it."""
        header = header.copy()
        header["SIMPLE"] = header.get("SIMPLE", True)
        header["BITPIX"], header["NAXIS"] = 8, 0
        for key in (*naxis_keys(header), *_SUMS):
            while key in header:
                del header[key]
        content = serialize_header(self._sorted(header, self.card_sequence))
        self._check_cache(identifier, content)
        path = self._cache(identifier)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _check_cache(self, identifier: str, content: bytes) -> None:
        if len(content) > self.max_header_blocks * 2880:
            raise FITSError(
                f"{identifier}: the new header has {len(content) // 2880} blocks, more than "
                f"max_header_blocks = {self.max_header_blocks}; raise it",
                file=identifier,
            )
        found = structure(describing_cards(content), where=f"{identifier}: new header")
        if found != {"BITPIX": 8, "NAXIS": 0}:
            raise FITSError(f"{identifier}: the new header gives {found} when it is read again")

    def _sorted(self, header: fits.Header, sequence: CardSequence | None) -> fits.Header:
        return sort_headers(
            header,
            comment_filter=self.comment_filter,
            history_filter=self.history_filter,
            card_sequence=sequence,
        )

    def _apply(self, identifier: str, cached: fits.Header) -> None:
        """Write a cached header into its file; what describes the data stays as it is there."""
        present = self.get_primary_header(identifier)
        header = cached.copy()
        describing = {*SCALING_KEYS, *_SUMS, *naxis_keys(present), *naxis_keys(header)}
        for key in describing:
            while key in header and key not in present:
                del header[key]
        for key in describing | set(self.keep_keys):
            if key in present:
                _take_over(header, present, key)
        self._replace(identifier, self._sorted(header, None))


def _take_over(header: fits.Header, present: fits.Header, key: str) -> None:
    """Let a card of the file win; its comment comes from the new header if that has the card."""
    card = present.cards[key]
    if key not in header:
        header.append(card, end=True)
    elif header[key] != card.value or type(header[key]) is not type(card.value):
        header[key] = card.value

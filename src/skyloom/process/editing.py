"""Processors that change headers without Python: by rules, or by single values."""

from __future__ import annotations

import argparse
import difflib
from typing import Any, Final

import yaml
from astropy.io import fits
from typing_extensions import override

from skyloom.config import YamlDocument, build_config

from .cards import CARD, serialize_header
from .data import DataSpec
from .headers import ImmediateHeaderProcessor
from .processor import FileProcessor
from .rewrite import restore_header
from .rules import HeaderRules, apply_rules, read_rules
from .sorting import sort_headers

__all__ = ["HeaderEditor", "HeaderRestorer", "HeaderSorter", "RuleApplier"]

_SUMS: Final = (b"CHECKSUM", b"DATASUM ")


class _Shown(ImmediateHeaderProcessor):
    """Shows the difference instead of writing it, on request."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        ImmediateHeaderProcessor.add_options(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing, show what would change"
        )

    def _edit(self, identifier: str, header: fits.Header) -> fits.Header:
        """Return the header that the file shall have."""
        raise NotImplementedError

    @override
    def process(self, identifier: str) -> Any:
        """Change one header; returns the difference when only that is wanted."""
        if not self.opts.dry_run:
            return super().process(identifier)
        header = self.get_primary_header(identifier)
        return _difference(header, self._edit(identifier, header.copy()))

    @override
    def _change_header(self, identifier: str, header: fits.Header) -> None:
        edited = self._edit(identifier, header.copy())
        header.clear()
        header.extend(edited.cards, strip=False, end=True)

    @override
    def handle_result(self, identifier: str, result: Any) -> None:
        """Print a difference."""
        if result:
            print(identifier, *result, sep="\n")  # noqa: T201 - what the user asked for


def _difference(old: fits.Header, new: fits.Header) -> list[str]:
    texts = []
    for header in (old, new):
        raw = serialize_header(header)
        cards = [raw[i : i + CARD] for i in range(0, len(raw), CARD)]
        texts.append([c.decode().rstrip() for c in cards if c[:8] not in _SUMS and c.strip()])
    lines = difflib.unified_diff(texts[0], texts[1], n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


class RuleApplier(_Shown):
    """Harmonise primary headers by a YAML file of rules."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        _Shown.add_options(parser)
        parser.add_argument("--rules", metavar="FILE", required=True, help="the rules, YAML")

    @override
    def _create_auxiliaries(self, data: DataSpec) -> None:
        self.rules = read_rules(self.opts.rules)

    @override
    def _edit(self, identifier: str, header: fits.Header) -> fits.Header:
        apply_rules(header, self.rules, where=identifier)
        return header


class HeaderEditor(_Shown):
    """Set, rename or delete cards of primary headers."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        _Shown.add_options(parser)
        add = parser.add_argument
        add("--set", action="append", default=[], metavar="KEY=VALUE", help="give a card a value")
        add("--default", action="append", default=[], metavar="KEY=VALUE",
            help="give a card a value where it has none")  # fmt: skip
        add("--comment", action="append", default=[], metavar="KEY=TEXT", help="set a comment")
        add("--rename", action="append", default=[], metavar="OLD=NEW", help="rename a card")
        add("--delete", action="append", default=[], metavar="KEY", help="remove cards; globs")
        add("--history", metavar="TEXT", help="line for HISTORY")

    @override
    def _create_auxiliaries(self, data: DataSpec) -> None:
        opts = self.opts
        raw = {
            "values": {k: yaml.safe_load(v) for k, v in map(_pair, opts.set)},
            "defaults": {k: yaml.safe_load(v) for k, v in map(_pair, opts.default)},
            "comments": dict(map(_pair, opts.comment)),
            "rename": dict(map(_pair, opts.rename)),
            "delete": opts.delete,
            "history": opts.history,
        }
        self.rules = build_config(HeaderRules, YamlDocument(name="command line", data=raw))

    @override
    def _edit(self, identifier: str, header: fits.Header) -> fits.Header:
        apply_rules(header, self.rules, where=identifier)
        return header


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip(), value


class HeaderSorter(_Shown):
    """Put the cards of primary headers in order and drop repeated lines."""

    @override
    def _edit(self, identifier: str, header: fits.Header) -> fits.Header:
        return sort_headers(header)


class HeaderRestorer(FileProcessor):
    """Put back the headers that --backup kept."""

    @override
    def process(self, identifier: str) -> None:
        """Restore one header.

        Raises
        ------
        FileNotFoundError
            If there is no backup.
        """
        restore_header(identifier)

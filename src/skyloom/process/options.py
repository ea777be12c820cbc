"""The options of every processor."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from typing_extensions import override

__all__ = [
    "RUN_OPTIONS",
    "ProcessorParser",
    "add_run_options",
    "default_options",
    "positive_number",
]

MISTAKE: Final = 2

RUN_OPTIONS: Final = frozenset(
    {"filter", "bail", "report", "verbose", "n_procs", "strict", "time_limit", "retries",
     "report_file", "quarantine", "journal", "redo", "progress", "backup", "sync",
     "sources", "data", "pattern", "table", "column", "butler", "dataset", "where"}
)  # fmt: skip
"""Names of the options that say how to run and on what, not what to do."""


class ProcessorParser(argparse.ArgumentParser):
    """A parser whose mistakes are answered with the help text, on standard error."""

    @override
    def error(self, message: str) -> NoReturn:
        self.print_help(sys.stderr)
        self.exit(MISTAKE, f"\n{self.prog}: error: {message}\n")


def _positive_count(text: str) -> int:
    value = int(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be > 0")
    return value


_positive_count.__name__ = "int"


def positive_number(text: str) -> float:
    """Read a number that must be positive; for ``type=`` of an option."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be > 0")
    return value


positive_number.__name__ = "number"  # what argparse calls it in messages


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must be >= 0")
    return value


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what every processor understands."""
    add = parser.add_argument
    add("--filter", metavar="STR", help="process only identifiers that contain STR")
    add("--bail", action="store_true", help="stop at the first failure and show its traceback")
    add("--report", action="store_true", help="classify the files and count them; change nothing")
    add("--verbose", action="store_true", help="say more; with --report name the files")
    add("-j", "--n-procs", type=_positive_count, default=1, metavar="NUM",
        help="number of worker processes")  # fmt: skip
    group = parser.add_argument_group("long runs")
    add = group.add_argument
    add("--strict", action="store_true", help="exit with status 1 if any file failed")
    add("--time-limit", type=positive_number, metavar="SECONDS",
        help="time for one file; one that takes longer has failed")  # fmt: skip
    add("--retries", type=_not_negative, default=0, metavar="NUM",
        help="how often a file that failed is tried again")  # fmt: skip
    add("--report-file", metavar="FILE", help="write what became of each file, JSON")
    add("--quarantine", metavar="FILE",
        help="leave out the files listed there, and add those that fail")  # fmt: skip
    add("--journal", metavar="FILE",
        help="remember what was done; leave out what has not changed since")  # fmt: skip
    add("--redo", action="store_true", help="with --journal: process unchanged files too")
    add("--progress", choices=("auto", "bar", "text", "none"), default="auto",
        help="how to show progress; default: on a terminal only")  # fmt: skip


def default_options(
    add_options: Callable[[argparse.ArgumentParser], None] = add_run_options,
    given: argparse.Namespace | None = None,
) -> argparse.Namespace:
    """Return the options of a processor, with defaults where none are given.

    Parameters
    ----------
    add_options : callable
        Adds options to a parser; default: those of every processor.
    given : Namespace, optional
        Options that somebody has set; gets those that it lacks.
    """
    parser = ProcessorParser(allow_abbrev=False, add_help=False)
    add_options(parser)
    options = argparse.Namespace() if given is None else given
    for action in parser._actions:
        if not hasattr(options, action.dest):
            setattr(options, action.dest, action.default)
    return options

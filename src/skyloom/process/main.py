"""The command line of a processor."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final, TypeVar

from skyloom.errors import WrongValue

from .data import DataSpec
from .errors import Bailed
from .options import ProcessorParser
from .processor import FileProcessor

__all__ = ["RUNS", "main_with", "make_parser", "procmain"]

FAILED: Final = 1
INTERRUPTED: Final = 130

RUNS: Final[list[type[FileProcessor]]] = []
"""The processors that `procmain` has run in this process."""

P = TypeVar("P", bound=FileProcessor)


def make_parser(cls: type[FileProcessor], prog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of a processor.

    Raises
    ------
    WrongValue
        If the processor adds an option that every processor has.
    """
    parser = ProcessorParser(
        prog=prog or os.path.basename(sys.argv[0]) or "process",  # noqa: PTH119 - may be empty
        description=(cls.__doc__ or "").strip().split("\n")[0] or None,
        allow_abbrev=False,
    )
    try:
        cls.add_options(parser)
    except argparse.ArgumentError as error:
        raise WrongValue(
            f"{cls.__name__}.add_options: {error}; every processor has that option, so choose "
            "another name"
        ) from None
    return parser


def procmain(
    cls: type[P], data_spec: DataSpec, argv: Sequence[str] | None = None, *, prog: str | None = None
) -> P:
    """Run a processor as the command line says.

    Parameters
    ----------
    cls : type
        The processor's class.
    data_spec : DataSpec
        What to process.
    argv : sequence of str, optional
        Arguments; default those of the process.
    prog : str, optional
        Name of the program for help.

    Returns
    -------
    FileProcessor
        With what it gathered; single files may have failed.

    Raises
    ------
    SystemExit
        With 1: ``--bail`` or ``--strict``, and a file failed.  With 2: a mistake on the command
        line.  With 130: interrupted.
    """
    opts = make_parser(cls, prog).parse_args(None if argv is None else list(argv))
    RUNS.append(cls)
    return main_with(cls, opts, data_spec)


def main_with(cls: type[P], opts: argparse.Namespace, data_spec: DataSpec) -> P:
    """Run a processor with options that are parsed; for the rest see `procmain`."""
    try:
        processor = cls(opts, data_spec)
        processor.process_all()
    except Bailed:
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    sys.stdout.write(f"{processor.counts.summary}\n")
    if opts.strict and processor.counts.ignored:
        raise SystemExit(FAILED)
    return processor

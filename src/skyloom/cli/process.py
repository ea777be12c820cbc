"""``skyloom process``, ``validate`` and ``headers``: a function over many files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

__all__ = ["calibrate", "headers", "process", "validate"]

_RAW: Final[dict[str, Any]] = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _status(run: Callable[..., object], *args: Any, **options: Any) -> int:
    """Run something that may leave by SystemExit, and return its exit status."""
    try:
        run(*args, **options)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            click.echo(leaving.code, err=True)
            return 1
        return leaving.code or 0
    return 0


def _command(cls: str, prog: str, args: Sequence[str]) -> int:
    import skyloom.process as room  # noqa: PLC0415 - slow

    return _status(room.run_command, getattr(room, cls), args, prog=prog)


@click.command(context_settings=_RAW)
@click.argument("script")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def process(script: str, args: tuple[str, ...]) -> int:
    """Run the processor in SCRIPT, a Python file, with the arguments ARGS.

    A script that calls procmain runs as it would under python.  For one that only defines a
    processor, ARGS are sources (files, globs, directories, @LIST) and options; FILE:CLASS chooses
    among several.  Scripts for GAVO DaCHS run too.  --help after SCRIPT shows its options.
    """
    from skyloom.compat.dachs import imports_gavo, provide_gavo  # noqa: PLC0415 - slow
    from skyloom.process import run_script  # noqa: PLC0415

    if imports_gavo(script.partition(":")[0]):
        provide_gavo()
    return _status(run_script, script, args)


@click.command(context_settings=_RAW, add_help_option=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def validate(args: tuple[str, ...]) -> int:
    """Check the structure of FITS files; --help shows the options."""
    return _command("Validator", "skyloom validate", args)


@click.command(context_settings=_RAW, add_help_option=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def calibrate(args: tuple[str, ...]) -> int:
    """Solve a collection of images or plates; --help shows the options."""
    return _command("CalibrateProcessor", "skyloom calibrate", args)


@click.group()
def headers() -> None:
    """Show and change primary headers of many FITS files.

    Data and other HDUs stay bit for bit; --backup keeps old headers, --dry-run only shows.
    """


@headers.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--key", "keys", multiple=True, metavar="KEY", help="Only these cards; may be a glob."
)
def show(files: tuple[str, ...], keys: tuple[str, ...]) -> int:
    """Print the primary headers of FILES as they stand on disk."""
    from skyloom.process import read_sources  # noqa: PLC0415 - slow
    from skyloom.process.show import shown_cards  # noqa: PLC0415

    failed = False
    names = list(read_sources(files).items)
    for name in names:
        try:
            lines = shown_cards(name, keys)
        except (OSError, EOFError, ValueError) as error:
            click.echo(f"skyloom: {error}", err=True)
            failed = True
            continue
        if len(names) > 1:
            click.echo(f"# {name}")
        for line in lines:
            click.echo(line)
    return int(failed)


def _add(name: str, cls: str, about: str) -> None:
    @headers.command(name, context_settings=_RAW, add_help_option=False, short_help=about)
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    def command(args: tuple[str, ...]) -> int:
        return _command(cls, f"skyloom headers {name}", args)


_add("set", "HeaderEditor", "Set, rename or delete cards.")
_add("apply-rules", "RuleApplier", "Harmonise headers by a YAML file of rules.")
_add("sort", "HeaderSorter", "Put cards in order, drop repeated lines.")
_add("restore", "HeaderRestorer", "Put back the headers that --backup kept.")

"""The root command, and how every way of ending becomes an exit status.

====== ==========================================================
0      all done
1      some units failed, or the disk filled up
2      a mistake of the user's: options, configuration, inputs
130    interrupted
====== ==========================================================
"""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, final

import click
from typing_extensions import override

import skyloom
from skyloom.errors import SkyloomError, UserMistake

__all__ = ["main"]

log = logging.getLogger(__name__)

FAILED: Final = 1
MISTAKE: Final = 2
INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "demo": ("skyloom.cli.demo:demo", "Simulate a small field and run it end to end."),
    "tile": ("skyloom.cli.tile:tile", "Multi-band photometry of a tile."),
    "compare": ("skyloom.cli.compare:compare", "Compare two catalogues of the same field."),
    "display": ("skyloom.cli.display:display", "Show an image or dataset in ds9, or as a picture."),
    "butler": ("skyloom.cli.butler:butler", "Find, read and register datasets."),
    "previews": ("skyloom.cli.previews:previews", "Small pictures of images; a page of them."),
    "process": ("skyloom.cli.process:process", "Run a processor of your own over many files."),
    "headers": ("skyloom.cli.process:headers", "Show and change headers of many FITS files."),
    "validate": ("skyloom.cli.process:validate", "Check the structure of FITS files."),
    "solve": ("skyloom.cli.solve:solve", "Find where images are on the sky, from their stars."),
    "calibrate": ("skyloom.cli.process:calibrate", "Solve a collection of images or plates."),
    "status": ("skyloom.cli.inspect:status", "What ran in a work directory, what failed and why."),
    "verify": ("skyloom.cli.inspect:verify", "Check the products of a work directory."),
}
"""Commands by name: where they are, and their short help (so that help imports nothing)."""


@final
class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(skyloom.__version__, prog_name="skyloom", message="%(prog)s %(version)s")
def root() -> None:
    """Calibrated survey images in, science catalogues out."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    args : sequence of str, optional
        Arguments; default those of the process.
    """
    try:
        with _sigterm_interrupts():
            status = root.main(args, prog_name="skyloom", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code if isinstance(error, click.UsageError) else FAILED
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    except UserMistake as error:
        return _failed(error, MISTAKE)
    except (SkyloomError, OSError, MemoryError) as error:
        return _failed(error, FAILED)
    return int(status or 0)


def _failed(error: Exception, status: int) -> int:
    """Report an error in one line (one for each problem); its traceback when debugging."""
    _say(f"{type(error).__name__}: {str(error) or 'no message'}")
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        log.debug("traceback", exc_info=error)
    return status


def _say(text: str) -> None:
    click.echo(f"skyloom: {text}", err=True)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Treat a batch system's SIGTERM as Ctrl-C meanwhile: the ledger stays consistent."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

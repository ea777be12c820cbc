"""Options that all pipelines share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

__all__ = ["config_option", "console_level", "force_value", "run_options"]

F = TypeVar("F", bound=Callable[..., Any])

_ALL: Final = "all"


config_option = click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path),
    help="Configuration, YAML; see dump-config.",
)
"""Names the configuration file."""


def run_options(function: F) -> F:
    """Add how to run: executor, workers, force, quiet, verbose."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["serial", "processes"]),
            help="Where units of work run.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Worker processes, at most the number of CPUs.",
        ),
        click.option(
            "--force",
            is_flag=False,
            flag_value=_ALL,
            multiple=True,
            metavar="[STAGE]",
            help="Do it again although nothing changed: a stage, or the whole step.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Warnings only, no progress."),
        click.option(
            "-v",
            "--verbose",
            "--debug",
            "verbose",
            is_flag=True,
            is_eager=True,
            callback=_set_debug,
            help="Reasoning and tracebacks too.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _set_debug(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    if value:
        logging.getLogger().setLevel(logging.DEBUG)
    return value


def force_value(force: tuple[str, ...]) -> bool | tuple[str, ...]:
    """Return what ``--force`` means: True for a bare one, else the stages."""
    return True if _ALL in force else force


def console_level(*, quiet: bool, verbose: bool) -> int | None:
    """Return the level of the console; None: that of the configuration."""
    if verbose:
        return logging.DEBUG
    return logging.WARNING if quiet else None

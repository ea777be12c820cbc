"""``skyloom tile``: the multi-band tile pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import click
from typing_extensions import override

from skyloom.errors import OutputExists, Unwritable
from skyloom.pipelines.verbs import VERBS, Verb

from .logs import log_path, run_log
from .options import console_level, force_value, run_options

__all__ = ["tile"]


@final
class _InOrder(click.Group):
    """Lists its commands in the order in which they were added: that of the steps."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
def tile() -> None:
    """Multi-band photometry of a tile: aligned images and a catalogue in, a catalogue out.

    A step does again what changed since the last run, and what it needs; nothing else.
    """


def _add_verb(verb: Verb, about: str) -> None:
    @tile.command(name=verb, help=about)
    @click.option(
        "--config",
        "config_path",
        required=True,
        type=click.Path(path_type=Path),
        help="Configuration, YAML; see dump-config.",
    )
    @run_options
    def command(config_path: Path, **options: Any) -> int:
        return _run(verb, config_path, **options)


for _verb, _about in VERBS.items():
    _add_verb(_verb, _about)


def _run(
    verb: Verb,
    config_path: Path,
    *,
    executor: str | None,
    workers: int | None,
    force: tuple[str, ...],
    quiet: bool,
    verbose: bool,
) -> int:
    """Check, open the log, run; returns the exit status."""
    from skyloom.pipelines.tile import RunOptions, load_config, prepare_run  # noqa: PLC0415 - slow

    config = load_config(config_path)
    options = RunOptions(
        executor=executor,
        workers=workers,
        force=force_value(force),
        progress="quiet" if quiet else "auto",
    )
    level = console_level(quiet=quiet, verbose=verbose)
    with run_log(config.logging, console_level=level) as logs:
        run = prepare_run(config, verb, options=options, source=config_path)
        logs.open_file(log_path(config.logging, verb=verb, work_dir=config.outputs.work_dir))
        return run.execute().exit_status


@tile.command("dump-config")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="sample_config.yaml",
    show_default=True,
    help="File to write; its directory is created.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def dump_config(out: Path, *, force: bool) -> None:
    """Write a commented configuration with every setting at its default."""
    from skyloom.pipelines.tile.config import sample_config  # noqa: PLC0415 - slow

    if out.exists() and not force:
        raise OutputExists(f"Refusing to overwrite existing file: {out}; add --force", path=out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(sample_config(), encoding="utf-8")
    except OSError as error:
        raise Unwritable(f"{out}: cannot be written ({error.strerror or error})") from error
    click.echo(f"wrote {out}")

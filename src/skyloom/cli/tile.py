"""``skyloom tile``: the multi-band tile pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import click
from typing_extensions import override

from skyloom.errors import OutputExists, Unwritable
from skyloom.pipelines.verbs import VERBS, Verb

from .download import download_bar
from .findings import show_report
from .gaia import synthesize_gaia
from .logs import log_path, run_log
from .options import config_option, console_level, force_value, run_options

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
    @config_option
    @click.option(
        "--plots",
        type=click.Choice(["none", "summary", "all"]),
        help="Pictures: none, those of the whole tile, or all that the configuration switches on; "
        "instead of skyloom.plots.",
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
    plots: str | None,
    executor: str | None,
    workers: int | None,
    force: tuple[str, ...],
    quiet: bool,
    verbose: bool,
) -> int:
    """Check, open the log, run; returns the exit status."""
    from skyloom.pipelines.tile import RunOptions, load_config, prepare_run  # noqa: PLC0415 - slow
    from skyloom.pipelines.tile.compat import LOGGER_NAMES  # noqa: PLC0415

    config = load_config(config_path)
    options = RunOptions(
        executor=executor,
        workers=workers,
        force=force_value(force),
        progress="quiet" if quiet else "auto",
        plots=plots,
    )
    level = console_level(quiet=quiet, verbose=verbose)
    with run_log(config.logging, console_level=level, names=LOGGER_NAMES) as logs:
        run = prepare_run(config, verb, options=options, source=config_path)
        logs.open_file(log_path(config.logging, verb=verb, work_dir=config.outputs.work_dir))
        return run.execute().exit_status


tile.add_command(synthesize_gaia)


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


@tile.command("download-sample")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Folder to make; default: the archive's own, in the current directory.",
)
@click.option("--force", is_flag=True, help="Replace an existing folder of sample data.")
def download_sample(directory: Path | None, *, force: bool) -> None:
    """Fetch sample images and write the list of them.

    TRACT7DT_SAMPLE_REPO, _TAG, _ASSET and _SHA256 name another source.
    """
    from skyloom.pipelines.tile.sample import download_sample as fetch  # noqa: PLC0415 - slow

    with download_bar() as tell:
        sample = fetch(directory, force=force, tell=tell)
    click.echo(f"{len(sample.images)} images, list {sample.image_list}")


@tile.command()
@config_option
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the findings there too.",
)
def check(config_path: Path, json_path: Path | None) -> int:
    """Look at headers and a few cut-outs and say what a run would stumble over.

    The exit status is 1 if there is a problem. Nothing is written but FILE.
    """
    from skyloom.pipelines.tile.check import check_tile  # noqa: PLC0415 - slow
    from skyloom.pipelines.tile.check_report import write_report  # noqa: PLC0415
    from skyloom.pipelines.tile.config import load_config  # noqa: PLC0415

    report = check_tile(load_config(config_path))
    if json_path is not None:
        write_report(report, json_path)
    show_report(report)
    return report.exit_status


@tile.command()
@config_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Catalogue to write.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--thresh", type=click.FloatRange(min=0.5), help="Least S/N of a point source [5].")
@click.option("--minarea", type=click.IntRange(min=1), help="Least pixels above threshold [3].")
@click.option("--deblend-cont", type=click.FloatRange(0, 1), help="Deblending contrast [0.0005].")
@click.option("--complete", is_flag=True, help="Your catalogue, and what it lacks.")
def detect(
    config_path: Path, out: Path, *, force: bool, complete: bool, **options: float | None
) -> None:
    """Make an input catalogue from the images alone, or complete yours.

    Detects on the stack of all bands and guesses what is a star. The configuration's input
    catalogue need not exist; with --complete its rows come first, as they stand, followed by the
    detected sources that have none.
    """
    from skyloom.pipelines.tile.completion import complete_to_file  # noqa: PLC0415 - slow
    from skyloom.pipelines.tile.config import load_config  # noqa: PLC0415
    from skyloom.pipelines.tile.detection import detect_to_file  # noqa: PLC0415

    make = complete_to_file if complete else detect_to_file
    found = make(load_config(config_path), out, force=force, **options)
    click.echo(f"{found.summary()}\nwrote {out}")

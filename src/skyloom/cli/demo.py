"""``skyloom demo``: from nothing to a catalogue in a minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from .logs import log_path, run_log
from .options import console_level, force_value, run_options

if TYPE_CHECKING:
    from skyloom.flow import RunResult
    from skyloom.pipelines.tile.demo import DemoReport

__all__ = ["demo"]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("skyloom-demo"))
@run_options
def demo(
    directory: Path,
    *,
    executor: str | None,
    workers: int | None,
    force: tuple[str, ...],
    quiet: bool,
    verbose: bool,
) -> int:
    """Simulate a small three-band field with known truth, run the tile pipeline on it.

    DIRECTORY is made; by default ./skyloom-demo.
    """
    from skyloom.pipelines.tile import RunOptions, load_config, prepare_run  # noqa: PLC0415 - slow
    from skyloom.pipelines.tile.compat import LOGGER_NAMES  # noqa: PLC0415
    from skyloom.pipelines.tile.demo import demo_report, make_demo  # noqa: PLC0415

    start = time.perf_counter()
    path = make_demo(directory)
    simulated = time.perf_counter() - start
    config = load_config(path)
    progress = "quiet" if quiet else "auto"
    options = RunOptions(
        executor=executor, workers=workers, force=force_value(force), progress=progress
    )
    level = console_level(quiet=quiet, verbose=verbose)
    with run_log(config.logging, console_level=level, names=LOGGER_NAMES) as logs:
        run = prepare_run(config, "run", options=options, source=path)
        logs.open_file(log_path(config.logging, verb="run", work_dir=config.outputs.work_dir))
        result = run.execute()
    report = demo_report(directory, run.butler, result)
    _show(report, result, simulated=simulated)
    return result.exit_status


def _show(report: DemoReport, result: RunResult, *, simulated: float) -> None:
    console = Console(highlight=False)
    console.print(
        f"\n[bold]{report.n_sources} sources[/bold]: {report.n_active} active, "
        f"{report.n_fitted} fitted, {report.n_reliable} reliable"
    )
    console.print(_seconds(result, simulated=simulated))
    console.print(_zero_points(report))
    console.print("catalogue", str(report.catalog), soft_wrap=True)
    for picture in report.pictures:
        console.print("picture  ", str(picture), soft_wrap=True)
    for failure in result.failures:
        console.print("failed   ", str(failure), style="red", soft_wrap=True)


def _seconds(result: RunResult, *, simulated: float) -> Table:
    table = Table("stage", title="seconds", title_justify="left")
    for name in ("units", "wall", "CPU"):
        table.add_column(name, justify="right")
    table.add_row("simulate", "1", f"{simulated:.1f}", "")
    for stage, counts in result.counts.items():
        seconds = result.seconds[stage]
        units = str(counts.done) if counts.done == counts.total else f"{counts.done}/{counts.total}"
        table.add_row(stage, units, f"{seconds.wall:.1f}", f"{seconds.cpu:.1f}")
    table.add_section()
    cpu = sum(seconds.cpu for seconds in result.seconds.values())
    table.add_row("all", str(len(result.units)), f"{result.wall:.1f}", f"{cpu:.1f}")
    return table


def _zero_points(report: DemoReport) -> Table:
    table = Table("band", title="zero points [AB mag]", title_justify="left")
    for name in ("measured", "error", "truth", "difference [mmag]"):
        table.add_column(name, justify="right")
    for zp in report.zero_points:
        table.add_row(
            zp.band,
            f"{zp.measured:.4f}",
            f"{zp.error:.4f}",
            f"{zp.truth:.4f}",
            f"{1000 * (zp.measured - zp.truth):+.1f}",
        )
    return table

"""``skyloom status`` and ``skyloom verify``: looking into a work directory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from skyloom.flow.history import History, PastRun

__all__ = ["status", "verify"]

_MIB = 1 << 20


@click.command()
@click.argument("work_dir", type=click.Path(path_type=Path))
def status(work_dir: Path) -> int:
    """Show what ran in WORK_DIR, what it cost, what failed and why.

    The exit status is 1 if anything failed.
    """
    from rich.console import Console  # noqa: PLC0415 - slow

    from skyloom.flow.history import read_history  # noqa: PLC0415

    history = read_history(work_dir)
    console = Console(highlight=False)
    if history.run is not None:
        console.print(_last(history.run))
    console.print(_stages(history))
    for failure in history.failures:
        console.print(f"failed: {failure}", style="red", soft_wrap=True, markup=False)
    return int(bool(history.failures))


@click.command()
@click.argument("work_dir", type=click.Path(path_type=Path))
def verify(work_dir: Path) -> int:
    """Read every product in WORK_DIR again and compare its checksum.

    The exit status is 1 if a product is missing or changed; the next run makes it anew.
    """
    from skyloom.flow.history import Damage, check_outputs  # noqa: PLC0415 - slow

    total = damaged = 0
    for found in check_outputs(work_dir):
        total += 1
        if isinstance(found, Damage):
            damaged += 1
            click.echo(f"{found.what}: {found.path}")
    click.echo(f"{total} products, {damaged} damaged")
    return int(damaged > 0)


def _last(run: PastRun) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    if run.finished is None:
        return f"last run: {when} on {run.host}, process {run.pid}: at work, or killed"
    return f"last run: {when}, {run.finished - run.started:.1f} s, exit status {run.exit_status}"


def _stages(history: History) -> Table:
    from rich.table import Table  # noqa: PLC0415 - slow

    table = Table("stage")
    for name in ("done", "failed", "unfinished", "wall [s]", "CPU [s]", "peak [MiB]"):
        table.add_column(name, justify="right")
    for stage in history.stages:
        counts = [str(n) if n else "" for n in (stage.done, stage.failed, stage.unfinished)]
        peak = f"{stage.peak_bytes / _MIB:.0f}"
        table.add_row(stage.stage, *counts, f"{stage.wall:.1f}", f"{stage.cpu:.1f}", peak)
    return table

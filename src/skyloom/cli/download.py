"""How far a download is: a bar on a terminal, one line at the end elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["download_bar"]


@contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with per cent and MiB meanwhile; gives ``tell(bytes, bytes in all or None)``."""
    from rich.console import Console  # noqa: PLC0415 - slow
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
    )

    columns = (
        TextColumn("download"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("download", total=None)

        def tell(done: int, announced: int | None) -> None:
            progress.update(task, completed=done, total=announced)

        yield tell

"""The findings of ``tile check`` on the terminal: numbers by band, then what to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from skyloom.pipelines.tile.check_report import CheckReport, Finding

__all__ = ["show_report"]

_STYLES: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
_FILE_WIDTH: Final = 110  # letters, of what is not a terminal: a file or a pipe
_COLUMNS: Final = (
    ("FWHM\n[pix]", "FWHM", "{measured:.2f}"),
    ("header\n[pix]", "FWHM", "{header:.2f}"),
    ("sky rms\n[ADU]", "sky rms", "{measured:.4g}"),
    ("over\nstated", "sky rms", "{ratio:.2f}"),
    ("corre-\nlation", "noise correlation", "{neighbour:+.2f}"),
    ("sky /\nrms", "sky level", "{level_in_rms:+.2f}"),
    ("stars\n", "PSF stars", "{expected:.0f}"),
    ("a cell\n", "PSF stars", "{per_cell:.1f}"),
    ("dx\n[pix]", "position", "{dx:+.2f}"),
    ("dy\n[pix]", "position", "{dy:+.2f}"),
    ("EGAIN\n", "gain", "{gain:g}"),
    ("saturated\n[ADU]", "saturation", "{threshold:.4g}"),
)
"""Head, topic and number of each column of the bands."""


def show_report(report: CheckReport) -> None:
    """Print the numbers of the bands, the findings with their remedies, and a count."""
    from rich.console import Console  # noqa: PLC0415 - slow

    console = Console(highlight=False)
    _print_whole(_bands(report), console)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    console.print(_findings(report))
    counts = [f"{n} {name}" for name, n in report.counts().items()]
    console.print(", ".join(counts), style=_style(report.worst.name))


def _print_whole(table: Table, console: Console) -> None:
    """Print a table of numbers, beyond the width of the terminal rather than without digits."""
    needed = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    width = console.width
    console.width = max(width, needed)
    console.print(table)
    console.width = width


def _bands(report: CheckReport) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("band", box=SIMPLE_HEAD, pad_edge=False, padding=0)
    for head, _, _ in _COLUMNS:
        table.add_column(Text(head), justify="right")
    for band in dict.fromkeys(f.band for f in report.findings if f.band):
        cells = [_cell(report, band, topic, form) for _, topic, form in _COLUMNS]
        table.add_row(Text(band), *cells)
    return table


def _cell(report: CheckReport, band: str, topic: str, form: str) -> Text:
    from rich.text import Text  # noqa: PLC0415

    found = report.of(topic, band)
    if not found:
        return Text("")
    try:
        text = form.format(**found[0].numbers)
    except (KeyError, TypeError, ValueError):  # not measured
        text = "-"
    text = "-" if text.strip("+-") in {"nan", "inf"} else text
    return Text(text, style=_style(found[0].status.name))


def _findings(report: CheckReport) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("", "topic", "bands", "finding", box=SIMPLE_HEAD, pad_edge=False)
    for group in _groups(report):
        first = group[0]
        name = first.status.name.lower()
        messages = list(dict.fromkeys(f.message for f in group))
        text = Text(messages[0] if len(messages) == 1 else f"{messages[0]}, ...")
        if first.remedy:
            text.append(f"\n-> {first.remedy}", style="italic")
        bands = " ".join(f.band for f in group)
        table.add_row(Text(name, style=_STYLES[name]), first.topic, Text(bands), text)
    return table


def _groups(report: CheckReport) -> Iterator[list[Finding]]:
    """Gather findings of equal topic, weight and remedy; leave out bands that are well."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in report.findings:
        if finding.band and finding.status.name == "OK":
            continue
        key = (finding.topic, finding.status.name, finding.remedy)
        groups.setdefault(key, []).append(finding)
    yield from groups.values()


def _style(name: str) -> str:
    return _STYLES[name.lower()]

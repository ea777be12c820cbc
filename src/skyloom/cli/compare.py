"""``skyloom compare``: what differs between two catalogues of the same field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skyloom.errors import WrongValue

if TYPE_CHECKING:
    from rich.table import Table

    from skyloom.compare import Comparison, Differences

__all__ = ["compare"]

_KINDS = ("auto", "skyloom", "tract7dt", "tractor", "shapepipe", "sextractor", "generic")
_SHOWN = 8  # worst pairs on the terminal; all are in summary.json


@click.command()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
@click.option(
    "--bands", metavar="B,B,...", help="Bands, by their names in NEW; default: all common."
)
@click.option("--map", "mapped", multiple=True, metavar="OLD=NEW", help="Band OLD is called NEW.")
@click.option("--radius", type=float, default=1.0, show_default=True, metavar="ARCSEC",
              help="Largest separation of a pair.")  # fmt: skip
@click.option("--old-kind", type=click.Choice(_KINDS), default="auto", help="What OLD is.")
@click.option("--new-kind", type=click.Choice(_KINDS), default="auto", help="What NEW is.")
@click.option("--zero-points", type=click.Choice(["auto", "fit", "keep"]), default="auto",
              help="Whether a difference of zero points is taken off.")  # fmt: skip
@click.option("--reliable", is_flag=True, help="Leave out what either catalogue flags.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("comparison"),
              show_default=True, help="Folder for tables and pictures.")  # fmt: skip
@click.option("--plots/--no-plots", default=True, help="Draw pictures.  [default: plots]")
def compare(
    old: str, new: str, *, bands: str | None, mapped: tuple[str, ...], out: Path, plots: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Match the catalogues OLD and NEW and show what differs, new - old.

    Each is a file of skyloom, tract7dt, the Legacy Surveys (Tractor), ShapePipe, SExtractor, or
    any table with positions: CSV, FITS, LDAC, Parquet, ASCII_HEAD.  FILE.fits[2] names an HDU.
    """
    from skyloom.compare import (  # noqa: PLC0415 - slow
        compare_catalogs,
        make_folder,
        write_comparison,
    )

    found = compare_catalogs(
        old,
        new,
        bands=None if bands is None else [b.strip() for b in bands.split(",") if b.strip()],
        band_map=_band_map(mapped),
        radius=options["radius"],
        old_kind=options["old_kind"],
        new_kind=options["new_kind"],
        offsets=options["zero_points"],
        trusted_only=options["reliable"],
    )
    files = write_comparison(found, make_folder(out))
    files += _pictures(found, out) if plots else []
    _show(found, files)


def _band_map(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise WrongValue(f"--map {pair} must read OLD=NEW, as in --map z=Z", value=pair)
        found[old] = new
    return found


def _pictures(comparison: Comparison, out: Path) -> list[Path]:
    from skyloom.plots import comparison_figures, save_figure  # noqa: PLC0415 - slow

    figures = comparison_figures(comparison)
    return [save_figure(figure, out / f"{name}.png") for name, figure in figures.items()]


def _show(comparison: Comparison, files: list[Path]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow

    console = Console(highlight=False)
    for name, side in (("old", comparison.old), ("new", comparison.new)):
        console.print(f"[bold]{name}[/bold]", side.name, soft_wrap=True)
        for note in side.notes:
            console.print("    ", note, soft_wrap=True, markup=False)
    for line in _story(comparison):
        console.print(line, soft_wrap=True, markup=False)
    for table in _tables(comparison):
        console.print(table)
    for path in files:
        console.print("written ", str(path), soft_wrap=True, markup=False)


def _story(comparison: Comparison) -> list[str]:
    """Return the counts, positions and shapes in sentences."""
    position = comparison.positions
    is_sky = position.unit == "arcsec"
    unit, factor = ("mas", 1000.0) if is_sky else ("pix", 1.0)
    lines = ["", f"{len(comparison)} matched within {comparison.radius:g} {position.unit}"]
    for name, unmatched in (("lost", comparison.lost), ("gained", comparison.gained)):
        outside = int(unmatched.is_outside.sum())
        inside = len(unmatched.rows) - outside
        lines.append(f"{inside} {name}, {outside} more outside the footprint of the other")
    for name, rows in (("new", comparison.only_old), ("old", comparison.only_new)):
        if len(rows):
            lines.append(f"{len(rows)} matched but without a flux in {name}")
    if position.offset.is_found:
        dx, dy = position.offset.dx * factor, position.offset.dy * factor
        lines.append(f"common offset {dx:+.3g} {dy:+.3g} {unit} taken off for matching")
    names = ("east", "north") if is_sky else ("x", "y")
    for name, d in zip(names, (position.x, position.y), strict=True):
        lines.append(f"{name} {_numbers(d, factor)} {unit}")
    return [*lines, *_shape_lines(comparison), *comparison.notes]


def _shape_lines(comparison: Comparison) -> list[str]:
    shapes = comparison.shapes
    if shapes is None:
        return []
    named = (
        ("log10 size, new / old", shapes.size),
        ("(a-b)/(a+b)", shapes.ellipticity),
        ("angle [deg]", shapes.angle),
    )
    return [f"{name} {_numbers(d)}, {d.n} sources" for name, d in named if d.n]


def _numbers(found: Differences, factor: float = 1.0) -> str:
    median, stderr, scatter = (factor * v for v in (found.median, found.stderr, found.scatter))
    return f"{median:+.3f} ± {stderr:.3f}, scatter {scatter:.3f}"


def _tables(comparison: Comparison) -> list[Table]:
    tables = []
    if comparison.bands:
        tables.append(_band_table(comparison))
    if any(old or new for old, new in comparison.types):
        changes = _table("types", "old", "new", n="right")
        for (old, new), n in sorted(comparison.types.items(), key=lambda item: -item[1]):
            changes.add_row(old or "?", new or "?", str(n))
        tables.append(changes)
    worst = _worst_table(comparison)
    return [*tables, worst] if worst.row_count else tables


def _table(title: str, *left: str, **right: str) -> Table:
    """Return an empty table that fits a narrow terminal."""
    from rich import box  # noqa: PLC0415 - slow
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
                  collapse_padding=True)  # fmt: skip
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _band_table(comparison: Comparison) -> Table:
    columns = ("n", "Δmag \\[mmag]", "scatter", "offset", "pull", "width", "% > 3", "% > 5")
    table = _table("magnitudes, new - old; pull = flux difference / error", "band",
                   **dict.fromkeys(columns, ""))  # fmt: skip
    for band in comparison.bands:
        d, p = band.summary, band.pulls
        offset = f"{band.offset_removed:+.3f}" if band.offset_removed else ""
        pull = ("", "", "", "")
        if p.n:
            pull = (f"{p.mean:+.2f}", f"{p.width:.2f}", f"{100 * p.beyond_3:.1f}",
                    f"{100 * p.beyond_5:.1f}")  # fmt: skip
        table.add_row(band.band, str(d.n), f"{1e3 * d.median:+.1f} ± {1e3 * d.stderr:.1f}",
                      f"{1e3 * d.scatter:.1f}", offset, *pull)  # fmt: skip
    lines = []
    if any(band.offset_removed for band in comparison.bands):
        lines.append("offset [mag]: difference of zero points, fitted and taken off")
    one_sided = sorted({band.errors for band in comparison.bands if band.errors != "both"})
    if one_sided:
        lines.append(f"errors known: {', '.join(one_sided)}")
    table.caption = "; ".join(lines) or None
    return table


def _worst_table(comparison: Comparison) -> Table:
    from skyloom.compare import worst_pairs  # noqa: PLC0415 - slow

    columns = ("old row", "new row", "mag", "Δmag", "pull")
    table = _table("differ most", "band", **dict.fromkeys(columns, ""))
    table.add_column("types")
    table.add_column("issue", overflow="fold")
    for row in worst_pairs(comparison, _SHOWN):
        numbers = [
            "" if row[name] is None else f"{row[name]:+.{digits}f}"
            for name, digits in (("mag", 2), ("delta_mag", 2), ("pull", 1))
        ]
        table.add_row(row["band"], str(row["old_row"]), str(row["new_row"]), *numbers,
                      row["types"], row["issue"])  # fmt: skip
    return table

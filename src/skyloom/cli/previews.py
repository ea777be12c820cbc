"""``skyloom previews``: pictures of a collection of images, and a page that shows them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from skyloom.errors import WrongValue

if TYPE_CHECKING:
    from skyloom.process.previews import PreviewMaker

__all__ = ["previews"]

F = TypeVar("F", bound=Callable[..., Any])

_REPORT: Final = ".report.json"  # in the directory of previews: what the last run said


@click.group()
def previews() -> None:
    """Small pictures of FITS images.

    DATA are files, globs, directories (with all below them) and @LIST, a text file with one path a
    line; or one description of data in TOML.
    """


def _collection(function: F) -> F:
    """Add what says which data, and where their previews are."""
    options = (
        click.argument("data", nargs=-1, required=True),
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                     help="Directory of the previews.  [default: previews]"),
        click.option("--flat", is_flag=True, help="All previews in one directory under coded "
                     "names; otherwise in a tree like that of the data."),
        click.option("--format", "picture_format", default="jpeg", show_default=True,
                     type=click.Choice(["jpeg", "png", "webp"]), help="Kind of picture."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@previews.command()
@_collection
@click.option("--size", type=click.IntRange(min=1), default=500, show_default=True, metavar="PIX",
              help="Upper limit of the longer side.")  # fmt: skip
@click.option("--stretch", default="asinh", show_default=True,
              type=click.Choice(["asinh", "gamma", "minmax", "percentile", "zscale"]),
              help="From values to shades.")  # fmt: skip
@click.option("--ext", default="0", show_default=True, metavar="HDU",
              help="Number or name of the HDU; 0: the first with an image.")  # fmt: skip
@click.option("--color", metavar="HDU,HDU,HDU", help="Colour from these: red, green, blue.")
@click.option("--negative", is_flag=True, help="Plates: stars are dark; draw them bright.")
@click.option("--crop", is_flag=True, help="Plates: leave out margins, labels, wedges.")
@click.option("--white-sky", is_flag=True, help="Draw dark stars on white.")
@click.option("--filter", "part", metavar="STR", help="Only data whose path contains STR.")
@click.option("--force", is_flag=True, help="Make previews that exist again.")
@click.option("-j", "--n-procs", type=click.IntRange(min=1), default=1, show_default=True,
              metavar="N", help="Worker processes.")  # fmt: skip
@click.option("--bail", is_flag=True, help="Stop at the first failure and show its traceback.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), metavar="S",
              help="Time for one picture; one that takes longer has failed.")  # fmt: skip
@click.option("--retries", type=click.IntRange(min=0), default=0, metavar="N",
              help="How often one that failed is tried again.")  # fmt: skip
@click.option("--quarantine", metavar="FILE",
              help="Leave out the data listed there, and add those that fail.")  # fmt: skip
@click.option("--progress", type=click.Choice(["auto", "bar", "text", "none"]), default="auto",
              help="How to show progress; default: on a terminal only.")  # fmt: skip
def make(*, part: str | None, **options: Any) -> int:
    """Make the previews that are missing."""
    from skyloom.process import Bailed  # noqa: PLC0415 - slow
    from skyloom.process.previews import PictureStyle  # noqa: PLC0415

    maker = _maker(options, color=options["color"])
    maker.style = PictureStyle(
        size=options["size"],
        stretch=options["stretch"],
        picture_format=options["picture_format"],
        is_negative=options["negative"],
        is_cropped=options["crop"],
        white_sky=options["white_sky"],
    )
    opts = maker.opts
    opts.filter, opts.force, opts.n_procs = part, options["force"], options["n_procs"]
    for name in ("bail", "time_limit", "retries", "quarantine", "progress"):
        setattr(opts, name, options[name])
    if part is None:  # a part would make a sheet forget the rest
        opts.report_file = str(_folder(maker) / _REPORT)
    try:
        _, failed = maker.process_all()
    except Bailed:
        return 1
    click.echo(maker.counts.summary)
    return 1 if failed else 0


@previews.command()
@_collection
def missing(**options: Any) -> None:
    """List data without preview, one per line."""
    from skyloom.process import SkipThis  # noqa: PLC0415 - slow

    maker = _maker(options)
    count = without = 0
    for name in maker.iter_identifiers():
        try:
            is_without = maker.classify(name) == "without"
        except SkipThis:
            continue
        count += 1
        without += is_without
        if is_without:
            click.echo(name)
    click.echo(f"{without} of {count} images have no preview", err=True)


@previews.command()
@_collection
@click.option("--page", type=click.Path(path_type=Path), metavar="FILE",
              help="The page.  [default: index.html in the directory of previews]")  # fmt: skip
@click.option("--title", help="Heading.")
@click.option("--keys", metavar="KEY,KEY,...", help="Header values to show and sort by.")
@click.option("--ext", default="0", show_default=True, metavar="HDU",
              help="HDU whose header is read, then the primary one.")  # fmt: skip
@click.option("--inline/--beside", default=None, help="Thumbnails within the page or beside it.  "
              "[default: within, up to 500]")  # fmt: skip
def sheet(*, page: Path | None, keys: str | None, **options: Any) -> None:
    """Write one HTML page that shows all previews."""
    from skyloom.process.previews import SHEET_KEYWORDS, write_contact_sheet  # noqa: PLC0415 - slow

    maker = _maker(options)
    page = page or _folder(maker) / "index.html"
    entries = write_contact_sheet(
        maker,
        page,
        title=options["title"],
        keywords=SHEET_KEYWORDS if keys is None else _words(keys),
        failures=_failures(_folder(maker) / _REPORT),
        is_inline=options["inline"],
    )
    shown = sum(entry.state == "made" for entry in entries)
    click.echo(f"{page}: {shown} of {len(entries)} images have a preview")


def _maker(options: dict[str, Any], *, color: str | None = None) -> PreviewMaker:
    from skyloom.process.previews import (  # noqa: PLC0415 - slow
        FORMATS,
        ColorPreviewMaker,
        PreviewMaker,
        select_data,
        split_preview_path,
    )

    data = select_data(options["data"], options["out"])
    maker = PreviewMaker(data=data)
    if color is not None:
        maker = ColorPreviewMaker(data=data)
        maker.extensions = [_hdu(word) for word in _words(color)]
        if len(maker.extensions) != 3:
            raise WrongValue(f"--color {color} must name three HDUs: red, green, blue")
    if not options["flat"]:
        maker.preview_path = split_preview_path(FORMATS[options["picture_format"]])
    maker.extension = _hdu(options.get("ext", "0"))
    maker.skips_tables = True
    return maker


def _folder(maker: PreviewMaker) -> Path:
    return maker.data.resdir / maker.data.get_property("preview_dir")


def _failures(report: Path) -> dict[str, str]:
    """Return why previews failed when they were made last."""
    if not report.is_file():
        return {}
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {file["identifier"]: file["error"]["message"] for file in files if "error" in file}


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _hdu(text: str) -> int | str:
    return int(text) if text.isdigit() else text

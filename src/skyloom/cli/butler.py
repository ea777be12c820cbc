"""``skyloom butler``: what is in a directory, by dataset type and data ID."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from skyloom.butler import Butler

__all__ = ["butler"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def butler() -> None:
    """Find, read and register datasets by type and data ID.

    ROOT is a work directory, a rerun, or a data root; KEY=VALUE says which datasets, such as
    visit=1234 ccd=56.
    """


def _common(function: F) -> F:
    """Add what all commands take: the root, its layout and parent, JSON."""
    options = (
        click.argument("root", type=click.Path(path_type=Path, file_okay=False, exists=True)),
        click.option("--layout", metavar="NAME|FILE", help="Layout, if ROOT does not tell it."),
        click.option(
            "--parent",
            type=click.Path(path_type=Path),
            help="Where to look for what ROOT does not have.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _open(
    root: Path, layout: str | None, parent: Path | None, *, writeable: bool = False
) -> Butler:
    from skyloom.butler import Butler  # noqa: PLC0415 - slow

    return Butler(root, layout, parent=parent, writeable=writeable)


def _pairs(_ctx: click.Context, _param: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{word!r} is not KEY=VALUE")
        found[key] = value
    return found


def _say(answer: Any, *, as_json: bool, lines: Iterable[str]) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for line in lines:
        click.echo(line)


def _words(data_id: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in data_id.items())


@butler.command("ls")
@_common
@click.option("--all", "show_all", is_flag=True, help="Types without a dataset too.")
def list_types(
    root: Path, *, layout: str | None, parent: Path | None, as_json: bool, show_all: bool
) -> None:
    """List the dataset types in ROOT: how many there are of each, and what they are."""
    opened = _open(root, layout, parent)
    rows = []
    for name, doc in opened.dataset_types().items():
        count = len(opened.query(name))
        if count or show_all:
            rows.append({"dataset_type": name, "count": count, "doc": doc})
    width = max((len(str(row["dataset_type"])) for row in rows), default=0)
    lines = [f"{row['dataset_type']:{width}}  {row['count']:>7}  {row['doc']}" for row in rows]
    guess = f" (assumed: nothing in {root} tells it)" if opened.is_layout_assumed else ""
    _say(rows, as_json=as_json, lines=[f"layout {opened.layout.name}{guess}", *lines])


@butler.command()
@_common
@click.argument("dataset_type", metavar="TYPE")
@click.argument("data_id", metavar="[KEY=VALUE]...", nargs=-1, callback=_pairs)
def find(
    root: Path,
    *,
    layout: str | None,
    parent: Path | None,
    as_json: bool,
    dataset_type: str,
    data_id: dict[str, str],
) -> None:
    """List the datasets of a TYPE: data ID and path of each.

    run=NAME lists those of one rerun of the chain.
    """
    opened = _open(root, layout, parent)
    opened.layout.check_keys(key for key in data_id if key != "run")
    rows: list[dict[str, Any]] = [
        {"data_id": dict(found), "path": str(path)}
        for found, path in opened.found(dataset_type, **data_id)
    ]
    _say(rows, as_json=as_json, lines=(f"{_words(r['data_id'])}  {r['path']}" for r in rows))


@butler.command()
@_common
@click.argument("name", metavar="TYPE")
@click.argument("data_id", metavar="[KEY=VALUE]...", nargs=-1, callback=_pairs)
@click.option("--out", type=click.Path(path_type=Path), help="Copy the file there instead.")
def get(
    root: Path,
    *,
    layout: str | None,
    parent: Path | None,
    as_json: bool,
    name: str,
    data_id: dict[str, str],
    out: Path | None,
) -> None:
    """Show a dataset: its text, rows, header cards, or a summary.

    TYPE may have a suffix: TYPE_filename, TYPE_md, TYPE_len, TYPE_schema.
    """
    from skyloom.cli.show import as_plain, as_text  # noqa: PLC0415 - slow

    opened = _open(root, layout, parent)
    if out is not None:
        from skyloom.errors import DataNotFound, OutputExists  # noqa: PLC0415

        path = opened.path(name, data_id)
        if not path.is_file():
            raise DataNotFound(f"dataset {name}({_words(data_id)}): {path} does not exist")
        if out.exists():
            raise OutputExists(f"{out}: exists already; choose another name", path=out)
        shutil.copyfile(path, out)
        return
    found = opened.get(name, data_id)
    if as_json:
        click.echo(json.dumps(as_plain(found), indent=2, ensure_ascii=False))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else -1
        click.echo(as_text(found, width=width), nl=False)


@butler.command()
@_common
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--type", "dataset_type", metavar="TYPE", help="Type, where a name fits several.")
@click.option(
    "--validity",
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="Calibrations hold for so many days before and after their date.",
)
@click.option("--set", "known", metavar="KEY=VALUE", multiple=True, callback=_pairs,
              help="A key that neither name nor header tells.")  # fmt: skip
@click.option("--checksum", is_flag=True, help="Take checksums too.")
def ingest(
    root: Path,
    *,
    layout: str | None,
    parent: Path | None,
    as_json: bool,
    files: tuple[Path, ...],
    dataset_type: str | None,
    validity: int | None,
    known: dict[str, Any],
    checksum: bool,
) -> None:
    """Add FILES, which stand below ROOT, to its registry; all of them or none."""
    with _open(root, layout, parent, writeable=True) as opened:
        opened.layout.check_keys(known)
        rows = opened.ingest(files, dataset_type, validity=validity, checksum=checksum, **known)
    answer = [{"dataset_type": r.type, "data_id": dict(r.data_id)} for r in rows]
    _say(answer, as_json=as_json, lines=[f"{len(rows)} datasets"])


@butler.command()
@_common
@click.option("--checksum", is_flag=True, help="Read every file again.")
def verify(
    root: Path, *, layout: str | None, parent: Path | None, as_json: bool, checksum: bool
) -> int:
    """Compare the registry of ROOT with its files.

    The exit status is 1 if a file is missing, changed, or not listed.
    """
    with _open(root, layout, parent) as opened:
        found = opened.verify(checksum=checksum)
    answer = [
        {"what": d.what, "dataset_type": d.type, "data_id": dict(d.data_id), "path": str(d.path)}
        for d in found
    ]
    lines = [f"{d.what}: {d.path}" for d in found]
    _say(answer, as_json=as_json, lines=[*lines, f"{len(found)} differences"])
    return int(bool(found))


@butler.command()
@_common
@click.option("--validity", type=click.IntRange(min=0), metavar="DAYS",
              help="For calibrations of which nothing is known.")  # fmt: skip
@click.option("--checksum", is_flag=True, help="Take the checksums that are lacking.")
def rebuild(
    root: Path,
    *,
    layout: str | None,
    parent: Path | None,
    as_json: bool,
    validity: int | None,
    checksum: bool,
) -> int:
    """Make the registry of ROOT anew from its files.

    The exit status is 1 if the keys of a file could not be told; it is listed all the same.
    """
    with _open(root, layout, parent, writeable=True) as opened:
        done = opened.rebuild(validity=validity, checksum=checksum)
    answer = {"datasets": done.datasets, "removed": done.removed, "left_out": list(done.left_out)}
    lines = [*done.left_out, f"{done.datasets} datasets, {done.removed} rows removed"]
    _say(answer, as_json=as_json, lines=lines)
    return int(bool(done.left_out))


@butler.command()
@_common
@click.argument("types", metavar="[TYPE]...", nargs=-1)
def export(
    root: Path, *, layout: str | None, parent: Path | None, as_json: bool, types: tuple[str, ...]
) -> None:
    """Write an ingest list: dataset type, data ID and path, one JSON object a line.

    With --json it is a single JSON list.
    """
    from skyloom.butler.bridge import export as listed  # noqa: PLC0415 - slow

    rows = listed(_open(root, layout, parent), types)
    _say(
        list(rows) if as_json else None,
        as_json=as_json,
        lines=(json.dumps(row, ensure_ascii=False) for row in rows),
    )


@butler.command()
@_common
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("types", metavar="[TYPE]...", nargs=-1)
@click.option("--instrument", default="HSC", show_default=True, help="Name of the camera there.")
@click.option("--skymap", default="skymap", show_default=True, help="Name of the tracts there.")
@click.option("--run", default="skyloom", show_default=True, help="Collection there.")
def bridge(
    root: Path,
    *,
    layout: str | None,
    parent: Path | None,
    as_json: bool,
    repository: Path,
    types: tuple[str, ...],
    **names: Any,
) -> None:
    """Ingest datasets in place into REPOSITORY, one of lsst-daf-butler.

    It needs the extra 'lsst': pip install 'skyloom[lsst]'.
    """
    from skyloom.butler.bridge import bridge as ingest_there  # noqa: PLC0415 - slow

    done = ingest_there(_open(root, layout, parent), repository, types, **names)
    answer = {
        "datasets": done.datasets,
        "known": done.known,
        "collections": list(done.collections),
        "left_out": dict(done.left_out),
    }
    lines = [f"left out: {name}, {why}" for name, why in done.left_out.items()]
    where = ", ".join(done.collections)
    lines.append(f"{done.datasets} datasets ingested, {done.known} known already, in {where}")
    _say(answer, as_json=as_json, lines=lines)


@butler.command()
@_common
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("types", metavar="[TYPE]...", nargs=-1)
@click.option("--collections", default="skyloom", show_default=True, metavar="NAME,...",
              help="Where to look for datasets there.")  # fmt: skip
@click.option("--set", "known", metavar="KEY=VALUE", multiple=True, callback=_pairs,
              help="A key that the repository does not know, such as pointing=705.")  # fmt: skip
@click.option("--filter", "filters", metavar="BAND=NAME", multiple=True, callback=_pairs,
              help="Filter of a band, for coadds: i=HSC-I.")  # fmt: skip
@click.option("--link", is_flag=True, help="Make hard links instead of copies.")
def adopt(
    root: Path,
    *,
    layout: str | None,
    parent: Path | None,
    as_json: bool,
    repository: Path,
    types: tuple[str, ...],
    collections: str,
    known: dict[str, Any],
    filters: dict[str, str],
    link: bool,
) -> None:
    """Take datasets of REPOSITORY, one of lsst-daf-butler, over into ROOT.

    It needs the extra 'lsst': pip install 'skyloom[lsst]'.
    """
    from skyloom.butler.bridge_back import adopt as take_over  # noqa: PLC0415 - slow

    with _open(root, layout, parent, writeable=True) as opened:
        opened.layout.check_keys(known)
        done = take_over(opened, repository, types, collections=collections.split(","),
                         filters=filters, transfer="link" if link else "copy", **known)  # fmt: skip
    answer = {"datasets": done.datasets, "known": done.known, "left_out": dict(done.left_out)}
    lines = [f"left out: {name}, {why}" for name, why in done.left_out.items()]
    lines.append(f"{done.datasets} datasets taken over, {done.known} known already")
    _say(answer, as_json=as_json, lines=lines)

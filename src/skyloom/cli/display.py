"""``skyloom display``: an image in ds9, or as a PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from skyloom.errors import DisplayNotAvailable, MissingFile, WrongValue

if TYPE_CHECKING:
    from skyloom.display import Display

__all__ = ["display"]

_BACKENDS: Final = ("auto", "xpa", "pyds9", "samp", "matplotlib")


@click.command()
@click.argument("what", metavar="FILE|TYPE")
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), show_default=True,
              help="Directory of the dataset.")  # fmt: skip
@click.option("--backend", type=click.Choice(_BACKENDS), default="auto", show_default=True,
              help="Where to show it; auto: in a ds9 that runs, if one does.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
              help="Write a picture.")  # fmt: skip
@click.option("--launch", is_flag=True, help="Start ds9 if none answers.")
@click.option("--target", default="ds9", show_default=True, help="XPA name of the ds9.")
@click.option("--frame", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--scale", default="zscale", show_default=True, metavar="WORDS",
              help="Grey levels: 'asinh zscale', '99.5', 'limits 0 100'.")  # fmt: skip
@click.option("--zoom", default="to fit", show_default=True, metavar="N|'to fit'",
              help="Screen pixels per pixel.")  # fmt: skip
@click.option("--mask-transparency", type=click.FloatRange(0, 100), default=60.0,
              show_default=True, metavar="PERCENT")  # fmt: skip
@click.option("--mask-color", multiple=True, metavar="PLANE=COLOR",
              help="Colour of a mask plane; PLANE=ignore leaves it out.")  # fmt: skip
@click.option("--catalog", metavar="FILE", help="Mark sources: columns x, y or ra, dec.")
@click.option("--symbol", default="o", show_default=True, help="Symbol of the sources.")
@click.option("--size", type=float, default=5.0, show_default=True, metavar="PIXELS",
              help="Size of the symbols.")  # fmt: skip
@click.option("--color", default="green", show_default=True, help="Colour of the symbols.")
def display(what: str, keys: tuple[str, ...], *, root: Path, **options: Any) -> None:
    """Show a FITS image or exposure, or the dataset TYPE of a data ID.

    FILE.fits[2] names an HDU.  An exposure is shown with the planes of its mask.
    """
    data = _dataset(root, what, keys) if keys or not _is_file(what) else _file(what)
    colors = [_pair(text, "--mask-color", "CR=red") for text in options["mask_color"]]
    with _screen(options) as screen:
        screen.mask_transparency = options["mask_transparency"]
        for plane, color in colors:
            screen.set_mask_plane_color(plane, color)
        settings = {"scale": options["scale"], "zoom": options["zoom"]}
        screen.mtv(data, title=" ".join([Path(what).name, *keys]), settings=settings)
        if options["catalog"] is not None:
            _mark(screen, data, options)
        click.echo(f"shown in {screen.backend.name}")
    if options["out"] is not None:
        click.echo(f"written {options['out']}")


def _is_file(what: str) -> bool:
    return "/" in what or "." in what or Path(what).exists()


def _file(path: str) -> Any:
    from skyloom.display import read_displayable  # noqa: PLC0415 - slow

    return read_displayable(path)


def _dataset(root: Path, kind: str, keys: tuple[str, ...]) -> Any:
    """Return a dataset that can be shown."""
    from skyloom.butler import Butler  # noqa: PLC0415 - slow

    data_id = dict(_pair(text, kind, "visit=1234") for text in keys)
    if not root.is_dir():
        raise MissingFile(f"--root {root}: no such directory; correct the path", file=str(root))
    with Butler(root) as butler:
        return butler.get(kind, data_id)


def _pair(text: str, where: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise WrongValue(f"{where} {text}: must read NAME=VALUE, as in {example}", value=text)
    return name, value


def _screen(options: dict[str, Any]) -> Display:
    from skyloom.display import Display  # noqa: PLC0415 - slow

    backend, out = options["backend"], options["out"]
    if backend == "auto" and out is None:
        backend = "xpa"  # nobody sees a virtual one
    if backend == "matplotlib" and out is None:
        raise WrongValue("--backend matplotlib draws a file; name it with --out FILE.png")
    try:
        return Display(
            backend,
            frame=options["frame"],
            out=out,
            target=options["target"],
            launch=options["launch"],
        )
    except DisplayNotAvailable as error:
        raise DisplayNotAvailable(
            f"{error}; on the command line: --launch, or --out picture.png", **error.facts
        ) from error


def _mark(screen: Display, data: Any, options: dict[str, Any]) -> None:
    from skyloom.display import source_positions  # noqa: PLC0415 - slow

    path = options["catalog"]
    x, y = source_positions(_catalog(path), _sky(data), where=path)
    screen.dot(options["symbol"], x, y, size=options["size"], ctype=options["color"])


def _catalog(path: str) -> Any:
    """Read a catalogue: one of afw as such, since its names need its slots."""
    from skyloom.catalogs import SourceCatalog, read_table  # noqa: PLC0415 - slow

    file = Path(path)
    if file.is_file():
        with file.open("rb") as start:
            is_fits = start.read(9) == b"SIMPLE  ="
        if is_fits and (found := SourceCatalog.read(file)).kind:
            return found
    return read_table(path)


def _sky(data: Any) -> Any:
    """Return the WCS of what is shown, in parent coordinates, or None."""
    from skyloom.images import FitsImage, SkyWcs  # noqa: PLC0415 - slow

    if isinstance(data, FitsImage):
        return SkyWcs.from_astropy(data.wcs())
    return getattr(data, "wcs", None)

"""``skyloom display``: an image in ds9, or as a PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from skyloom.errors import BadTable, DisplayNotAvailable, MissingFile, WrongValue

if TYPE_CHECKING:
    from skyloom._types import Floats

__all__ = ["display"]

_BACKENDS: Final = ("auto", "xpa", "samp", "matplotlib")
_POSITIONS: Final = (  # of pixels, and what their count starts from
    (("x", "y"), 0.0),
    (("base_SdssCentroid_x", "base_SdssCentroid_y"), 0.0),
    (("X_IMAGE", "Y_IMAGE"), 1.0),
)
_ON_SKY: Final = (("ra", "dec"), ("RA", "DEC"), ("ALPHA_J2000", "DELTA_J2000"))


@click.command()
@click.argument("what", metavar="FILE|TYPE")
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), show_default=True,
              help="Where datasets are looked for.")  # fmt: skip
@click.option("--backend", type=click.Choice(_BACKENDS), default="auto", show_default=True,
              help="Where to show it; auto: a ds9 that runs, else the file of --out.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
              help="Write the picture here.")  # fmt: skip
@click.option("--launch", is_flag=True, help="Start ds9 if none answers.")
@click.option("--target", default="ds9", show_default=True, help="XPA name of the ds9.")
@click.option("--frame", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--scale", default="zscale", show_default=True, metavar="WORDS",
              help="Grey levels, as 'asinh zscale', '99.5', 'limits 0 100'.")  # fmt: skip
@click.option("--zoom", default="to fit", show_default=True, metavar="N|'to fit'",
              help="Screen pixels per pixel.")  # fmt: skip
@click.option("--mask-transparency", type=click.FloatRange(0, 100), default=60.0,
              show_default=True, metavar="PERCENT")  # fmt: skip
@click.option("--mask-color", multiple=True, metavar="PLANE=COLOR",
              help="Colour of a mask plane; PLANE=ignore leaves it out.")  # fmt: skip
@click.option("--catalog", type=click.Path(), metavar="FILE", help="Sources to mark.")
@click.option("--symbol", default="o", show_default=True, help="Symbol of the sources.")
@click.option("--size", type=float, default=4.0, show_default=True, metavar="PIXELS")
@click.option("--color", default="green", show_default=True, help="Colour of the sources.")
def display(what: str, keys: tuple[str, ...], **options: Any) -> None:
    """Show a FITS image or exposure, or the dataset TYPE of a data ID.

    FILE.fits[2] names an HDU.  An exposure is shown with the planes of its mask; --catalog marks
    sources by their columns x, y or ra, dec.
    """
    from skyloom.display import Display, current_display, use  # noqa: PLC0415 - slow

    data = _open(what, keys, root=options["root"])
    out: Path | None = options["out"]
    has_file_only = out is not None and options["backend"] == "auto" and not options["launch"]
    screen = Display(
        options["backend"],
        frame=options["frame"],
        out=out if has_file_only or options["backend"] == "matplotlib" else None,
        target=options["target"],
        launch=options["launch"],
    )
    del current_display, use
    with screen:
        _show(screen, data, what, options)


def _show(screen: Any, data: Any, what: str, options: dict[str, Any]) -> None:
    ...

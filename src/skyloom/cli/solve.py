"""``skyloom solve``: where images are on the sky, from their stars."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skyloom.errors import SkyloomError, UserMistake, WrongValue

if TYPE_CHECKING:
    from skyloom.calib.plate_solving import PlateSolution

__all__ = ["solve"]

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_PATH)
@click.option("--backend", type=click.Choice(["auto", "astrometry", "solve-field"]),
              default="auto", show_default=True, help="What recognises the stars.")  # fmt: skip
@click.option("--scale-low", type=float, metavar="ARCSEC", help="Smallest scale [arcsec/pix].")
@click.option("--scale-high", type=float, metavar="ARCSEC", help="Largest scale [arcsec/pix].")
@click.option("--ra", type=float, metavar="DEG", help="Right ascension of the field.")
@click.option("--dec", type=float, metavar="DEG", help="Declination of the field.")
@click.option("--radius", type=float, metavar="DEG", default=5.0, show_default=True,
              help="How far the field may be from there.")  # fmt: skip
@click.option("--index-dir", type=_PATH, help="Folder of index files; default the usual places.")
@click.option("--catalog", type=_PATH, metavar="TABLE",
              help="Reference stars: ra, dec, pmra, pmdec; default the indexes.")  # fmt: skip
@click.option("--minarea", type=int, metavar="PIXELS", help="Least area of a star.  [default: 5]")
@click.option("--detectthreshold", type=float, metavar="SIGMA",
              help="Threshold of detection.  [default: 5]")  # fmt: skip
@click.option("--invert", is_flag=True, help="Stars are dark, as on a negative.")
@click.option("--time-limit", type=float, default=60.0, show_default=True, metavar="S",
              help="Time for one file.")  # fmt: skip
@click.option("--overlay", type=_PATH, metavar="PNG", help="Draw the stars of the (one) file.")
@click.option("--copy-to", type=_PATH, metavar="FOLDER", help="Keep the working folder there.")
@click.option("--apply", "applies", is_flag=True, help="Write the header into the file, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file and line.")
def solve(files: tuple[Path, ...], *, as_json: bool, **options: Any) -> int:
    """Find where FILES are on the sky, from their stars alone.

    FITS images, pictures (JPEG, PNG, TIFF) and tables of stars (.xyls).  The new header is written
    to FILE.hdr; the file itself changes only with --apply.  Exit status 1 if a file was not solved.
    """
    from skyloom.process.solve_files import FileSolver  # noqa: PLC0415 - slow

    if options["overlay"] and len(files) > 1:
        raise WrongValue("--overlay draws one file; solve them one by one", key="overlay")
    solver = FileSolver.with_options(files, **options)
    failed = 0
    for path in files:
        try:
            found = solver.run(path)
        except UserMistake:
            raise
        except SkyloomError as error:
            failed += 1
            _report_failure(path, error, as_json=as_json)
            continue
        click.echo(json.dumps({"file": str(path), "solved": True, **found.summary()})
                   if as_json else _sentence(path, found))  # fmt: skip
    return 1 if failed else 0


def _report_failure(path: Path, error: SkyloomError, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"file": str(path), "solved": False, "reason": str(error)}))
    else:
        click.echo(f"skyloom: {path}: {error}", err=True)


def _sentence(path: Path, found: PlateSolution) -> str:
    numbers = found.summary()
    proof = found.refinement.held_out
    return (
        f"{path}: ra {found.centre[0]:.6f} dec {found.centre[1]:+.6f}, "
        f"{_size(found.size[0])} x {_size(found.size[1])}, {found.wcs.scale:.5g} arcsec/pix, "
        f"y axis at {found.wcs.rotation:.3f} deg N through E"
        f"{', mirrored' if found.wcs.is_mirrored else ''}\n"
        f"  {len(found.refinement.pairs)} stars, order {found.refinement.order}, "
        f"rms {found.refinement.rms:.3g} arcsec; held out: {proof.found} of {proof.predicted} "
        f"found, median {proof.median:.3g} arcsec; {numbers['backend']}, {found.seconds:.2f} s"
    )


def _size(degrees: float) -> str:
    return f"{degrees:.4g} deg" if degrees >= 1 else f"{60 * degrees:.4g} arcmin"

"""Tables and images that plate solving reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom._types import Floats
from skyloom.calib.motion import GAIA_EPOCH, moved_positions
from skyloom.calib.plate_solving.stars import ReferenceStars, StarList
from skyloom.catalogs import column_as_float, read_table
from skyloom.errors import BadTable, MissingFile, UnreadableFile
from skyloom.images import FitsImage, opened_fits

__all__ = [
    "SolveInput",
    "read_reference_catalog",
    "read_solve_input",
    "read_star_table",
    "write_star_table",
]

PICTURES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_TABLES: Final = (".xyls", ".axy", ".xy")
_X: Final = ("X_IMAGE", "X", "x", "XWIN_IMAGE")
_Y: Final = ("Y_IMAGE", "Y", "y", "YWIN_IMAGE")
_FLUX: Final = ("FLUX_AUTO", "FLUX", "flux")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolveInput:
    """A file to solve: its pixels or its table of stars, and what its header says."""

    path: Path
    header: fits.Header
    image: npt.NDArray[Any] | None = None
    stars: StarList | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the image (ny, nx)."""
        if self.image is not None:
            return int(self.image.shape[0]), int(self.image.shape[1])
        assert self.stars is not None
        return self.stars.shape


def read_solve_input(path: Path | str, *, extension: int = 1) -> SolveInput:
    """Read an image (FITS, JPEG, PNG, TIFF) or a table of stars (``.xyls``).

    Parameters
    ----------
    path : path
        The file. Rows of pictures count from the top, as they are stored.
    extension : int
        HDU of a table.

    Raises
    ------
    MissingFile, UnreadableFile, BadTable
        If it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: no such file; correct the path", file=str(path))
    if path.suffix.lower() in PICTURES:
        return SolveInput(path=path, header=fits.Header(), image=_read_picture(path))
    if path.suffix.lower() in _TABLES:
        stars, header = read_star_table(path, extension=extension)
        return SolveInput(path=path, header=header, stars=stars)
    found = FitsImage.open(path)
    header = found.primary.copy()
    header.update(found.header)
    return SolveInput(path=path, header=header, image=found.read())


def _read_picture(path: Path) -> npt.NDArray[np.float32]:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - slow, rarely needed

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("F"), dtype=np.float32)
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise UnreadableFile(
            f"{path}: not a readable picture ({error}); save it again", file=str(path)
        ) from error


def read_star_table(path: Path | str, *, extension: int = 1) -> tuple[StarList, fits.Header]:
    """Read a table of stars: columns X, Y (from 1) and FLUX, or those of `write_star_table`.

    Returns
    -------
    StarList
        Its shape is IMAGEH x IMAGEW of the header, or the smallest that holds all stars.
    Header
        Of the table, with the primary cards.
    """
    path = Path(path)
    with opened_fits(path) as hdus:
        if extension >= len(hdus) or not isinstance(hdus[extension], fits.BinTableHDU):
            raise UnreadableFile(
                f"{path}: HDU {extension} is no binary table; name another with sp_fields",
                file=str(path),
                hdu=extension,
            )
        table = hdus[extension].data
        names = list(hdus[extension].columns.names)
        x, y, flux = (_column(table, names, known, path) for known in (_X, _Y, _FLUX))
        long = None
        if "ELONGATION" in names:
            long = np.asarray(table["ELONGATION"], dtype=np.float64)
        header = hdus[0].header.copy()
        header.update(hdus[extension].header)
    shape = None
    if "IMAGEW" in header and "IMAGEH" in header:
        shape = (int(header["IMAGEH"]), int(header["IMAGEW"]))
    order = np.argsort(table["RANK"], kind="stable") if "RANK" in names else slice(None)
    stars = StarList.of(
        (x - 1.0)[order],
        (y - 1.0)[order],
        flux[order],
        shape=shape,
        elongation=None if long is None else long[order],
        is_sorted="RANK" in names,
    )
    return stars, header


def _column(table: Any, names: list[str], known: tuple[str, ...], path: Path) -> Floats:
    for name in known:
        if name in names:
            return np.asarray(table[name], dtype=np.float64)
    raise BadTable(
        f"{path}: no column {' or '.join(known)} (it has {', '.join(names[:8])})",
        file=str(path),
        column=known[0],
    )


def write_star_table(stars: StarList, path: Path) -> None:
    """Write stars as SExtractor would: X_IMAGE, Y_IMAGE (from 1), MAG_ISO, FLUX_AUTO, ELONGATION.

    RANK counts from 1 in the order of the list, which need not be that of the fluxes.
    An object filter may change this table in place.
    """
    flux = stars.flux
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = np.where(flux > 0, -2.5 * np.log10(np.where(flux > 0, flux, 1.0)), 99.0)
    columns = [
        fits.Column("X_IMAGE", "D", unit="pixel", array=stars.x + 1.0),
        fits.Column("Y_IMAGE", "D", unit="pixel", array=stars.y + 1.0),
        fits.Column("MAG_ISO", "E", unit="mag", array=mag),
        fits.Column("FLUX_AUTO", "D", unit="count", array=flux),
        fits.Column("ELONGATION", "E", array=stars.elongation),
        fits.Column("RANK", "D", array=np.arange(1.0, len(stars) + 1)),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["IMAGEW"] = (stars.shape[1], "[pix] width of the image")
    table.header["IMAGEH"] = (stars.shape[0], "[pix] height of the image")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)


def read_reference_catalog(path: Path | str, *, epoch: float | None = None) -> ReferenceStars:
    """Read a catalogue of reference stars and move them to an epoch.

    Parameters
    ----------
    path : path
        CSV, ECSV or FITS table with ``ra``, ``dec`` [deg] and, if known, ``mag`` (or
        ``phot_g_mean_mag``), ``pmra``, ``pmdec`` [mas/yr], ``ref_epoch`` [Julian year, default
        2016.0, that of Gaia DR3].
    epoch : float, optional
        Julian year of the image; None: the positions stay as they are.

    Raises
    ------
    MissingFile, UnreadableFile, BadTable
        If it cannot be read or has no positions.
    """
    table = read_table(path)
    lower = {name.lower(): name for name in table.colnames}

    def column(*names: str) -> Floats | None:
        known = [lower[name] for name in names if name in lower]
        return column_as_float(table, known[0]) if known else None

    ra, dec = column("ra", "raj2000", "ra_icrs"), column("dec", "dej2000", "de_icrs", "decj2000")
    if ra is None or dec is None:
        raise BadTable(
            f"{path}: no columns ra and dec [deg] (it has {', '.join(table.colnames[:8])})",
            file=str(path),
            column="ra",
        )
    mag = column("mag", "phot_g_mean_mag", "vtmag", "mag_vt", "vmag")
    pmra, pmdec = column("pmra"), column("pmdec", "pmde")
    reference = column("ref_epoch", "epoch")
    if epoch is not None and pmra is not None and pmdec is not None:
        moves = np.isfinite(pmra) & np.isfinite(pmdec)
        start = np.full(len(ra), GAIA_EPOCH) if reference is None else reference
        start = np.where(np.isfinite(start), start, GAIA_EPOCH)
        ra, dec = moved_positions(
            ra, dec, np.where(moves, pmra, 0.0), np.where(moves, pmdec, 0.0), epoch - start
        )
    else:
        epoch = None
    good = np.isfinite(ra) & np.isfinite(dec)
    found = ReferenceStars(
        ra=ra,
        dec=dec,
        mag=np.full(len(ra), np.nan) if mag is None else mag,
        source=Path(path).name,
        epoch=epoch,
    )
    found = found[good]
    return found[np.argsort(found.mag, kind="stable")]

"""Files of the calibration: Gaia XP spectra, filter curves, the instrument model of Gaia XP."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.table import Table

from skyloom._types import Floats
from skyloom.calib.xp import FilterCurve, XpInstrument, XpModel, XpSpectra
from skyloom.catalogs import column_as_text, read_csv
from skyloom.errors import BadTable, MissingFile, UnreadableFile

__all__ = ["read_filter", "read_filters", "read_instrument", "read_xp_spectra", "read_xp_table"]

N_BASES: Final = 55  # of XP spectra, in both arms
_MODELS: Final = {"bp": "bpC03_v375wi", "rp": "rpC03_v142r"}
_FITS: Final = (".fits", ".fit", ".fits.gz")
_CURVES: Final = (".dat", ".txt", ".csv", ".ascii", ".pb")


def read_instrument(directory: Path | str | None = None) -> XpInstrument:
    """Read the instrument model of Gaia XP.

    Parameters
    ----------
    directory : path, optional
        Folder with the tables of GaiaXPy (``bpC03_v375wi_bases.csv`` and so on); default those
        that come with the package, of Gaia DR3.
    """
    if directory is not None:
        return _instrument(Path(directory))
    with as_file(files("skyloom.calib") / "gaia_dr3") as folder:
        return _instrument(folder)


def _instrument(folder: Path) -> XpInstrument:
    return XpInstrument(**{arm: _model(folder, stem) for arm, stem in _MODELS.items()})


def _model(folder: Path, stem: str) -> XpModel:
    table = read_csv(folder / f"{stem}_bases.csv", key="the folder of the XP instrument model")
    row = {name: column_as_text(table, name)[0] for name in table.colnames}
    dispersion, response = (
        np.loadtxt(folder / f"{stem}_{part}.csv", delimiter=",")
        for part in ("dispersion", "response")
    )
    n, k = int(row["nBases"]), int(row["nInverseBasesCoefficients"])
    return XpModel(
        wavelength=dispersion[0],
        pseudo_wavelength=dispersion[1],
        response_wavelength=response[0],
        response=response[1],
        pseudo_range=(float(row["pwlRangeMin"]), float(row["pwlRangeMax"])),
        hermite_range=(float(row["normRangeMin"]), float(row["normRangeMax"])),
        inverse_bases=_numbers(row["inverseBasesCoefficients"]).reshape(n, k),
        transformation=_numbers(row["transformationMatrix"]).reshape(n, -1),
    )


def _numbers(cell: str) -> Floats:
    """Return the numbers of a cell such as ``(1.0, 2.0)`` or ``[1.0 2.0]``."""
    return np.array(cell.strip("()[]{} ").replace(",", " ").split(), dtype=np.float64)


def read_xp_table(path: Path | str) -> Table:
    """Read a table of the Gaia archive: CSV or FITS, by its ending.

    Raises
    ------
    MissingFile, UnreadableFile
        If it cannot be read.
    BadTable
        If it has no column ``source_id``.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: no such file; correct the path", file=str(path))
    if path.name.endswith(_FITS):
        try:
            with fits.open(path) as hdus:
                table = Table(hdus[1].data)
        except (OSError, IndexError, TypeError, ValueError) as error:
            raise UnreadableFile(
                f"{path}: not a readable FITS table ({error}); fetch it again", file=str(path)
            ) from error
    else:
        table = read_csv(path)
    if "source_id" not in table.colnames:
        raise BadTable(
            f"{path}: column source_id is missing (it has {', '.join(table.colnames[:8])}, ...)",
            file=str(path),
            column="source_id",
        )
    return table


def read_xp_spectra(path: Path | str) -> XpSpectra:
    """Read mean spectra as the Gaia archive delivers them (data link ``XP_CONTINUOUS_RAW``).

    Parameters
    ----------
    path : path
        CSV or FITS with ``source_id`` and, for ``bp`` and ``rp``, ``{arm}_coefficients``,
        ``{arm}_coefficient_errors``, ``{arm}_coefficient_correlations``; empty cells where a star
        lacks a half.

    Raises
    ------
    MissingFile, UnreadableFile
        If it cannot be read.
    BadTable
        If a column is missing or a cell has the wrong number of values.
    """
    table = read_xp_table(path)
    sizes = {"coefficients": N_BASES, "coefficient_errors": N_BASES}
    sizes["coefficient_correlations"] = N_BASES * (N_BASES - 1) // 2
    arrays = {
        (arm, name): _vectors(table, f"{arm}_{name}", size, str(path))
        for arm in _MODELS
        for name, size in sizes.items()
    }
    return XpSpectra(
        source_id=_identifiers(table),
        coefficients={arm: arrays[arm, "coefficients"] for arm in _MODELS},
        errors={arm: arrays[arm, "coefficient_errors"] for arm in _MODELS},
        correlations={arm: arrays[arm, "coefficient_correlations"] for arm in _MODELS},
    )


def _identifiers(table: Table) -> npt.NDArray[np.str_]:
    return np.char.strip(np.asarray(column_as_text(table, "source_id"), dtype=np.str_))


def _vectors(table: Table, name: str, size: int, where: str) -> Floats:
    """Return a column of vectors as an array; NaN where the cell is empty."""
    if name not in table.colnames:
        raise BadTable(
            f"{where}: column {name} is missing; fetch XP_CONTINUOUS_RAW from the Gaia archive",
            file=where,
            column=name,
        )
    out = np.full((len(table), size), np.nan)
    for row, cell in enumerate(table[name]):
        try:
            values = _numbers(cell) if isinstance(cell, str) else np.ravel(cell).astype(float)
        except (TypeError, ValueError) as error:
            raise BadTable(
                f"{where}, row {row}: {name} is not a list of numbers ({error}); fetch it again",
                file=where,
                column=name,
                row=row,
            ) from error
        if len(values) == 0:
            continue
        if len(values) != size:
            raise BadTable(
                f"{where}, row {row}: {name} has {len(values)} values, {size} expected; this is "
                "not an XP_CONTINUOUS_RAW table of Gaia DR3",
                file=where,
                column=name,
                row=row,
            )
        out[row] = values
    return out


def read_filters(directory: Path | str) -> list[FilterCurve]:
    """Read all filter curves of a folder (``.dat .txt .csv .ascii .pb``), in order of their names.

    Raises
    ------
    MissingFile
        If there is no such folder, or no curve in it.
    BadTable
        If a file is not a filter curve.
    """
    folder = Path(directory)
    paths: Sequence[Path] = []
    if folder.is_dir():
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _CURVES)
    if not paths:
        raise MissingFile(
            f"{folder}: no filter curve there; give a folder with one file per band, "
            "{band}.dat with wavelength and transmission",
            file=str(folder),
        )
    return [read_filter(path) for path in paths]


def read_filter(path: Path | str) -> FilterCurve:
    """Read a filter curve: two columns, wavelength and transmission of photons.

    Parameters
    ----------
    path : path
        Text, columns apart by blanks or commas, ``#`` starts a comment; the file's name without
        its ending is the band.  Wavelengths in nm, Angstrom or micrometre, told apart by their
        size.

    Raises
    ------
    BadTable
        If it is not such a table.
    """
    path = Path(path)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append((float(words[0]), float(words[1])))
        except (IndexError, ValueError):
            if not rows:
                continue  # names of the columns
            raise BadTable(
                f"{path}:{number}: {line.strip()!r} is not a wavelength and a transmission",
                file=str(path),
                row=number,
            ) from None
    values = np.array(rows, dtype=np.float64).reshape(-1, 2)
    values = values[np.argsort(values[:, 0], kind="stable")]
    wavelength, transmission = values[:, 0], values[:, 1]
    if len(values) < 3 or not np.isfinite(values).all() or not (transmission > 0).any():
        raise BadTable(
            f"{path}: {len(values)} rows; a filter curve has 3 or more, finite, not all 0",
            file=str(path),
        )
    middle = float(np.average(wavelength, weights=np.maximum(transmission, 0.0)))
    scale = 0.1 if middle > 2000.0 else 1000.0 if middle < 20.0 else 1.0
    return FilterCurve(
        name=path.stem, wavelength=wavelength * scale, transmission=np.maximum(transmission, 0.0)
    )

"""A catalogue of any kind, told by its content: text, Parquet, FITS, LDAC, arrays of NumPy."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import ascii as text_tables
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from skyloom.catalogs.io.binary import read_parquet
from skyloom.catalogs.io.text import read_csv
from skyloom.errors import BadTable, MissingFile, UnreadableFile
from skyloom.images import opened_fits

__all__ = ["read_table"]

_LDAC: Final = "LDAC_OBJECTS"
_NAMED_HDU: Final = re.compile(r"(?P<path>.+)\[(?P<hdu>\d+)\]$")
_HEADER_WORDS: Final = ("FILTER", "BANDS", "MAGZERO")
_FITS_ENDS: Final = (".fits", ".fit", ".fits.gz", ".fits.fz", ".ldac", ".fz")


def read_table(path: Path | str) -> Table:
    """Read a catalogue; the content, not the name, tells the format.

    Parameters
    ----------
    path : path
        CSV, ECSV, Parquet, FITS table, SExtractor's ``FITS_LDAC`` or ``ASCII_HEAD``, a structured
        array of NumPy (``.npy``).  Of a FITS file, ``LDAC_OBJECTS`` or else the first table with
        rows is read; ``file.fits[3]`` names another HDU.

    Returns
    -------
    Table
        ``meta`` holds ``path`` and ``format``; for FITS also ``hdu`` and ``header``, a dictionary
        of FILTER, BANDS, MAGZERO where the file (or the image header inside an LDAC) has them.

    Raises
    ------
    MissingFile, UnreadableFile, BadTable
        If the file is absent, damaged, or holds no table.
    """
    path, hdu = _split(path)
    if not path.exists():
        raise MissingFile(f"{path}: no such file; correct the path", file=str(path))
    if path.is_dir():
        raise UnreadableFile(f"{path}: a directory; name the catalogue file in it", file=str(path))
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise _unreadable(str(path), error) from error
    if start.startswith(b"SIMPLE  =") or path.name.lower().endswith(_FITS_ENDS):
        return _read_fits(path, hdu)
    if start.startswith(b"PAR1"):
        table = read_parquet(path)
        table.meta |= {"path": str(path), "format": "Parquet"}
    elif start.startswith(b"\x93NUMPY"):
        table = _read_array(path)
    elif start.startswith(b"# %ECSV"):
        table = _read_text(path, "ecsv", "ECSV")
    elif re.match(rb"#\s+1\s+\S+", start):
        _check_cells(path)
        table = _read_text(path, "sextractor", "SExtractor ASCII_HEAD")
    else:
        table = read_csv(path)
        table.meta["format"] = "CSV"
    return table


def _split(path: Path | str) -> tuple[Path, int | None]:
    """Return the file and the HDU of ``file.fits[2]``."""
    named = _NAMED_HDU.match(str(path))
    if named is None or Path(path).exists():
        return Path(path), None
    return Path(named["path"]), int(named["hdu"])


def _unreadable(where: str, error: Exception) -> UnreadableFile:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableFile(
        f"{where}: cannot be read as a catalogue ({reason}); write or copy it again", file=where
    )


def _read_text(path: Path, form: str, name: str) -> Table:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units that astropy does not know
            table = text_tables.read(path, format=form)
    except Exception as error:  # astropy.io.ascii has a dozen types
        raise _unreadable(str(path), error) from error
    table.meta = {"path": str(path), "format": name}
    return table


def _read_array(path: Path) -> Table:
    """Read a structured array; objects would run code when they are read, and are refused."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error
    if rows.dtype.names is None or rows.ndim != 1:
        raise BadTable(
            f"{path}: an array without columns; save a structured array, or write FITS or CSV",
            file=str(path),
        )
    return Table(rows, meta={"path": str(path), "format": "NumPy array"})


def _check_cells(path: Path) -> None:
    """Refuse rows that are longer or shorter than the first: a truncated file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [(i, len(t.split())) for i, t in enumerate(lines, 1) if t.strip() and t[0] != "#"]
    for line, cells in rows:
        if cells != rows[0][1]:
            raise BadTable(
                f"{path}, line {line}: {cells} cells, but the first row has {rows[0][1]}; the "
                "file is damaged or cut, write it again",
                file=str(path),
                line=line,
            )


def _read_fits(path: Path, number: int | None) -> Table:
    with opened_fits(path) as hdus:
        number = _table_hdu(path, hdus, number)
        where = f"{path}[{number}]"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                columns = _columns(hdus[number])
            header = _header(hdus, number)
        except Exception as error:  # damaged tables fail in many ways
            raise _unreadable(where, error) from error
        others = sum(hdu.name == _LDAC for hdu in hdus) - 1 if hdus[number].name == _LDAC else 0
        form = "FITS_LDAC" if hdus[number].name == _LDAC else "FITS table"
    meta = {"path": where if number > 1 else str(path), "format": f"{form}, HDU {number}"}
    if others > 0:
        meta["note"] = f"{others} more {_LDAC} not read: name one as {path.name}[HDU]"
    return Table(columns, meta={**meta, "hdu": number, "header": header})


def _table_hdu(path: Path, hdus: fits.HDUList, number: int | None) -> int:
    """Find the table that was asked for, or the objects, or the first table with rows."""
    kinds = (fits.BinTableHDU, fits.TableHDU)
    tables = [
        i
        for i, hdu in enumerate(hdus)
        if isinstance(hdu, kinds) and not isinstance(hdu, fits.CompImageHDU)
    ]
    listed = ", ".join(f"{i} {hdu.name or '(no name)'}" for i, hdu in enumerate(hdus))
    if number is not None:
        if number not in tables:
            raise BadTable(
                f"{path}[{number}]: this HDU is no table; the file has {listed}", file=str(path)
            )
        return number
    objects = [i for i in tables if hdus[i].name == _LDAC]
    filled = [i for i in tables if hdus[i].header["NAXIS2"] > 0]
    if not tables:
        raise BadTable(
            f"{path}: no HDU is a table (it has {listed}); give a catalogue, not an image",
            file=str(path),
        )
    return (objects or filled or tables)[0]


def _columns(hdu: Any) -> list[Column]:
    columns = []
    for column in hdu.columns:
        values = np.asarray(hdu.data[column.name])
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", errors="replace")
        native = values.astype(values.dtype.newbyteorder("="))
        if column.null is not None and native.dtype.kind in "iu":
            mask = native == int(column.null)
            columns.append(MaskedColumn(native, name=column.name, mask=mask))
        else:
            columns.append(Column(native, name=column.name))
        columns[-1].meta["unit"] = column.unit or ""  # as text: not all are known to astropy
    return columns


def _header(hdus: fits.HDUList, number: int) -> dict[str, Any]:
    """Collect the keywords that say what the fluxes are."""
    headers = [hdus[0].header, hdus[number].header]
    if number > 0 and hdus[number - 1].name == "LDAC_IMHEAD" and len(hdus[number - 1].data):
        cards = np.atleast_1d(hdus[number - 1].data[0][0])
        if cards.size == 1:  # without TDIM: one long string
            text = str(cards[0])
            cards = np.array([text[i : i + 80] for i in range(0, len(text), 80)])
        headers.append(fits.Header.fromstring("".join(f"{c!s:<80.80}" for c in cards)))
    found: dict[str, Any] = {}
    for header in headers:
        found |= {word: header[word] for word in _HEADER_WORDS if word in header}
    return found

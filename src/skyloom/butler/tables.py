"""Lookup tables that stand in the user's own files rather than in a registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from skyloom.errors import BadTable

from .data_id import Value

__all__ = ["READERS"]

_IMAGE: Final = re.compile(r"(?P<shot>[^.]+)_o[ok]i_(?P<tail>[^.]+)\.(?P<ext>.+)")


def read_survey_ccds(root: Path) -> list[dict[str, Value]]:
    """Return one row for each CCD of the survey's CCD tables.

    If a kd-tree table exists, the plain ones are ignored, as legacypipe does.

    Raises
    ------
    BadTable
        If a table lacks a column.
    UnreadableFile
        If a file is no FITS table.
    """
    files = sorted(root.glob("survey-ccds*.kd.fits")) or sorted(root.glob("survey-ccds-*.fits.gz"))
    return [row for path in files for row in _ccd_rows(path)]


def _ccd_rows(path: Path) -> list[dict[str, Value]]:
    from skyloom.catalogs import read_fits_table  # noqa: PLC0415 - astropy takes a while to load

    table = read_fits_table(path)
    names = ("camera", "expnum", "ccdname", "filter", "image_filename", "image_hdu")
    for name in names:
        if name not in table.colnames:
            raise BadTable(f"{path}: column {name} is missing; every CCD table has it", path=path)
    columns = [table[name].tolist() for name in names]
    return [_ccd_row(cells) for cells in zip(*columns, strict=True)]


def _ccd_row(cells: tuple[Any, ...]) -> dict[str, Value]:
    camera, expnum, ccdname, filter_, filename, hdu = (
        (cell.decode().strip() if isinstance(cell, bytes) else cell.strip())
        if isinstance(cell, (bytes, str))
        else cell
        for cell in cells
    )
    folder, _, name = filename.rpartition("/")
    row: dict[str, Value] = {
        "camera": camera,
        "expnum": int(expnum),
        "ccdname": ccdname,
        "filter": filter_,
        "imgdir": folder,
        "base": name.partition(".")[0],
        "hdu": int(hdu),
    }
    parts = _IMAGE.fullmatch(name)
    row.update(parts.groupdict() if parts else {})
    return row


READERS: Final[Mapping[str, Callable[[Path], list[dict[str, Value]]]]] = {
    "survey_ccds": read_survey_ccds,
}
"""Readers by the name that a layout gives: root to rows."""

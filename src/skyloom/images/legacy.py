"""PSF and sky models of the Legacy Surveys, of one CCD.

A file has one row per CCD of an exposure, with arrays filled up with zeros to the largest; or it
is what PSFEx itself wrote, for a single CCD.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyloom._types import Floats
from skyloom.errors import MissingComponent
from skyloom.images.afw.archive import Rows
from skyloom.images.afw.hdus import Hdu, damaged, opened, scan
from skyloom.images.afw.tables import Table
from skyloom.images.kernel_psf import PsfexPsf
from skyloom.images.spline_sky import SplineSky

__all__ = ["read_psfex", "read_sky"]

log = logging.getLogger(__name__)

_HIGHEST_DEGREE = 20
_CONSTANT = "ConstantSky"  # the end of a label; labels are not code


def read_psfex(
    path: Path | str, *, expnum: int | None = None, ccdname: str | None = None
) -> PsfexPsf:
    """Read the PSF model of a CCD.

    Parameters
    ----------
    path : path
        A file of the Legacy Surveys with models of one or more CCDs, or one that PSFEx wrote.
    expnum, ccdname : int, str, optional
        Which CCD; not needed where the file has one.

    Returns
    -------
    PsfexPsf
        ``psf.at(x, y)`` is its image.  Positions are 0-based and enter the polynomial as they
        are, as in the code of the surveys, although PSFEx counts from 1.

    Raises
    ------
    MissingComponent
        If the file has no row for the CCD, or several.
    MissingFile, UnreadableFile
        If the file is absent or damaged.
    """
    with _row(path, expnum, ccdname, needs="psf_mask") as row:
        degree = int(row.number("poldeg1")) if row.number("polnaxis", 2) else 0
        if not 0 <= degree <= _HIGHEST_DEGREE:
            raise ValueError(f"a polynomial of degree {degree} is impossible")
        if degree and row.number("polgrp1", 1) != row.number("polgrp2", 1):
            raise ValueError("x and y are not in one group of the polynomial")
        n_terms = (degree + 1) * (degree + 2) // 2
        planes = row.array("psf_mask", 3)
        width = int(row.number("psfaxis1", planes.shape[2]))
        height = int(row.number("psfaxis2", planes.shape[1]))
        sizes = (n_terms, height, width)
        if not all(0 < n <= m for n, m in zip(sizes, planes.shape, strict=True)):
            raise ValueError(f"{sizes} are not in an array of {planes.shape}")
        step = float(row.number("psf_samp"))
        if step == 0.0:
            log.warning("%s: psf_samp = 0 is taken for 1", row.where)
            step = 1.0
        scale = [row.number(f"polscal{i}", 1.0) for i in (1, 2)]
        for i, value in enumerate(scale, start=1):
            if value == 0.0:
                raise ValueError(f"polscal{i} is zero")
        return PsfexPsf(
            planes[:n_terms, :height, :width],
            step=step,
            group=[0, 0],
            degree=[degree],
            offset=[row.number(f"polzero{i}", 0.0) for i in (1, 2)],
            scale=scale,
            average_position=(row.number("polzero1", 0.0), row.number("polzero2", 0.0)),
        )


def read_sky(
    path: Path | str, *, expnum: int | None = None, ccdname: str | None = None
) -> SplineSky:
    """Read the sky level of a CCD; see `read_psfex`.

    Raises
    ------
    MissingComponent, MissingFile, UnreadableFile
        See `read_psfex`.
    """
    constant = _header_constant(Path(path))
    if constant is not None:
        return constant
    with _row(path, expnum, ccdname, needs="gridvals") as row:
        width, height = int(row.number("gridw")), int(row.number("gridh"))
        grid = row.array("gridvals", 2)
        if not (0 < height <= grid.shape[0] and 0 < width <= grid.shape[1]):
            raise ValueError(f"a grid of {width} x {height} is not in an array of {grid.shape}")
        if str(row.text("skyclass")).endswith(_CONSTANT) and (width, height) != (1, 1):
            raise ValueError("a constant sky has a grid")
        return SplineSky(
            values=grid[:height, :width],
            x=row.array("xgrid", 1)[:width] - float(row.number("x0")),
            y=row.array("ygrid", 1)[:height] - float(row.number("y0")),
            order=int(row.number("order")),
        )


def _header_constant(path: Path) -> SplineSky | None:
    """Return the constant level that a file without a table gives in its header."""
    with opened(path) as file:
        hdus = scan(file, path, most=2)
    first = hdus[0]
    if len(hdus) > 1 or not first.text("SKY").endswith(_CONSTANT):
        return None
    level = first.value("SKY_P0")
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        raise first.error(f"SKY_P0 = {level!r} is not a number")
    zero = np.zeros(1)
    return SplineSky(values=np.array([[float(level)]]), x=zero, y=zero)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """Values of a CCD: from its row, else from the header of the table."""

    hdu: Hdu
    table: Table
    rows: Rows
    names: dict[str, tuple[str, int]]  # lower case name -> name, and number of its column

    @property
    def where(self) -> str:
        return self.hdu.where

    def _value(self, name: str) -> Any:
        if name in self.names:
            return self.rows.get(self.names[name][0])
        return self.hdu.value(name.upper())

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise ValueError(f"{name} = {value!r} is not a number")
        return value

    def text(self, name: str) -> str:
        value = self._value(name)
        return value.strip() if isinstance(value, str) else ""

    def array(self, name: str, ndim: int) -> Floats:
        if name not in self.names:
            raise ValueError(f"there is no column {name}")
        stored, number = self.names[name]
        values = np.atleast_1d(np.asarray(self.rows.get(stored), np.float64))
        shape = _dimensions(self.hdu.text(f"TDIM{number}"))
        if (ndim > 1 and len(shape) != ndim) or int(np.prod(shape or [values.size])) != values.size:
            raise ValueError(f"TDIM{number} does not give the {ndim} dimensions of {name}")
        return values.reshape(shape) if shape else values


@contextmanager
def _row(
    path: Path | str, expnum: int | None, ccdname: str | None, *, needs: str
) -> Iterator[_Row]:
    """Find the row of a CCD in the first table; what it holds wrongly is said with its place."""
    path = Path(path)
    with opened(path) as file, damaged(path):
        start = b"XTENSION= 'BINTABLE"
        hdu = next((h for h in scan(file, path) if h.raw_header.startswith(start)), None)
        if hdu is None:
            raise MissingComponent(f"{path}: holds no table of models", file=str(path))
        table = Table.parse(hdu, hdu.read_data(file))
        names = {n.lower(): (n, i) for i, n in enumerate(table.columns, start=1)}
        if needs not in names:
            raise MissingComponent(f"{hdu.where}: has no column {needs}", file=str(path))
        row = _row_number(table, names, expnum, ccdname)
        rows = Rows(table=table, row0=row, n_rows=1)
        try:
            yield _Row(hdu=hdu, table=table, rows=rows, names=names)
        except ValueError as error:
            raise table.error(f"row {row}: {error}") from error


def _row_number(
    table: Table, names: dict[str, tuple[str, int]], expnum: int | None, ccdname: str | None
) -> int:
    wanted = {"expnum": expnum, "ccdname": None if ccdname is None else ccdname.strip()}
    told = {name: value for name, value in wanted.items() if value is not None and name in names}

    def fits_all(row: int) -> bool:
        cells = ((table.cell(names[name][0], row), value) for name, value in told.items())
        return all((c.strip() if isinstance(c, str) else c) == value for c, value in cells)

    found = [row for row in range(len(table)) if fits_all(row)]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(f"{k}={v}" for k, v in wanted.items() if v is not None) or "any CCD"
    advice = "" if told else "; give expnum and ccdname"
    raise MissingComponent(
        f"{table.where}: {len(found)} of {len(table)} rows are of {asked}{advice}", component="row"
    )


def _dimensions(text: str) -> tuple[int, ...]:
    """Return the shape that a TDIM says, the slowest axis first."""
    try:
        return tuple(int(n) for n in text.strip("() ").split(","))[::-1] if text else ()
    except ValueError:
        return ()

"""The division of a tile: crop box, ePSF cells, patches with halo, and who belongs where.

One rule divides an axis of ``length`` pixels into ``n`` parts: ``step = length // n``; part ``i``
covers ``[i step, (i+1) step)`` and the last one reaches the end.  Cells divide the image, patches
divide a cell; the patch edges of all cells therefore form one separable grid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.errors import WrongValue
from skyloom.geometry.box import Box

__all__ = [
    "PATCH_FIELDS",
    "Cell",
    "Patch",
    "PatchGrid",
    "cells_of_sources",
    "crop_box",
    "epsf_cells",
    "halo_pixels",
    "patch_grid",
    "patch_table",
    "patches_from_rows",
]

PATCH_FIELDS = (
    *("epsf_r", "epsf_c", "patch_r", "patch_c", "epsf_tag", "patch_tag"),
    *("x0_base", "x1_base", "y0_base", "y1_base", "x0_roi", "x1_roi", "y0_roi", "y1_roi"),
    "halo_pix",
)
"""Fields of ``patches.csv`` and ``patches.json``, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One ePSF cell: a rectangle of the working frame."""

    row: int
    col: int
    box: Box

    @property
    def tag(self) -> str:
        """Name of the cell in paths, ``r00_c00``."""
        return f"r{self.row:02d}_c{self.col:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch of a cell: ``base`` is its own, ``roi`` is what it looks at."""

    cell_row: int
    cell_col: int
    row: int  # within the cell
    col: int
    base: Box
    roi: Box
    halo: int  # pix

    @property
    def cell_tag(self) -> str:
        """Name of the cell that holds the patch."""
        return f"r{self.cell_row:02d}_c{self.cell_col:02d}"

    @property
    def tag(self) -> str:
        """Name of the patch in paths, ``r00_c00_pr00_pc00``."""
        return f"{self.cell_tag}_pr{self.row:02d}_pc{self.col:02d}"

    def as_row(self) -> dict[str, int | str]:
        """Return the fields of ``patches.csv`` in their order."""
        base, roi = self.base, self.roi
        values = (
            *(self.cell_row, self.cell_col, self.row, self.col, self.cell_tag, self.tag),
            *(base.x0, base.x1, base.y0, base.y1, roi.x0, roi.x1, roi.y0, roi.y1, self.halo),
        )
        return dict(zip(PATCH_FIELDS, values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchGrid:
    """All patches of a tile, in order, with their edges."""

    patches: tuple[Patch, ...]
    x_edges: tuple[int, ...]  # first column of every patch column, and the end
    y_edges: tuple[int, ...]
    ngrid: int  # patches per axis and cell

    def assign(self, x: Floats, y: Floats) -> Ints:
        """Return, for each position, the index in `patches` of the patch that owns it.

        A position belongs to the patch with ``x0 <= x < x1``, ``y0 <= y < y1``: exactly one inside
        the image.  -1 where the position is not finite, outside the image or in a patch that the
        grid leaves out.
        """
        gx, inside_x = _interval(np.asarray(x), np.asarray(self.x_edges))
        gy, inside_y = _interval(np.asarray(y), np.asarray(self.y_edges))
        index = np.full((len(self.y_edges) - 1, len(self.x_edges) - 1), -1, dtype=np.int64)
        for i, p in enumerate(self.patches):
            index[p.cell_row * self.ngrid + p.row, p.cell_col * self.ngrid + p.col] = i
        return np.where(inside_x & inside_y, index[gy, gx], -1)


def _interval(values: Floats, edges: Ints) -> tuple[Ints, Bools]:
    """Return the interval of each value and whether it lies in any."""
    inside = (values >= edges[0]) & (values < edges[-1])
    place = np.searchsorted(edges, np.where(inside, values, edges[0]), side="right") - 1
    return place.astype(np.int64), inside


def _starts(length: int, n: int, *, key: str) -> list[int]:
    """Divide an axis; returns the first pixel of each part."""
    step = length // n
    if step == 0:
        raise WrongValue(
            f"{key} = {n}: {key} too fine for {length} pixels; lower it to at most {length}",
            key=key,
            value=n,
            length=length,
        )
    return [i * step for i in range(n)]


def crop_box(shape: tuple[int, int], margin: int) -> Box:
    """Return the box that is left when ``margin`` pixels are cut from every side.

    Raises
    ------
    WrongValue
        If nothing is left.
    """
    box = Box(margin, shape[1] - margin, margin, shape[0] - margin)
    if margin < 0 or box.is_empty:
        limit = (min(shape) - 1) // 2
        raise WrongValue(
            f"Invalid crop region: crop.margin = {margin} leaves nothing of an image of "
            f"{shape[1]} x {shape[0]} pixels; lower it to at most {limit}, "
            "or set crop.enabled: false",
            margin=margin,
            shape=shape,
        )
    return box


def epsf_cells(shape: tuple[int, int], n: int) -> tuple[Cell, ...]:
    """Divide an image of ``(ny, nx)`` pixels into ``n x n`` cells, row by row.

    Raises
    ------
    WrongValue
        If a cell would have no pixel.
    """
    x = [*_starts(shape[1], n, key="epsf.epsf_ngrid"), shape[1]]
    y = [*_starts(shape[0], n, key="epsf.epsf_ngrid"), shape[0]]
    return tuple(
        Cell(row=r, col=c, box=Box(x[c], x[c + 1], y[r], y[r + 1]))
        for r in range(n)
        for c in range(n)
    )


def cells_of_sources(x: Floats, y: Floats, *, shape: tuple[int, int], n: int) -> Ints:
    """Return the index in `epsf_cells` of each position; -1 outside the image or not finite."""
    x_edges = np.array([*_starts(shape[1], n, key="epsf.epsf_ngrid"), shape[1]])
    y_edges = np.array([*_starts(shape[0], n, key="epsf.epsf_ngrid"), shape[0]])
    col, inside_x = _interval(np.asarray(x), x_edges)
    row, inside_y = _interval(np.asarray(y), y_edges)
    return np.where(inside_x & inside_y, row * n + col, -1)


def halo_pixels(final_psf_size: int, halo_pix_min: int) -> int:
    """Return the halo width [pix]: half the PSF stamp and two more, at least the minimum."""
    return max((final_psf_size - 1) // 2 + 2, halo_pix_min)


def patch_grid(
    shape: tuple[int, int],
    *,
    epsf_ngrid: int,
    ngrid: int,
    halo: int,
    active_cells: Collection[int] | None = None,
) -> PatchGrid:
    """Divide every (active) cell into ``ngrid x ngrid`` patches.

    Parameters
    ----------
    shape : (ny, nx)
        Working frame [pix].
    epsf_ngrid, ngrid : int
        Cells per axis, patches per axis and cell.
    halo : int
        Pixels by which the region of interest exceeds the base box; clamped to the image.
    active_cells : collection of int, optional
        Indices in `epsf_cells`; patches of other cells are left out.  Default: all.

    Raises
    ------
    WrongValue
        If a patch would have no pixel.
    """
    frame = Box.of_shape(shape)
    patches: list[Patch] = []
    x_edges, y_edges = [0] * (epsf_ngrid * ngrid), [0] * (epsf_ngrid * ngrid)
    for number, cell in enumerate(epsf_cells(shape, epsf_ngrid)):
        box = cell.box
        x = [box.x0 + s for s in _starts(box.width, ngrid, key="epsf.ngrid")] + [box.x1]
        y = [box.y0 + s for s in _starts(box.height, ngrid, key="epsf.ngrid")] + [box.y1]
        x_edges[cell.col * ngrid : (cell.col + 1) * ngrid] = x[:-1]
        y_edges[cell.row * ngrid : (cell.row + 1) * ngrid] = y[:-1]
        if active_cells is not None and number not in active_cells:
            continue
        for r in range(ngrid):
            for c in range(ngrid):
                base = Box(x[c], x[c + 1], y[r], y[r + 1])
                patches.append(
                    Patch(
                        cell_row=cell.row,
                        cell_col=cell.col,
                        row=r,
                        col=c,
                        base=base,
                        roi=base.grown(halo).clipped(frame),
                        halo=halo,
                    )
                )
    return PatchGrid(
        patches=tuple(patches),
        x_edges=(*x_edges, shape[1]),
        y_edges=(*y_edges, shape[0]),
        ngrid=ngrid,
    )


def patch_table(patches: Iterable[Patch]) -> Table:
    """Return the patches as the table of ``patches.csv``."""
    rows = [p.as_row() for p in patches]
    kinds = [str if "tag" in name else np.int64 for name in PATCH_FIELDS]
    fields = zip(PATCH_FIELDS, kinds, strict=True)
    return Table(
        [np.array([row[name] for row in rows], dtype=kind) for name, kind in fields],
        names=PATCH_FIELDS,
    )


def patches_from_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Patch, ...]:
    """Rebuild patches from the objects of ``patches.json`` (or rows of ``patches.csv``)."""
    return tuple(
        Patch(
            cell_row=int(row["epsf_r"]),
            cell_col=int(row["epsf_c"]),
            row=int(row["patch_r"]),
            col=int(row["patch_c"]),
            base=Box(*(int(row[f"{e}_base"]) for e in ("x0", "x1", "y0", "y1"))),
            roi=Box(*(int(row[f"{e}_roi"]) for e in ("x0", "x1", "y0", "y1"))),
            halo=int(row["halo_pix"]),
        )
        for row in rows
    )

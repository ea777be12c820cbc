"""Patches: the division of the tile into pieces of work."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom.flow import Dataset, Stage
from skyloom.geometry import cells_of_sources, halo_pixels, patch_grid, patch_table

from .config import TileConfig

__all__ = ["Patches", "active_cells", "tile_patches"]

log = logging.getLogger(__name__)


def active_cells(sources: Table, *, shape: tuple[int, int], n: int) -> frozenset[int]:
    """Return the indices in `epsf_cells` of the cells that hold an active source."""
    active = ~np.asarray(sources["excluded_any"])
    x, y = (np.asarray(sources[name])[active] for name in ("x_pix_white", "y_pix_white"))
    cells = cells_of_sources(x, y, shape=shape, n=n)
    return frozenset(int(cell) for cell in np.unique(cells[cells >= 0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchesInputs:
    """The working frame and where its sources are."""

    frames: Annotated[dict[str, Any], Dataset("frames")]
    sources: Annotated[Table, Dataset("sources")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchesOutputs:
    """The boxes of all patches, twice."""

    csv: Annotated[Table, Dataset("patches_csv")]
    json: Annotated[list[dict[str, Any]], Dataset("patches_json")]


class Patches(Stage[TileConfig, PatchesInputs, PatchesOutputs]):
    """Divide the cells that hold a source into patches."""

    name = "patches"
    light = True
    config_keys = (
        "epsf.epsf_ngrid",
        "epsf.ngrid",
        "epsf.skip_empty_epsf_patches",
        "epsf.final_psf_size",
        "patches.halo_pix_min",
    )

    @override
    def run(self, inputs: PatchesInputs) -> PatchesOutputs:
        """Return the table of ``patches.csv`` and its rows."""
        table = tile_patches(inputs.sources, tuple(inputs.frames["shape"]), self.config)
        names = table.colnames
        rows = [dict(zip(names, row, strict=True)) for row in zip(*table.itercols(), strict=True)]
        return PatchesOutputs(csv=table, json=rows)


def tile_patches(sources: Table, shape: tuple[int, int], config: Any) -> Table:
    """Divide a working frame of ``(ny, nx)`` pixels; empty cells are left out where asked for."""
    epsf = config.epsf
    cells = None
    if epsf.skip_empty_epsf_patches:
        cells = active_cells(sources, shape=shape, n=epsf.epsf_ngrid)
        log.info("%d of %d cells hold active sources", len(cells), epsf.epsf_ngrid**2)
        if not cells:
            log.warning(
                "no cell holds an active source: there is nothing to fit; excluded_reason in the "
                "catalogue says why: lower crop.margin or source_saturation_cut.radius_pix"
            )
    grid = patch_grid(
        shape,
        epsf_ngrid=epsf.epsf_ngrid,
        ngrid=epsf.ngrid,
        halo=halo_pixels(epsf.final_psf_size, config.patches.halo_pix_min),
        active_cells=cells,
    )
    return patch_table(grid.patches)

"""Where things are: pixel boxes, world coordinates, and the division of a tile."""

from skyloom.geometry.box import Box
from skyloom.geometry.tiling import (
    PATCH_FIELDS,
    Cell,
    Patch,
    PatchGrid,
    cells_of_sources,
    crop_box,
    epsf_cells,
    halo_pixels,
    patch_grid,
    patch_table,
    patches_from_rows,
)
from skyloom.geometry.wcs import (
    WcsTolerance,
    compare_wcs,
    cropped_wcs,
    pixel_scale,
    pixel_to_sky,
    sky_jacobian,
    sky_to_pixel,
    wcs_snapshot_header,
)

__all__ = [
    "PATCH_FIELDS",
    "Box",
    "Cell",
    "Patch",
    "PatchGrid",
    "WcsTolerance",
    "cells_of_sources",
    "compare_wcs",
    "crop_box",
    "cropped_wcs",
    "epsf_cells",
    "halo_pixels",
    "patch_grid",
    "patch_table",
    "patches_from_rows",
    "pixel_scale",
    "pixel_to_sky",
    "sky_jacobian",
    "sky_to_pixel",
    "wcs_snapshot_header",
]

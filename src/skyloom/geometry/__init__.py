"""Where things are: pixel boxes, angles, sky positions, ellipses, WCS, the division of a tile."""

from skyloom.geometry.angle import ANGLE_UNITS, Angle
from skyloom.geometry.box import Box
from skyloom.geometry.coord import Coord, EclipticCoord, Fk5Coord, GalacticCoord, IcrsCoord
from skyloom.geometry.ellipse import Axes, Quadrupole
from skyloom.geometry.matching import (
    CommonOffset,
    Positions,
    beyond_footprint,
    common_offset,
    mutual_nearest,
)
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
    jacobian_of,
    pixel_scale,
    pixel_to_sky,
    sky_jacobian,
    sky_to_pixel,
    wcs_snapshot_header,
)

__all__ = [
    "ANGLE_UNITS",
    "PATCH_FIELDS",
    "Angle",
    "Axes",
    "Box",
    "Cell",
    "CommonOffset",
    "Coord",
    "EclipticCoord",
    "Fk5Coord",
    "GalacticCoord",
    "IcrsCoord",
    "Patch",
    "PatchGrid",
    "Positions",
    "Quadrupole",
    "WcsTolerance",
    "beyond_footprint",
    "cells_of_sources",
    "common_offset",
    "compare_wcs",
    "crop_box",
    "cropped_wcs",
    "epsf_cells",
    "halo_pixels",
    "jacobian_of",
    "mutual_nearest",
    "patch_grid",
    "patch_table",
    "patches_from_rows",
    "pixel_scale",
    "pixel_to_sky",
    "sky_jacobian",
    "sky_to_pixel",
    "wcs_snapshot_header",
]

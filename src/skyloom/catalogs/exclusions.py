"""Sources that are not fitted: outside the crop, or near saturated pixels.

Rows are never removed; ``excluded_any`` false means *active*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats

__all__ = ["excluded_reason", "near_saturated", "with_exclusions"]


def near_saturated(
    x: Floats,
    y: Floats,
    masks: Iterable[Bools],
    *,
    radius: float,
    require_all_bands: bool = False,
) -> Bools:
    """Tell which positions have a saturated pixel nearby.

    Positions are rounded to the nearest pixel (half to even); a pixel is near if its integer
    offset satisfies ``dx**2 + dy**2 <= radius**2``.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions [pix] in the frame of the masks; NaN is never near.
    masks : iterable of ndarray of bool, shape (ny, nx)
        Saturated pixels of each band; consumed one at a time.
    radius : float
        Radius of the disk [pix].
    require_all_bands : bool
        True: every band must have such a pixel; False: one band suffices.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    centres = np.column_stack([np.rint(x[rows]), np.rint(y[rows])])
    hits: Bools | None = None
    for mask in masks:
        hit = _has_pixel_within(centres, mask, radius)
        combine = np.logical_and if require_all_bands else np.logical_or
        hits = hit if hits is None else combine(hits, hit)
    near = np.zeros(x.shape, dtype=bool)
    if hits is not None:
        near[rows] = hits
    return near


def _has_pixel_within(centres: Floats, mask: Bools, radius: float) -> Bools:
    from scipy.spatial import cKDTree  # noqa: PLC0415 - takes 0.2 s

    iy, ix = np.nonzero(mask)
    if not len(ix) or not len(centres):
        return np.zeros(len(centres), dtype=bool)
    tree = cKDTree(np.column_stack([ix, iy]))
    # Offsets are integers, so is their squared length: half a unit of slack, then the exact test.
    reach = math.sqrt(radius**2 + 0.5)
    distance, _ = tree.query(centres, distance_upper_bound=reach)
    found = np.isfinite(distance)
    squared = np.rint(np.where(found, distance, 0.0) ** 2)
    return np.asarray(found & (squared <= radius**2))


def excluded_reason(crop: Bools, saturation: Bools) -> npt.NDArray[np.str_]:
    """Return ``crop+saturation``, ``crop``, ``saturation`` or the empty string for each row."""
    return np.where(
        crop & saturation,
        "crop+saturation",
        np.where(crop, "crop", np.where(saturation, "saturation", "")),
    )


def with_exclusions(table: Table, *, crop: Bools, saturation: Bools) -> Table:
    """Return a copy with ``excluded_crop``, ``excluded_saturation`` and ``excluded_any``.

    Columns of these names in the input are replaced.
    """
    flagged = table.copy()
    for name, flags in (
        ("excluded_crop", crop),
        ("excluded_saturation", saturation),
        ("excluded_any", crop | saturation),
    ):
        flagged[name] = np.asarray(flags, dtype=bool)
    return flagged

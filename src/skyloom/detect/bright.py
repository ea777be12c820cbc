"""The bright mask: bright objects of the white image that the catalogue does not list.

Their light would be fitted by their neighbours; the pixels are masked instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from astropy.table import Table
from scipy import ndimage
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats, Pixels
from skyloom.detect.extract import extract_candidates

__all__ = ["BrightMask", "bright_mask", "inside_mask"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BrightMask:
    """The mask and the detections that it comes from."""

    mask: Bools  # shape (ny, nx)
    detections: Table  # of `extract_candidates`, with `is_matched`


def bright_mask(
    white: Pixels,
    sigma: Pixels,
    *,
    x: Floats,
    y: Floats,
    thresh_sigma: float = 5.0,
    minarea: int = 20,
    deblend_nthresh: int = 32,
    deblend_cont: float = 0.005,
    clean: bool = True,
    clean_param: float = 1.0,
    match_radius_pix: float = 3.0,
    ellipse_scale: float = 3.0,
    min_radius_pix: float = 6.0,
    dilate_pix: int = 1,
) -> BrightMask:
    """Mask detections without an active catalogue source.

    Parameters
    ----------
    white, sigma : ndarray, shape (ny, nx)
        White image and its noise [scaled counts]; NaN and inf are allowed.
    x, y : ndarray, shape (n,)
        Positions of the active sources [pix]; NaN matches nothing.
    thresh_sigma, minarea, deblend_nthresh, deblend_cont, clean, clean_param
        Detection; see `extract_candidates`.
    match_radius_pix : float
        A detection this close to a source is matched and never masked [pix].
    ellipse_scale, min_radius_pix : float
        Semi-axes of the masked ellipse: ``max(ellipse_scale * a, min_radius_pix)`` [pix].
    dilate_pix : int
        The mask grows by a square of side ``2 dilate_pix + 1``.

    Returns
    -------
    BrightMask
    """
    found = extract_candidates(
        white,
        sigma,
        thresh=thresh_sigma,
        minarea=minarea,
        deblend_nthresh=deblend_nthresh,
        deblend_cont=deblend_cont,
        clean=clean,
        clean_param=clean_param,
    )
    found["is_matched"] = _is_matched(found, np.asarray(x), np.asarray(y), match_radius_pix)
    stray = found[~found["is_matched"]]
    mask = np.zeros(white.shape, dtype=bool)
    if len(stray):
        sep.mask_ellipse(
            mask,
            np.asarray(stray["x"]),
            np.asarray(stray["y"]),
            np.maximum(ellipse_scale * np.asarray(stray["a"]), min_radius_pix),
            np.maximum(ellipse_scale * np.asarray(stray["b"]), min_radius_pix),
            np.asarray(stray["theta"]),
            1.0,
        )
    if dilate_pix > 0 and mask.any():
        side = 2 * dilate_pix + 1
        mask = ndimage.maximum_filter(mask.view(np.uint8), size=side, mode="constant").view(bool)
    return BrightMask(mask=mask, detections=found)


def _is_matched(found: Table, x: Floats, y: Floats, radius: float) -> Bools:
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any() or not len(found):
        return np.zeros(len(found), dtype=bool)
    tree = cKDTree(np.column_stack([x[finite], y[finite]]))
    distance, _ = tree.query(np.column_stack([found["x"], found["y"]]))
    return np.asarray(distance <= radius)


def inside_mask(x: Floats, y: Floats, mask: Bools) -> Bools:
    """Tell which positions, rounded to the nearest pixel, lie in a mask; outside it: False."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    ix, iy = np.rint(x), np.rint(y)
    with np.errstate(invalid="ignore"):
        within = (ix >= 0) & (ix < mask.shape[1]) & (iy >= 0) & (iy < mask.shape[0])
    inside = np.zeros(x.shape, dtype=bool)
    inside[within] = mask[iy[within].astype(np.int64), ix[within].astype(np.int64)]
    return inside

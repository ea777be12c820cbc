"""The smooth background of one ePSF cell."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import sep
from scipy import ndimage

from skyloom._types import Bools, Pixels

__all__ = ["CellBackground", "cell_background"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellBackground:
    """A background map and its statistics (``patch_background`` of ``meta.json``)."""

    level: Pixels  # scaled counts
    level_median: float
    level_mean: float
    rms_median: float
    rms_mean: float
    mask_frac: float  # fraction of pixels that the meshes did not use
    status: str  # "ok" or "error"

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the statistics under their names in ``meta.json``; NaN becomes None."""
        numbers = {
            "patch_bkg_median": self.level_median,
            "patch_bkg_mean": self.level_mean,
            "patch_bkg_rms_median": self.rms_median,
            "patch_bkg_rms_mean": self.rms_mean,
            "patch_bkg_mask_frac": self.mask_frac,
        }
        plain = {name: v if np.isfinite(v) else None for name, v in numbers.items()}
        return {**plain, "patch_bkg_status": self.status}


def cell_background(
    image: Pixels,
    sky_sigma: float | Pixels,
    bad: Bools,
    *,
    boxsize: int = 96,
    filtersize: int = 9,
    source_mask_sigma: float = 3.0,
    mask_dilate: int = 1,
) -> CellBackground:
    """Measure the background of a cell with sources masked.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Scaled counts.
    sky_sigma : float or ndarray, shape (ny, nx)
        Sky noise [scaled counts].
    bad : ndarray of bool, shape (ny, nx)
        Pixels to ignore.
    boxsize, filtersize : int
        Mesh size [pix], at least 8, and median filter [meshes], at least 1.
    source_mask_sigma : float
        Pixels above ``median + source_mask_sigma * median(sky_sigma)`` are masked too.
    mask_dilate : int
        Iterations by which that mask grows into its eight neighbours.

    Returns
    -------
    CellBackground
        All zero with status ``error`` where the background cannot be measured.
    """
    noise = np.broadcast_to(np.asarray(sky_sigma, dtype=np.float64), image.shape)
    with np.errstate(invalid="ignore"):
        valid = ~bad & np.isfinite(image) & np.isfinite(noise) & (noise > 0)
    if not valid.any():
        return _no_background(image, 1.0)
    limit = float(np.median(image[valid])) + source_mask_sigma * float(np.median(noise[valid]))
    sources = valid & (np.where(valid, image, -np.inf) > limit)
    if mask_dilate > 0:
        square = np.ones((3, 3), dtype=bool)
        sources = ndimage.binary_dilation(sources, structure=square, iterations=mask_dilate)
    mask = ~valid | sources
    fraction = float(mask.mean())
    if mask.all():
        return _no_background(image, fraction)
    mesh, smooth = max(8, boxsize), max(1, filtersize)
    data = np.where(mask, 0, image).astype(np.float32)
    try:
        fit = sep.Background(data, mask=mask, bw=mesh, bh=mesh, fw=smooth, fh=smooth)
        level, rms = fit.back(dtype=np.float32), fit.rms(dtype=np.float32)
    except Exception as error:
        log.warning("background of a %d x %d cell failed: %s", *image.shape[::-1], error)
        return _no_background(image, fraction)
    if not np.isfinite(level).all():
        return _no_background(image, fraction)
    return CellBackground(
        level=level,
        level_median=float(np.median(level)),
        level_mean=float(np.mean(level, dtype=np.float64)),
        rms_median=float(np.median(rms)),
        rms_mean=float(np.mean(rms, dtype=np.float64)),
        mask_frac=fraction,
        status="ok",
    )


def _no_background(image: Pixels, mask_frac: float) -> CellBackground:
    nan = float("nan")
    return CellBackground(
        level=np.zeros(image.shape, dtype=np.float32),
        level_median=nan,
        level_mean=nan,
        rms_median=nan,
        rms_mean=nan,
        mask_frac=mask_frac,
        status="error",
    )

"""Finding the stars of an image for the solver: positions, brightest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sep

from skyloom._types import Bools, Pixels
from skyloom.calib.plate_solving.control import ExtractionSettings
from skyloom.calib.plate_solving.stars import StarList
from skyloom.detect import extract_significant
from skyloom.errors import Unprocessable

__all__ = ["Extraction", "extract_stars"]

_SIGMA: Final = 2.0 / 2.3548  # pix, of the detection filter: FWHM 2 pix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extraction:
    """The stars of an image and what the search for them says about it."""

    stars: StarList
    background: float  # median level [unit of the image]
    noise: float  # median sigma of a pixel [unit of the image]
    n_trails: int  # objects left out as too long
    n_saturated: int  # objects at the saturation level
    n_unusable: int  # pixels that are masked or not finite
    settings: ExtractionSettings


def extract_stars(
    image: npt.NDArray[Any],
    settings: ExtractionSettings | None = None,
    mask: Bools | None = None,
) -> Extraction:
    """Find the stars of an image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels of any real type; those that are not finite count as masked.
    settings : ExtractionSettings, optional
        Thresholds and meshes.
    mask : ndarray of bool, shape (ny, nx), optional
        True for pixels to ignore.

    Returns
    -------
    Extraction
        Its stars come brightest first; with `satur_level`, those that reach it after the others:
        their centres and fluxes are the least certain.

    Raises
    ------
    Unprocessable
        If no pixel is usable, or the image is constant.
    """
    settings = settings or ExtractionSettings()
    data: Pixels = np.array(image, dtype=np.float32, order="C")
    bad = ~np.isfinite(data)
    if mask is not None:
        bad |= mask
    n_bad = int(bad.sum())
    if n_bad == data.size:
        raise Unprocessable("no pixel of the image is usable; check its mask and its data")
    if n_bad:
        data[bad] = np.median(data[~bad])
    saturated_at = np.inf if settings.satur_level is None else settings.satur_level
    if settings.invert:
        data, saturated_at = -data, np.inf
    if data.min() == data.max():
        raise Unprocessable("all pixels of the image are alike; it shows no stars")
    level, noise = _background(data, bad, settings)
    data -= level
    kernel = _gaussian_kernel() if settings.filter else np.ones((1, 1), np.float32)
    typical = float(np.median(noise))
    unit = np.full_like(noise, typical) if settings.thresh_is_absolute else noise
    found = extract_significant(
        data / unit,
        bad if n_bad else None,
        thresh=settings.detect_thresh / (typical if settings.thresh_is_absolute else 1.0),
        minarea=settings.detect_minarea,
        deblend_nthresh=settings.deblend_nthresh,
        deblend_cont=settings.deblend_mincont,
        clean=settings.clean,
        clean_param=settings.clean_param,
        filter_kernel=kernel,
    )
    a, b = np.asarray(found["a"]), np.maximum(np.asarray(found["b"]), 1e-3)
    row, column = (np.round(np.asarray(found[name])).astype(int) for name in ("y", "x"))
    scale = unit[row.clip(0, data.shape[0] - 1), column.clip(0, data.shape[1] - 1)]
    peak = np.asarray(found["peak"] * scale)
    stars = StarList(
        x=np.asarray(found["x"], dtype=np.float64),
        y=np.asarray(found["y"], dtype=np.float64),
        flux=np.asarray(found["flux"] * scale, dtype=np.float64),
        elongation=np.asarray(a / b, dtype=np.float64),
        shape=(int(data.shape[0]), int(data.shape[1])),
    )
    background = float(np.median(level))
    saturated = peak + background >= saturated_at
    is_trail = stars.elongation > settings.max_elongation
    is_left_out = is_trail.copy()
    if settings.detect_maxarea:
        is_left_out |= np.asarray(found["npix"]) > settings.detect_maxarea
    order = np.lexsort((-stars.flux, saturated))
    if settings.order == "peak":
        order = np.lexsort((-stars.flux, -peak))
    return Extraction(
        stars=stars[order[~is_left_out[order]]],
        background=-background if settings.invert else background,
        noise=typical,
        n_trails=int(is_trail.sum()),
        n_saturated=int((saturated & ~is_trail).sum()),
        n_unusable=n_bad,
        settings=replace(settings),
    )


def _background(data: Pixels, bad: Bools, settings: ExtractionSettings) -> tuple[Pixels, Pixels]:
    """Return level and noise of each pixel."""
    meshes = {"bw": settings.back_size, "bh": settings.back_size}
    fit = sep.Background(
        data,
        mask=bad if bad.any() else None,
        fw=settings.back_filtersize,
        fh=settings.back_filtersize,
        **meshes,
    )
    noise = np.asarray(fit.rms(dtype=np.float32))
    # Meshes without a single grey level between their stars (8-bit pictures) have no scatter.
    noise = np.maximum(noise, np.float32(0.1 * fit.globalrms))
    if settings.back_value is not None:
        level = -settings.back_value if settings.invert else settings.back_value
        return np.full_like(data, level), noise
    return np.asarray(fit.back(dtype=np.float32)), noise


def _gaussian_kernel() -> Pixels:
    """Return the 5 x 5 detection filter, of sum 1."""
    r2 = np.add.outer(np.arange(-2, 3) ** 2, np.arange(-2, 3) ** 2)
    kernel = np.exp(-0.5 * r2 / _SIGMA**2)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)

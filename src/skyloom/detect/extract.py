"""Finding objects with SEP, without its limits getting in the way."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import sep
from astropy.table import Table

from skyloom._types import Bools, Pixels
from skyloom.errors import Unprocessable

__all__ = ["extract_candidates", "extract_segments", "extract_significant"]

log = logging.getLogger(__name__)

_FIELDS = ("x", "y", "a", "b", "theta", "flux", "peak", "npix", "flag")
_PIECES_MAX = 500_000
"""Pieces of one object beyond which deblending is given up."""

_UNITS = {"x": "pix", "y": "pix", "a": "pix", "b": "pix", "theta": "rad"}


def extract_candidates(
    image: Pixels,
    sigma: float | Pixels,
    mask: Bools | None = None,
    *,
    thresh: float,
    minarea: int,
    deblend_nthresh: int = 32,
    deblend_cont: float = 0.001,
    clean: bool = True,
    clean_param: float = 1.0,
) -> Table:
    """Detect objects above a threshold in units of the noise.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image; pixels that are not finite count as masked.
    sigma : float or ndarray, shape (ny, nx)
        Noise of a pixel [unit of the image]; not finite or not positive counts as masked.
    mask : ndarray of bool, shape (ny, nx), optional
        True for pixels to ignore.
    thresh : float
        Threshold [sigma], on the image matched-filtered with SEP's 3 x 3 kernel.
    minarea : int
        Smallest number of connected pixels.
    deblend_nthresh, deblend_cont, clean, clean_param
        SEP's deblending and cleaning.

    Returns
    -------
    Table
        ``x, y, a, b`` [pix], ``theta`` [rad, counter-clockwise from +x], ``flux``, ``peak``
        [unit of the image], ``npix``, ``flag`` (SEP's bits), in SEP's order.

    Raises
    ------
    Unprocessable
        If SEP gives up even with enlarged limits.
    """
    objects = _detect(
        image,
        sigma,
        mask,
        thresh=thresh,
        minarea=minarea,
        deblend_nthresh=deblend_nthresh,
        deblend_cont=deblend_cont,
        clean=clean,
        clean_param=clean_param,
    )
    return _as_table(objects)


def extract_segments(
    image: Pixels,
    sigma: float | Pixels,
    mask: Bools | None = None,
    *,
    thresh: float,
    kernel: Pixels | None = None,
    **options: object,
) -> tuple[Table, npt.NDArray[np.int32]]:
    """Detect objects and tell which pixels are theirs.

    Parameters
    ----------
    image, sigma, mask, thresh
        As for `extract_candidates`.
    kernel : ndarray, optional
        Matched filter; default SEP's 3 x 3 kernel.
    **options
        Of ``sep.extract``: ``minarea``, ``deblend_nthresh``, ``deblend_cont``, ``clean``,
        ``clean_param``.

    Returns
    -------
    Table
        As of `extract_candidates`.
    ndarray of int32, shape (ny, nx)
        Row + 1 of the object that a pixel belongs to; 0 for none.

    Raises
    ------
    Unprocessable
        If SEP gives up even with enlarged limits.
    """
    if kernel is not None:
        options["filter_kernel"] = kernel
    found = _detect(image, sigma, mask, thresh=thresh, segmentation_map=True, **options)
    return _as_table(found[0]), np.asarray(found[1], dtype=np.int32)


def extract_significant(
    significance: Pixels, mask: Bools | None = None, *, thresh: float, **options: object
) -> Table:
    """Detect objects on an image that is in units of its noise.

    SEP filters such an image eight times faster than one with a map of its noise.

    Parameters
    ----------
    significance : ndarray, shape (ny, nx)
        Background-subtracted image over the noise of its pixels; finite.
    mask : ndarray of bool, shape (ny, nx), optional
        True for pixels to ignore.
    thresh : float
        Threshold [sigma], on the matched-filtered image.
    **options
        Of ``sep.extract``: ``filter_kernel``, ``minarea``, ``deblend_nthresh``, ``deblend_cont``,
        ``clean``, ``clean_param``.

    Returns
    -------
    Table
        As of `extract_candidates`, ``flux`` and ``peak`` in units of the noise.

    Raises
    ------
    Unprocessable
        If SEP gives up even with enlarged limits.
    """
    return _as_table(_extract(significance, thresh, err=1.0, mask=mask, **options))


def _detect(
    image: Pixels, sigma: float | Pixels, mask: Bools | None, *, thresh: float, **options: object
) -> Any:
    """Return what ``sep.extract`` returns, with what is not finite masked."""
    noise = np.broadcast_to(np.asarray(sigma, dtype=np.float32), image.shape)
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(image) | ~np.isfinite(noise) | ~(noise > 0)
    if mask is not None:
        bad |= mask
    err = np.where(bad, np.float32(1e30), noise)
    return _extract(zero_where(bad, image), thresh, err=err, mask=bad, **options)


def zero_where(bad: Bools, image: Pixels) -> Pixels:
    """Return a float32 image that is zero where ``bad``; the same array if it is so already."""
    plain = np.ascontiguousarray(image, dtype=np.float32)
    return np.where(bad, np.float32(0.0), plain) if plain[bad].any() else plain


def _as_table(objects: Any) -> Table:
    table = Table({name: objects[name] for name in _FIELDS})
    for name, unit in _UNITS.items():
        table[name].unit = unit
    return table


def _extract(data: Pixels, thresh: float, **options: object) -> Any:
    """Call SEP; enlarge its buffers where it asks for it, and put them back afterwards."""
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    pixels, pieces = before
    try:
        while True:
            sep.set_extract_pixstack(pixels)
            sep.set_sub_object_limit(pieces)
            try:
                return sep.extract(data, thresh, **options)
            except Exception as error:  # SEP raises plain Exception
                # Grown on demand: SEP fills the whole buffer (about 40 bytes per pixel) at once.
                if "pixel buffer full" in str(error) and pixels < 4 * data.size:
                    pixels *= 4
                elif "deblending overflow" in str(error) and pieces < _PIECES_MAX:
                    pieces *= 8
                elif "deblending overflow" in str(error) and options["deblend_cont"] != 1.0:
                    log.warning("deblending overflow on %d x %d pixels: not deblended", *data.shape)
                    options = {**options, "deblend_cont": 1.0}
                else:
                    raise Unprocessable(
                        f"detection at {thresh:g} sigma on {data.shape[1]} x {data.shape[0]} "
                        f"pixels failed: {error}; raise the threshold",
                        thresh=thresh,
                    ) from error
    finally:
        sep.set_extract_pixstack(before[0])
        sep.set_sub_object_limit(before[1])

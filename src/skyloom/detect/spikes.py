"""Diffraction spikes and bleed trails: narrow light that points at a bright star.

The residual is looked at in polar coordinates about the star, where spikes are straight lines of
constant angle.  What is wide in angle, such as a halo or a lopsided PSF, is taken off first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from skyloom._types import Bools, Floats

__all__ = ["radial_streaks"]

ASIDE: Final = 2.2  # FWHM across the radius: what is as bright there is no spike
BESIDE: Final = 1.5  # FWHM, width of the boxes there
WIDTH: Final = 0.8  # FWHM, of the box across the radius in which light is summed
LENGTH: Final = 9  # pix, of that box along the radius
PEAK: Final = 5.0  # sigma of the light in the box
FAINTER: Final = 0.25  # of the star and its halo: an excess below this is an error of the PSF
OTHERS: Final = 1.0  # of the excess: more light of other models explains it
SHORTEST: Final = 12  # pix along the radius
SLENDER: Final = 2.0  # length over width
WIDEST: Final = 3.0  # FWHM across it
ROUNDING: Final = 1e-9
GAP: Final = 16  # pix: a spike goes on behind a source that stands on it


def radial_streaks(
    excess: Floats,
    weight: Floats,
    star: Floats,
    others: Floats,
    *,
    x: float,
    y: float,
    inner: float,
    outer: float,
    fwhm: float,
) -> Bools:
    """Find spikes and bleed trails: significant, narrow, and pointing at the star.

    Parameters
    ----------
    excess, weight : ndarray, shape (ny, nx)
        What no model and no halo explains, and its inverse variance.
    star, others : ndarray, shape (ny, nx)
        Light of the star with its halo, and of all other models.
    x, y : float
        The star [pix].
    inner, outer : float
        Where to look [pix].
    fwhm : float
        Of the PSF [pix].

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Pixels of streaks.
    """
    radius: Floats = np.arange(inner, outer, dtype=np.float64)
    if len(radius) <= SHORTEST:
        return np.zeros(excess.shape, np.bool_)
    n_angles = int(np.ceil(2.0 * np.pi * outer))
    angle: Floats = np.arange(n_angles, dtype=np.float64) * (2.0 * np.pi / n_angles)
    light, wgt, around, rest = (
        _polar(plane, x, y, radius, angle)
        for plane in (excess, weight, np.maximum(star, 0.0), np.maximum(others, 0.0))
    )
    # A bin stands for its own area, so that bins smaller than a pixel do not count it twice.
    wgt *= radius[:, None] * (2.0 * np.pi / n_angles)
    free = (wgt > 0.0) & (OTHERS * np.abs(light) > rest)
    light = np.where(free, light, 0.0)
    wgt = np.where(free, wgt, 0.0)
    bins = fwhm / (radius * (2.0 * np.pi / n_angles))  # of one FWHM, by radius
    light -= _beside(light, wgt, bins)
    total, signal = _box_sums(wgt, bins), _box_sums(wgt * light, bins)
    some = total > ROUNDING * float(total.max(initial=0.0))  # running sums leave rounding errors
    total = np.where(some, total, 0.0)
    mean = np.where(some, signal / np.where(some, total, 1.0), 0.0)
    seen = (mean * np.sqrt(total) > PEAK) & (mean > FAINTER * around)
    seen = _closed(_long_and_narrow(seen, bins, fwhm))
    dy, dx = np.mgrid[: excess.shape[0], : excess.shape[1]].astype(np.float64)
    return _cartesian(seen, dx - x, dy - y, inner) & (weight > 0.0)


def _polar(plane: Floats, x: float, y: float, radius: Floats, angle: Floats) -> Floats:
    """Sample an image at radii and angles, nearest pixels; 0 outside."""
    at_x = x + radius[:, None] * np.cos(angle)
    at_y = y + radius[:, None] * np.sin(angle)
    ix, iy = np.rint(at_x).astype(np.int64), np.rint(at_y).astype(np.int64)
    ny, nx = plane.shape
    inside = (ix >= 0) & (ix < nx) & (iy >= 0) & (iy < ny)
    out = plane[np.clip(iy, 0, ny - 1), np.clip(ix, 0, nx - 1)]
    return np.where(inside, out, 0.0)


def _beside(light: Floats, wgt: Floats, bins: Floats) -> Floats:
    """Return the mean light on both sides of each place at its radius, the brighter of the two."""
    out = np.zeros_like(light)
    for k, one in enumerate(bins):
        size = min(light.shape[1], 2 * int(np.ceil(0.5 * BESIDE * one)) + 1)
        weight = ndimage.uniform_filter1d(wgt[k], size, mode="wrap")
        signal = ndimage.uniform_filter1d(wgt[k] * light[k], size, mode="wrap")
        some = weight > ROUNDING * float(weight.max(initial=0.0))
        mean = np.where(some, signal / np.where(some, weight, 1.0), 0.0)
        step = int(np.ceil(ASIDE * one))
        out[k] = np.maximum(np.roll(mean, step), np.roll(mean, -step))
    return out


def _box_sums(plane: Floats, bins: Floats) -> Floats:
    """Sum over boxes of `LENGTH` pixels along the radius and `WIDTH` FWHM across it."""
    across = np.empty_like(plane)
    for k, one in enumerate(bins):
        size = min(plane.shape[1], 2 * int(np.ceil(0.5 * WIDTH * one)) + 1)
        across[k] = ndimage.uniform_filter1d(plane[k], size, mode="wrap") * size
    return np.asarray(ndimage.uniform_filter1d(across, LENGTH, axis=0, mode="constant") * LENGTH)


def _long_and_narrow(seen: Bools, bins: Floats, fwhm: float) -> Bools:
    """Keep regions that are long along the radius and narrow across it."""
    n_angles = seen.shape[1]
    # Twice around, so that no region is cut at angle 0; of its two copies one is whole.
    labels, count = ndimage.label(np.concatenate([seen, seen], axis=1), np.ones((3, 3)))
    keep = np.zeros(count + 1, np.bool_)
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[where] == number
        length = int(own.any(axis=1).sum())
        # Half of its radii count: where two spikes meet near the star, a region is wide.
        width = float(np.median(own.sum(axis=1) / bins[where[0]]))
        long_enough = length - LENGTH + 1 >= SLENDER * width * fwhm
        keep[number] = length >= SHORTEST and width <= WIDEST and long_enough
    both = keep[labels]
    return np.asarray(both[:, :n_angles] | both[:, n_angles:])


def _closed(seen: Bools) -> Bools:
    """Fill the gaps of streaks along the radius."""
    line = np.ones((GAP, 1), np.bool_)
    padded = np.pad(seen, ((GAP, GAP), (0, 0)))
    return np.asarray(ndimage.binary_closing(padded, line)[GAP:-GAP]) | seen


def _cartesian(seen: Bools, dx: Floats, dy: Floats, inner: float) -> Bools:
    """Return the pixels whose polar bins are marked."""
    n_radii, n_angles = seen.shape
    ring = np.rint(np.hypot(dx, dy) - inner).astype(np.int64)
    inside = (ring >= 0) & (ring < n_radii)
    turn = np.rint(np.arctan2(dy, dx) / (2.0 * np.pi) * n_angles).astype(np.int64) % n_angles
    return np.asarray(inside & seen[np.clip(ring, 0, n_radii - 1), turn])

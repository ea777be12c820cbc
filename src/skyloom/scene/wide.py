r"""Galaxies larger than the largest transform: levels, filters, and transforms of PSFs.

A galaxy of unit flux is split by scale with a low-pass filter W, level l having a grid of N x N
points that are :math:`h_l = 2^l` pixels apart:

.. math:: f P = \sum_l f P\, [W(h_l k) - W(2 h_l k)], \qquad W(h_0 k) := 1

The sum telescopes, so it is exact whatever W is.  W is separable in x and y: the transform of a
sinc cut by a Kaiser window, 1 below 0.13 and 0 above 0.47 of the Nyquist frequency of its level.
What a level carries is therefore smooth between its points, and a point of light leaves nothing
there beyond `FILTER_RADIUS` points of the next level: no light leaves the grid, except that of the
coarsest level, which knows the wings.

Source of the method: the Laplacian pyramid of Burt & Adelson 1983, IEEE Trans. Commun. 31, 532, in
Fourier space; windows: Kaiser & Schafer 1980, IEEE Trans. ASSP 28, 105.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gamma, gammaincinv, i0

from skyloom._types import Bools, Floats, Ints, Pixels

from ._fft_nb import twiddles
from ._wide_nb import N_TAPS, WIDE_SIDE, WideFilter
from .transforms import EDGE_TAPER, STAMP_SIDES

__all__ = ["level_count", "needs_wide", "psf_levels", "stamp_side", "wide_filter"]

FILTER_RADIUS = 22  # points: with the PSF, twice this fits into half of the grid
FILTER_EDGE = 0.3 * np.pi  # rad / point, where W is one half
FILTER_BETA = 11.8  # of the Kaiser window: 116 dB
FILTER_END = 0.5 * np.pi  # W is 1e-6 here, and 0 beyond
EXTENT = 160.0  # semi-major half-light radii on the coarsest grid; n = 6 wraps 1e-4 of its flux
SIDE_STEP = 16  # pix


def _low_pass(k: Floats) -> Floats:
    """Return W at wave numbers [rad / point] of its level."""
    x = np.linspace(-FILTER_RADIUS, FILTER_RADIUS, 16 * FILTER_RADIUS + 1)
    window = i0(FILTER_BETA * np.sqrt(1.0 - (x / FILTER_RADIUS) ** 2))
    weight = np.sinc(FILTER_EDGE / np.pi * x) * window
    response = np.cos(np.multiply.outer(k, x)) @ weight / weight.sum()
    return np.where(np.abs(k) < FILTER_END, response, 0.0)


def _interpolation_taps() -> Floats:
    """Return half of the kernel that finds the value between two points.

    Least squares over the frequencies that W lets pass, the lowest ones almost exactly: worst error
    3e-6 of a wave; the flux is kept.
    """
    k = np.linspace(0.0, FILTER_END, 513)
    weight = (np.abs(_low_pass(k)) + 1e-7) * (1.0 + 30.0 * np.exp(-((k / 0.1) ** 2)))
    waves = 2.0 * np.cos(np.multiply.outer(k, np.arange(N_TAPS) + 0.5))
    taps = np.linalg.lstsq(waves * weight[:, None], weight, rcond=None)[0]
    return np.asarray(taps / (2.0 * taps.sum()))


@cache
def wide_filter() -> WideFilter:
    """Return what `render_wide` needs beside profile and PSF; made once per process."""
    k = np.asarray(2.0 * np.pi * np.fft.fftfreq(WIDE_SIDE), np.float64)
    ones, none = np.ones(WIDE_SIDE), np.zeros(WIDE_SIDE)
    ones[WIDE_SIDE // 2] = 0.0  # a shifted real image cannot use the Nyquist frequency
    cos, sin = twiddles(WIDE_SIDE)
    return WideFilter(
        k.astype(np.float32),
        cos,
        sin,
        np.stack([ones, _low_pass(k)]).astype(np.float32),
        np.stack([_low_pass(2.0 * k), none]).astype(np.float32),
        _interpolation_taps().astype(np.float32),
    )


def psf_levels(stamp: Pixels, oversampling: int, n_levels: int) -> Pixels:
    """Transform a PSF stamp on the wave numbers of all levels.

    Parameters
    ----------
    stamp : ndarray, shape (S, S)
        Effective PSF, odd S, centre on the central sample.
    oversampling : int
        Samples per pixel.  Frequencies beyond Nyquist are left out.
    n_levels : int

    Returns
    -------
    ndarray of float32, shape (n_levels * 2 * N * N,)
        Per level the real plane, then the imaginary plane, ``[kx, ky]``: linear in the stamp.
    """
    stamp = np.asarray(stamp, np.float64)
    half = stamp.shape[0] // 2
    k = 2.0 * np.pi * np.fft.fftfreq(WIDE_SIDE)
    planes = np.empty((n_levels, 2, WIDE_SIDE, WIDE_SIDE), np.float32)
    for level in range(n_levels):
        keep = min(half, oversampling * (WIDE_SIDE // 2 * 2**level - 1))
        x = np.arange(-keep, keep + 1)
        inner = slice(half - keep, half + keep + 1)
        ramp = np.ones(len(x))
        if keep < half:
            # Light beyond the grid has only coarse structure; a hard cut would add fine one.
            taper = EDGE_TAPER * oversampling
            edge = np.minimum(keep + 0.5 - np.abs(x), taper) / taper
            ramp = np.sin(0.5 * np.pi * edge) ** 2
        wave = np.exp(-1j * np.multiply.outer(k / 2**level, x / oversampling)) * ramp
        spectrum = wave @ stamp[inner, inner].T @ wave.T / oversampling**2
        planes[level] = spectrum.real, spectrum.imag
    return planes.ravel()


def level_count(radius_major: Floats, reach: Floats) -> Ints:
    """Return how many levels galaxies need.

    Parameters
    ----------
    radius_major : ndarray
        Semi-major half-light radius [pix].
    reach : ndarray
        Largest distance along an axis between the source and an edge of the stamp [pix].
    """
    extent = np.maximum(EXTENT * np.asarray(radius_major), 4.0 * np.asarray(reach))
    doublings = np.ceil(np.log2(np.maximum(extent / WIDE_SIDE, 1.0)))
    return np.asarray(doublings, dtype=np.int64) + 1


def needs_wide(radius_major: Floats, steep: Bools) -> Bools:
    """Tell which galaxies do not fit the largest stamp of a single transform.

    Parameters
    ----------
    radius_major : ndarray
        Semi-major half-light radius [pix].
    steep : ndarray of bool
        Sersic index above 2: they need 40 radii, others 20.
    """
    need = np.where(steep, 40.0, 20.0) * np.asarray(radius_major)
    return np.asarray(need > max(STAMP_SIDES))


def stamp_side(
    radius_major: Floats,
    *,
    axis_ratio: Floats,
    n: Floats,
    flux: Floats,
    noise: float,
    frame: int,
    threshold: float = 0.1,
    margin: float = 16.0,
) -> Ints:
    """Return the sides of stamps beyond which Sersic galaxies are lost in the noise.

    Parameters
    ----------
    radius_major, axis_ratio, n, flux : ndarray
        Semi-major half-light radius [pix], b/a, Sersic index, flux.
    noise : float
        Standard deviation of a pixel of sky, in units of ``flux``.
    frame : int
        Larger side of the image [pix]: a stamp has at most twice that.
    threshold : float
        Surface brightness that may be neglected [``noise``].
    margin : float
        Added on each side, for the PSF [pix].

    Returns
    -------
    ndarray of int
        Multiples of 16, at least the largest side of a single transform.
    """
    b = gammaincinv(2.0 * n, 0.5)
    law = b ** (2.0 * n) / (2.0 * np.pi * n * gamma(2.0 * n))
    centre = np.abs(flux) * law / (radius_major**2 * axis_ratio)
    depth = np.log(np.maximum(centre / (threshold * noise), 1.0)) / b
    need = np.minimum(2.0 * (depth**n * radius_major + margin), 2.0 * frame)
    side = SIDE_STEP * np.ceil(need / SIDE_STEP)
    return np.asarray(np.maximum(side, max(STAMP_SIDES)), dtype=np.int64)

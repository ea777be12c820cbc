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

from functools import cache, lru_cache

import numpy as np
from scipy.special import gamma, gammaincinv, i0

from skyloom._calls import address_of
from skyloom._types import Floats, Ints, Pixels

from ._fft_nb import twiddles
from ._records import SINGLE_SIDE, Tables, WideFilter, sample_members
from ._wide_nb import N_TAPS, WIDE_SIDE, render_wide_member

__all__ = [
    "psf_half_planes",
    "psf_level",
    "psf_levels",
    "psf_planes",
    "stamp_side",
    "wide_filter",
    "wide_renderer",
]

FILTER_RADIUS = 22  # points: with the PSF, twice this fits into half of the grid
FILTER_EDGE = 0.3 * np.pi  # rad / point, where W is one half
FILTER_BETA = 11.8  # of the Kaiser window: 116 dB
FILTER_END = 0.5 * np.pi  # W is 1e-6 here, and 0 beyond
EDGE_TAPER = 3  # pixels of a cosine edge where a PSF stamp has to be cut
SIDE_STEP = 16  # pix
LARGEST_SIDE = 2048  # pix: seven unit images have 117 MB
ENDLESS = 160.0  # semi-major half-light radii: no stamp needs more


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
    k, inner, outer = (np.zeros((3, 2 * WIDE_SIDE), np.float32) for _ in range(3))
    for row, fold in enumerate((1, 1, 2)):
        m = WIDE_SIDE * fold
        wave = np.asarray(2.0 * np.pi * fold * np.fft.fftfreq(m), np.float64)
        k[row, :m] = wave
        inner[row, :m] = _low_pass(wave) if row == 1 else 1.0
        inner[row, m // 2] = 0.0  # a shifted real image cannot use the Nyquist frequency
        outer[row, :m] = _low_pass(2.0 * wave)
    taps = _interpolation_taps().astype(np.float32)
    return WideFilter(k, inner, outer, *twiddles(WIDE_SIDE), taps)


def wide_renderer(tables: Tables) -> int:
    """Return where the renderer of large galaxies is, compiled for tables of this type."""
    plane, line = np.zeros((1, 1), np.float32), np.zeros(1)
    return address_of(render_wide_member, sample_members(), 0, 0, line, tables, plane)


def psf_levels(stamp: Pixels, oversampling: int, n_levels: int, fold: int = 1) -> Pixels:
    """Transform a PSF stamp on the wave numbers of all levels.

    Parameters
    ----------
    stamp : ndarray, shape (S, S)
        Effective PSF, odd S, centre on the central sample.
    oversampling : int
        Samples per pixel.
    n_levels : int
    fold : int
        1: frequencies beyond Nyquist are left out.  2: those of an oversampled PSF are kept on the
        finest level, which then has 2 N x 2 N wave numbers.

    Returns
    -------
    ndarray of float32, shape ((n_levels - 1 + fold**2) * 2 * N * N,)
        Per level the real plane, then the imaginary plane, ``[kx, ky]``: linear in the stamp.
    """
    stamp = np.asarray(stamp, np.float64)
    parts = [psf_level(stamp, oversampling, n, fold if n == 0 else 1) for n in range(n_levels)]
    return np.concatenate(parts)


@lru_cache(maxsize=32)
def _waves(
    side: int, *, level: int, fold: int, keep: int, oversampling: int, fades: bool
) -> tuple[Floats, Floats]:
    """Return cos and sin of half of the wave numbers at half of the pixels of a stamp, (N, S).

    From 0 to Nyquist, and from the central pixel to the edge.
    """
    x = np.arange(keep + 1)
    ramp = np.ones(len(x))
    if fades:
        # Light beyond the grid has only coarse structure; a hard cut would add fine one.
        taper = EDGE_TAPER * oversampling
        edge = np.minimum(keep + 0.5 - x, taper) / taper
        ramp = np.sin(0.5 * np.pi * edge) ** 2
    grid = side * fold
    k = 2.0 * np.pi * fold * np.fft.fftfreq(grid)[: grid // 2 + 1]
    phase = np.multiply.outer(k / 2**level, x / oversampling)
    return np.cos(phase) * ramp, np.sin(phase) * ramp


def psf_level(stamp: Pixels, oversampling: int, level: int, fold: int = 1) -> Pixels:
    """Transform a PSF stamp on the wave numbers of one level; see `psf_levels`."""
    return psf_planes(stamp, oversampling, WIDE_SIDE, level=level, fold=fold).ravel()


def psf_planes(
    stamp: Pixels, oversampling: int, side: int, *, level: int = 0, fold: int = 1
) -> Pixels:
    """Transform a PSF stamp on the wave numbers of a grid of ``side`` points.

    Parameters
    ----------
    stamp, oversampling
        As of `psf_levels`.
    side : int
        Points along each axis; what reaches beyond the grid is cut off, with a soft edge.
    level : int
        The points are ``2**level`` pixels apart.
    fold : int
        Frequencies that are kept, in units of those of the points.

    Returns
    -------
    ndarray of float32, shape (2, side * fold, side * fold)
        Real and imaginary part, ``[kx, ky]``.
    """
    half_planes = psf_half_planes(stamp, oversampling, side, level=level, fold=fold)
    side *= fold
    planes = np.empty((2, side, side), np.float32)
    low, high, back = slice(side // 2 + 1), slice(side // 2 + 1, side), slice(side // 2 - 1, 0, -1)
    planes[:, low] = half_planes
    # The image is real: F(-kx, -ky) is the conjugate of F(kx, ky).
    mirror = -np.arange(side) % side
    planes[0, high] = planes[0, back][:, mirror]
    np.negative(planes[1, back][:, mirror], out=planes[1, high])
    return planes


def psf_half_planes(
    stamp: Pixels, oversampling: int, side: int, *, level: int = 0, fold: int = 1
) -> Pixels:
    """Return the first half of what `psf_planes` returns, kx from 0 to Nyquist.

    Shape (2, side * fold // 2 + 1, side * fold).
    """
    exact = np.asarray(stamp, np.float64)
    half = exact.shape[0] // 2
    keep = min(half, oversampling * (side // 2 * 2**level - 1))
    inner = slice(half - keep, half + keep + 1)
    cos, sin = _waves(
        side, level=level, fold=fold, keep=keep, oversampling=oversampling, fades=keep < half
    )
    side *= fold
    # Parts that are even and odd about the centre need half of the pixels and wave numbers each.
    even_y, odd_y = _even_and_odd(exact[inner, inner])
    even, odd = _even_and_odd((even_y.T @ cos.T) / oversampling**2)  # [x, ky]
    cos_cos, sin_cos = cos @ even, sin @ odd
    even, odd = _even_and_odd((odd_y.T @ sin.T) / oversampling**2)
    cos_sin, sin_sin = cos @ even, sin @ odd
    half_side = side // 2 + 1
    planes = np.empty((2, half_side, side), np.float32)
    low, high, back = slice(half_side), slice(half_side, side), slice(side // 2 - 1, 0, -1)
    planes[0, :, low] = cos_cos - sin_sin
    planes[1, :, low] = -(cos_sin + sin_cos)
    planes[0, :, high] = (cos_cos + sin_sin)[:, back]
    planes[1, :, high] = (cos_sin - sin_cos)[:, back]
    return planes


def _even_and_odd(values: Floats) -> tuple[Floats, Floats]:
    """Return f(x) + f(-x) and f(x) - f(-x) along the first axis, x from 0; f(0) itself once."""
    middle = values.shape[0] // 2
    after, before = values[middle:], values[middle::-1]
    even = after + before
    even[0] *= 0.5
    return even, after - before


def stamp_side(
    radius_major: Floats,
    *,
    axis_ratio: Floats,
    n: Floats,
    flux: Floats,
    noise: float,
    limit: Floats,
    radii: Floats | float = ENDLESS,
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
    limit : ndarray
        Largest side: what reaches the edges of the image [pix].
    radii : float or ndarray
        Largest side in units of ``radius_major``.
    threshold : float
        Surface brightness that may be neglected [``noise``].
    margin : float
        Added on each side, for the PSF [pix].

    Returns
    -------
    ndarray of int
        Multiples of 16, above the largest side of a single transform, at most 2048.
    """
    b = gammaincinv(2.0 * n, 0.5)
    law = b ** (2.0 * n) / (2.0 * np.pi * n * gamma(2.0 * n))
    centre = np.abs(flux) * law / (radius_major**2 * axis_ratio)
    depth = np.log(np.maximum(centre / (threshold * noise), 1.0)) / b
    need = np.minimum(2.0 * depth**n, radii) * radius_major + 2.0 * margin
    side = SIDE_STEP * np.ceil(np.minimum(need, limit) / SIDE_STEP)
    return np.asarray(np.clip(side, SINGLE_SIDE + SIDE_STEP, LARGEST_SIDE), dtype=np.int64)

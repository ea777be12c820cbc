"""Records that kernels share: named tuples of arrays, which numba reads at no cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats, Ints, Pixels

__all__ = [
    "DEV",
    "EXP",
    "SERSIC",
    "STAR",
    "Images",
    "Members",
    "Normal",
    "Outcome",
    "Problem",
    "Scratch",
    "Tables",
    "Work",
]

STAR, EXP, DEV, SERSIC = 0, 1, 2, 3


class Tables(NamedTuple):
    """Profile tables, and wave numbers and twiddles per log2 of the stamp side."""

    exp: Pixels  # (512, 8), see `skyloom.scene.profiles`
    dev: Pixels
    log_n: Floats  # (nodes,) of the Sersic index
    spline: Pixels  # (nodes - 1, 4, 512, 8)
    k1: Pixels  # (log2 N, N), rad / pix
    cos: Pixels
    sin: Pixels


class Members(NamedTuple):
    """Sources as seen by images; n sources, B images."""

    kind: Ints  # (n,)
    size: Ints  # (n,), stamp side [pix]
    origin: Ints  # (n, B, 2), stamp corner x, y in the image
    pos: Floats  # (n, B, 2), position of the reference in the stamp [pix]
    jac: Floats  # (n, B, 4), d(pixel) / d(reference)
    psf: Pixels  # flat PSF transforms, [kx, ky]: the real plane, then the imaginary one
    psf_offset: Ints  # (n, B), where they start
    fold: Ints  # (n, B), PSF samples per pixel that the spectrum keeps; aliases are folded


class Images(NamedTuple):
    """Pixel boxes of B images, flat."""

    data: Pixels
    weight: Pixels
    offset: Ints  # (B,), start of each
    shape: Ints  # (B, 2), height and width
    key: Ints  # (B,), number of the flux


class Problem(NamedTuple):
    """What a fit of n sources with F fluxes each may change, and what is known beforehand."""

    free: Bools  # (n, 6)
    lower: Floats  # (n, 6)
    upper: Floats
    mu: Floats  # (n, 6), centres and inverse variances of Gaussian priors (0: none)
    w: Floats
    flux_mu: Floats  # (n, F)
    flux_w: Floats
    g_max: float


class Outcome(NamedTuple):
    """Arrays that a fit fills."""

    param_cov: Floats  # (n, 6, 6)
    flux_cov: Floats  # (n, F, F)
    chi2: Floats  # (F,)
    singular: Bools  # (n,)
    slope: Floats  # (n, F, 2), gradient of -chi-square / 2 by a shift of the image of one key
    curvature: Floats  # (n, F, 3), its second derivatives xx, xy, yy, all else held


class Work(NamedTuple):
    """Scratch of the renderer, for spectra up to some side N."""

    planes: Pixels  # (8, N * N): E, Z, folded Z (real and imaginary each), a spare, a profile
    rows: Pixels  # (5, N): wave numbers; cos and sin of the phases along x, along y
    row: Pixels  # (N,), and the same memory as integers
    bits: npt.NDArray[np.int32]
    fft: Pixels  # (64 N,)
    table: Pixels  # (512, 8), (512, 4): the Sersic table in use and its slope in n
    slope: Pixels


class Scratch(NamedTuple):
    """Scratch of the evaluation of a group; T unit images in all."""

    work: Work
    first: Ints  # (n + 1,), first unit image of each source
    start: Ints  # (n + 1,), where its pixels start in `units` and `weighted`
    plane_start: Ints  # (n + 1,), likewise in `planes`
    units: Pixels
    weighted: Pixels  # units times inverse variance
    planes: Pixels  # multipliers of galaxies
    rows_a: Pixels  # (7, N * N), the common rectangle of two stamps
    rows_b: Pixels
    tile: Floats  # (3, 3)
    block: Floats  # (7, 7)


class Normal(NamedTuple):
    """Normal equations at one point: m free parameters, F fluxes, T unit images."""

    gram: Floats  # (F, T, T)
    grad: Floats  # (F, T), at the optimal fluxes once projected
    chi2: Floats  # (F,), at the fluxes that went in
    a: Floats  # (m, m), projected: fluxes eliminated
    g: Floats  # (m,)
    gain: Floats  # (m, F, n): d flux = -gain^T d theta

"""Records that kernels share: named tuples of arrays, which numba reads at no cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats, Ints, Pixels

__all__ = [
    "DEV",
    "EXP",
    "REX",
    "SERSIC",
    "SINGLE_SIDE",
    "STAR",
    "Addresses",
    "Correlation",
    "Images",
    "Members",
    "Normal",
    "Outcome",
    "Problem",
    "Results",
    "Room",
    "Scratch",
    "StepRoom",
    "Tables",
    "WideFilter",
    "Work",
    "empty_results",
    "part_of",
    "sample_members",
    "unit_counts",
    "white_noise",
]

STAR, EXP, DEV, SERSIC, REX = 0, 1, 2, 3, 4
SINGLE_SIDE = 256  # pix; larger stamps are rendered in levels, see `_wide_nb`


class WideFilter(NamedTuple):
    """What the levels of large galaxies share; see `skyloom.scene.wide.wide_filter`.

    Rows: level 0; all other levels; level 0 of twice as many wave numbers.  The former two end
    with N entries.
    """

    k1: Pixels  # (3, 2 N), wave numbers of the grid [rad / step]
    inner: Pixels  # (3, 2 N), W at the wave numbers; 1 for level 0
    outer: Pixels  # (3, 2 N), W at twice the wave numbers
    cos: Pixels  # (N,), twiddles
    sin: Pixels
    taps: Pixels  # (5,), half of the symmetric interpolation kernel


class Tables(NamedTuple):
    """Profile tables, and wave numbers and twiddles per log2 of the stamp side."""

    exp: Pixels  # (512, 8), see `skyloom.scene.profiles`
    dev: Pixels
    log_n: Floats  # (nodes,) of the Sersic index
    spline: Pixels  # (nodes - 1, 4, 512, 8)
    k1: Pixels  # (log2 N, N), rad / pix
    cos: Pixels
    sin: Pixels
    wide: WideFilter
    render_wide: int  # where `_wide_nb.render_wide_member` is; see `skyloom._calls`


class Members(NamedTuple):
    """Sources as seen by images; n sources, B images."""

    kind: Ints  # (n,)
    n_units: Ints  # (n,), unit images to render: value; x, y; ln r; g1, g2; n: 1, 3, 4, 6 or 7
    anchor: Ints  # (n,), member whose position it shares; itself if it has its own
    size: Ints  # (n,), stamp side [pix]
    origin: Ints  # (n, B, 2), stamp corner x, y in the image
    pos: Floats  # (n, B, 2), position of the reference in the stamp [pix]
    jac: Floats  # (n, B, 4), d(pixel) / d(reference)
    psf: Pixels  # flat transforms of PSF basis images, see `PsfTransforms.basis`
    psf_offset: Ints  # (n, B), where the basis of the right side and folding starts
    terms: Ints  # (B,), basis images of each PSF
    coefficients: Floats  # (n, B, K) of the basis images
    fold: Ints  # (n, B), PSF samples per pixel that the spectrum keeps; aliases are folded


def sample_members() -> Members:
    """Return a record that only tells types."""
    number, numbers = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    cube = np.zeros((1, 1, 1))
    return Members(
        kind=number,
        n_units=number,
        anchor=number,
        size=number,
        origin=np.zeros((1, 1, 2), np.int64),
        pos=cube,
        jac=cube,
        psf=np.zeros(1, np.float32),
        psf_offset=numbers,
        terms=number,
        coefficients=cube,
        fold=numbers,
    )


class Images(NamedTuple):
    """Pixel boxes of B images, flat, with spare floats at the end (see `_products_nb`)."""

    data: Pixels
    weight: Pixels
    offset: Ints  # (B,), start of each
    shape: Ints  # (B, 2), height and width
    key: Ints  # (B,), number of the flux
    sky: Ints  # (B,), number of the sky level, -1 without


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
    loose: Bools  # (n,), the Sersic index is free for the covariances only
    band_w: Floats  # (n, 6), inverse variances of parameters of single bands about those of all;
    # 0: they are the same
    band_mu: Floats  # (F, 6), what is expected of these; indices relative to the common one


class Correlation(NamedTuple):
    """Noise correlation of B images: lags up to L pixels along each axis."""

    used: Bools  # (B,), False: white
    rho: Pixels  # (B, 2 L + 1, 2 L + 1), 1 at the centre


class Outcome(NamedTuple):
    """Arrays that a fit of n sources, F fluxes and S sky levels fills."""

    param_cov: Floats  # (n, 6, 6)
    flux_cov: Floats  # (n, F, F)
    response: Floats  # (n, F, S), change of the fluxes by a unit of sky level
    absorbed: Floats  # (S,), information on the sky levels that the sources take away
    partner: Ints  # (n,), member whose fluxes are most correlated with one's own, or -1
    pair_cov: Floats  # (n, F), covariance with its fluxes
    chi2: Floats  # (F,), before the last flux update
    singular: Bools  # (n,)
    settled: Bools  # (n,), the fit came to an end for this source
    report: Floats  # (4,): evaluations, iterations, last decrease of chi-square, decrease in all
    slope: Floats  # (n, F, 2), gradient of -chi-square / 2 by a shift of the image of one key
    curvature: Floats  # (n, F, 3), its second derivatives xx, xy, yy, all else held
    shift: Floats  # (n, F), what loose indices and sizes would do to the fluxes
    departure: Floats  # (n, 3 + 6 F), what the pixels say about loose indices: see `_covariance_nb`


class Results(NamedTuple):
    """What a pass over n sources leaves of each; units and shapes as in `Outcome`."""

    theta: Floats  # (n, 6), relative to the reference position
    flux: Floats  # (n, F)
    evaluations: Ints
    iterations: Ints
    converged: Bools
    healthy: Bools  # everything is finite
    singular: Bools
    last: Floats  # last decrease of the objective of the block
    gained: Floats  # its decrease in all
    param_cov: Floats
    flux_cov: Floats
    response: Floats
    absorbed: Floats  # (n, S), of a whole block, in the row of its first member
    partner: Ints  # row
    pair_cov: Floats
    slope: Floats
    curvature: Floats
    shift: Floats
    departure: Floats


class Addresses(NamedTuple):
    """Where the kernels are that are called by address; see `skyloom._calls`."""

    solve_group: int
    evaluate: int
    covariances: int
    correlated_products: int
    subtract_models: int


class Work(NamedTuple):
    """Scratch of the renderer, for spectra up to some side N."""

    planes: Pixels  # (8, N * N): E, Z, folded Z (real and imaginary each), a spare, a profile
    psf: Pixels  # (2 (N // 2 + 1) * N,), a PSF mixed of its basis
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
    start: Ints  # (n + 1,), where its pixels start in `units`
    plane_start: Ints  # (n + 1,), likewise in `planes`
    units: Pixels
    planes: Pixels  # multipliers of galaxies
    residual: Pixels  # the largest box, with spare floats: residual times inverse variance
    block: Floats  # (7, 7)


class Room(NamedTuple):
    """Scratch of the algebra of a group: n sources, e entries of parameters."""

    chol: Floats  # (n, n)
    step: Floats  # (n,)
    scale: Floats  # (e,)
    floor: Floats  # (n,)
    low: Bools  # (n,)


class StepRoom(NamedTuple):
    """Scratch of a step of a group: n sources, m parameters."""

    matrix: Floats  # (m, m)
    delta: Floats  # (m,)
    floor: Floats  # (m,), zeros
    low: Bools  # (m,)
    held: Bools  # (m,)
    walled: Bools  # (n,)


class Normal(NamedTuple):
    """Normal equations at one point: m free parameters, F fluxes, T unit images, B images."""

    gram: Floats  # (F, T, T)
    grad: Floats  # (F, T), at the optimal fluxes once projected
    sky: Floats  # (B, T), sums of the weighted unit images
    chi2: Floats  # (F,), at the fluxes that went in
    a: Floats  # (m, m), projected: fluxes eliminated
    g: Floats  # (m,)
    gain: Floats  # (F, n, m): d flux = -gain d theta


def unit_counts(free: Bools, anchor: Ints) -> Ints:
    """Return how many unit images each source needs for its free parameters: 1, 3, 4, 6 or 7."""
    need = np.where(free, np.array([3, 3, 4, 6, 6, 7]), 1).max(axis=1, initial=1)
    tied = anchor != np.arange(len(anchor))
    follows = tied & free[anchor, :2].any(axis=1)
    return np.asarray(np.where(follows, np.maximum(need, 3), need), dtype=np.int64)


def white_noise(n_images: int) -> Correlation:
    """Return the record of images whose pixels have independent noise."""
    return Correlation(np.zeros(n_images, np.bool_), np.ones((n_images, 1, 1), np.float32))


def empty_results(theta: Floats, flux: Floats, n_sky: int) -> Results:
    """Return room for the results of a pass that starts here."""
    n, n_flux = flux.shape
    return Results(
        theta=theta,
        flux=flux.copy(),
        evaluations=np.zeros(n, np.int64),
        iterations=np.zeros(n, np.int64),
        converged=np.zeros(n, np.bool_),
        healthy=np.zeros(n, np.bool_),
        singular=np.zeros(n, np.bool_),
        last=np.zeros(n),
        gained=np.zeros(n),
        param_cov=np.zeros((n, 6, 6)),
        flux_cov=np.zeros((n, n_flux, n_flux)),
        response=np.zeros((n, n_flux, n_sky)),
        absorbed=np.zeros((n, n_sky)),
        partner=np.full(n, -1),
        pair_cov=np.zeros((n, n_flux)),
        slope=np.zeros((n, n_flux, 2)),
        curvature=np.zeros((n, n_flux, 3)),
        shift=np.zeros((n, n_flux)),
        departure=np.zeros((n, 3 + 6 * n_flux)),
    )


def part_of(members: Members, rows: slice, which: Ints) -> Members:
    """Return some members, neighbours in the record, as seen by some of the images."""
    # Always of the same memory layout: another would compile the kernels anew.
    of_images = ("origin", "pos", "jac", "psf_offset", "coefficients", "fold")
    parts = {
        name: np.ascontiguousarray(getattr(members, name)[rows][:, which]) for name in of_images
    }
    columns = {name: getattr(members, name)[rows] for name in ("kind", "n_units", "anchor", "size")}
    return members._replace(terms=members.terms[which], **columns, **parts)

"""Galaxies larger than one transform: levels against integrals, GalSim, and single transforms."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from scene_tools import DEV, EXP, GSPARAMS, SERSIC, draw, light, profile_of, psf_stamp, unit_images
from scipy.special import gamma, gammainc, gammaincinv

from skyloom.psf import PixelPsf
from skyloom.scene._render_nb import sersic_table
from skyloom.scene._stamps_nb import light_extent
from skyloom.scene._wide_nb import EXTENT, WIDE_SIDE, levels_of, make_wide_work, render_wide
from skyloom.scene.profiles import fixed_table, sersic_table_grid
from skyloom.scene.wide import (
    _interpolation_taps,
    _low_pass,
    psf_levels,
    psf_planes,
    stamp_side,
    wide_filter,
)

SIGMA = 1.7  # pix, of a Gaussian PSF of FWHM 4 px: no wings, no power beyond Nyquist
OFFSET = (0.13, -0.31)
LEVELS = 11
EYE = np.eye(2)


def gaussian_stamp(half: int = 20, samples: int = 1) -> np.ndarray:
    x = np.arange(-half * samples, half * samples + 1) / samples
    line = np.exp(-0.5 * (x / SIGMA) ** 2) / (np.sqrt(2 * np.pi) * SIGMA)
    return np.outer(line, line)


GAUSSIAN = psf_levels(gaussian_stamp(), 1, LEVELS)


def level_count(radius_major: float, reach: float) -> int:
    """Return how many levels hold 160 radii, of which n = 6 wraps 1e-4, and the box."""
    extent = max(160.0 * radius_major, 4.0 * reach)
    return int(np.ceil(np.log2(max(extent / WIDE_SIDE, 1.0)))) + 1


def tables_of(n: float) -> tuple[np.ndarray, np.ndarray]:
    table, slope = np.empty((512, 8), np.float32), np.empty((512, 4), np.float32)
    log_n, spline = sersic_table_grid()
    sersic_table(np.log(n), log_n, spline, table, slope)
    if n in (1.0, 4.0):
        table = fixed_table({1.0: "exp", 4.0: "dev"}[n], "exact")
    return table, slope


def rendered(
    n: float,
    r: float,
    g: tuple[float, float],
    shape: tuple[int, int],
    at: tuple[float, float],
    *,
    count: int = 1,
    psf: np.ndarray = GAUSSIAN,
    jac: np.ndarray = EYE,
    more_levels: int = 0,
    fold: int = 1,
) -> np.ndarray:
    """Return the unit images of a galaxy at pixel ``at`` (x, y), shape (count, *shape)."""
    height, width = shape
    size = np.hypot(*g)
    reach = max(abs(at[0]), abs(width - at[0]), abs(at[1]), abs(height - at[1]))
    levels = level_count(r * np.sqrt((1 + size) / (1 - size)), reach) + more_levels
    u = np.full((count, height * width), np.nan, np.float32)
    work = make_wide_work(width, height, levels)
    theta = np.array([0.0, 0.0, np.log(r), *g, n])
    flat = np.ascontiguousarray(jac, np.float64).ravel()
    table, slope = tables_of(n)
    render_wide(
        count, theta, flat, *at, width, levels, fold, psf, table, slope, wide_filter(), work, u
    )  # fmt: skip
    return u.astype(np.float64).reshape(count, height, width)


def brightness(n: float, rho2: np.ndarray, r: float) -> np.ndarray:
    """Return the Sersic law of unit flux at squared elliptical radii in units of r."""
    b = gammaincinv(2 * n, 0.5)
    law = b ** (2 * n) / (2 * np.pi * n * gamma(2 * n) * r * r)
    return law * np.exp(-b * rho2 ** (0.5 / n))


def inverse_shape(r: float, g: tuple[float, float]) -> np.ndarray:
    g1, g2 = g
    gg = g1 * g1 + g2 * g2
    matrix = [[1 + gg + 2 * g1, 2 * g2], [2 * g2, 1 + gg - 2 * g1]]
    return np.linalg.inv(r * r / (1 - gg) * np.array(matrix))


def integral_far(
    n: float, r: float, g: tuple[float, float], x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Return the law convolved with the PSF, by Gauss-Hermite sums: exact where it is smooth."""
    node, weight = np.polynomial.hermite.hermgauss(24)
    inverse = inverse_shape(r, g)
    dx = x[:, None, None] + np.sqrt(2) * SIGMA * node
    dy = y[:, None, None] + np.sqrt(2) * SIGMA * node[:, None]
    rho2 = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    return np.einsum("pij,i,j->p", brightness(n, rho2, r), weight, weight) / np.pi


def integral_near(
    n: float, r: float, g: tuple[float, float], x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Return the same near the cusp: polar coordinates, radii crowded towards the centre."""
    node, weight = np.polynomial.legendre.leggauss(400)
    widest = np.hypot(x, y).max() + 9 * SIGMA
    v = 0.5 * (node + 1)
    radius, d_radius = widest * v**6, 3 * widest * v**5 * weight
    angle = 2 * np.pi * np.arange(256) / 256
    dx, dy = np.multiply.outer(radius, np.cos(angle)), np.multiply.outer(radius, np.sin(angle))
    inverse = inverse_shape(r, g)
    rho2 = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    rings = brightness(n, rho2, r) * (radius * d_radius)[:, None] * (2 * np.pi / 256)
    spread = [
        np.sum(rings * np.exp(-0.5 * ((a - dx) ** 2 + (b - dy) ** 2) / SIGMA**2))
        for a, b in zip(x, y, strict=True)
    ]
    return np.array(spread) / (2 * np.pi * SIGMA**2)


def sample_pixels(
    shape: tuple[int, int], at: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels y, x near the centre (5 x 5 and 20 more), then 300 beyond 15 px of it."""
    block = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), -1).reshape(-1, 2)
    near = np.vstack([block, rng.integers(-12, 13, (20, 2))]) + np.rint(at).astype(int)
    far = rng.integers(0, (shape[1], shape[0]), (400, 2))
    far = far[np.hypot(*(far - np.array(at)).T) > 15][:300]
    return near, far


def true_values(
    n: float,
    r: float,
    g: tuple[float, float],
    near: np.ndarray,
    far: np.ndarray,
    *,
    at: tuple[float, float],
) -> np.ndarray:
    (x, y), (a, b) = (near - np.array(at)).T, (far - np.array(at)).T
    return np.concatenate([integral_near(n, r, g, x, y), integral_far(n, r, g, a, b)])


def test_the_two_integrals_agree_where_both_hold() -> None:
    x, y = np.array([16.0, -3.0, 11.0]), np.array([2.0, 17.0, -13.0])
    near, far = (f(4.0, 20.0, (0.3, -0.4), x, y) for f in (integral_near, integral_far))
    np.testing.assert_allclose(near, far, rtol=1e-9)  # both converge exponentially


@pytest.mark.parametrize("g", [(0.0, 0.0), (0.3, -0.4)])
@pytest.mark.parametrize("r", [8.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0, 6.0])
def test_pixels_agree_with_integrals(n: float, r: float, g: tuple[float, float]) -> None:
    shape, at = (512, 512), (256 + OFFSET[0], 256 + OFFSET[1])
    near, far = sample_pixels(shape, at, np.random.default_rng(7))
    truth = true_values(n, r, g, near, far, at=at)
    x, y = np.vstack([near, far]).T
    got = rendered(n, r, g, shape, at)[0, y, x]
    # Interpolation, 3e-6 of a wave, in each of two directions on two levels: measured up to 6e-6.
    assert np.abs(got - truth).max() < 1.2e-5 * truth.max()


@pytest.mark.parametrize(("n", "r"), [(1.0, 60.0), (2.5, 8.0), (4.0, 200.0), (6.0, 60.0)])
def test_derivatives_agree_with_integrals(n: float, r: float) -> None:
    g, shape, at = (0.3, -0.2), (512, 512), (256 + OFFSET[0], 256 + OFFSET[1])
    near, far = (p[::3] for p in sample_pixels(shape, at, np.random.default_rng(8)))
    x, y = np.vstack([near, far]).T
    got = rendered(n, r, g, shape, at, count=7)[:, y, x]

    def value(p: int, h: float) -> np.ndarray:
        d = h * (np.arange(1, 7) == p)
        moved = at[0] + d[0], at[1] + d[1]
        bent = g[0] + d[3], g[1] + d[4]
        return true_values(n + d[5], r * np.exp(d[2]), bent, near, far, at=moved)

    for p in range(1, 7):
        h = 0.02 if p < 3 else 1e-3
        expected = (8 * (value(p, h) - value(p, -h)) - value(p, 2 * h) + value(p, -2 * h)) / 12 / h
        # As for values; narrow axis ratios magnify it in g1, g2: measured up to 1e-5.
        assert np.abs(got[p] - expected).max() < 2e-5 * np.abs(expected).max(), p


@pytest.mark.parametrize(
    ("n", "r", "limit"), [(0.5, 20.0, 6e-5), (1.0, 20.0, 6e-6), (2.5, 8.0, 1e-5)]
)
def test_pixels_agree_with_galsim(n: float, r: float, limit: float) -> None:
    # 1e-5 of the PSF's flux lies outside its stamp, GalSim folds 1e-5; measured 4e-5, 2e-6, 5e-6.
    stamp = draw(light("moffat", 4.0), (127, 127), 63, 63)
    at = (128 + OFFSET[0], 128 + OFFSET[1])
    galaxy = profile_of(SERSIC, r, 0.3, -0.4, n)
    truth = draw(galsim.Convolve(light("moffat", 4.0), galaxy, gsparams=GSPARAMS), (256, 256), *at)
    got = rendered(n, r, (0.3, -0.4), (256, 256), at, psf=psf_levels(stamp, 1, LEVELS))[0]
    assert np.abs(got - truth).max() < limit * truth.max()


@pytest.mark.parametrize(("n", "kind"), [(1.0, EXP), (4.0, DEV), (2.3, SERSIC)])
def test_smaller_galaxies_agree_with_a_single_transform(
    n: float, kind: int, moffat: PixelPsf
) -> None:
    theta = np.array([*OFFSET, np.log(6.0), 0.05, 0.1, n])
    direct = unit_images(kind, theta, moffat, 256)
    psf = psf_levels(moffat.basis[0], 1, LEVELS)
    at = (128 + OFFSET[0], 128 + OFFSET[1])
    got = rendered(n, 6.0, (0.05, 0.1), (256, 256), at, count=len(direct), psf=psf)
    inner = np.s_[64:192, 64:192]
    for p, (a, b) in enumerate(zip(got, direct, strict=True)):
        # Light of the single transform that wraps around: dev 2e-5 of the peak, d/dln r 7e-5.
        limit = 1e-4 if p else 3e-5
        assert np.abs(a[inner] - b[inner]).max() < limit * np.abs(b).max(), p


def covered(shape: tuple[int, int], at: tuple[float, float], radius: float) -> np.ndarray:
    """Return the part of each pixel inside a circle."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(x - at[0], y - at[1])
    part = (distance < radius).astype(np.float64)
    cut = np.abs(distance - radius) < 1.0
    sub = (np.arange(16) + 0.5) / 16 - 0.5
    dx, dy = x[cut][:, None, None] + sub - at[0], y[cut][:, None, None] + sub[:, None] - at[1]
    part[cut] = (np.hypot(dx, dy) < radius).mean(axis=(1, 2))
    return part


@pytest.mark.parametrize(("r", "side"), [(60.0, 512), (200.0, 1648)])
@pytest.mark.parametrize("n", [0.5, 1.0, 4.0, 6.0])
def test_the_flux_inside_circles_is_that_of_the_law(n: float, r: float, side: int) -> None:
    at = (side / 2 + OFFSET[0], side / 2 + OFFSET[1])
    image = rendered(n, r, (0.0, 0.0), (side, side), at)[0]
    b = gammaincinv(2 * n, 0.5)
    for radius in (1.0, 2.0, 4.0):
        law = float(gammainc(2 * n, b * radius ** (1 / n)))
        # PSF and pixels move light across the circle: half their variance times the gradient.
        edge = (radius + np.array([-1e-4, 1e-4])) ** 2
        gradient = np.diff(brightness(n, edge, r))[0] / (2e-4 * r)
        law += (SIGMA**2 + 1 / 12) * np.pi * radius * r * gradient
        # cover of cut pixels, 1e-6; for n = 6 wrapped wings, 2e-6
        assert np.sum(image * covered(image.shape, at, radius * r)) == pytest.approx(law, rel=1e-5)


def test_a_jacobian_turns_and_scales() -> None:
    angle, scale, r, g = 0.4, 1.3, 30.0, 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    at, shape = (130.2, 121.7), (256, 256)
    got = rendered(1.0, r, (g, 0.0), shape, at, count=6, jac=scale * turn)
    turned = (g * np.cos(2 * angle), g * np.sin(2 * angle))
    twin = rendered(1.0, scale * r, turned, shape, at, count=6)
    shift = np.einsum("ij,iyx->jyx", scale * turn, twin[1:3])
    for a, b in [*zip(got[1:3], shift, strict=True), (got[0], twin[0]), (got[3], twin[3])]:
        assert np.abs(a - b).max() < 3e-6 * np.abs(b).max()  # single precision


@pytest.mark.parametrize(("corner", "shape"), [((0, 0), (62, 340)), ((700, 412), (100, 208))])
def test_a_box_anywhere_is_cut_out_of_the_whole(
    corner: tuple[int, int], shape: tuple[int, int]
) -> None:
    at = (500.4, 470.8)  # outside the second box
    whole = rendered(4.0, 40.0, (0.1, 0.2), (1024, 1024), at, count=4)
    box = rendered(4.0, 40.0, (0.1, 0.2), shape, (at[0] - corner[0], at[1] - corner[1]), count=4)
    part = whole[:, corner[1] : corner[1] + shape[0], corner[0] : corner[0] + shape[1]]
    assert np.ptp(part[0]) > 0
    for a, b, all_of in zip(box, part, whole, strict=True):
        # single precision: the points of coarse levels lie elsewhere
        assert np.abs(a - b).max() < 3e-6 * np.abs(all_of).max()


def test_fewer_images_are_the_first_of_all() -> None:
    args = 2.5, 25.0, (0.2, 0.1), (128, 160), (70.3, 60.1)
    every = rendered(*args, count=7)
    for count in (1, 4, 6):
        few = rendered(*args, count=count)
        for a, b in zip(few, every, strict=False):
            # rounding: a value alone, or in one transform with d/dx
            assert np.abs(a - b).max() < 1e-6 * np.abs(b).max()


def test_scratch_may_be_larger_and_used_before() -> None:
    table, slope = tables_of(1.0)
    theta, flat = np.array([0, 0, np.log(30.0), 0.1, 0.2, 1.0]), np.array([1.0, 0, 0, 1.0])
    shared, results = make_wide_work(400, 300, 9), []
    for width, height, levels in ((100, 80, 7), (400, 300, 9), (100, 80, 7)):
        for work in (shared, make_wide_work(width, height, levels)):
            u = np.empty((6, width * height), np.float32)
            args = 6, theta, flat, 51.3, 40.2, width, levels, 1, GAUSSIAN, table, slope
            render_wide(*args, wide_filter(), work, u)
            if width == 100:
                results.append(u)
    for u in results[1:]:
        np.testing.assert_array_equal(u, results[0])


@pytest.mark.parametrize("n", [1.0, 6.0])
def test_more_levels_change_nothing(n: float) -> None:
    args = n, 15.0, (0.0, 0.1), (256, 256), (127.9, 128.2)
    a, b = rendered(*args)[0], rendered(*args, more_levels=2)[0]
    # of n = 6, 4 % lie beyond 40 r_e: spread over the coarsest grid that is 1e-7 of the peak
    assert np.abs(a - b).max() < 1e-6 * b.max()


def test_the_filter_lets_levels_add_up() -> None:
    wide = wide_filter()
    half = WIDE_SIDE // 4
    np.testing.assert_array_equal(wide.outer[0, :half], wide.inner[1, : 2 * half : 2])
    np.testing.assert_array_equal(wide.outer[2, :half], wide.outer[0, :half])
    assert not wide.outer[2, half : 2 * WIDE_SIDE - half].any()
    assert wide.outer[0, 0] == wide.inner[0, 1] == wide.inner[2, WIDE_SIDE // 2] == 1.0
    k = np.linspace(0, np.pi, 1001)
    w = _low_pass(k)
    assert np.abs(w[k < 0.12 * np.pi] - 1).max() < 1e-5  # 116 dB, summed over side lobes
    assert np.abs(w[k > 0.47 * np.pi]).max() < 1e-5
    assert np.abs(np.diff(w)).max() < 0.02  # no edge that would ring


def test_interpolation_keeps_what_the_filter_passes() -> None:
    taps = _interpolation_taps()
    k = np.linspace(0, np.pi, 1001)
    response = 2 * np.cos(np.multiply.outer(k, np.arange(5) + 0.5)) @ taps
    assert 2 * taps.sum() == pytest.approx(1.0, abs=1e-15)  # flux is kept exactly
    assert np.abs((response - 1) * _low_pass(k)).max() < 5e-6  # ten taps: 3e-6


def test_psf_transforms_are_linear_and_those_of_the_stamp() -> None:
    x = np.arange(-20, 21)
    stamp = gaussian_stamp() * (1 + 0.3 * np.multiply.outer(x, x) / 40)
    planes = psf_levels(stamp, 1, 3).reshape(3, 2, WIDE_SIDE, WIDE_SIDE)
    padded = np.zeros((4 * WIDE_SIDE, 4 * WIDE_SIDE))
    padded[:41, :41] = stamp
    whole = np.fft.fft2(np.roll(padded, (-20, -20), axis=(0, 1))).T
    half = WIDE_SIDE // 2
    for level in range(3):
        every = 4 // 2**level
        at = np.r_[0:half, -half + 1 : 0]
        expected = whole[np.ix_(every * at, every * at)]
        got = (planes[level, 0] + 1j * planes[level, 1])[np.ix_(at, at)]
        assert np.abs(got - expected).max() < 1e-6  # stored in single precision
    both = psf_levels(2.0 * stamp + gaussian_stamp(), 1, 3)
    expected = 2.0 * planes.ravel() + GAUSSIAN[: len(both)]
    np.testing.assert_allclose(both, expected, rtol=0, atol=1e-6)  # single precision


@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize("side", [8, 32])  # smaller and larger than the stamp
def test_psf_planes_are_the_sums_over_all_pixels(side: int, fold: int) -> None:
    stamp = np.random.default_rng(3).normal(size=(41, 41))  # neither even nor odd
    got = psf_planes(stamp, 2, side, fold=fold)
    keep = min(20, 2 * (side // 2 - 1))
    x = np.arange(-keep, keep + 1)
    ramp = np.ones(x.size)
    if keep < 20:
        ramp = np.sin(0.5 * np.pi * np.minimum(keep + 0.5 - np.abs(x), 6.0) / 6.0) ** 2
    cut = stamp[20 - keep : 21 + keep, 20 - keep : 21 + keep] * np.outer(ramp, ramp)
    k = 2.0 * np.pi * fold * np.fft.fftfreq(side * fold)
    waves = np.exp(-0.5j * np.multiply.outer(k, x))
    expected = waves @ cut.T @ waves.T / 4.0  # [kx, ky]
    some = np.arange(side * fold) != side * fold // 2  # Nyquist has no sign
    found = (got[0] + 1j * got[1])[np.ix_(some, some)]
    # single precision
    np.testing.assert_allclose(found, expected[np.ix_(some, some)], rtol=0, atol=1e-5)


def test_an_oversampled_psf_gives_the_same_image() -> None:
    fine = psf_levels(gaussian_stamp(samples=2), 2, LEVELS)
    args = 4.0, 20.0, (0.3, 0.0), (256, 256), (128.3, 127.6)
    a, b = rendered(*args, psf=fine)[0], rendered(*args)[0]
    assert np.abs(a - b).max() < 1e-6 * b.max()  # power of the Gaussian beyond Nyquist: 6e-7


def test_a_psf_larger_than_the_finest_grid_keeps_its_flux_and_core() -> None:
    moffat = psf_stamp("moffat", 4.0, 201).basis[0]
    args = 1.0, 20.0, (0.1, 0.0), (512, 512), (256.3, 255.6)
    got = rendered(*args, psf=psf_levels(moffat, 1, LEVELS))[0]
    cut = rendered(*args, psf=psf_levels(moffat[40:-40, 40:-40], 1, LEVELS))[0]
    # exp: nothing of it lies outside, and all frequencies of the large stamp count
    assert got.sum() == pytest.approx(moffat.sum(dtype=np.float64), rel=1e-6)
    # 61 px: light beyond is 1e-5 of the flux; a wrong grid would move much more
    assert np.abs(got - cut).max() < 2e-5 * got.max()


def test_folded_aliases_are_those_of_a_finer_image() -> None:
    x = np.arange(-40, 41) / 2
    line = np.exp(-0.5 * (x / 0.8) ** 2) / (np.sqrt(2 * np.pi) * 0.8)
    psf = psf_levels(np.outer(line, line), 2, LEVELS, 2)
    at, r, g = (64.2, 63.7), 12.0, (0.2, 0.1)
    folded = rendered(4.0, r, g, (128, 128), at, psf=psf, count=7, fold=2)
    # The same in pixels half as large, where this PSF is well sampled.
    fine_psf = psf_levels(np.outer(line, line) / 4.0, 1, LEVELS)
    twice = (2 * at[0], 2 * at[1])
    fine = rendered(4.0, 2 * r, g, (256, 256), twice, psf=fine_psf, count=7)
    fine[1:3] *= 2.0  # d/dx by half pixels
    for p, (a, b) in enumerate(zip(folded, 4.0 * fine[:, ::2, ::2], strict=True)):
        # interpolation at different scales, 6e-6 as above, twice for derivatives
        assert np.abs(a - b).max() < (1.2e-5 if p == 0 else 2.4e-5) * np.abs(b).max(), p
    plain = rendered(4.0, r, g, (128, 128), at, psf=psf_levels(np.outer(line, line), 2, LEVELS))
    # A PSF of sigma 0.8 px has 4e-2 of its amplitude at the Nyquist frequency.
    assert np.abs(plain[0] - folded[0]).max() > 1e-3 * folded[0].max()


def test_how_far_light_matters() -> None:
    cases = [(1.0, 200.0), (2.5, 200.0), (6.0, 200.0), (6.0, 20.0)]  # index, S/N
    assert [light_extent(2.0, n, snr) for n, snr in cases] == [40.0, 80.0, 160.0, 40.0]


@pytest.mark.parametrize("side", [272, 512, 1040, 2048])
def test_levels_hold_the_stamp_and_the_wings(side: int) -> None:
    span = WIDE_SIDE * 2 ** (levels_of(side) - 1)
    assert EXTENT * side <= span < 2 * EXTENT * side


@pytest.mark.parametrize("n", [0.5, 1.0, 4.0])
def test_stamps_end_where_galaxies_are_lost_in_the_noise(n: float) -> None:
    r, noise, threshold = 20.0, 0.7, 0.1
    flux = np.geomspace(1e4, 1e7, 7)
    sides = stamp_side(np.full(7, r), axis_ratio=1.0, n=n, flux=flux, noise=noise, limit=40000)
    assert np.all(np.diff(sides) >= 0)
    assert np.all(sides % 16 == 0)
    for side, f in zip(sides, flux, strict=True):
        at_edge, inside = (f * brightness(n, (d / r) ** 2, r) for d in (side / 2, side / 2 - 24))
        assert at_edge < threshold * noise
        assert inside > threshold * noise or side == 272


def test_stamps_are_bounded() -> None:
    many = {"axis_ratio": 0.5, "n": 6.0, "noise": 1.0}
    assert stamp_side(np.array(300.0), flux=1e12, limit=1000, **many) == 1008
    assert stamp_side(np.array(300.0), flux=1e12, limit=9000, **many) == 2048
    assert stamp_side(np.array(6.0), flux=1e30, limit=9000, **many) == 160 * 6 + 32
    assert stamp_side(np.array(300.0), flux=0.0, limit=1000, **many) == 272

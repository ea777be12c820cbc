"""The correlation of noise, against closed forms, simulations and real images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sep
from astropy.io import fits
from numpy.testing import assert_array_equal
from scipy import ndimage
from scipy.signal import fftconvolve

from skyloom.detect import cell_background, extract_candidates
from skyloom.scene.noise import NoiseCorrelation, measure_noise_correlation

LAG = 5
SIDE = 400


def gaussian_kernel(sigma: float) -> np.ndarray:
    x = np.arange(-12, 13)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    return kernel / kernel.sum()


def lanczos_kernel(shift: float) -> np.ndarray:
    """Weights of a Lanczos-3 resampling by a fraction of a pixel."""
    x = np.arange(-2, 4) - shift
    kernel = np.sinc(x) * np.sinc(x / 3)
    return kernel / kernel.sum()


KERNELS = {
    "gaussian 0.6": (gaussian_kernel(0.6), gaussian_kernel(0.6)),
    "gaussian 1.0": (gaussian_kernel(1.0), gaussian_kernel(1.0)),
    "lanczos half a pixel": (lanczos_kernel(0.5), lanczos_kernel(0.5)),
    "lanczos along x": (np.array([1.0]), lanczos_kernel(0.4)),
}


def filtered(white: np.ndarray, kernels: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return noise of unit variance that is white noise filtered along y and x."""
    for axis, kernel in enumerate(kernels):
        scaled = kernel / np.sqrt((kernel**2).sum())
        white = ndimage.convolve1d(white, scaled, axis=axis, mode="wrap")
    return white


def closed_form(kernels: tuple[np.ndarray, np.ndarray], max_lag: int = LAG) -> np.ndarray:
    """Return the correlation of filtered white noise: that of the kernel with itself."""
    rows = []
    for kernel in kernels:
        full = np.correlate(kernel, kernel, "full") / (kernel**2).sum()
        wide = np.pad(full, max_lag)
        middle = len(wide) // 2
        rows.append(wide[middle - max_lag : middle + max_lag + 1])
    return np.outer(*rows)


def measure(noise: np.ndarray, blank: np.ndarray | None = None, **more: int) -> NoiseCorrelation:
    """Measure an image of unit weight."""
    blank = np.ones(noise.shape, np.bool_) if blank is None else blank
    weight = np.ones(noise.shape, np.float32)
    return measure_noise_correlation(noise.astype(np.float32), weight, blank, **more)


def holes(rng: np.random.Generator, shape: tuple[int, int], number: int) -> np.ndarray:
    """Return a mask that is False in discs where sources would be."""
    y, x = np.indices(shape)
    blank = np.ones(shape, np.bool_)
    for _ in range(number):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(4, 14)
        blank &= np.hypot(y - cy, x - cx) > r
    return blank


def disc(radius: float) -> np.ndarray:
    half = int(radius) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return (x**2 + y**2 <= radius**2).astype(float)


def test_white_noise_is_white() -> None:
    found = [measure(np.random.default_rng(k).normal(size=(SIDE, SIDE))) for k in range(12)]
    assert all(f.is_white for f in found)
    exactly = [np.count_nonzero(f.rho) == 1 for f in found]
    # 60 independent lags: one of them beyond 3 sigma in 15 % of the images; 12 images.
    assert sum(exactly) >= 7
    total = np.array([f.total for f in found])
    assert np.abs(total - 1.0).max() < 0.1  # a false lag and its neighbours: 18 times 3 / 400


@pytest.mark.parametrize("is_masked", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("name", KERNELS)
def test_filtered_noise_has_the_correlation_of_its_filter(name: str, is_masked: bool) -> None:
    truth = closed_form(KERNELS[name])
    rng = np.random.default_rng(5)
    noise = filtered(rng.normal(size=(SIDE, SIDE)), KERNELS[name])
    blank = holes(rng, noise.shape, 250) if is_masked else None
    if blank is not None:
        assert 0.5 < blank.mean() < 0.75
        noise[~blank] += 1000.0
    found = measure(noise, blank)
    assert found.rho_err is not None
    # 4.5 errors of 120 lags, and what a smooth correlation loses to have positive power.
    assert np.all(np.abs(found.rho - truth) <= 4.5 * found.rho_err + 0.01)
    assert found.neighbour == pytest.approx(0.5 * (truth[5, 6] + truth[6, 5]), abs=0.02)
    assert not found.is_white


@pytest.mark.parametrize("name", KERNELS)
def test_errors_are_the_scatter_between_images(name: str) -> None:
    truth = closed_form(KERNELS[name])
    runs = 40
    found = [
        measure(filtered(np.random.default_rng(k).normal(size=(200, 200)), KERNELS[name]))
        for k in range(runs)
    ]
    rho = np.array([f.rho for f in found])
    stated = np.array([f.rho_err for f in found]).mean(axis=0)
    strong = (np.abs(truth) > 0.1) & (truth < 1.0)  # never set to zero
    ratio = rho.std(axis=0, ddof=1)[strong] / stated[strong]
    # 40 runs: 11 % per lag, lags of one image go together; 10 % for the formula.
    assert np.sqrt((ratio**2).mean()) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("name", ["white", *KERNELS])
def test_the_variance_of_an_aperture_follows_from_the_lags(name: str) -> None:
    """Sums in radius 5 px against those simulated: what the correlation is measured for."""
    kernels = KERNELS.get(name, (np.array([1.0]), np.array([1.0])))
    aperture = disc(5.0)
    factor, scatter = [], []
    for k in range(12):
        noise = filtered(np.random.default_rng(100 + k).normal(size=(SIDE, SIDE)), kernels)
        factor.append(measure(noise).variance_factor(aperture))
        scatter.append(fftconvolve(noise, aperture, "valid").var() / aperture.sum())
    # The simulated variance: 12 images of 1500 independent apertures, 1 %, times sqrt 2; lags set
    # to zero and the taper of the largest lags: 2 %.
    assert np.mean(factor) == pytest.approx(np.mean(scatter), rel=0.04)
    # One image: 1600 beams of 100 px hold 2 N degrees of freedom: 4 %, and errors of many lags.
    assert np.max(np.abs(np.array(factor) / np.mean(scatter) - 1.0)) < 0.2


def test_the_factor_of_a_profile_is_a_double_sum() -> None:
    rng = np.random.default_rng(3)
    profile = rng.random((4, 7))
    found = NoiseCorrelation(rho=closed_form((lanczos_kernel(0.5), gaussian_kernel(0.8)), 3))
    at = np.argwhere(np.ones(profile.shape, np.bool_))
    lag = at[:, None] - at[None]
    near = (np.abs(lag) <= 3).all(axis=2)
    rho = np.where(near, found.rho[tuple(np.moveaxis(np.clip(lag, -3, 3) + 3, 2, 0))], 0.0)
    expected = profile.ravel() @ rho @ profile.ravel() / (profile**2).sum()
    assert found.variance_factor(profile) == pytest.approx(expected, rel=1e-12)  # rounding
    assert found.variance_factor(np.ones((1, 1))) == pytest.approx(1.0, rel=1e-12)
    wide = found.variance_factor(np.ones((600, 600)))
    assert wide == pytest.approx(found.total, rel=0.01)  # its border: 4 * 1 / 600


def gradient(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 0.002 * (x - y)


def waves(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 0.3 * np.sin(x / 40.0) * np.cos(y / 30.0)


@pytest.mark.parametrize("sky", [gradient, waves])
def test_errors_of_the_sky_are_no_correlation(
    sky: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """The sky alone has 0.04 to 0.06 of the variance at every lag: 6 in the sum over 121 lags."""
    surface = sky(*np.indices((SIDE, SIDE)).astype(float))
    assert surface.std() > 0.14
    noise = np.random.default_rng(8).normal(size=(SIDE, SIDE))
    found, clean = measure(noise + surface), measure(noise)
    # What is left of waves of 190 px under a window of 45 px: 0.5 % of their variance.
    assert found.total == pytest.approx(clean.total, abs=0.1)


def test_lost_low_frequencies_are_given_back() -> None:
    """A window of 13 px takes 5 % off the sum of this correlation."""
    kernels = (gaussian_kernel(0.5), gaussian_kernel(0.5))
    truth = closed_form(kernels, 1).sum()
    total = [
        measure(
            filtered(np.random.default_rng(k).normal(size=(SIDE, SIDE)), kernels), max_lag=1
        ).total
        for k in range(6)
    ]
    assert np.mean(total) == pytest.approx(truth, rel=0.01)  # 9 lags of error 1 / 400, 6 images


def test_sources_below_detection_are_clipped() -> None:
    rng = np.random.default_rng(21)
    noise = rng.normal(size=(SIDE, SIDE))
    y, x = np.indices((7, 7)) - 3
    star = 12.0 * np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    spoiled = noise.copy()
    for cy, cx in rng.integers(0, SIDE - 7, (100, 2)):
        spoiled[cy : cy + 7, cx : cx + 7] += star
    unclipped = (spoiled[:, 1:] * spoiled[:, :-1]).mean() / spoiled.var()
    assert unclipped > 0.3
    assert measure(spoiled).neighbour < 0.2 * unclipped  # the wings of each stay


def test_the_scale_of_weights_and_pixels_without_a_number_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    noise = filtered(rng.normal(size=(200, 240)), KERNELS["gaussian 0.6"]).astype(np.float32)
    sigma = rng.uniform(0.5, 2.0, (1, 240)).astype(np.float32)
    weight = (7.0 / sigma**2).astype(np.float32) * np.ones((200, 1), np.float32)
    bad = np.zeros(noise.shape, np.bool_)
    bad[50:60, 20:90] = True
    data = noise * sigma
    data[50:55, 20:90], data[55:60, 20:90] = np.nan, 1e6
    weight[55:60, 20:50], weight[55:60, 50:90] = 0.0, np.nan
    here = measure_noise_correlation(data, weight, np.ones(bad.shape, np.bool_))
    there = measure_noise_correlation(noise, np.ones_like(noise), ~bad)
    np.testing.assert_allclose(here.rho, there.rho, atol=1e-5)  # single precision
    assert here.n_pixels == there.n_pixels


@pytest.mark.parametrize("seed", range(5))
def test_no_variance_is_negative(seed: int) -> None:
    """Smooth noise in few pixels, where an estimate of the power of high frequencies fails."""
    rng = np.random.default_rng(seed)
    found = measure(filtered(rng.normal(size=(60, 60)), KERNELS["gaussian 1.0"]))
    rho = found.rho
    assert_array_equal(rho, rho[::-1, ::-1])
    y, x = np.indices((9, 9))
    for pattern in ((-1.0) ** x, (-1.0) ** (x + y), np.cos(2.2 * x + 1.3 * y)):
        assert found.variance_factor(pattern) >= -1e-9  # rounding


def test_no_pixels_no_correlation() -> None:
    for blank in (np.zeros((50, 50), np.bool_), np.eye(50, dtype=np.bool_)):
        found = measure(np.random.default_rng(1).normal(size=(50, 50)), blank)
        assert found.is_white
        assert np.count_nonzero(found.rho) == 1
        assert found.rho_err is not None
        assert np.isinf(found.rho_err[0, 0])
    assert measure(np.zeros((50, 50))).total == 1.0
    assert measure(np.random.default_rng(1).normal(size=(3, 4))).total == 1.0


def test_what_is_no_correlation_is_refused() -> None:
    with pytest.raises(ValueError, match="odd side"):
        NoiseCorrelation(rho=np.ones((2, 2)))
    with pytest.raises(ValueError, match="1 at lag zero"):
        NoiseCorrelation(rho=np.arange(9.0).reshape(3, 3))
    with pytest.raises(ValueError, match="max_lag"):
        measure(np.zeros((50, 50)), max_lag=0)
    with pytest.raises(ValueError, match="three equal planes"):
        measure(np.zeros((50, 50)), np.ones((50, 49), np.bool_))
    alone = NoiseCorrelation(rho=np.ones((1, 1)))
    assert (alone.neighbour, alone.total, alone.is_white) == (0.0, 1.0, True)


@pytest.mark.parametrize(("band", "low", "high"), [("r", -0.1, -0.03), ("Ks", 0.27, 0.38)])
def test_real_images(shared_data, band: str, low: float, high: float) -> None:
    path = shared_data / "kids_viking_tile" / f"kids_viking_{band}.fits.fz"
    with fits.open(path) as hdus:
        sigma = hdus[1].header["SKYSIG"]
        image = hdus[1].section[300:1200, 300:1200].astype(np.float32)
    image -= cell_background(image, sigma, np.zeros(image.shape, np.bool_)).level
    objects = extract_candidates(image, sigma, thresh=1.5, minarea=5)
    blank = np.zeros(image.shape, np.bool_)
    ellipse = [np.asarray(objects[name]) for name in ("x", "y", "a", "b", "theta")]
    sep.mask_ellipse(blank, *ellipse, 5.0)
    blank = ~blank
    found = measure_noise_correlation(image, np.full(image.shape, sigma**-2, np.float32), blank)
    assert low < found.neighbour < high  # the README of the data, other masks: -0.05, 0.27 - 0.36
    # Empty apertures of 3 px scatter as predicted; sky errors beyond the lags add some per cent.
    aperture = disc(3.0)
    inside = fftconvolve(blank.astype(float), aperture, "same") > aperture.sum() - 0.5
    sums = fftconvolve(np.where(blank, image, 0.0), aperture, "same")[inside]
    scatter = 1.4826 * np.median(np.abs(sums - np.median(sums)))
    pixel = image[blank & (np.abs(image) < 4 * sigma)].std()
    expected = pixel * np.sqrt(aperture.sum() * found.variance_factor(aperture))
    assert scatter == pytest.approx(expected, rel=0.1)

"""Catalogues out of images: what is found, what it is taken for, where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from skyloom.detect.catalogue import DetectOptions, detect_sources, filter_noise, gaussian_kernel
from skyloom.detect.growth import growth_radii
from skyloom.detect.locus import find_star_locus

SHAPE = (300, 320)
SIGMA = 2.0


def gaussian(x, y, flux, a, *, b=None, theta=0.0):
    """An elliptical Gaussian of dispersions a, b [pix], theta [deg] from +x."""
    b = a if b is None else b
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    c, s = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    u, v = c * (xx - x) + s * (yy - y), -s * (xx - x) + c * (yy - y)
    return flux / (2 * np.pi * a * b) * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2))


def noise(seed=1, shape=SHAPE):
    return np.random.default_rng(seed).normal(0, SIGMA, shape)


def detect(image, *, saturated=None, fwhm=4.0, **options):
    nothing = np.zeros(image.shape, dtype=bool)
    return detect_sources(
        image.astype(np.float32),
        np.full(image.shape, SIGMA, np.float32),
        bad=nothing,
        saturated=nothing if saturated is None else saturated,
        fwhm=fwhm,
        options=DetectOptions(**options) if options else None,
    )


@pytest.fixture(scope="module")
def field():
    """Thirty stars on a grid, four galaxies between them."""
    image = noise()
    x, y = (v.ravel() + 0.3 for v in np.meshgrid(np.arange(30, 310, 56), np.arange(25, 290, 50)))
    flux = np.geomspace(1500, 60000, x.size)
    for one in zip(x, y, flux, strict=True):
        image += gaussian(*one, 1.7)
    galaxies = [(58, 50, 30.0), (170, 150, -40.0), (226, 200, 75.0), (114, 100, 0.0)]
    for gx, gy, theta in galaxies:
        image += gaussian(gx, gy, 3e4, np.hypot(4.0, 1.7), b=np.hypot(2.0, 1.7), theta=theta)
    return image, np.stack([x, y], axis=1), np.array(galaxies)


def test_stars_and_galaxies_are_found_at_their_place_and_told_apart(field):
    image, stars, galaxies = field
    table = detect(image).table
    tree = cKDTree(np.stack([table["x"], table["y"]], axis=1))
    distance, row = tree.query(stars)
    assert distance.max() < 0.25  # pix; the faintest has S/N 60: 1.7 / 60 pix, plus pixels
    assert np.all(table["type"][row] == "STAR")
    distance, row = tree.query(galaxies[:, :2])
    assert distance.max() < 0.25
    assert np.all(table["type"][row] != "STAR")
    assert len(table) == len(stars) + len(galaxies)


def test_ellipses_of_galaxies_are_those_without_the_psf(field):
    image, _, galaxies = field
    table = detect(image).table
    _, row = cKDTree(np.stack([table["x"], table["y"]], axis=1)).query(galaxies[:, :2])
    turn = (np.asarray(table["theta"])[row] - galaxies[:, 2] + 90) % 180 - 90
    assert np.abs(turn).max() < 5.0  # deg, S/N 300
    # b / a = 0.5 without the PSF, 0.6 with it; isophotal moments are good to some per cent
    assert np.asarray(table["ell"])[row] == pytest.approx(0.5, abs=0.08)
    # half light of a Gaussian: 1.1774 sigma; the correction suits exponentials: 20 %
    assert np.asarray(table["re"])[row] == pytest.approx(1.1774 * 4.0, rel=0.2)


def test_shapes_of_stars_are_missing(field):
    table = detect(field[0]).table
    star = np.asarray(table["type"]) == "STAR"
    assert np.isnan(np.asarray(table["re"])[star]).all()


def test_flux_scale_changes_nothing(field):
    image = field[0][:150].astype(np.float32)
    nothing = np.zeros(image.shape, bool)
    tables = [
        detect_sources(
            image * scale,
            np.full(image.shape, SIGMA * scale, np.float32),
            bad=nothing,
            saturated=nothing,
            fwhm=4.0,
        ).table
        for scale in (1.0, 1000.0)
    ]
    assert len(tables[0]) == len(tables[1])
    for name in ("x", "y", "snr", "r50"):
        # single precision of the image
        assert np.asarray(tables[0][name]) == pytest.approx(np.asarray(tables[1][name]), rel=2e-3)


def test_noise_alone_gives_next_to_nothing():
    found = detect(noise(3, (500, 500)))
    assert len(found.table) <= 2  # at five sigma 0.03 are expected
    assert found.n_negative <= 2


@pytest.mark.parametrize(("smooth", "expected"), [(0.0, 1.0), (1.0, 1.9)])
def test_correlated_noise_raises_the_threshold(smooth, expected):
    image = noise(4, (600, 600))
    if smooth:
        image = gaussian_filter(image, smooth)
        image *= SIGMA / image.std()
    # Gaussian of sigma k smoothed by s: variance grows by 4 pi s**2 k**2 / (k**2 + s**2)
    k = 0.7 * 4.0 / 2.3548
    truth = np.sqrt(4 * np.pi * smooth**2 * k**2 / (k**2 + smooth**2)) if smooth else 1.0
    factor = filter_noise(
        image.astype(np.float32),
        np.full(image.shape, SIGMA, np.float32),
        np.zeros(image.shape, bool),
        gaussian_kernel(0.7 * 4.0),
    )
    assert factor == pytest.approx(truth, rel=0.08)  # kernels in pixels; lower half of the noise
    assert truth == pytest.approx(expected, rel=0.5)


def test_a_saturated_star_is_one_star():
    image = noise(5) + gaussian(160, 150, 3e6, 3.0) + gaussian(60, 60, 20000, 1.7)
    full = image > 20000
    image = np.minimum(image, 20000)
    image[full & (np.mgrid[: SHAPE[0], : SHAPE[1]][1] == 160)] *= 0.2  # a bleeding column
    table = detect(image, saturated=full).table
    near = np.hypot(table["x"] - 160, table["y"] - 150) < 12
    assert near.sum() == 1
    assert table["type"][near][0] == "STAR"


def test_an_empty_image_gives_an_empty_table():
    found = detect(np.zeros((100, 100)))
    assert len(found.table) == 0
    assert found.n_stars == 0
    everything = np.ones((100, 100), bool)
    blind = detect_sources(
        np.full((100, 100), np.nan, np.float32),
        np.full((100, 100), np.inf, np.float32),
        bad=everything,
        saturated=~everything,
        fwhm=4.0,
    )
    assert len(blind.table) == 0


def test_growth_of_a_gaussian_and_of_one_with_a_masked_neighbour():
    image = gaussian(100.2, 99.7, 1000.0, 3.0) + gaussian(112.0, 99.7, 3000.0, 2.0)
    segments = np.zeros(SHAPE, np.int32)
    segments[:, :106], segments[:, 106:] = 1, 2
    radii = growth_radii(
        image.astype(np.float32),
        np.array([100.2]),
        np.array([99.7]),
        radius=np.array([15.0]),
        bad=np.zeros(SHAPE, bool),
        segments=segments,
        ids=np.array([1]),
    )
    # r(f) = sigma sqrt(-2 ln(1 - f)); masked pixels count as the mean of their ring
    for part in (20, 50):
        truth = 3.0 * np.sqrt(-2 * np.log(1 - part / 100))
        assert getattr(radii, f"r{part}")[0] == pytest.approx(truth, rel=0.1)


def test_the_locus_is_that_of_the_small_even_if_galaxies_are_many():
    rng = np.random.default_rng(8)
    n_star, n_galaxy = 40, 400
    x, y = rng.uniform(0, 1000, (2, n_star + n_galaxy))
    psf = 2.4 * np.exp(0.05 * (x / 500 - 1))  # changes by 10 % over the field
    r50 = psf * np.exp(rng.normal(0, 0.01, x.size))
    r50[n_star:] = rng.uniform(2.9, 5.0, n_galaxy)
    snr = np.concatenate([rng.uniform(50, 5000, n_star), rng.uniform(30, 200, n_galaxy)])
    clean = np.ones(x.size, bool)
    locus = find_star_locus(r50, snr, clean, x=x, y=y, shape=(1000, 1000))
    assert locus.members[:n_star].mean() > 0.9
    assert not locus.members[n_star:].any()
    assert locus.r50 == pytest.approx(psf, rel=0.02)  # 40 stars of 1 %, six terms


def test_without_stars_the_locus_is_unknown():
    empty = np.zeros(0)
    nobody = find_star_locus(empty, empty, empty > 0, x=empty, y=empty, shape=(10, 10))
    assert nobody.n_stars == 0

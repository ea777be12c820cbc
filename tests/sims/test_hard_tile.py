"""The hard tile: what its nuisances do to the pixels, and what the pipeline makes of them all.

Targets are those of the project; known misses carry their cause.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("galsim", reason="GalSim draws the truth tiles (test extra)")

import galsim
from blend_tools import neighbour_correlation
from galsim_tile import draw_source
from hard_numbers import HardNumbers, hard_numbers
from hard_tile import (
    NUISANCES,
    HardTile,
    components,
    coverage,
    hard_config,
    make_hard_tile,
    named,
    simulate_hard_tile,
    star_noise,
    wing_stamp,
)
from scipy.optimize import least_squares

from skyloom.errors import WrongValue
from skyloom.pipelines.tile import run_tile
from skyloom.sim import SimTile, SnrBin, pool_assessments

TINY = hard_config(size=192, bands=2, n_sources=30, star_grid=3, blend_fraction=0.0)


@pytest.fixture(scope="module")
def clean() -> dict:
    return {}


def tile(name: str, clean: dict) -> tuple[SimTile, HardTile]:
    hard = HardTile(on=named(name), config=TINY)
    return simulate_hard_tile(hard, 3, clean=clean), hard


def noise_of(made: SimTile, clean: dict, drawn: frozenset[str], b: int) -> np.ndarray:
    """Return the noise over what the sky and the source should give, per pixel."""
    band = made.config.bands[b]
    pure = clean[drawn][b]
    sigma = np.sqrt(band.sky_sigma**2 + np.maximum(pure, 0) / band.gain)
    return (made.images[band.name] - pure) / sigma


def test_without_nuisances_noise_is_white(clean):
    made, _ = tile("none", clean)
    noise = noise_of(made, clean, frozenset(), 0)
    # 36864 pixels: three standard errors
    assert noise.std() == pytest.approx(1.0, abs=0.011)
    assert abs(neighbour_correlation(noise)) < 0.011
    assert made.truth["in_catalog"].all()
    assert not made.truth["wrong_type"].any()


def test_a_wing_keeps_the_light_and_moves_a_share_of_it(clean):
    tile("none", clean)
    tile("psf", clean)
    wing = wing_stamp(HardTile(config=TINY))
    half = wing.shape[0] // 2
    assert wing.sum() == pytest.approx(1.0)
    assert wing[half, 0] == 0.0
    r = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    assert 0.1 < wing[r > 30].sum() < 0.4  # it does reach out
    before, after = (clean[names][0].sum() for names in (frozenset(), frozenset({"psf"})))
    # four per cent into a wing of which the frame of 192 pixels loses a third at most
    assert 0.98 < after / before < 1.0


def test_resampled_noise_is_correlated_and_has_its_rms(clean):
    made, _ = tile("noise", clean)
    noise = noise_of(made, clean, frozenset(), 1)
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert neighbour_correlation(noise) > 0.08


def test_thin_exposures_are_noisier_than_their_header_says(clean):
    made, hard = tile("coverage", clean)
    noise, thin = noise_of(made, clean, frozenset(), 0), coverage(hard, 0) < 1
    assert 0.2 < thin.mean() < 0.5
    assert noise[thin].var() / noise[~thin].var() == pytest.approx(hard.depth, rel=0.06)
    sigma = made.headers["m400"]["SKYSIG"] / made.config.bands[0].sky_sigma
    assert 1.0 < sigma < np.sqrt(hard.depth)


def test_the_sky_rises_by_several_sigma(clean):
    made, _ = tile("sky", clean)
    noise = noise_of(made, clean, frozenset(), 0)
    blocks = noise.reshape(8, 24, 8, 24).mean(axis=(1, 3))
    assert 3.0 < np.ptp(blocks) < 8.0


def test_bands_are_shifted_against_the_first(clean):
    _, hard = tile("none", clean)
    tile("offsets", clean)
    for b, expected in ((0, 0.0), (1, hard.offset)):
        before, after = clean[frozenset()][b], clean[frozenset({"offsets"})][b]
        gy, gx = np.gradient(before)
        terms = np.stack([-gx.ravel(), -gy.ravel()], axis=1)
        shift = np.linalg.lstsq(terms, (after - before).ravel(), rcond=None)[0]
        assert np.hypot(*shift) == pytest.approx(expected, abs=0.3 * hard.offset)


def test_catalogues_err_as_often_as_asked(clean):
    wrong = [tile("types", clean)[0], tile("missing", clean)[0]]
    assert 1 <= wrong[0].truth["wrong_type"].sum() <= 8
    lost = ~np.asarray(wrong[1].truth["in_catalog"])
    assert 1 <= lost.sum() <= 8
    assert len(wrong[1].catalog) == len(wrong[1].truth) - lost.sum()


def test_colours_change_the_shape_and_not_the_light():
    hard = HardTile(on=frozenset({"colours"}), config=TINY)
    row = {"TYPE": "SERSIC", "re": 3.0, "ell": 0.3, "theta": 10.0, "sersic_n": 2.0}
    shares = []
    for wavelength in (0.4, 0.85):
        parts = components(row, hard, wavelength)
        assert sum(share for _, share in parts) == pytest.approx(1.0)
        shares.append(parts[0][1])
    assert shares[1] > shares[0] + 0.15  # bulges are red


def test_stars_on_the_grid_cover_the_field(clean):
    made, _ = tile("none", clean)
    grid = made.truth[made.truth["pair"] == -2]
    assert len(grid) == 9
    assert set(grid["TYPE"]) == {"STAR"}
    cells = {(int(3 * s["x"] / 192), int(3 * s["y"] / 192)) for s in grid}
    assert len(cells) == 9  # jitter stays within 0.4 of the pitch, the border takes 12 pixels
    with pytest.raises(WrongValue, match="a grid of 9 x 9 stars is more than n_sources = 30"):
        hard_config(size=192, n_sources=30, star_grid=9)


def test_what_noise_does_to_a_star_is_what_a_fit_finds(clean):
    made, hard = tile("none", clean)
    shifts = star_noise(made, hard, clean[frozenset()])
    band, psfs, pure = made.config.bands[0], made.field.psfs[0], clean[frozenset()][0]
    noise = made.images[band.name] - pure
    sigma = np.sqrt(band.sky_sigma**2 + np.maximum(pure, 0) / band.gain)
    x, y = np.asarray(made.truth["x"]), np.asarray(made.truth["y"])
    rows = {str(name): row for row, name in enumerate(made.truth["ID"])}
    stars = [rows[str(name)] for name in shifts["ID"]]
    lone = [np.sort(np.hypot(x - x[row], y - y[row]))[1] > 20 for row in stars]
    assert sum(lone) >= 3
    for row, expected in np.column_stack([stars, shifts[band.name]])[lone]:
        star = int(row)
        box = galsim.BoundsI(*(round(v) + d for v in (x[star], y[star]) for d in (-12, 12)))
        cut = slice(box.ymin, box.ymax + 1), slice(box.xmin, box.xmax + 1)

        def drawn(flux: float, dx: float, dy: float, star=star, box=box) -> np.ndarray:
            image = galsim.ImageD(box, init_value=0.0)
            moved = {"TYPE": "STAR", "x": x[star] + dx, "y": y[star] + dy}
            draw_source(image, moved, flux=flux * float(made.truth[f"flux_{band.name}"][star]),
                        psf=psfs.at(x[star], y[star]), sigma=band.sky_sigma)  # fmt: skip
            return image.array

        data, error = drawn(1.0, 0.0, 0.0) + noise[cut], sigma[cut]
        fit = least_squares(lambda p: ((data - drawn(*p)) / error).ravel(), [1.0, 0.0, 0.0])  # noqa: B023
        # what is left is second order: the square of a position error of 0.01 pix
        assert -2500 * np.log10(fit.x[0]) == pytest.approx(expected, abs=0.3)


def test_an_unknown_nuisance_is_named():
    with pytest.raises(ValueError, match="fog is not a nuisance; known: psf, noise"):
        HardTile(on=frozenset({"fog"}))
    assert named("all") == frozenset(NUISANCES)
    assert named("psf+sky") == {"psf", "sky"}
    assert named("all-sky") == frozenset(NUISANCES) - {"sky"}


SMALL = {"size": 224, "bands": 2, "n_sources": 50, "star_grid": 6, "blend_fraction": 0.1}


def measure(folder: Path, name: str, *, seed: int, **settings) -> HardNumbers:
    hard = HardTile(on=named(name), config=hard_config(**settings))
    config = make_hard_tile(folder, hard, seed=seed)
    assert run_tile(config, executor="serial", progress="quiet").exit_status == 0
    return hard_numbers(folder)


def check_flat(found: HardNumbers, cell: float, step: float) -> None:
    """Hold stars, image noise taken off, to a largest mean of a cell and a largest step [mmag].

    Errors are 0.2 to 0.4 for cells of a band and 0.2 to 0.6 for steps of the mean of the bands, and
    the limits are strict; steps in one band have errors like the limit and get three of them.
    """
    for band, flat in found.free.bands.items():
        assert np.nanmax(np.abs(flat.cells)) < cell, (band, flat)
        assert flat.trend < cell, (band, flat)
    for found_step in (*found.free.cell_steps, *found.free.patch_steps):
        assert abs(found_step.step) < step, found_step
    for band, steps in found.free.band_steps.items():
        for found_step in steps:
            assert abs(found_step.step) < step + 3 * found_step.error, (band, found_step)


def check_pulls(
    found: HardNumbers, lo: float, hi: float, groups: tuple[str, ...] = ("star", "galaxy")
) -> None:
    """Hold pulls at S/N 10-100 to a range of widths, plus three errors."""
    for group in groups:
        width, error = (
            found.assessment.value(name, group=group, snr=SnrBin(10, 100))
            for name in ("width", "width_err")
        )
        assert lo - 3 * error < width < hi + 3 * error, (group, width, error)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> HardNumbers:
    return measure(tmp_path_factory.mktemp("hard"), "all-sky", seed=5, **SMALL)


def test_a_small_hard_tile_is_flat_and_its_errors_are_honest(small):
    # two stars in a cell, neighbours missing from the catalogue: only the trend says something
    for band, flat in small.free.bands.items():
        assert flat.trend < 5.0 + 3 * flat.trend_noise, (band, flat)
    # a PSF of 36 stars at most follows the noise of each a little
    assert small.noise_slope == pytest.approx(1.0, abs=0.4)
    check_pulls(small, 0.9, 1.2, ("star",))  # galaxies are too few
    assert small.outliers["star"] < 0.1
    assert small.assessment.n_silent == 0


@pytest.mark.soak
@pytest.mark.parametrize("name", ["none", *NUISANCES, "all"])
def test_the_hard_tile_keeps_the_targets(name, tmp_path):
    found = measure(tmp_path, name, seed=1)
    # the shifts by noise explain the scatter: 1000 of them, neighbours and a PSF that follows
    assert found.noise_slope == pytest.approx(1.0, abs=0.06)
    assert found.scatter[1] < 0.5 * found.scatter[0], found.scatter
    check_flat(found, 5.0, 2.0)
    check_pulls(found, 0.9, 1.2)
    offset, error = (
        found.assessment.value(q, group="galaxy", snr=SnrBin(30, 100))
        for q in ("offset", "offset_err")
    )
    assert abs(offset) < 5.0 + 3 * error
    assert abs(found.star_offset()[0]) < 2.0 + 3 * found.star_offset()[1]


@pytest.mark.soak
def test_errors_of_hard_tiles_together_are_honest(tmp_path):
    """Three tiles are enough to ask for the limits without allowance for their error."""
    found = [measure(tmp_path / str(seed), "all", seed=seed).assessment for seed in (1, 2, 3)]
    together = pool_assessments(found)
    for group in ("star", "galaxy"):
        width = together.value("width", group=group, snr=SnrBin(10, 100))
        assert 0.9 < width < 1.2, (group, width)

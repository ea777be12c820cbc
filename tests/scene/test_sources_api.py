"""Sources from tables, composites and their totals, and what is refused before a fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from scene_tools import (
    DEV,
    EXP,
    SERSIC,
    STAR,
    blank,
    draw_source,
    full_frame_units,
    light,
    make_scene,
    psf_stamp,
)

from skyloom.errors import BadTable, InputError, Mismatch
from skyloom.flags import FitFlag
from skyloom.psf import PixelPsf
from skyloom.scene import (
    FitOptions,
    SceneFit,
    SceneImage,
    Sources,
    SourceType,
    fit_scene,
    forced_photometry,
    parameters_from_ellipse,
    render_scene,
)

REX = SourceType.REX
COLUMNS: dict[str, Any] = {
    "x": [30.0, 40.0, 50.0, 60.0, 70.0],
    "y": [31.0, 41.0, 51.0, 61.0, 71.0],
    "type": ["psf", "Rex", "EXP", "dev", "Ser"],
    "r": [np.nan, 1.5, 2.0, 2.5, 3.0],
    "ab": [np.nan, 1.0, 0.5, 0.8, 1.0],
    "theta": [np.nan, 0.0, 30.0, -60.0, 0.0],
    "n": [np.nan, np.nan, np.nan, np.nan, 3.0],
}


# Tables


@pytest.mark.parametrize("form", [dict, Table, lambda c: Table(c).to_pandas()])
def test_a_table_becomes_sources(form: Any) -> None:
    if form is not dict and form is not Table:
        pytest.importorskip("pandas")
    sources = Sources.from_table(form(COLUMNS))
    assert sources.kind.tolist() == [STAR, REX, EXP, DEV, SERSIC]
    np.testing.assert_array_equal(sources.theta[:, :2].T, [COLUMNS["x"], COLUMNS["y"]])
    np.testing.assert_allclose(np.exp(sources.theta[1:, 2]), COLUMNS["r"][1:], rtol=1e-14)  # exp ln
    _, g1, g2 = parameters_from_ellipse(np.array([1.0]), np.array([0.5]), np.array([30.0]))
    np.testing.assert_array_equal(sources.theta[2, 3:5], [g1[0], g2[0]])
    assert sources.theta[4, 5] == 3.0
    assert np.isfinite(sources.theta).all()


def test_without_types_all_are_stars_and_bytes_and_numbers_name_types() -> None:
    position = {"x": [1.0, 2.0], "y": [3, 4]}
    assert Sources.from_table(position).kind.tolist() == [STAR, STAR]
    as_bytes = Table({**position, "type": np.array([b"EXP ", b"PSF"]), "r": [2.0, 0.0]})
    assert Sources.from_table(as_bytes).kind.tolist() == [EXP, STAR]
    as_numbers = {**position, "type": np.array([EXP, STAR]), "r": [2.0, 0.0]}
    assert Sources.from_table(as_numbers).kind.tolist() == [EXP, STAR]


def test_semi_major_sizes_are_circularised() -> None:
    sources = Sources.from_table(
        {"x": [9.0], "y": [9.0], "type": ["DEV"], "a": [4.0], "ab": [0.25]}
    )
    # r_c = a sqrt(b/a) = 2; exp(ln) rounds in the last digit
    np.testing.assert_allclose(np.exp(sources.theta[0, 2]), 2.0, rtol=1e-14)
    np.testing.assert_allclose(sources.theta[0, 3:5], [0.6, 0.0], atol=1e-15)


def test_limits_are_passed_on() -> None:
    sources = Sources.from_table({"x": [9.0], "y": [7.0]}, max_shift=0.5, ellipticity_prior=None)
    assert sources.lower[0, :2].tolist() == [8.5, 6.5]
    assert not sources.prior_ivar.any()


def changed(name: str, row: int, value: Any) -> dict[str, Any]:
    """Return the columns with one entry replaced."""
    column = list(COLUMNS[name])
    column[row] = value
    return {**COLUMNS, name: column}


@pytest.mark.parametrize(
    ("columns", "row", "column", "words"),
    [
        (changed("x", 3, np.nan), 3, "x", "row 3: x = nan; drop the row"),
        (changed("y", 1, np.inf), 1, "y", "row 1: y = inf"),
        (changed("type", 2, "COMP"), 2, "type", "row 2: type 'COMP' is unknown; write one of STAR"),
        (changed("r", 4, np.nan), 4, "r", "row 4: r = nan; give a half-light radius"),
        (changed("r", 1, 0.0), 1, "r", "row 1: r = 0.0"),
        (changed("ab", 3, 1.5), 3, "ab", "row 3: ab = 1.5; give an axis ratio"),
        (changed("theta", 2, np.nan), 2, "theta", "row 2: theta = nan"),
        (changed("n", 4, -1.0), 4, "n", "row 4: n = -1.0; give a Sersic index"),
        (changed("x", 0, "here"), None, "x", "column 'x' does not hold numbers"),
        ({**COLUMNS, "n": [1.0, 2.0]}, None, "n", r"shape \(2,\), \(5,\) is needed"),
        ({**COLUMNS, "a": COLUMNS["r"]}, None, "a", "both give a size"),
        ({"ra": [1.0], "y": [1.0]}, None, "x", "column 'x' is missing among ra, y"),
        ({"x": [1.0], "y": [1.0], "type": ["EXP"]}, 0, "r", "a galaxy without size; add column r"),
        (
            {"x": MaskedColumn([1.0, 2.0], mask=[False, True]), "y": [1.0, 2.0]},
            1, "x", "row 1: x = nan",
        ),
    ],
)  # fmt: skip
def test_what_a_table_lacks_is_said_with_row_and_remedy(
    columns: dict[str, Any], row: int | None, column: str, words: str
) -> None:
    with pytest.raises(BadTable, match=words) as caught:
        Sources.from_table(columns)
    assert isinstance(caught.value, InputError)
    assert caught.value.facts.get("row") == row
    assert caught.value.column == column


def test_the_number_of_bad_rows_is_told() -> None:
    with pytest.raises(BadTable, match=r"row 1: x = nan \(and 2 more rows\)"):
        Sources.from_table({"x": [1.0, np.nan, np.nan, np.nan], "y": [1.0] * 4})


# What comes out


@pytest.fixture(scope="module")
def star_and_galaxy(small_psf: PixelPsf) -> tuple[SceneFit, SceneImage]:
    """Fit a blend with sky and a bad pixel, started from a table."""
    truth = Sources.create([STAR, EXP], [24.3, 33.0], [30.2, 31.5], r=2.0, g1=0.2)
    image = blank((64, 64), small_psf, flux_key="r", sky_key="r")
    scene = make_scene([image], truth, np.array([[400.0], [600.0]]))
    image = scene.noisy(np.random.default_rng(3))[0]
    image.data[:] += np.float32(0.7)
    image.ivar[32, 30] = 0.0
    table = Table({"x": [24.0, 33.3], "y": [30.0, 31.7], "type": ["PSF", "EXP"], "r": [0.0, 1.5]})
    return fit_scene([image], Sources.from_table(table)), image


def test_data_are_model_sky_and_residual(star_and_galaxy: tuple[SceneFit, SceneImage]) -> None:
    fit, image = star_and_galaxy
    used = image.ivar > 0
    again = fit.model[0] + fit.residual[0] + np.float32(fit.sky["r"])
    # sums of three single-precision numbers of the size of the data
    np.testing.assert_allclose(again[used], image.data[used], atol=3e-7 * image.data.max())
    assert fit.model[0][~used].tolist() == fit.residual[0][~used].tolist() == [0.0]
    # 400 + 600, less wings outside the frame; errors of both fluxes together are about 40
    assert fit.model[0].sum() == pytest.approx(1000.0, abs=160.0)


def test_a_result_table_starts_another_fit(star_and_galaxy: tuple[SceneFit, SceneImage]) -> None:
    fit, image = star_and_galaxy
    table = fit.table()
    assert table["type"].tolist() == ["STAR", "EXP"]
    again = fit_scene([image], Sources.from_table(table))
    assert np.all(np.abs(again.flux - fit.flux) < 0.1 * fit.flux_err)  # stop rule: 0.1 sigma
    totals = fit.totals()
    assert totals.row.tolist() == [0, 1]
    np.testing.assert_array_equal(totals.flux, fit.flux)
    np.testing.assert_allclose(totals.flux_err, fit.flux_err, rtol=1e-14)
    assert np.isnan(totals.bulge_fraction).all()


# Composites

CENTRE = (47.3, 48.6)
DISC = (np.log(5.0), 0.2, 0.1, 1.0)
BULGE = (np.log(2.0), 0.05, 0.0, 4.0)
TOTAL, FRACTION = 1e4, np.array([0.3, 0.6])


@pytest.fixture(scope="module")
def bulge_and_disc() -> list[SceneImage]:
    """Return two bands of a galaxy drawn by GalSim without noise, of S/N about 100."""
    images = []
    for fraction, fwhm, sigma in zip(FRACTION, (3.2, 4.0), (3.0, 2.3), strict=True):
        psf = light("moffat", fwhm)
        disc, bulge = (
            draw_source(kind, [*CENTRE, *shape], psf, (96, 96))
            for kind, shape in ((EXP, DISC), (DEV, BULGE))
        )
        data = TOTAL * ((1.0 - fraction) * disc + fraction * bulge)
        image = blank((96, 96), psf_stamp("moffat", fwhm, 63), sigma=sigma, flux_key=fwhm)
        images.append(replace(image, data=data.astype(np.float32)))
    return images


def with_noise(images: list[SceneImage], seed: int) -> list[SceneImage]:
    rng = np.random.default_rng(seed)
    return [
        replace(
            im,
            data=im.data + rng.normal(0, im.ivar[0, 0] ** -0.5, im.data.shape).astype(np.float32),
        )
        for im in images
    ]


def start() -> Sources:
    """Return a composite that is a little off in position and size, and round."""
    return Sources.composite([CENTRE[0] + 0.3], [CENTRE[1] - 0.2], r_exp=4.0, r_dev=1.5)


def test_totals_of_a_composite_are_unbiased_and_their_errors_honest(
    bulge_and_disc: list[SceneImage],
) -> None:
    pulls, snr = [], []
    for seed in range(100):
        fit = fit_scene(with_noise(bulge_and_disc, seed), start())
        np.testing.assert_array_equal(fit.params[0, :2], fit.params[1, :2])
        np.testing.assert_array_equal(fit.param_cov[0, :2, :2], fit.param_cov[1, :2, :2])
        assert fit.blends.neighbour.tolist() == [1, 0]
        assert not (fit.flags & FitFlag.CLOSE_PAIR).any()
        totals = fit.totals()
        assert totals.row.tolist() == [0]
        pulls.append((totals.flux[0] - TOTAL) / totals.flux_err[0])
        snr.append(TOTAL / totals.flux_err[0])
        # The parts are anticorrelated: each is known worse than the sum.
        assert np.all(totals.flux_err[0] < 0.8 * fit.flux_err.max(axis=0))
    assert 80.0 < np.median(snr) < 130.0
    pull = np.array(pulls)
    assert np.all(np.abs(pull.mean(axis=0)) < 0.3)  # three standard errors of 100 pulls
    assert 0.85 < pull.std() < 1.15  # 200 pulls: 0.05 of chance, 0.05 of non-linearity, 2 sigma


def test_bright_composites_are_recovered(bulge_and_disc: list[SceneImage]) -> None:
    bright = [replace(im, ivar=im.ivar * np.float32(900.0)) for im in bulge_and_disc]
    fit = fit_scene(bright, start())
    totals = fit.totals()
    np.testing.assert_allclose(totals.flux[0], TOTAL, rtol=1e-3)  # spec: galaxies to 0.1-0.3 %
    np.testing.assert_allclose(totals.bulge_fraction[0], FRACTION, atol=2e-3)  # likewise
    np.testing.assert_allclose(fit.params[0, :2], CENTRE, atol=1e-3)  # pix
    assert not fit.flags.any()
    # With equal errors in numerator and denominator the fraction is known better than the bulge.
    assert np.all(totals.bulge_fraction_err[0] < 1.2 * fit.flux_err[1] / TOTAL)


def test_composites_mix_with_other_sources(bulge_and_disc: list[SceneImage]) -> None:
    star = Sources.create([STAR], [20.0], [70.0])
    other = Sources.composite([75.0], [20.0], r_exp=3.0, r_dev=1.0)
    mixed = Sources.concatenate([star, start(), other])
    assert mixed.anchor.tolist() == [0, 1, 1, 3, 3]
    assert mixed.is_composite.tolist() == [False, True, True, True, True]
    flux = np.array([[2000.0, 3000.0]])
    ready = make_scene(bulge_and_disc, star, flux)
    fit = fit_scene(with_noise(ready.images, 7), mixed)
    totals = fit.totals()
    assert totals.row.tolist() == [0, 1, 3]
    pull = (totals.flux - [flux[0], [TOTAL] * 2, [0.0, 0.0]]) / totals.flux_err
    assert np.all(np.abs(pull) < 4.0)  # one realisation of noise
    assert np.isnan(totals.bulge_fraction[0]).all()
    assert fit.flags[3:].tolist() == [int(FitFlag.FROZEN)] * 2  # there is nothing to measure
    swapped = mixed.take(np.array([2, 1, 0]))
    assert swapped.anchor.tolist() == [1, 1, 2]


def test_a_bright_object_of_uncertain_parts_still_moves(bulge_and_disc: list[SceneImage]) -> None:
    faint = [replace(im, ivar=im.ivar / np.float32(15.0**2)) for im in bulge_and_disc]
    moved = 0
    for seed in range(8):
        fit = fit_scene(with_noise(faint, 100 + seed), start(), FitOptions(frozen_snr=4.0))
        moved += not (fit.flags & FitFlag.FROZEN).any()
    assert moved == 8  # the totals have S/N 8-13; judged by their parts, three would stay


def test_forced_composites_keep_their_shape(bulge_and_disc: list[SceneImage]) -> None:
    known = Sources.composite(
        [CENTRE[0]], [CENTRE[1]], r_exp=5.0, r_dev=2.0, g_exp=(0.2, 0.1), g_dev=(0.05, 0.0)
    )
    forced = forced_photometry(bulge_and_disc, known)
    expected = TOTAL * np.array([1.0 - FRACTION, FRACTION])
    np.testing.assert_allclose(forced.flux, expected, rtol=5e-3)  # 0.3 % of the total, spec


def test_concatenate_fills_flux_priors() -> None:
    plain = Sources.create([STAR, STAR], [1.0, 2.0], [1.0, 2.0])
    prior = replace(
        plain, flux_prior_mean=np.full((2, 3), 5.0), flux_prior_ivar=np.full((2, 3), 2.0)
    )
    both = Sources.concatenate([plain, prior])
    assert both.flux_prior_ivar is not None
    assert both.flux_prior_ivar[:, 0].tolist() == [0.0, 0.0, 2.0, 2.0]
    assert Sources.concatenate([plain, plain]).flux_prior_mean is None
    narrow = replace(plain, flux_prior_mean=np.zeros((2, 1)), flux_prior_ivar=np.zeros((2, 1)))
    with pytest.raises(Mismatch, match="1 and 3 flux keys"):
        Sources.concatenate([prior, narrow])


@pytest.mark.parametrize("sky_key", [None, "sky"])
def test_errors_of_sums_know_the_sky(sky_key: str | None, small_psf: PixelPsf) -> None:
    stars = Sources.create([STAR, STAR], [14.0, 18.5], [16.0, 15.0])
    fixed = replace(stars, free=np.zeros_like(stars.free))
    image = blank((32, 32), small_psf, sky_key=sky_key)
    scene = make_scene([image], fixed, np.array([[500.0], [800.0]]))
    fit = fit_scene(scene.images, fixed, FitOptions(stamp_side=64))
    units = full_frame_units([image], fixed)[0].reshape(6, -1)[[0, 3]]
    design = units if sky_key is None else np.vstack([units, np.ones(units.shape[1])])
    cov = np.linalg.inv(design @ design.T)  # noise of 1: the whole linear problem at once
    # single-precision pixels, and a ridge of 1e-6
    np.testing.assert_allclose(fit.blends.pair_flux_err[:, 0] ** 2, cov[:2, :2].sum(), rtol=1e-4)
    np.testing.assert_allclose(fit.flux_err[:, 0] ** 2, np.diag(cov)[:2], rtol=1e-4)


# What is refused


def one_star(**changes: Any) -> Sources:
    sources = Sources.create([STAR, STAR], [20.0, 30.0], [20.0, 30.0])
    return replace(sources, **changes)


@pytest.mark.parametrize("fit", [fit_scene, forced_photometry])
@pytest.mark.parametrize(("x", "y", "column"), [(np.nan, 3.0, "x"), (3.0, -np.inf, "y")])
def test_positions_that_are_not_finite_are_refused_with_their_row(
    fit: Any, x: float, y: float, column: str, small_psf: PixelPsf
) -> None:
    sources = Sources.create([STAR] * 3, [9.0, 9.0, x], [9.0, 9.0, y])
    with pytest.raises(BadTable, match=f"row 2: {column} = .*; drop the row") as caught:
        fit([blank((32, 32), small_psf)], sources)
    assert (caught.value.row, caught.value.column) == (2, column)
    with pytest.raises(BadTable, match="row 2"):
        render_scene([blank((32, 32), small_psf)], sources, np.ones((3, 1)))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"ivar": np.ones((32, 31), np.float32)}, Mismatch, r"ivar of shape \(32, 31\) for data"),
        ({"ivar": np.float32(1.0)}, Mismatch, r"ivar of shape \(\).* np.full_like"),
        ({"data": np.zeros((2, 32, 32), np.float32)}, Mismatch, "one SceneImage per band"),
        ({"psf": PixelPsf(stamp=np.eye(5) * 10.0, fwhm_pix=3.0)}, InputError, "sums to 50; divide"),
        ({"psf": PixelPsf(stamp=np.eye(5) * 0.01, fwhm_pix=3.0)}, InputError, "sums to 0.05"),
        ({"x": np.zeros(3)}, Mismatch, r"x of shape \(3,\), \(2,\) is needed"),
        ({"y": np.array([1.0, np.nan])}, BadTable, "y of source 1 is not finite"),
        ({"jacobian": np.zeros((3, 2, 2))}, Mismatch, "jacobian of shape"),
        ({"noise_correlation": np.ones((2, 2))}, InputError, "odd side.*measure_noise_correlation"),
    ],
)
def test_images_that_cannot_be_right_are_refused(
    changes: dict[str, Any], error: type[Exception], words: str, small_psf: PixelPsf
) -> None:
    good = blank((32, 32), small_psf, flux_key="g")
    bad = replace(blank((32, 32), small_psf, flux_key="r"), **changes)
    with pytest.raises(error, match=words) as caught:
        fit_scene([good, bad], one_star())
    assert str(caught.value).startswith("image 1 (flux key 'r'): ")


def test_flux_priors_of_another_number_of_bands_are_refused(small_psf: PixelPsf) -> None:
    sources = one_star(flux_prior_mean=np.zeros((2, 3)), flux_prior_ivar=np.zeros((2, 3)))
    with pytest.raises(Mismatch, match=r"flux_prior_mean of shape \(2, 3\), \(2, 1\) is needed"):
        fit_scene([blank((32, 32), small_psf)], sources)

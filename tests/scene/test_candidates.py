"""The choice of models on images drawn by GalSim: right types, right fluxes, nothing from noise."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sims"))

from blend_tools import Field, lone_template, make_field, spread_fluxes, starts
from scene_tools import DEV, EXP, SERSIC, STAR, blank, make_scene

from skyloom.psf import PixelPsf
from skyloom.scene import FitOptions, SceneImage, Sources, SourceType, fit_scene
from skyloom.scene.choice import CANDIDATES, NO_SOURCE, ChoiceReason, ChoiceRules
from skyloom.scene.model_choice import ModelChoice, choose_models

REX = SourceType.REX
FWHM = (3.4, 3.0, 2.8)  # of the PSF in three bands [pix]
COUNT = 100  # sources of each kind


def field(kind: int, r: float, snr: tuple[float, float], seed: int) -> Field:
    """Return noise-free images of isolated sources; S/N is that of all bands together."""
    rng = np.random.default_rng(seed)
    template = lone_template(rng, kind, r, FWHM)
    each = (snr[0] / len(FWHM) ** 0.5, snr[1] / len(FWHM) ** 0.5)
    return make_field([template], [spread_fluxes(template, COUNT, each, rng)], pitch=64)


def choice(scene: Field, joint: int, seed: int, **more: object) -> ModelChoice:
    """Return the choice for one noisy realisation, the joint fit being of one kind."""
    rng = np.random.default_rng(seed)
    images = scene.noisy(rng)
    kinds = np.full(COUNT, joint)
    return choose_models(images, starts(scene.sources, rng, kind=kinds), **more)


def share(found: ModelChoice, *kinds: int) -> float:
    return float(np.isin(found.kind, kinds).mean())


@pytest.fixture(scope="module")
def stars() -> Field:
    return field(STAR, 1.0, (30.0, 300.0), 1)


def pulls(found: ModelChoice, scene: Field, rows: np.ndarray) -> np.ndarray:
    return ((found.flux - scene.flux) / found.flux_err)[rows]


@pytest.mark.parametrize("joint", [STAR, EXP])
def test_stars_are_stars(stars: Field, joint: int) -> None:
    found = choice(stars, joint, 2)
    assert share(found, STAR) > 0.95
    assert share(found, SERSIC) == 0.0
    pull = pulls(found, stars, found.kind == STAR)
    # 300 pulls: standard errors of width and mean are 0.041 and 0.058; three of them
    assert pull.std() == pytest.approx(1.0, abs=0.12)
    assert pull.mean() == pytest.approx(0.0, abs=0.17)


@pytest.mark.parametrize("joint", [STAR, EXP])
def test_exponential_galaxies_are_seen(joint: int) -> None:
    scene = field(EXP, 2.0, (30.0, 100.0), 3)
    found = choice(scene, joint, 4)
    assert share(found, REX, EXP) > 0.9
    pull = pulls(found, scene, np.isin(found.kind, [REX, EXP]))
    assert pull.std() == pytest.approx(1.0, abs=0.12)  # as above; a fixed shape costs 0.01 of it
    size = np.exp(found.params[:, 2])
    assert np.median(size) == pytest.approx(2.0, rel=0.05)  # S/N 50: 5 % each, 0.6 % of the median


def test_de_vaucouleurs_galaxies_are_seen() -> None:
    scene = field(DEV, 2.5, (60.0, 200.0), 5)
    found = choice(scene, EXP, 6)
    assert share(found, DEV, SERSIC) > 0.8
    pull = pulls(found, scene, found.kind == DEV)
    assert pull.std() == pytest.approx(1.0, abs=0.15)  # 1.00 +- 0.04, wings of neighbours
    assert_array_equal(found.reason[found.kind == DEV], ChoiceReason.DEV_IS_BETTER)


@pytest.mark.parametrize(("kind", "r"), [(STAR, 1.0), (EXP, 0.5), (DEV, 1.0), (DEV, 2.5)])
def test_what_is_not_tried_would_not_have_won(kind: int, r: float) -> None:
    scene = field(kind, r, (15.0, 300.0), 5)
    every = choice(scene, EXP, 6)
    some = choice(scene, EXP, 6, rules=ChoiceRules(try_share=0.1))
    assert_array_equal(some.kind, every.kind)
    assert_array_equal(some.dchisq[:, :2], every.dchisq[:, :2])
    if kind == STAR:
        tried = np.isfinite(some.dchisq[:, 2]).sum(), np.isfinite(every.dchisq[:, 2]).sum()
        assert tried[0] < 0.5 * tried[1]


def test_compact_de_vaucouleurs_galaxies_need_a_better_psf_than_one_per_cent() -> None:
    scene = field(DEV, 1.5, (80.0, 160.0), 5)
    assert share(choice(scene, EXP, 6), REX) > 0.8
    found = choice(scene, EXP, 6, rules=ChoiceRules(shape_fraction=0.001))
    assert share(found, DEV, SERSIC) > 0.9


def test_nothing_is_found_where_nothing_is(moffat: PixelPsf) -> None:
    rng = np.random.default_rng(7)
    at = np.stack(np.meshgrid(np.arange(10) * 40.0 + 25.0, np.arange(10) * 40.0 + 25.0), -1)
    images = [
        replace(
            blank((410, 410), moffat, flux_key=b),
            data=rng.standard_normal((410, 410), dtype=np.float32),
        )
        for b in range(3)
    ]
    found = choose_models(images, Sources.create(np.full(100, STAR), *at.reshape(-1, 2).T))
    assert_array_equal(found.kind, NO_SOURCE)
    assert_array_equal(found.reason, ChoiceReason.NOT_DETECTED)
    assert np.all(found.flux.sum(axis=1) < 6.0 * np.sqrt((found.flux_err**2).sum(axis=1)))


def one_source(kind: int, psf: PixelPsf, flux: float, **more: object) -> tuple[SceneImage, Sources]:
    """Return an image of one source, free of noise, in noise of unit variance."""
    truth = Sources.create(np.array([kind]), np.array([40.3]), np.array([39.6]), **more)
    scene = make_scene([blank((80, 80), psf)], truth, np.array([[flux]]))
    return scene.images[0], truth


EVERY = ChoiceRules(
    try_margin=-np.inf,
    sersic_margin=0.0,
    star_fraction=0.0,
    shape_fraction=0.0,
    galaxy_margin=1e-3,
)


@pytest.mark.parametrize("kind", [STAR, REX, EXP, DEV, SERSIC])
def test_the_true_model_takes_all_of_chi_square(kind: int, small_psf: PixelPsf) -> None:
    shape = {} if kind in {STAR, REX} else {"g1": 0.2, "g2": -0.1}
    image, truth = one_source(kind, small_psf, 2000.0, r=1.5, n=2.0, **shape)
    start = Sources.create(np.array([EXP]), np.array([40.0]), np.array([40.0]), r=1.0)
    white = FitOptions(correlated_noise=False)  # all that is left here is what models lack
    found = choose_models([image], start, white, rules=EVERY)
    column = CANDIDATES.index(kind)
    all_of_it = float((image.data.astype(np.float64) ** 2).sum())
    # A fit stops 0.1 from the optimum, priors pull it less; steep wings leave the stamp: 1e-4.
    limit = 0.3 + (2e-4 * all_of_it if kind in {DEV, SERSIC} else 0.0)
    assert found.dchisq[0, column] == pytest.approx(all_of_it, abs=limit)
    assert np.nanmax(found.dchisq) == pytest.approx(all_of_it, abs=limit)
    assert found.kind[0] in {kind, SERSIC}  # which costs nothing by these rules
    # 0.3 of chi-square is half a standard error at most
    assert abs(found.flux[0, 0] - 2000.0) < 0.6 * found.flux_err[0, 0]
    assert truth.theta[0, 0] == pytest.approx(found.params[0, 0], abs=0.01)


@pytest.mark.parametrize("kind", [STAR, EXP])
def test_improvements_grow_as_the_square_of_the_flux(kind: int, small_psf: PixelPsf) -> None:
    rows = []
    for flux in (300.0, 600.0, 1200.0, 2400.0):
        image, truth = one_source(kind, small_psf, flux, r=2.0)
        rows.append(choose_models([image], truth, rules=EVERY).dchisq[0, :4])
    assert np.all(np.diff(rows, axis=0) > 0.0)
    # Priors count less in bright sources, and stamps grow with them: wings of 1e-3 of the light.
    assert_allclose(rows[3], 4.0 * rows[2], rtol=3e-3)


def test_a_neighbour_does_not_matter(small_psf: PixelPsf) -> None:
    rng = np.random.default_rng(11)
    kind = np.array([STAR, EXP])
    sources = Sources.create(kind, np.array([36.2, 45.7]), np.array([40.1, 41.0]), r=2.0, g1=0.2)
    both = make_scene([blank((80, 84), small_psf)], sources, np.array([[3000.0], [4000.0]]))
    noise = rng.standard_normal((80, 84)).astype(np.float32)
    images = [replace(both.images[0], data=both.images[0].data + noise)]
    found = choose_models(images, sources)
    assert_array_equal(found.kind, kind)
    for row in range(2):
        flux = both.flux[[row]]
        alone = make_scene([blank((80, 84), small_psf)], sources.take(np.array([row])), flux)
        single = [replace(alone.images[0], data=alone.images[0].data + noise)]
        lonely = choose_models(single, sources.take(np.array([row])))
        # The neighbour's model is wrong by its errors: one of chi-square for each parameter.
        assert_allclose(found.dchisq[row, :4], lonely.dchisq[0, :4], rtol=0.02, atol=30.0)


def test_a_finished_fit_and_threads_change_nothing(stars: Field) -> None:
    rng = np.random.default_rng(12)
    images = stars.noisy(rng)
    sources = starts(stars.sources, rng)
    found = choose_models(images, sources)
    again = choose_models(
        images, sources, FitOptions(threads=2), fit=fit_scene(images, sources, FitOptions())
    )
    assert_array_equal(found.dchisq, again.dchisq)
    assert_array_equal(found.flux, again.flux)


def test_correlated_noise_divides_improvements(small_psf: PixelPsf) -> None:
    image, truth = one_source(STAR, small_psf, 600.0)
    white = choose_models([image], truth)
    rho = np.full((3, 3), 0.2)
    rho[1, 1] = 1.0
    found = choose_models([replace(image, noise_correlation=rho)], truth)
    ratio = found.dchisq[0, 0] / white.dchisq[0, 0]
    # A Gaussian PSF of sigma s correlates with itself, shifted by d, as exp(-d**2 / (4 s**2)).
    s2 = (3.0 / 2.3548) ** 2 + 1.0 / 12.0
    factor = 1.0 + 0.8 * np.exp(-0.25 / s2) + 0.8 * np.exp(-0.5 / s2)
    assert ratio == pytest.approx(1.0 / factor, rel=0.01)  # a pixel is not a Gaussian
    assert found.flux_err[0, 0] == pytest.approx(white.flux_err[0, 0] * factor**0.5, rel=0.01)


def test_exposures_of_a_band_count_together(small_psf: PixelPsf) -> None:
    image, truth = one_source(EXP, small_psf, 1500.0, r=2.0, g1=0.3)
    whole = choose_models([image], truth)
    half = replace(image, ivar=0.5 * image.ivar, sky_key="a")
    x, y = truth.theta[:, 0], truth.theta[:, 1]
    turned = replace(
        half,
        data=np.ascontiguousarray(half.data.T),
        ivar=np.ascontiguousarray(half.ivar.T),
        sky_key=None,
        origin=(1000, 2000),
        x=y + 1000.0,
        y=x + 2000.0,
        jacobian=np.array([[[0.0, 1.0], [1.0, 0.0]]]),
    )
    parts = choose_models([half, turned], truth)
    # A fitted sky takes wings of 1e-3 of the light with it.
    assert_allclose(parts.dchisq, whole.dchisq, rtol=2e-3)
    assert_allclose(parts.params[:, :5], whole.params[:, :5], atol=0.01)
    assert parts.kind == whole.kind == EXP


def test_no_data_and_fixed_positions(small_psf: PixelPsf) -> None:
    image, truth = one_source(STAR, small_psf, 600.0)
    x, y = np.array([40.0, 300.0]), np.array([40.0, 40.0])
    sources = Sources.create(np.full(2, EXP), x, y)
    sources.free[:, :2] = False
    found = choose_models([image], sources)
    assert_array_equal(found.params[:, 0], x)
    assert_array_equal(found.reason[1:], ChoiceReason.NOT_TRIED)
    assert found.kind[1] == EXP
    assert np.isnan(found.dchisq[1]).all()
    assert np.isnan(found.flux[1]).all()
    assert found.dchisq[0, 0] < choose_models([image], truth).dchisq[0, 0]
    assert found.table().colnames[2:] == [
        f"dchisq_{name}" for name in ("star", "rex", "exp", "dev", "sersic")
    ]


def test_a_fit_of_other_sources_is_refused(small_psf: PixelPsf) -> None:
    image, truth = one_source(STAR, small_psf, 600.0)
    fit = fit_scene([image], truth)
    with pytest.raises(ValueError, match=r"\(2, 1\) is needed"):
        choose_models([image], Sources.create(np.full(2, STAR), *np.full((2, 2), 40.0)), fit=fit)

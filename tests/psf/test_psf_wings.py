"""Wings: what residuals around stars say of the PSF beyond the builder's cutouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.psf import FieldPsf, StarCutouts, WingFit, measure_wings, with_wings

SIDE, SIGMA = 127, 1.0
AXIS = np.arange(SIDE) - SIDE // 2
R = np.hypot(AXIS[:, None], AXIS[None, :])
FWHM = 4.0


def moffat_field(side: int = SIDE) -> FieldPsf:
    axis = np.arange(side) - side // 2
    r2 = axis[:, None] ** 2 + axis[None, :] ** 2
    alpha = FWHM / (2 * np.sqrt(2 ** (1 / 3.0) - 1))
    stamp = (1 + r2 / alpha**2) ** -3.0
    return FieldPsf(
        basis=(stamp / stamp.sum())[None].astype(np.float32),
        polynomial=np.ones((1, 1)),
        shape=(1000, 1000),
        fwhm=FWHM,
    )


def wing_light(amount: float, *, slope: float = 2.5) -> np.ndarray:
    """Return a wing of so much light that the builder's pedestal has not seen: flat inside 25."""
    law = (1 + (np.maximum(R, 25.0) / 6.0) ** 2) ** (-0.5 * slope)
    law[R > SIDE // 2] = 0.0
    return amount * law / law.sum()


def stars(
    wing: np.ndarray, *, n: int, flux: float, rng: np.random.Generator, noise: float = SIGMA
) -> tuple[StarCutouts, np.ndarray]:
    """Return residuals F D + c + noise, and the fluxes: a factor of ten between them."""
    fluxes = flux * np.exp(rng.uniform(-np.log(10), 0, n))
    level = rng.normal(0, 0.3 * SIGMA, n)
    data = fluxes[:, None, None] * wing + level[:, None, None]
    data = data + noise * rng.standard_normal(data.shape)
    x = np.full(n, 500.0)
    corner = np.full(n, 500 - SIDE // 2)
    cutouts = StarCutouts(
        data=data.astype(np.float32),
        weight=np.full(data.shape, SIGMA**-2, np.float32),
        x=x,
        y=x,
        x0=corner,
        y0=corner,
    )
    return cutouts, fluxes


def wings_of(cutouts: StarCutouts, flux: np.ndarray, **options: FieldPsf) -> WingFit:
    found = measure_wings(cutouts, flux, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def light(psf: FieldPsf, radius: float) -> float:
    return float(psf.stamp_at(500.0, 500.0)[radius >= R].sum())


def test_wings_of_bright_stars_are_found() -> None:
    psf, truth = moffat_field(), wing_light(0.02)
    found = wings_of(*stars(truth, n=40, flux=2e5, rng=np.random.default_rng(1)), psf=psf)
    winged = with_wings(psf, found)
    whole = psf.stamp_at(500.0, 500.0) + truth
    whole /= whole.sum()
    before, after = (light(p, 12.0) - whole[R <= 12.0].sum() for p in (psf, winged))
    assert before > 0.015
    # the far level is known from what is expected of wings only: a fifth of their light
    assert abs(after) < 0.004
    ring = (R > 28.0) & (R < 32.0)
    assert winged.stamp_at(500.0, 500.0)[ring].mean() == pytest.approx(whole[ring].mean(), rel=0.2)
    assert found.evidence > 10.0


def test_without_wings_nothing_changes() -> None:
    psf = moffat_field()
    changes = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        found = wings_of(*stars(0.0 * R, n=20, flux=2e5, rng=rng), psf=psf)
        changes.append(light(with_wings(psf, found), 12.0) - light(psf, 12.0))
    # 20 stars of flux 2e5 at most know 0.5 % of the light in wings; what is not seen shrinks
    assert np.abs(changes).max() < 0.002


def test_faint_stars_leave_the_psf_alone() -> None:
    psf = moffat_field()
    cutouts, flux = stars(0.0 * R, n=12, flux=3e3, rng=np.random.default_rng(3))
    found = wings_of(cutouts, flux, psf=psf)
    assert abs(light(with_wings(psf, found), 12.0) - light(psf, 12.0)) < 0.003
    assert found.evidence < 2.0


@settings(max_examples=10, deadline=None)
@given(level=st.floats(-50, 50), scale=st.floats(1e-2, 1e2))
def test_sky_levels_and_units_do_not_matter(level: float, scale: float) -> None:
    psf = moffat_field()
    cutouts, flux = stars(wing_light(0.02), n=12, flux=1e5, rng=np.random.default_rng(4))
    plain = wings_of(cutouts, flux, psf=psf)
    shifted = replace(
        cutouts,
        data=(scale * (cutouts.data + np.float32(level))).astype(np.float32),
        weight=(cutouts.weight / scale**2).astype(np.float32),
    )
    other = wings_of(shifted, scale * flux, psf=psf)
    # single-precision pixels of 50 sigma keep five digits of a residual
    assert other.profile == pytest.approx(plain.profile, rel=2e-2, abs=1e-9)


def test_a_second_look_confirms_the_first() -> None:
    built, truth = moffat_field(), wing_light(0.02)
    cutouts, flux = stars(truth, n=40, flux=2e5, rng=np.random.default_rng(5))
    first = wings_of(cutouts, flux, psf=built)
    winged = with_wings(built, first)
    # what winged models of more flux leave: the core, which is not looked at, stays as it was
    more = built.stamp_at(500.0, 500.0).max() / winged.stamp_at(500.0, 500.0).max()
    added = more * winged.stamp_at(500.0, 500.0) - built.stamp_at(500.0, 500.0)
    left = replace(cutouts, data=(cutouts.data - flux[:, None, None] * added).astype(np.float32))
    second = wings_of(left, more * flux, psf=winged, built=built)
    # between the radii the profile is drawn straight
    assert more * second.profile == pytest.approx(first.profile, rel=0.05)


def test_neighbours_that_no_model_has_do_not_count() -> None:
    psf, truth = moffat_field(), wing_light(0.02)
    cutouts, flux = stars(truth, n=20, flux=2e5, rng=np.random.default_rng(6))
    clean = wings_of(cutouts, flux, psf=psf)
    data = cutouts.data.copy()
    data[:, 90:95, 30:35] += 500 * SIGMA
    dirty = wings_of(replace(cutouts, data=data), flux, psf=psf)
    assert dirty.profile == pytest.approx(clean.profile, rel=0.1)


def test_total_flux_stays_one() -> None:
    psf = moffat_field()
    found = wings_of(
        *stars(wing_light(0.03), n=40, flux=2e5, rng=np.random.default_rng(7)), psf=psf
    )
    winged = with_wings(psf, found)
    assert winged.stamp_at(500.0, 500.0).sum() == pytest.approx(1.0, abs=1e-5)  # single precision
    assert winged.stamp_at(20.0, 900.0).sum() == pytest.approx(1.0, abs=1e-5)
    same = with_wings(winged, found)
    assert light(same, 12.0) == pytest.approx(light(winged, 12.0), abs=2e-4)  # rings of two pixels


def test_stars_at_the_edge_and_without_pixels_are_harmless() -> None:
    psf = moffat_field()
    cutouts, flux = stars(wing_light(0.02), n=12, flux=1e5, rng=np.random.default_rng(8))
    weight = cutouts.weight.copy()
    weight[0] = 0.0
    weight[1, :, : SIDE // 2 + 20] = 0.0
    found = wings_of(replace(cutouts, weight=weight), flux, psf=psf)
    assert np.isfinite(found.profile).all()
    assert measure_wings(cutouts.rows(np.zeros(0, int)), np.zeros(0), psf=psf) is None


def test_a_single_bright_star_does_not_rule() -> None:
    psf, rng = moffat_field(), np.random.default_rng(9)
    cutouts, flux = stars(0.0 * R, n=30, flux=2e5, rng=rng)
    data = cutouts.data.copy()
    data[0] += (3.0 * flux.max() * wing_light(0.3) * 10.0).astype(np.float32)  # a reflection
    flux[0] = 10.0 * flux.max()
    found = wings_of(replace(cutouts, data=data), flux, psf=psf)
    assert abs(light(with_wings(psf, found), 12.0) - light(psf, 12.0)) < 0.003  # as without it


def test_one_or_two_stars_are_not_enough() -> None:
    cutouts, flux = stars(wing_light(0.02), n=2, flux=1e6, rng=np.random.default_rng(10))
    assert measure_wings(cutouts, flux, psf=moffat_field()) is None

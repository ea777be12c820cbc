"""What a fit may not depend on: units of flux, place, orientation, order, division into exposures.

Small GalSim scenes with noise are fitted twice, as they are and transformed.  Fits stop when
chi-square would fall by less than `TOLERANCE`, so rounding may end one of the two a step earlier:
answers agree within sqrt(2 TOLERANCE) of an error bar, and mostly to rounding.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scene_tools import DEV, EXP, STAR, Scene, draw, draw_source, light, nudged

from skyloom.psf import PixelPsf
from skyloom.scene import FitOptions, SceneFit, SceneImage, Sources, fit_scene

SIDE = 64
TOLERANCE = 1e-4
WITHIN = float(np.sqrt(2 * TOLERANCE))  # error bars
# error bars: stamps have an even side, hence one row more on one side than on the other, and the
# light at their edges is below a tenth of the noise, not nothing.
EDGE = 0.05
OPTIONS = FitOptions(tolerance=TOLERANCE)
KINDS = ([STAR, EXP], [EXP, DEV, STAR], [STAR, STAR, EXP, EXP])

few = settings(max_examples=8, deadline=None, derandomize=True)
which = st.integers(0, len(KINDS) - 1)
seeds = st.integers(0, 2**31)


@cache
def drawn(number: int) -> Scene:
    """Draw a blend in two bands with elliptical PSFs; without noise."""
    rng = np.random.default_rng(500 + number)
    kind = np.array(KINDS[number])
    n = len(kind)
    angle = 2 * np.pi * (np.arange(n) + rng.uniform(0, 1)) / n
    at = 31.5 + rng.uniform(4.0, 7.0, n) * np.array([np.cos(angle), np.sin(angle)])
    sources = Sources.create(
        kind, *at, r=rng.uniform(0.8, 1.8, n), g1=rng.normal(0, 0.15, n), g2=rng.normal(0, 0.15, n)
    )
    flux = 10 ** rng.uniform(2.4, 3.2, (n, 2))
    images = []
    for b, fwhm in enumerate((3.2, 4.1)):
        psf = light("moffat", fwhm).shear(g1=0.05, g2=-0.03 + 0.05 * b)
        data = np.zeros((SIDE, SIDE))
        for k, theta, f in zip(kind, sources.theta, flux[:, b], strict=True):
            data += f * draw_source(int(k), theta, psf, data.shape)
        stamp = PixelPsf(stamp=draw(psf, (63, 63), 31, 31), fwhm_pix=fwhm)
        images.append(
            SceneImage(
                data=data.astype(np.float32), ivar=np.ones_like(data, np.float32), psf=stamp,
                flux_key=f"band {b}",
            )
        )  # fmt: skip
    return Scene(images=images, sources=sources, flux=flux)


def problem(number: int, seed: int) -> tuple[list[SceneImage], Sources]:
    """Return noisy images, a few of their pixels masked, and starts."""
    rng = np.random.default_rng(seed)
    scene = drawn(number)
    images = []
    for im in scene.noisy(rng):
        mask = rng.uniform(size=im.ivar.shape) < 0.01
        images.append(replace(im, ivar=np.where(mask, np.float32(0.0), im.ivar)))
    return images, nudged(scene.sources, rng, shift=0.2)


def assert_same(
    one: SceneFit, theta: np.ndarray, flux: np.ndarray, *, within: float = WITHIN
) -> None:
    """Compare a fit with the parameters and fluxes of another one, transformed back."""
    sigma = np.sqrt(np.einsum("nii->ni", one.param_cov))
    assert np.all(np.abs(theta - one.params) <= within * sigma + 1e-6)  # 1e-6: rounding
    assert np.all(np.abs(flux - one.flux) <= within * one.flux_err)


@few
@given(number=which, seed=seeds, scale=st.floats(1e-4, 1e4))
def test_fluxes_scale_with_the_data(number: int, seed: int, scale: float) -> None:
    images, start = problem(number, seed)
    s = np.float32(scale)
    brighter = [replace(im, data=im.data * s, ivar=im.ivar / s**2) for im in images]
    one, two = fit_scene(images, start, OPTIONS), fit_scene(brighter, start, OPTIONS)
    assert_same(one, two.params, two.flux / float(s))
    assert_allclose(two.flux_err / float(s), one.flux_err, rtol=2e-3)  # shapes within WITHIN
    assert_array_equal(two.flags, one.flags)


@few
@given(number=which, seed=seeds, power=st.integers(-20, 20))
def test_powers_of_two_scale_exactly(number: int, seed: int, power: int) -> None:
    images, start = problem(number, seed)
    s = np.float32(2.0**power)
    brighter = [replace(im, data=im.data * s, ivar=im.ivar / s**2) for im in images]
    one, two = fit_scene(images, start, OPTIONS), fit_scene(brighter, start, OPTIONS)
    # Such factors change exponents only: no rounding at all.
    assert_allclose(two.flux / float(s), one.flux, rtol=1e-12)
    assert_allclose(two.params, one.params, rtol=0, atol=1e-12)


@few
@given(number=which, seed=seeds, dx=st.integers(0, 40), dy=st.integers(0, 40))
def test_whole_pixel_shifts_move_positions_only(number: int, seed: int, dx: int, dy: int) -> None:
    images, start = problem(number, seed)
    moved = []
    for im in images:
        data, ivar = np.zeros((2, SIDE + 40, SIDE + 40), np.float32)
        data[dy : dy + SIDE, dx : dx + SIDE] = im.data
        ivar[dy : dy + SIDE, dx : dx + SIDE] = im.ivar
        moved.append(replace(im, data=data, ivar=ivar))
    by = np.array([dx, dy, 0.0, 0.0, 0.0, 0.0])
    there = replace(start, theta=start.theta + by, lower=start.lower + by, upper=start.upper + by)
    one, two = fit_scene(images, start, OPTIONS), fit_scene(moved, there, OPTIONS)
    assert_same(one, two.params - by, two.flux)
    # The same through the origin of a frame, without moving a pixel.
    named = [replace(im, origin=(dx, dy)) for im in images]
    three = fit_scene(named, there, OPTIONS)
    assert_same(one, three.params - by, three.flux)


@few
@given(number=which, seed=seeds, turns=st.integers(1, 3))
def test_a_quarter_turn_turns_positions_and_shapes(number: int, seed: int, turns: int) -> None:
    images, start = problem(number, seed)

    def turn(theta: np.ndarray, times: int) -> np.ndarray:
        out = theta.copy()
        for _ in range(times):  # np.rot90 of [y, x]: (x, y) goes to (y, SIDE - 1 - x)
            out[:, 0], out[:, 1] = out[:, 1].copy(), SIDE - 1.0 - out[:, 0]
            out[:, 3:5] *= -1.0
        return out

    turned = [
        replace(
            im,
            data=np.rot90(im.data, turns).copy(),
            ivar=np.rot90(im.ivar, turns).copy(),
            psf=PixelPsf(stamp=np.rot90(im.psf.basis[0], turns).copy(), fwhm_pix=im.psf.fwhm),
        )
        for im in images
    ]
    theta = turn(start.theta, turns)
    there = Sources.create(
        start.kind, theta[:, 0], theta[:, 1], r=np.exp(theta[:, 2]), g1=theta[:, 3], g2=theta[:, 4],
        n=theta[:, 5],
    )  # fmt: skip
    one, two = fit_scene(images, start, OPTIONS), fit_scene(turned, there, OPTIONS)
    assert_same(one, turn(two.params, 4 - turns), two.flux, within=WITHIN + EDGE)
    galaxy = start.kind != STAR
    sign = -1.0 if turns % 2 else 1.0
    assert_allclose(two.params[galaxy, 3:5], sign * one.params[galaxy, 3:5], atol=5e-3)


@few
@given(number=which, seed=seeds, data=st.data())
def test_the_order_of_sources_does_not_matter(number: int, seed: int, data: st.DataObject) -> None:
    images, start = problem(number, seed)
    order = np.array(data.draw(st.permutations(range(len(start)))))
    back = np.argsort(order)
    one, two = fit_scene(images, start, OPTIONS), fit_scene(images, start.take(order), OPTIONS)
    assert_same(one, two.params[back], two.flux[back])
    assert_array_equal(two.flags[back], one.flags)


@few
@given(number=which, seed=seeds, data=st.data())
def test_the_order_of_images_does_not_matter(number: int, seed: int, data: st.DataObject) -> None:
    images, start = problem(number, seed)
    # Two exposures of each band, with seeds of their own.
    images = images + problem(number, seed + 1)[0]
    order = data.draw(st.permutations(range(len(images))))
    one = fit_scene(images, start, OPTIONS)
    two = fit_scene([images[i] for i in order], start, OPTIONS)
    columns = [two.flux_keys.index(key) for key in one.flux_keys]
    assert_same(one, two.params, two.flux[:, columns])
    for i, residual in zip(order, two.residual, strict=True):
        assert np.abs(residual - one.residual[i]).max() < 0.05  # sky sigma: WITHIN of the errors


@few
@given(number=which, seed=seeds, band=st.integers(0, 1), share=st.floats(0.1, 0.9))
def test_an_exposure_may_be_divided(number: int, seed: int, band: int, share: float) -> None:
    images, start = problem(number, seed)
    one = fit_scene(images, start, OPTIONS)
    for part in (0.5, share):
        first = replace(images[band], ivar=images[band].ivar * np.float32(part))
        rest = replace(images[band], ivar=images[band].ivar * np.float32(1.0 - part))
        halves = [*images[:band], first, rest, *images[band + 1 :]]
        two = fit_scene(halves, start, OPTIONS)
        assert two.flux_keys == one.flux_keys
        assert_same(one, two.params, two.flux)
        assert_allclose(two.flux_err, one.flux_err, rtol=2e-3)

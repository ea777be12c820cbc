"""Noise-free scenes drawn by GalSim, everything free: what the model itself does to fluxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("galsim", reason="GalSim draws the scenes (test extra)")

from blend_tools import DEV, EXP, STAR, crowded_scene, starts

from skyloom.scene import SceneFit, SceneImage, Sources, fit_scene

FWHM = (3.0, 3.35, 3.7, 4.05, 4.4)
SEEDS = (1, 2, 3)
# Mean bias of the flux, of order 1: aliases of the sampled PSF for stars, wings cut by stamps for
# galaxies; the project's limits.
LIMITS = [(STAR, 2e-4), (EXP, 1e-3), (DEV, 3e-3)]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Images without noise, the truth, and the fluxes (n, B)."""

    images: list[SceneImage]
    sources: Sources
    flux: np.ndarray


@pytest.fixture(scope="module")
def scenes() -> list[Drawn]:
    """Three scenes of ten sources in five bands."""
    drawn = []
    for seed in SEEDS:
        images, sources, flux = crowded_scene(np.random.default_rng(seed), FWHM)
        drawn.append(Drawn(images=images, sources=sources, flux=flux))
    return drawn


@pytest.fixture(scope="module", params=[1.0, 30.0], ids=["sn_about_100", "sn_about_3000"])
def fits(request: pytest.FixtureRequest, scenes: list[Drawn]) -> list[tuple[SceneFit, Drawn]]:
    """Fit every scene, weighted as if its noise were 1 or 1/30: stamps follow the weights."""
    done = []
    for scene, seed in zip(scenes, SEEDS, strict=True):
        images = [
            SceneImage(
                data=im.data, ivar=im.ivar * np.float32(request.param**2), psf=im.psf,
                flux_key=im.flux_key,
            )
            for im in scene.images
        ]  # fmt: skip
        start = starts(scene.sources, np.random.default_rng(100 + seed))
        done.append((fit_scene(images, start), scene))
    return done


@pytest.mark.parametrize(("kind", "limit"), LIMITS)
def test_fluxes_are_unbiased_without_noise(
    fits: list[tuple[SceneFit, Drawn]], kind: int, limit: float
) -> None:
    bias = np.concatenate(
        [(fit.flux / scene.flux - 1.0)[scene.sources.kind == kind].ravel() for fit, scene in fits]
    )
    assert bias.size == {STAR: 45, EXP: 60, DEV: 45}[kind]
    assert abs(bias.mean()) < limit
    # Biases of both signs may not hide behind their mean: single sources stay within a few times.
    assert np.sqrt((bias**2).mean()) < 3.0 * limit


def test_positions_are_unbiased_without_noise(fits: list[tuple[SceneFit, Drawn]]) -> None:
    for fit, scene in fits:
        offset = fit.params[:, :2] - scene.sources.theta[:, :2]
        sigma = np.sqrt(np.einsum("nii->ni", fit.param_cov)[:, :2])
        # Aliases of the PSF of 3.0 px: 2e-4 of the peak over a slope of 0.4 per pixel.  The fit
        # stops when chi-square would fall by 0.01, within a tenth of an error, and stamps sized
        # by significance cut wings of neighbours that weigh as much again.
        assert np.all(np.abs(offset) < 1e-3 + 0.2 * sigma)
        assert fit.converged.all()

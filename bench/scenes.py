"""The four scenes of the whole-fit benchmarks, drawn by GalSim, and scenes that only need size.

Square patches of 100 or 256 pixels with 10 to 200 sources, five bands, Moffat PSFs, unit noise; 40
percent stars, 40 percent exponential, 20 percent de Vaucouleurs; fluxes between 63 and 4000 per
band, uniform in the logarithm: S/N of 7 to 330 per band for nine tenths of them.  A fit starts from
what a catalogue would know: position, rough size, no ellipticity, no flux.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import galsim
import numpy as np

from skyloom.psf import PixelPsf
from skyloom.scene import SceneImage, Sources, SourceType, render_scene

FWHM = (3.2, 3.5, 3.8, 4.1, 4.4)  # pix, per band
BETA = 3.5
PSF_SIDE = 55  # pix; 1e-4 of the light of the broadest PSF falls outside
MARGIN = 10.0  # pix between sources and the edge of the patch
SHIFT = 0.25  # pix rms per axis by which start positions are off
STRETCH = 0.25  # rms by which ln r of the start is off

# Against thresholds of 1e-6: worst pixel 3e-7 of the peak for dev of 2.4 px.
EXACT = galsim.GSParams(
    folding_threshold=1e-4, maxk_threshold=1e-5, kvalue_accuracy=1e-6, maximum_fft_size=16384
)

# Whole optimisation by The Tractor on one core [s], the better of its optimisers.
TRACTOR_SECONDS = {(10, 100): 0.70, (50, 100): 6.8, (50, 256): 4.4, (200, 256): 39.0}
SCENES = tuple(TRACTOR_SECONDS)


@dataclass(frozen=True, kw_only=True)
class BenchScene:
    """Images with noise, where a fit starts, and what is true."""

    name: str
    images: list[SceneImage]
    start: Sources
    truth: Sources
    flux: np.ndarray  # (n, 5)

    @property
    def pixels(self) -> int:
        """Number of pixels of all bands."""
        return sum(im.data.size for im in self.images)


@cache
def galsim_scene(count: int, side: int, *, seed: int = 7) -> BenchScene:
    """Return a scene of ``count`` sources in ``side`` x ``side`` pixels that GalSim drew.

    Pixel-integrated exact laws; kept in memory for as long as the process lives.
    """
    rng = np.random.default_rng([seed, count, side])
    truth, flux = _catalogue(rng, count, side)
    images = []
    for b, fwhm in enumerate(FWHM):
        light = galsim.Moffat(beta=BETA, fwhm=fwhm, gsparams=EXACT)
        data = np.zeros((side, side))
        for s in range(count):
            data += flux[s, b] * _draw(_profile(truth, s, light), side, *truth.theta[s, :2])
        images.append(_image(data, _stamp(light, fwhm), b))
    return _with_noise(f"{count} sources, {side}^2", images, truth, flux, rng)


def own_scene(count: int, side: int, *, seed: int = 8, positions: object = None) -> BenchScene:
    """Return a scene that the engine itself rendered, for what does not depend on exactness.

    ``positions`` (x, y) replace the random ones.
    """
    rng = np.random.default_rng([seed, count, side])
    truth, flux = _catalogue(rng, count, side, positions=positions)
    blank = np.zeros((side, side))
    images = [
        _image(blank, _stamp(galsim.Moffat(beta=BETA, fwhm=w, gsparams=EXACT), w), b)
        for b, w in enumerate(FWHM)
    ]
    models = render_scene(images, truth, flux)
    filled = [replace(im, data=m) for im, m in zip(images, models, strict=True)]
    return _with_noise(f"{count} sources, {side}^2", filled, truth, flux, rng)


def _catalogue(
    rng: np.random.Generator, count: int, side: int, *, positions: object = None
) -> tuple[Sources, np.ndarray]:
    """Draw types, shapes and fluxes of sources."""
    kind = rng.choice([SourceType.STAR, SourceType.EXP, SourceType.DEV], count, p=[0.4, 0.4, 0.2])
    at = rng.uniform(MARGIN, side - 1 - MARGIN, (2, count))
    x, y = at if positions is None else np.asarray(positions, dtype=np.float64)
    size, angle = rng.uniform(0.0, 0.4, count), rng.uniform(0.0, 2.0 * np.pi, count)
    truth = Sources.create(
        kind, x, y, r=rng.uniform(0.8, 2.5, count), g1=size * np.cos(angle),
        g2=size * np.sin(angle), n=np.where(kind == SourceType.DEV, 4.0, 1.0),
    )  # fmt: skip
    return truth, 10.0 ** rng.uniform(1.8, 3.6, (count, len(FWHM)))


def _start(truth: Sources, rng: np.random.Generator) -> Sources:
    """Return what a catalogue would know of the sources."""
    theta = truth.theta
    x, y = (theta[:, :2] + rng.normal(0.0, SHIFT, (len(truth), 2))).T
    return Sources.create(
        truth.kind, x, y, r=np.exp(theta[:, 2] + rng.normal(0.0, STRETCH, len(truth)))
    )


def _profile(truth: Sources, s: int, light: galsim.GSObject) -> galsim.GSObject:
    kind, (log_r, g1, g2) = truth.kind[s], truth.theta[s, 2:5]
    if kind == SourceType.STAR:
        return light
    law = galsim.DeVaucouleurs if kind == SourceType.DEV else galsim.Exponential
    galaxy = law(half_light_radius=float(np.exp(log_r)), gsparams=EXACT).shear(g1=g1, g2=g2)
    return galsim.Convolve(galaxy, light, gsparams=EXACT)


def _draw(profile: galsim.GSObject, side: int, x: float, y: float) -> np.ndarray:
    middle = (side - 1) / 2
    image = profile.drawImage(
        nx=side, ny=side, scale=1.0, offset=(x - middle, y - middle), dtype=np.float64
    )
    return np.asarray(image.array)


def _stamp(light: galsim.GSObject, fwhm: float) -> PixelPsf:
    """Return the PSF as the engine is given it: a stamp of pixels that GalSim drew."""
    half = PSF_SIDE // 2
    return PixelPsf(stamp=_draw(light, PSF_SIDE, half, half), fwhm_pix=fwhm)


def _image(data: np.ndarray, psf: PixelPsf, band: int) -> SceneImage:
    """Return an image of unit noise (not yet added)."""
    return SceneImage(
        data=data.astype(np.float32), ivar=np.ones(data.shape, np.float32), psf=psf, flux_key=band
    )


def _with_noise(
    name: str,
    images: Sequence[SceneImage],
    truth: Sources,
    flux: np.ndarray,
    rng: np.random.Generator,
) -> BenchScene:
    noisy = [
        replace(im, data=(im.data + rng.normal(0.0, 1.0, im.data.shape)).astype(np.float32))
        for im in images
    ]
    return BenchScene(name=name, images=noisy, start=_start(truth, rng), truth=truth, flux=flux)

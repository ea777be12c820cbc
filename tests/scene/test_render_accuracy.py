"""Rendering through the public interface against GalSim: the accuracy that `docs/scene.md` states.

Truth: infinite Sersic laws integrated over pixels, at the sub-pixel position (0.13, -0.31).
Errors are those of the central 64 x 64 pixels over the peak, averaged over three directions of the
ellipse: they are aliases of the pixel-sampled PSF, whose size depends on the direction.
"""

from __future__ import annotations

from functools import cache

import galsim
import numpy as np
import pytest
from scene_tools import (
    DEV,
    EXP,
    GSPARAMS,
    SERSIC,
    blank,
    draw,
    light,
    profile_of,
    psf_stamp,
)

from skyloom.protocols import Psf
from skyloom.psf import PixelPsf
from skyloom.scene import Sources, render_scene

AT = (32.13, 31.69)
SHAPE = (64, 64)
FWHM = {"moffat": 4.0, "gaussian": 2.5}
# Folding moves 1e-3 of the light of n = 6 far out: 1e-7 of the peak, and 20 times the speed.
STEEP = galsim.GSParams(folding_threshold=1e-3, maxk_threshold=1e-6, maximum_fft_size=16384)
MARGIN = 1.25  # the table has one or two digits and does not tell the direction of the ellipse
SINGLE = 1.2e-7  # single precision


@cache
def truth(n: float, r: float, g1: float, g2: float, name: str) -> np.ndarray:
    """Draw one source of unit flux with GalSim."""
    psf = light(name, FWHM[name])
    galaxy = profile_of(SERSIC, r, g1, g2, n)
    params = STEEP if n == 6.0 else GSPARAMS
    return draw(galsim.Convolve(psf, galaxy, gsparams=params), SHAPE, *AT)


@cache
def effective_psf(name: str, side: int) -> PixelPsf:
    return psf_stamp(name, FWHM[name], side)


class FinePsf:
    """The effective PSF, sampled twice per pixel."""

    oversampling = 2

    def __init__(self, name: str, side: int) -> None:
        pixel = galsim.Convolve(light(name, FWHM[name]), galsim.Pixel(1.0), gsparams=GSPARAMS)
        stamp = pixel.drawImage(nx=side, ny=side, scale=0.5, method="no_pixel", dtype=np.float64)
        self.basis = (4.0 * stamp.array[None]).astype(np.float32)
        self.fwhm = FWHM[name]

    def coefficients(self, x: np.ndarray, _y: np.ndarray) -> np.ndarray:
        return np.ones((np.size(x), 1))


def errors(n: float, r: float, g: float, name: str, psf: Psf) -> tuple[float, float, float]:
    """Return largest error, standard deviation of errors, both over the peak, and flux error."""
    kind = {1.0: EXP, 4.0: DEV}.get(n, SERSIC)
    found = []
    for angle in (0.0, 60.0, 120.0) if g else (0.0,):
        g1, g2 = g * np.cos(np.radians(2 * angle)), g * np.sin(np.radians(2 * angle))
        source = Sources.create(
            np.array([kind]), np.array([AT[0]]), np.array([AT[1]]), r=r, g1=g1, g2=g2, n=n
        )
        (got,) = render_scene([blank(SHAPE, psf)], source, np.ones((1, 1)))
        want = truth(n, r, g1, g2, name)
        error = (got - want) / want.max()
        found.append([np.abs(error).max(), error.std(), got.sum(dtype=float) / want.sum() - 1.0])
    largest, scatter, flux = np.mean(found, axis=0)
    return float(largest), float(scatter), float(flux)


# (n, r_e [pix], ellipticity): largest and rms error for Moffat(3) of 4 px, the same for a Gaussian
# of 2.5 px, error of the flux.  The PSF's aliases set the first four; rms about the mean, so that
# light wrapped around in the largest stamp of 256 px (n > 2, r_e = 8) is left to the flux, where
# n <= 2 is limited by GalSim's own folding of 1e-5.
TABLE = {
    (0.5, 0.05, 0.0): (6.5e-5, 7e-6, 5.1e-4, 6e-5, 1e-5),
    (0.5, 3.0, 0.36): (8e-7, 7e-8, 2.3e-6, 1e-7, 1e-5),
    (1.0, 0.05, 0.0): (6.5e-5, 7e-6, 5.1e-4, 6e-5, 1e-5),
    (1.0, 0.3, 0.36): (4.6e-5, 6e-6, 3.7e-4, 5e-5, 1e-5),
    (1.0, 1.0, 0.36): (1.7e-5, 2e-6, 1.5e-4, 2e-5, 1e-5),
    (1.0, 3.0, 0.36): (3.1e-6, 3e-7, 3.5e-5, 4e-6, 1e-5),
    (1.0, 8.0, 0.0): (5e-7, 7e-8, 3.6e-6, 4e-7, 1e-5),
    (2.0, 1.0, 0.36): (1.8e-5, 2e-6, 1.7e-4, 2e-5, 1e-5),
    (2.0, 8.0, 0.0): (2.3e-6, 2e-7, 2.8e-5, 4e-6, 1e-5),
    (4.0, 0.05, 0.0): (6.1e-5, 7e-6, 4.9e-4, 6e-5, 3e-5),
    (4.0, 1.0, 0.36): (2.3e-5, 3e-6, 2.1e-4, 3e-5, 3e-5),
    (4.0, 3.0, 0.36): (1.3e-5, 2e-6, 1.4e-4, 2e-5, 1e-4),
    (4.0, 8.0, 0.0): (1.9e-5, 1e-6, 1e-4, 1e-5, 1e-3),
    (6.0, 1.0, 0.36): (2.8e-5, 3e-6, 2.5e-4, 3e-5, 1e-4),
    (6.0, 3.0, 0.36): (1.9e-5, 2e-6, 1.8e-4, 2e-5, 1e-3),
    (6.0, 8.0, 0.0): (5.6e-5, 2e-6, 1.7e-4, 2e-5, 3e-3),
}
ROWS = list(TABLE)


@pytest.mark.parametrize(("n", "r", "g"), ROWS)
def test_a_sampled_psf_gives_the_accuracy_of_the_table(n: float, r: float, g: float) -> None:
    largest, rms, _, _, flux = TABLE[n, r, g]
    got = errors(n, r, g, "moffat", effective_psf("moffat", 255))
    assert got[0] < MARGIN * largest + SINGLE
    assert got[1] < MARGIN * rms + SINGLE
    assert abs(got[2]) < flux


@pytest.mark.parametrize(("n", "r", "g"), ROWS)
def test_an_undersampled_psf_costs_what_the_table_says(n: float, r: float, g: float) -> None:
    _, _, largest, rms, flux = TABLE[n, r, g]
    got = errors(n, r, g, "gaussian", effective_psf("gaussian", 255))
    assert got[0] < MARGIN * largest + SINGLE
    assert got[1] < MARGIN * rms + SINGLE
    assert abs(got[2]) < max(flux, 7e-5)  # what aliases move out of the region


@pytest.mark.parametrize(("n", "r", "g"), ROWS)
def test_stamps_sized_by_the_rule_meet_the_target(n: float, r: float, g: float) -> None:
    # The target for PSFs of at least 3.5 px; a PSF stamp of 63 px lets small sources have N = 64.
    largest, _, _ = errors(n, r, g, "moffat", effective_psf("moffat", 63))
    assert largest < 1e-4


@pytest.mark.parametrize(("n", "r", "g"), ROWS)
def test_an_oversampled_psf_cures_undersampling(n: float, r: float, g: float) -> None:
    largest, _, _ = errors(n, r, g, "gaussian", FinePsf("gaussian", 125))
    assert largest < 1e-4  # as for PSFs of at least 3.5 px: no aliases are left

"""Tiles drawn by GalSim, the independent truth of the end-to-end tests.

Population, noise, catalogue errors and files are those of `skyloom.sim`; only the noise-free
pixels come from GalSim: Moffat stars and Sersic galaxies, each with the PSF of its position.
"""

from __future__ import annotations

from pathlib import Path

import galsim
import numpy as np

from skyloom._types import Floats
from skyloom.sim import (
    Moffat,
    Sersic,
    SimField,
    SimTile,
    TileSimConfig,
    simulate_tile,
    truth_config,
    write_tile,
)

# Folding wraps light from beyond the transform back into it; 2e-4 of a star stays outside.
_STAR = galsim.GSParams(folding_threshold=2e-4, maxk_threshold=3e-5, maximum_fft_size=16384)
# Sersic tails converge slowly; the stamp is larger than the light above 1 % of the noise.
_GALAXY = galsim.GSParams(folding_threshold=2e-3, maxk_threshold=3e-4, maximum_fft_size=16384)
_EDGE_LEVEL = 0.005  # sky sigma, surface brightness at the edge of a stamp
_HALF = (12, 100)  # pix, smallest and largest half of the half side of a stamp


def make_galsim_tile(
    directory: Path, *, seed: int, config: TileSimConfig | None = None, settings: dict | None = None
) -> tuple[Path, SimTile]:
    """Simulate a tile with GalSim and write it; return its configuration file and the tile."""
    rng = np.random.default_rng(seed)
    tile = simulate_tile(config or truth_config(), rng, render=render_with_galsim)
    return write_tile(tile, directory, settings=settings), tile


class TileCache:
    """Tiles by seed, made once per session: ``TileCache(tmp_path_factory.mktemp("tiles"))``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tiles: dict[int, tuple[Path, SimTile]] = {}

    def __call__(self, seed: int) -> tuple[Path, SimTile]:
        """Return the configuration file and the tile of a seed; copy the folder to run it twice."""
        if seed not in self._tiles:
            self._tiles[seed] = make_galsim_tile(self.directory / f"seed{seed:03d}", seed=seed)
        return self._tiles[seed]


def render_with_galsim(field: SimField) -> list[Floats]:
    """Render a field without noise; a `skyloom.sim.Renderer`."""
    ny, nx = field.config.shape
    images = []
    for band, psf_field in zip(field.config.bands, field.psfs, strict=True):
        image = galsim.ImageD(nx, ny, xmin=0, ymin=0)
        for row, flux in zip(field.truth, field.flux(band), strict=True):
            draw_source(image, row, flux=flux, psf=psf_field.at(row["x"], row["y"]),
                        sigma=band.sky_sigma)  # fmt: skip
        images.append(image.array)
    return images


def draw_source(image: galsim.ImageD, row, *, flux: float, psf: Moffat, sigma: float) -> None:
    """Add one source of the truth table to an image whose pixel (0, 0) is the first."""
    level = _EDGE_LEVEL * sigma / flux
    reach = psf.reach(level)
    if row["TYPE"] == "STAR":
        profile = galsim_moffat(psf, _STAR)
    else:
        galaxy = galsim_sersic(row["sersic_n"], row["re"], row["ell"], row["theta"], _GALAXY)
        reach = max(reach, sersic_reach(row, level))
        profile = galsim.Convolve(galaxy, galsim_moffat(psf, _GALAXY), gsparams=_GALAXY)
    half = 2 * int(np.clip(np.ceil(reach / 2), *_HALF))
    ix, iy = round(float(row["x"])), round(float(row["y"]))
    # One and a half times the stamp, so that what the transform folds back lands outside it.
    stamp = (flux * profile).drawImage(
        nx=3 * half + 1,
        ny=3 * half + 1,
        scale=1.0,
        dtype=float,
        offset=galsim.PositionD(row["x"] - ix, row["y"] - iy),
    )
    stamp.setCenter(ix, iy)
    keep = galsim.BoundsI(ix - half, ix + half, iy - half, iy + half) & image.bounds & stamp.bounds
    image[keep] += stamp[keep]


def galsim_moffat(psf: Moffat, params: galsim.GSParams) -> galsim.GSObject:
    """Return the GalSim twin of a PSF."""
    return galsim.Moffat(beta=psf.beta, fwhm=psf.fwhm, gsparams=params).shear(g1=psf.g1, g2=psf.g2)


def galsim_sersic(
    n: float, re: float, ell: float, theta: float, params: galsim.GSParams
) -> galsim.GSObject:
    """Return the GalSim twin of a Sersic law; re is the semi-major half-light radius [pix]."""
    q = 1 - float(ell)
    round_galaxy = galsim.Sersic(
        float(n), half_light_radius=float(re) * np.sqrt(q), gsparams=params
    )
    return round_galaxy.shear(q=q, beta=float(theta) * galsim.degrees)


def sersic_reach(row, level: float) -> float:
    """Radius [pix] where the Sersic law of unit flux falls to a level, along the major axis."""
    return Sersic(re=row["re"], n=row["sersic_n"], ell=row["ell"], theta=row["theta"]).reach(level)

"""A tile as hard as real surveys are, drawn by GalSim: nuisances that switch on one by one.

`HardTile` names what may go wrong; the sky underneath (positions, magnitudes, types, catalogue
errors) is the same whatever is switched on, so that differences belong to the nuisance.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import galsim
import numpy as np
from astropy.table import Table
from blend_tools import resampled_noise
from galsim_tile import draw_source
from scipy.signal import oaconvolve
from star_noise import star_noise_shifts

from skyloom.sim import (
    MoffatField,
    SimField,
    SimTile,
    TileSimConfig,
    simulate_tile,
    truth_config,
    write_tile,
)

__all__ = [
    "GRID",
    "NUISANCES",
    "STAR_NOISE",
    "HardTile",
    "coverage",
    "hard_config",
    "is_thin",
    "make_hard_tile",
    "named",
    "simulate_hard_tile",
    "star_noise",
]

NUISANCES = (
    "psf",  # a wing out to 60 pixels; size and ellipticity vary by 15 % over the field
    "noise",  # drawn on a coarser, rotated grid and resampled by Lanczos-3
    "coverage",  # half the exposure beyond an oblique edge; one SKYSIG for the whole image
    "sky",  # a plane and a gentle curvature, several sigma over the field
    "offsets",  # bands shifted by 0.2 pixels, a quarter of it varying over the field
    "types",  # of 10 % of the rows exchanged
    "missing",  # 10 % of the sources are not in the catalogue
    "colours",  # galaxies are bulge and disc of different colours
)
DRAWN = frozenset({"psf", "offsets", "colours"})  # those that change the noise-free pixels
GALAXIES = ("EXP", "DEV", "SERSIC")
GRID = -2  # ``pair`` of the stars that flatness is measured on
STAR_NOISE = "star_noise.csv"  # ID, and what noise adds to the magnitude in each band [mmag]
BULGE = {"EXP": 0.1, "DEV": 0.75, "SERSIC": 0.4}  # share of the light at 0.625 micron


def hard_config(*, size: int = 1024, bands: int = 5, **changes: Any) -> TileSimConfig:
    """Return 600 sources on 1024 pixels, a third of them on a grid of bright stars.

    Numbers scale with the area; ``bands`` counts from the bluest.
    """
    grid = round(14 * size / 1024)
    whole = truth_config()
    settings = {
        "nx": size,
        "ny": size,
        "n_sources": round(600 * (size / 1024) ** 2),
        "star_grid": grid,
        "bands": whole.bands[:bands],
        "psf_variation": 0.0,
        "psf_shear": 0.0,
    }
    return replace(whole, **{**settings, **changes})


@dataclass(frozen=True, kw_only=True)
class HardTile:
    """What a hard tile is made of.

    ``on`` holds names of `NUISANCES`; ``config`` the bands and the population.
    """

    on: frozenset[str] = frozenset(NUISANCES)
    config: TileSimConfig = field(default_factory=hard_config)
    variation: float = 0.15  # range of FWHM, and of the axis ratio, over the field
    wing: float = 0.04  # of the light of a star, in the wing
    wing_scale: float = 6.0  # pix
    wing_slope: float = 2.5  # of its surface brightness, far out
    wing_end: float = 60.0  # pix
    depth: float = 2.0  # ratio of the exposure times on both sides of the edge
    sky_plane: float = 4.0  # sky sigma, from edge to edge
    sky_bend: float = 1.5  # sky sigma, from the middle to an edge
    offset: float = 0.2  # pix
    wrong: float = 0.10  # of the types
    missing: float = 0.10  # of the sources
    bulge_slope: float = 0.8  # mag micron; how much redder bulges are than their discs

    def __post_init__(self) -> None:
        unknown = sorted(self.on - set(NUISANCES))
        if unknown:
            raise ValueError(f"{unknown[0]} is not a nuisance; known: {', '.join(NUISANCES)}")

    def has(self, name: str) -> bool:
        """Tell whether a nuisance is switched on."""
        return name in self.on


def simulate_hard_tile(
    hard: HardTile, seed: int, *, clean: dict[frozenset[str], list[np.ndarray]] | None = None
) -> SimTile:
    """Simulate a hard tile; ``clean`` keeps noise-free pixels of one seed for the next call."""
    kept = clean if clean is not None else {}
    drawn = hard.on & DRAWN
    config = hard.config
    if hard.has("psf"):
        config = replace(config, psf_variation=hard.variation, psf_shear=0.5 * hard.variation)

    def render(sky: SimField) -> list[np.ndarray]:
        if drawn not in kept:
            kept[drawn] = render_hard(sky, hard)
        return kept[drawn]

    tile = simulate_tile(config, np.random.default_rng(seed), render=render)
    streams = np.random.default_rng([seed, 1]).spawn(len(config.bands) + 2)
    images, headers = {}, {}
    for b, band in enumerate(config.bands):
        images[band.name], sigma = expose(kept[drawn][b], hard, b, streams[b])
        headers[band.name] = tile.headers[band.name].copy()
        headers[band.name]["SKYSIG"] = sigma
    catalog, truth = tile.catalog.copy(), tile.truth.copy()
    truth["wrong_type"] = np.zeros(len(truth), dtype=bool)
    if hard.has("types"):
        exchange_types(catalog, truth, hard.wrong, streams[-2])
    if hard.has("missing"):
        catalog = without_some(catalog, truth, hard.missing, streams[-1])
    return replace(
        tile,
        field=replace(tile.field, truth=truth),
        images=images,
        headers=headers,
        catalog=catalog,
    )


def make_hard_tile(
    directory: Path,
    hard: HardTile,
    *,
    seed: int,
    clean: dict[frozenset[str], list[np.ndarray]] | None = None,
    settings: dict[str, Any] | None = None,
) -> Path:
    """Simulate and write a hard tile; return its configuration file, pictures switched off.

    `STAR_NOISE` lies beside it.
    """
    kept = clean if clean is not None else {}
    tile = simulate_hard_tile(hard, seed, clean=kept)
    path = write_tile(tile, directory, settings={"skyloom": {"plots": "none"}, **(settings or {})})
    star_noise(tile, hard, kept[hard.on & DRAWN]).write(
        directory / STAR_NOISE, format="ascii.csv", overwrite=True
    )
    return path


def star_noise(tile: SimTile, hard: HardTile, clean: list[np.ndarray]) -> Table:
    """Return what noise adds to the magnitudes of the stars of the grid; see `STAR_NOISE`."""
    truth, config = tile.truth, tile.config
    stars = np.flatnonzero(np.asarray(truth["pair"]) == GRID)
    known = np.asarray(truth["in_catalog"]) | (np.asarray(truth["gaia_source_id"]) != "")
    table = Table({"ID": truth["ID"][stars]})
    for b, (band, psfs) in enumerate(zip(config.bands, tile.field.psfs, strict=True)):
        flux = tile.field.flux(band)
        sky = band.sky_sigma * sky_gradient(hard, b) if hard.has("sky") else 0.0

        def draw(image: galsim.ImageD, row: int, *, wing: bool, b=b, psfs=psfs, flux=flux) -> None:
            sigma = config.bands[b].sky_sigma / flux[row]
            draw_hard(image, truth[row], hard, b, psf=psfs, flux=1.0, sigma=sigma, config=config)
            if hard.has("psf"):
                core = (1 - hard.wing) * image.array
                image.array[:] = with_wing(image.array, hard) if wing else core

        table[band.name] = star_noise_shifts(
            stars,
            np.flatnonzero(known),
            x=np.asarray(truth["x"]),
            y=np.asarray(truth["y"]),
            flux=flux,
            noise=tile.images[band.name] - clean[b] - sky,
            variance=pixel_variance(clean[b], hard, b),
            draw_star=partial(draw, wing=True),
            draw_other=partial(draw, wing=False),
        )
    return table


def render_hard(sky: SimField, hard: HardTile) -> list[np.ndarray]:
    """Render a field without noise."""
    ny, nx = sky.config.shape
    images = []
    for b, (band, psf_field) in enumerate(zip(sky.config.bands, sky.psfs, strict=True)):
        image = galsim.ImageD(nx, ny, xmin=0, ymin=0)
        for row, flux in zip(sky.truth, sky.flux(band), strict=True):
            draw_hard(image, row, hard, b, psf=psf_field, flux=flux, sigma=band.sky_sigma,
                      config=sky.config)  # fmt: skip
        images.append(with_wing(image.array, hard) if hard.has("psf") else image.array)
    return images


def draw_hard(
    image: galsim.ImageD,
    row: Any,
    hard: HardTile,
    b: int,
    *,
    psf: MoffatField,
    flux: float,
    sigma: float,
    config: TileSimConfig,
) -> None:
    """Add a source to an image of band b; ``sigma`` [unit of flux] says how far out it is drawn."""
    x, y = float(row["x"]), float(row["y"])
    dx, dy = band_shift(hard, b, x, y, config)
    for part, share in components(row, hard, config.bands[b].wavelength):
        moved = {**part, "x": x + dx, "y": y + dy}
        draw_source(image, moved, flux=share * flux, psf=psf.at(x, y), sigma=sigma)


def with_wing(image: np.ndarray, hard: HardTile) -> np.ndarray:
    """Scatter a share of all light into a wide wing: PSF = core * ((1 - f) delta + f wing)."""
    return (1 - hard.wing) * image + hard.wing * oaconvolve(image, wing_stamp(hard), mode="same")


def wing_stamp(hard: HardTile) -> np.ndarray:
    """Return the wing, of unit sum: a power law from its scale to its end, softly cut."""
    half = int(np.ceil(hard.wing_end))
    axis = np.arange(-half, half + 1)
    r = np.hypot(axis[:, None], axis[None, :])
    light = (1 + (r / hard.wing_scale) ** 2) ** (-0.5 * hard.wing_slope)
    fade = np.clip((hard.wing_end - r) / (0.2 * hard.wing_end), 0, 1)
    light *= np.sin(0.5 * np.pi * fade) ** 2
    return light / light.sum()


def band_shift(
    hard: HardTile, b: int, x: float, y: float, config: TileSimConfig
) -> tuple[float, float]:
    """Return the shift [pix] of band b at a position; the first band is the reference."""
    if not hard.has("offsets") or b == 0:
        return 0.0, 0.0
    angle = 2.4 * b  # golden angle: all directions occur
    varying = (
        0.25 * np.sin(2 * np.pi * (x / config.nx + 0.3 * b)),
        0.25 * np.cos(np.pi * (y / config.ny + 0.2 * b)),
    )
    return (
        hard.offset * (float(np.cos(angle)) + float(varying[0])),
        hard.offset * (float(np.sin(angle)) + float(varying[1])),
    )


def components(row: Any, hard: HardTile, wavelength: float) -> list[tuple[dict[str, Any], float]]:
    """Return the parts of a source and their shares of its light."""
    whole = {name: row[name] for name in ("TYPE", "re", "ell", "theta", "sersic_n")}
    if row["TYPE"] == "STAR" or not hard.has("colours"):
        return [(whole, 1.0)]
    share = BULGE[str(row["TYPE"])]
    ratio = share / (1 - share) * 10 ** (-0.4 * hard.bulge_slope * (1 / wavelength - 1 / 0.625))
    share = ratio / (1 + ratio)
    bulge = {**whole, "sersic_n": 4.0, "re": 0.6 * row["re"], "ell": 0.6 * row["ell"]}
    disc = {**whole, "sersic_n": 1.0, "re": 1.15 * row["re"]}
    return [(bulge, share), (disc, 1 - share)]


def is_thin(x: np.ndarray, y: np.ndarray, b: int, shape: tuple[int, int]) -> np.ndarray:
    """Tell which positions lie beyond the edge of the deep exposure of band b.

    Each band has its edge elsewhere and at another angle, away from borders of cells and patches.
    """
    ny, nx = shape
    angle = np.radians(12.0 + 40.0 * b)
    return ((x - 0.5 * nx) * np.cos(angle) + (y - 0.5 * ny) * np.sin(angle)) / nx > 0.13


def coverage(hard: HardTile, b: int) -> np.ndarray:
    """Return the exposure of each pixel of band b over that of most pixels."""
    y, x = np.mgrid[: hard.config.ny, : hard.config.nx]
    return np.where(is_thin(x, y, b, hard.config.shape), 1 / hard.depth, 1.0)


def expose(
    clean: np.ndarray, hard: HardTile, b: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return an image with noise [ADU], and the SKYSIG of its header: the rms of the whole."""
    band, shape = hard.config.bands[b], clean.shape
    if hard.has("noise"):
        noise = resampled_noise(shape, degrees=2.0 - 1.3 * b, scale=1.05 + 0.02 * b, rng=rng)
        noise = (noise - noise.mean()) / noise.std()
    else:
        noise = rng.standard_normal(shape)
    counts = clean + np.sqrt(pixel_variance(clean, hard, b)) * noise
    sigma = band.sky_sigma
    if hard.has("coverage"):
        sigma *= float(np.sqrt((1 / coverage(hard, b)).mean()))
    if hard.has("sky"):
        counts += band.sky_sigma * sky_gradient(hard, b)
    return np.minimum(counts, band.saturate).astype(np.float32), round(sigma, 4)


def pixel_variance(clean: np.ndarray, hard: HardTile, b: int) -> np.ndarray:
    """Return the variance of the pixels of band b [ADU**2]."""
    band = hard.config.bands[b]
    variance = band.sky_sigma**2 + np.maximum(clean, 0) / band.gain
    return variance / coverage(hard, b) if hard.has("coverage") else variance


def sky_gradient(hard: HardTile, b: int) -> np.ndarray:
    """Return the sky left over in band b [sky sigma]."""
    ny, nx = hard.config.shape
    u, v = np.linspace(-1, 1, nx)[None, :], np.linspace(-1, 1, ny)[:, None]
    angle = 1.0 + 2.4 * b
    plane = 0.5 * hard.sky_plane * (np.cos(angle) * u + np.sin(angle) * v)
    return plane + hard.sky_bend * ((-1) ** b * u**2 + 0.5 * v**2 - 0.5 * u * v)


def exchange_types(catalog: Table, truth: Table, fraction: float, rng: np.random.Generator) -> None:
    """Give some rows of the catalogue another type; ``truth["wrong_type"]`` says which.

    Half of the wrong galaxies become stars, the other half another galaxy; stars become small
    galaxies, as a detection would call them.
    """
    types = np.asarray(catalog["TYPE"]).astype("U6")
    wrong = rng.uniform(size=len(types)) < fraction
    for row in np.flatnonzero(wrong):
        if types[row] == "STAR":
            types[row] = rng.choice(["EXP", "DEV"])
            for name, text in (("Re", "1.000"), ("ELL", "0.100"), ("THETA", "0.00")):
                catalog[name] = catalog[name].astype("U12")
                catalog[name][row] = text
        elif rng.uniform() < 0.5:
            types[row] = "STAR"
        else:
            types[row] = rng.choice([t for t in GALAXIES if t != types[row]])
    catalog["TYPE"] = types
    truth["wrong_type"] = np.isin(truth["ID"], catalog["ID"][wrong])


def without_some(catalog: Table, truth: Table, fraction: float, rng: np.random.Generator) -> Table:
    """Return the catalogue without some rows; Gaia stars among them come back under that name."""
    lost = rng.uniform(size=len(catalog)) < fraction
    gone = np.isin(truth["ID"], catalog["ID"][lost])
    truth["in_catalog"] = np.asarray(truth["in_catalog"]) & ~gone
    ids = np.asarray(truth["ID"]).astype(object)
    for row in np.flatnonzero(gone):
        if truth["gaia_source_id"][row]:
            ids[row] = f"gaia_{truth['gaia_source_id'][row]}"
    truth["ID"] = ids.astype(str)
    return catalog[~lost]


def named(name: str) -> frozenset[str]:
    """Return nuisances by name: ``all``, ``none``, ``psf+noise``, ``all-sky`` (all but the sky)."""
    wanted, *unwanted = name.split("-")
    on = {n for n in wanted.split("+") if n != "none"}
    return frozenset((set(NUISANCES) if on == {"all"} else on) - set(unwanted))

"""Tiles with very bright stars as telescopes make them: spikes, a ghost, false catalogue rows.

`skyloom.sim` draws the population, GalSim the sources; here saturated stars get four thin
exponential spikes and a broad ring, and on request the catalogue gets rows that a detection run
would have made of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from galsim_tile import render_with_galsim

from skyloom.catalogs import column_as_float, column_as_text, read_csv
from skyloom.sim import SimField, SimTile, TileSimConfig, simulate_tile, truth_config, write_tile

SPIKES = 0.02  # of the light of a star, in four arms
SPIKE_SCALE = 25.0  # pix, exponential length
SPIKE_WIDTH = 1.0  # pix, Gaussian sigma across
SPIKE_ANGLE = 30.0  # deg from +x
GHOST = 0.01  # of the light, in a ring
GHOST_RADIUS = 40.0  # pix
GHOST_WIDTH = 6.0  # pix, Gaussian sigma
REACH = 150  # pix, of spikes and ring
NEAR = (25.0, 60.0)  # pix from a bright star: those whose fluxes are judged


def bright_config(*, size: int = 640, n_sources: int = 260, n_bright: int = 5) -> TileSimConfig:
    """Return three bands with some stars that saturate."""
    config = truth_config()
    return replace(
        config,
        nx=size,
        ny=size,
        bands=config.bands[1:4],
        n_sources=n_sources,
        n_saturated=n_bright,
        star_mag=(15.5, 21.0),
        rotation=0.0,
    )


def add_spikes_and_ghost(image: np.ndarray, x: float, y: float, flux: float) -> None:
    """Add what the optics make of a bright star; ``image`` [ADU] changes in place."""
    ny, nx = image.shape
    x0, x1 = max(0, round(x) - REACH), min(nx, round(x) + REACH + 1)
    y0, y1 = max(0, round(y) - REACH), min(ny, round(y) + REACH + 1)
    dy, dx = np.mgrid[y0:y1, x0:x1].astype(float)
    dx, dy = dx - x, dy - y
    r = np.hypot(dx, dy)
    light = np.zeros(r.shape)
    for angle in np.radians(SPIKE_ANGLE + 90.0 * np.arange(4)):
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        arm = np.exp(-along / SPIKE_SCALE) / SPIKE_SCALE * (along > 0)
        light += SPIKES / 4 * arm * _gauss(across, SPIKE_WIDTH)
    light += GHOST * _gauss(r - GHOST_RADIUS, GHOST_WIDTH) / (2.0 * np.pi * GHOST_RADIUS)
    image[y0:y1, x0:x1] += flux * light


def _gauss(x: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * (x / sigma) ** 2) / (np.sqrt(2.0 * np.pi) * sigma)


def render_bright(field: SimField) -> list[np.ndarray]:
    """Render a field, its saturated stars with spikes and a ghost."""
    images = render_with_galsim(field)
    bright = field.truth[np.asarray(field.truth["is_saturated"])]
    for band, image in zip(field.config.bands, images, strict=True):
        for star in bright:
            add_spikes_and_ghost(image, star["x"], star["y"], star[f"flux_{band.name}"])
    return images


def fragments(tile: SimTile, rng: np.random.Generator, *, per_star: int = 6) -> Table:
    """Return rows that are pieces of bright stars: on spikes, elongated, and in the ring."""
    rows = []
    bright = tile.truth[np.asarray(tile.truth["is_saturated"])]
    for star in bright:
        for k in range(per_star):
            on_spike = k % 3 < 2
            angle = SPIKE_ANGLE + 90.0 * k if on_spike else rng.uniform(0.0, 360.0)
            radius = rng.uniform(14.0, 45.0) if on_spike else GHOST_RADIUS
            x = star["x"] + radius * np.cos(np.radians(angle)) + rng.normal(0.0, 0.5)
            y = star["y"] + radius * np.sin(np.radians(angle)) + rng.normal(0.0, 0.5)
            ra, dec = tile.field.wcs.all_pix2world(x, y, 0)
            shape = (0.75, (angle + 90.0) % 180.0 - 90.0, 5.0) if on_spike else (0.3, 0.0, 6.0)
            rows.append(
                {
                    "ID": f"frag{len(rows):03d}",
                    "RA": f"{float(ra):.8f}",
                    "DEC": f"{float(dec):.8f}",
                    "TYPE": "EXP",
                    "ELL": f"{shape[0]:.2f}",
                    "THETA": f"{shape[1]:.2f}",
                    "Re": f"{shape[2]:.2f}",
                    "SERSIC_n": "",
                }
            )
    return Table(rows)


def make_bright_tile(
    folder: Path, *, seed: int, false_rows: bool = False, optics: bool = True, **settings: object
) -> tuple[Path, SimTile]:
    """Simulate and write a tile; ``optics`` False leaves spikes and ghosts out."""
    render = render_bright if optics else render_with_galsim
    tile = simulate_tile(bright_config(), np.random.default_rng(seed), render=render)
    if false_rows:
        more = fragments(tile, np.random.default_rng([seed, 7]))
        tile = replace(tile, catalog=vstack([tile.catalog, more]))
    quick = {"plots": "none", "model_choice": False}
    # Saturated stars are reported too, so that their rows can be looked at.
    cut = {"source_saturation_cut": {"enabled": False}}
    path = write_tile(tile, folder, settings={"skyloom": {**quick, **settings}, **cut})
    return path, tile


def distance_to_bright(truth: Table) -> np.ndarray:
    """Return the distance of each source from the nearest saturated star [pix]."""
    star = np.asarray(truth["is_saturated"])
    dx = np.subtract.outer(np.asarray(truth["x"]), np.asarray(truth["x"])[star])
    dy = np.subtract.outer(np.asarray(truth["y"]), np.asarray(truth["y"])[star])
    distance = np.hypot(dx, dy)
    return np.where(star, np.inf, distance.min(axis=1, initial=np.inf))


def compared(tile: SimTile, work: Path) -> Table:
    """Return a row per true source and band: distance, S/N of a star, pull, error [mag], flags."""
    table = read_csv(work / "output_catalog.csv")
    order = {i: k for k, i in enumerate(column_as_text(table, "ID").tolist())}
    truth = tile.truth
    known = np.array([i in order for i in np.asarray(truth["ID"]).tolist()])
    truth = truth[known]
    rows = np.array([order[i] for i in np.asarray(truth["ID"]).tolist()])
    distance = distance_to_bright(tile.truth)[known]
    parts = []
    for band in tile.config.bands:
        scale = 10.0 ** (-0.4 * (band.zp_auto - tile.config.zp_ref))
        true = np.asarray(truth[f"flux_{band.name}"]) * scale
        flux = column_as_float(table, f"FLUX_{band.name}_fit")[rows]
        error = column_as_float(table, f"FLUXERR_{band.name}_fit")[rows]
        # S/N of a star of this flux, the same for every run
        area = 4.0 * np.pi * (band.fwhm / 2.3548) ** 2
        expected = np.sqrt(area * band.sky_sigma**2 + true / scale / band.gain) * scale
        with np.errstate(invalid="ignore", divide="ignore"):
            dmag = -2.5 * np.log10(np.maximum(flux, 1e-3 * true) / true)
        parts.append(
            Table(
                {
                    "ID": truth["ID"],
                    "band": [band.name] * len(truth),
                    "distance": distance,
                    "star": np.asarray(truth["TYPE"]) == "STAR",
                    "snr": true / expected,
                    "pull": (flux - true) / error,
                    "dmag": dmag,
                    "flags": np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)[rows],
                }
            )
        )
    return vstack(parts)


def summary(found: Table, near: tuple[float, float] = NEAR, snr: float = 10.0) -> dict[str, float]:
    """Return bias and outliers of the sources within reach of bright stars."""
    use = (found["distance"] >= near[0]) & (found["distance"] < near[1]) & (found["snr"] > snr)
    pull, dmag = np.asarray(found["pull"])[use], np.asarray(found["dmag"])[use]
    good = np.isfinite(pull)
    return {
        "n": int(use.sum()),
        "bias_mmag": float(1e3 * np.median(dmag[good])),
        "median_pull": float(np.median(pull[good])),
        "width": float(0.741 * np.subtract(*np.percentile(pull[good], [75, 25]))),
        "outliers": float((np.abs(pull[good]) > 5.0).mean()),
        "off_by_0.1mag": float((np.abs(dmag[good]) > 0.1).mean()),
        "without_flux": float((~good).mean()),
    }

"""The population of a simulated tile: who is where, how bright and of what shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats
from skyloom.errors import WrongValue

from .config import SimBand, TileSimConfig
from .psf_field import MoffatField, draw_psf_field

__all__ = ["SimField", "draw_field"]

_REFERENCE_WAVELENGTH = 0.625  # micron, where reference (and Gaia) magnitudes are drawn
_SATURATED_MAG = 1.3  # mag, range of the saturated stars beyond the limit
_SATURATED_BORDER = 60.0  # pix, so that most of a halo lies inside the frame
_GRID = -2  # in column ``pair``: a star of the grid
_GRID_JITTER = 0.4  # of the pitch, half range: stars on both sides of any line, at any distance


@dataclass(frozen=True, slots=True, kw_only=True)
class SimField:
    """A field before it meets a camera: truth table, WCS and one PSF field per band.

    ``truth`` has one row per source: ``ID``, ``TYPE`` (STAR, EXP, DEV, SERSIC), ``x, y`` [pix,
    0-based], ``RA, DEC`` [deg], ``re`` [pix, semi-major half-light radius], ``ell`` (1 - b/a),
    ``theta`` [deg, counter-clockwise from +x], ``sersic_n``, ``mag_ref`` and ``mag_{band}`` [AB],
    ``flux_{band}`` [ADU], ``pair`` (number of the blend, -1 outside, -2 on the grid of stars),
    ``is_saturated``, ``in_catalog`` and ``gaia_source_id``.  Shapes of stars are NaN.
    """

    config: TileSimConfig
    wcs: WCS
    psfs: tuple[MoffatField, ...]
    truth: Table

    def flux(self, band: SimBand) -> Floats:
        """Return the true fluxes of all sources in a band [ADU]."""
        return np.asarray(self.truth[f"flux_{band.name}"], dtype=np.float64)


def draw_field(config: TileSimConfig, rng: np.random.Generator) -> SimField:
    """Draw sources and PSFs.

    Parameters
    ----------
    config : TileSimConfig
        Frame, bands and population.
    rng : numpy.random.Generator
        Random numbers.

    Raises
    ------
    WrongValue
        If the frame is too small to keep the sources ``min_separation`` apart.
    """
    wcs = _tan_wcs(config)
    psfs = tuple(
        draw_psf_field(
            band,
            shape=config.shape,
            variation=config.psf_variation,
            shear=config.psf_shear,
            rng=rng,
        )
        for band in config.bands
    )
    x, y, pair = _positions(config, rng)
    stype = _types(config, len(x), rng)
    on_grid = pair == _GRID
    stype[on_grid] = "STAR"
    is_star = stype == "STAR"
    mag_ref = np.where(
        is_star,
        _magnitudes(config.star_mag, config.star_slope, len(x), rng),
        _magnitudes(config.galaxy_mag, config.galaxy_slope, len(x), rng),
    )
    mag_ref[on_grid] = rng.uniform(*config.grid_mag, int(on_grid.sum()))
    saturated = np.arange(len(x)) >= config.n_sources
    mag_ref[saturated] = _saturated_magnitudes(config, rng)
    ra, dec = wcs.all_pix2world(x, y, 0)
    truth = Table(
        {
            "ID": np.array([f"{i + 1:05d}" for i in range(len(x))]),
            "TYPE": stype,
            "x": x,
            "y": y,
            "RA": ra,
            "DEC": dec,
            **_shapes(stype, mag_ref, rng),
            "mag_ref": mag_ref,
            "pair": pair,
        }
    )
    _add_photometry(truth, config, psfs, rng)
    _add_membership(truth, config, rng)
    return SimField(config=config, wcs=wcs, psfs=psfs, truth=truth)


def _tan_wcs(config: TileSimConfig) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [config.ra, config.dec]
    wcs.wcs.crpix = [(config.nx + 1) / 2, (config.ny + 1) / 2]
    c, s = math.cos(math.radians(config.rotation)), math.sin(math.radians(config.rotation))
    wcs.wcs.cd = config.pixel_scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def _positions(
    config: TileSimConfig, rng: np.random.Generator
) -> tuple[Floats, Floats, np.ndarray]:
    """Throw sources, grid and pairs first; saturated stars come last and far from the edges."""
    x, y = _grid_positions(config, rng)
    pair = np.full(len(x), _GRID, dtype=np.int64)
    n_pairs = round(config.blend_fraction * (config.n_sources - len(x)) / 2)
    separation = rng.uniform(*config.blend_fwhm, n_pairs) * config.mean_fwhm
    angle = rng.uniform(0, 2 * np.pi, n_pairs)
    for k in range(n_pairs):
        dx, dy = separation[k] * np.cos(angle[k]), separation[k] * np.sin(angle[k])
        px, py = _throw(config, x, y, config.border + separation[k], rng)
        x, y, pair = np.append(x, [px, px + dx]), np.append(y, [py, py + dy]), np.append(pair, k)
        pair = np.append(pair, k)
    while len(x) < config.n_sources + config.n_saturated:
        border = config.border if len(x) < config.n_sources else _saturated_border(config)
        px, py = _throw(config, x, y, border, rng)
        x, y, pair = np.append(x, px), np.append(y, py), np.append(pair, -1)
    order = np.r_[rng.permutation(config.n_sources), config.n_sources : len(x)]
    return x[order], y[order], pair[order]


def _grid_positions(config: TileSimConfig, rng: np.random.Generator) -> tuple[Floats, Floats]:
    n = config.star_grid
    if n == 0:
        return np.empty(0), np.empty(0)
    sides = np.array([config.nx, config.ny]) - 1 - 2 * config.border
    column, row = np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5)
    cells = np.stack([column.ravel(), row.ravel()])
    cells += rng.uniform(-_GRID_JITTER, _GRID_JITTER, cells.shape)
    x, y = config.border + cells * (sides / n)[:, None]
    return x, y


def _saturated_border(config: TileSimConfig) -> float:
    return min(_SATURATED_BORDER, min(config.nx, config.ny) / 4)


def _throw(
    config: TileSimConfig, x: Floats, y: Floats, border: float, rng: np.random.Generator
) -> tuple[float, float]:
    gap = max(config.min_separation, config.blend_fwhm[1] * config.mean_fwhm * (len(x) == 0))
    for _ in range(1000):
        px = rng.uniform(border, config.nx - 1 - border)
        py = rng.uniform(border, config.ny - 1 - border)
        if len(x) == 0 or np.min((x - px) ** 2 + (y - py) ** 2) >= gap**2:
            return px, py
    raise WrongValue(
        f"TileSimConfig: no room for {config.n_sources} sources at least "
        f"{config.min_separation} pix apart on {config.nx} x {config.ny} pix; "
        "lower n_sources or min_separation",
        n_placed=len(x),
    )


def _types(config: TileSimConfig, n: int, rng: np.random.Generator) -> np.ndarray:
    galaxies = 1 - config.star_fraction
    shares = [
        config.star_fraction,
        galaxies * config.exp_fraction,
        galaxies * config.dev_fraction,
        galaxies * (1 - config.exp_fraction - config.dev_fraction),
    ]
    stype = rng.choice(np.array(["STAR", "EXP", "DEV", "SERSIC"]), size=n, p=shares)
    stype[config.n_sources :] = "STAR"
    return stype


def _magnitudes(
    limits: tuple[float, float], slope: float, n: int, rng: np.random.Generator
) -> Floats:
    """Draw from counts that grow as ``10^(slope mag)`` between the limits."""
    bright, faint = limits
    u = rng.uniform(size=n)
    if slope == 0:
        return bright + u * (faint - bright)
    return np.asarray(bright + np.log10(1 + u * (10 ** (slope * (faint - bright)) - 1)) / slope)


def _saturated_magnitudes(config: TileSimConfig, rng: np.random.Generator) -> Floats:
    """Magnitudes whose peak is above SATURATE / 1.3 in every band, whatever the colour."""
    limit = np.inf
    for b in config.bands:
        area = np.pi * (0.5 * b.fwhm) ** 2 / (2 ** (1 / b.beta) - 1) / (b.beta - 1)
        limit = min(limit, b.zp - 2.5 * np.log10(2 * b.saturate * area))
    return limit - _SATURATED_MAG * rng.uniform(0.4, 1, config.n_saturated)


def _shapes(stype: np.ndarray, mag: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """Sizes that grow with brightness, axis ratios from 0.3 to 1, all angles."""
    n = len(stype)
    re = np.exp(rng.normal(0, 0.35, n)) * 2.6 * 10 ** (-0.08 * (np.clip(mag, 16, 22) - 20))
    index = np.round(np.clip(np.exp(rng.normal(np.log(1.8), 0.5, n)), 0.6, 5.0), 1)
    index = np.where(stype == "EXP", 1.0, np.where(stype == "DEV", 4.0, index))
    columns = {
        "re": np.clip(re, 0.9, 14.0),
        "ell": rng.uniform(0.0, 0.7, n),
        "theta": rng.uniform(-90, 90, n),
        "sersic_n": index,
    }
    return {name: np.where(stype == "STAR", np.nan, value) for name, value in columns.items()}


def _add_photometry(
    truth: Table,
    config: TileSimConfig,
    psfs: tuple[MoffatField, ...],
    rng: np.random.Generator,
) -> None:
    n, is_star = len(truth), truth["TYPE"] == "STAR"
    # Colours: one slope in 1/wavelength per source, and a little scatter for galaxies.
    slope = np.where(is_star, rng.uniform(-0.1, 1.3, n), rng.uniform(0.0, 1.5, n))
    is_saturated = np.arange(n) >= config.n_sources
    truth["is_saturated"] = is_saturated
    slope[is_saturated] = 0.0
    for band, field in zip(config.bands, psfs, strict=True):
        scatter = np.where(is_star, 0.0, rng.normal(0, 0.05, n))
        lever = 1 / band.wavelength - 1 / _REFERENCE_WAVELENGTH
        mag = np.asarray(truth["mag_ref"]) + slope * lever + scatter
        flux = 10 ** (0.4 * (band.zp - mag))
        truth[f"mag_{band.name}"] = mag
        truth[f"flux_{band.name}"] = flux
        fwhm, _, _ = field.values(np.asarray(truth["x"]), np.asarray(truth["y"]))
        peak = flux * (band.beta - 1) / np.pi / (0.5 * fwhm) ** 2 * (2 ** (1 / band.beta) - 1)
        truth["is_saturated"] |= is_star & (peak > band.saturate)


def _add_membership(truth: Table, config: TileSimConfig, rng: np.random.Generator) -> None:
    """Decide who is in the Gaia table and who is missing from the input catalogue."""
    bright, faint = config.gaia_mag
    mag = np.asarray(truth["mag_ref"])
    in_gaia = np.asarray(truth["TYPE"] == "STAR") & (mag >= bright) & (mag <= faint)
    numbers = np.cumsum(in_gaia) * 7919 + 4_000_000_000_000_000_000
    truth["gaia_source_id"] = np.where(in_gaia, numbers.astype(str), "")
    alone = in_gaia & _is_alone(truth, 3.0 * config.mean_fwhm) & ~np.asarray(truth["is_saturated"])
    rows = np.flatnonzero(alone)
    missing = rng.choice(rows, size=min(config.n_uncatalogued, len(rows)), replace=False)
    truth["in_catalog"] = ~np.isin(np.arange(len(truth)), missing)
    ids = np.asarray(truth["ID"]).astype(object)
    for row in missing:  # the augmentation gives them this name
        ids[row] = f"gaia_{truth['gaia_source_id'][row]}"
    truth["ID"] = ids.astype(str)


def _is_alone(truth: Table, radius: float) -> Bools:
    points = np.c_[truth["x"], truth["y"]]
    n_near = cKDTree(points).query_ball_point(points, radius, return_length=True)
    return np.asarray(n_near == 1, dtype=np.bool_)

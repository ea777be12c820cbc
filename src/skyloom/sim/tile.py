"""A simulated tile in memory: images with noise, headers, catalogues, truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header
from astropy.table import Table

from skyloom._types import Floats, Pixels

from .config import SimBand, TileSimConfig
from .field import SimField, draw_field
from .render import render_field

__all__ = ["Renderer", "SimTile", "simulate_tile"]

Renderer: TypeAlias = Callable[[SimField], list[Floats]]
"""Turns a field into one noise-free image per band [ADU]; tests pass one made with GalSim."""

_GALAXY_TYPES = ("EXP", "DEV", "SERSIC")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTile:
    """A simulated tile: what a telescope would deliver, and the truth.

    ``images`` and ``headers`` go by band name, in band order.  ``catalog`` and ``gaia`` hold
    text, exactly as it is written to their CSV files.
    """

    field: SimField
    images: Mapping[str, Pixels]  # ADU, shape (ny, nx)
    headers: Mapping[str, Header]
    catalog: Table
    gaia: Table

    @property
    def config(self) -> TileSimConfig:
        """What was asked for."""
        return self.field.config

    @property
    def truth(self) -> Table:
        """Truth, one row per source; see `SimField`."""
        return self.field.truth

    @property
    def band_truth(self) -> Table:
        """One row per band: ``band, zp_true, zp_auto`` [AB mag], ``zp_expected`` [AB mag].

        ``zp_expected`` is the zero point of scaled counts that a perfect calibration finds.
        """
        bands = self.config.bands
        return Table(
            {
                "band": [b.name for b in bands],
                "zp_true": [b.zp for b in bands],
                "zp_auto": [b.zp_auto for b in bands],
                "zp_expected": [self.config.zp_ref - b.zp_error for b in bands],
                "sky_sigma": [b.sky_sigma for b in bands],
                "gain": [b.gain for b in bands],
                "fwhm": [b.fwhm for b in bands],
                "beta": [b.beta for b in bands],
            }
        )


def simulate_tile(
    config: TileSimConfig, rng: np.random.Generator, *, render: Renderer = render_field
) -> SimTile:
    """Simulate a tile.

    Parameters
    ----------
    config : TileSimConfig
        Frame, bands, population, catalogue errors.
    rng : numpy.random.Generator
        Random numbers; the same generator state gives the same tile.
    render : callable
        Renderer of the noise-free images.

    Returns
    -------
    SimTile
        Images [ADU] with Poisson noise of the sources and Gaussian noise of the sky.
    """
    field = draw_field(config, rng)
    catalog = _perturbed_catalog(field, rng)
    noise = rng.spawn(len(config.bands))  # one stream per band, whatever the renderer draws
    clean = render(field)
    images = {
        band.name: _expose(image, band, generator)
        for band, image, generator in zip(config.bands, clean, noise, strict=True)
    }
    _add_bad_columns(images, config, rng)
    return SimTile(
        field=field,
        images=images,
        headers={band.name: _header(field, band) for band in config.bands},
        catalog=catalog,
        gaia=_gaia_table(field),
    )


def _expose(clean: Floats, band: SimBand, rng: np.random.Generator) -> Pixels:
    electrons = rng.poisson(np.maximum(clean, 0) * band.gain)
    counts = electrons / band.gain + rng.normal(band.sky_level, band.sky_sigma, clean.shape)
    return np.minimum(counts, band.saturate).astype(np.float32)


def _add_bad_columns(
    images: Mapping[str, Pixels], config: TileSimConfig, rng: np.random.Generator
) -> None:
    columns = rng.integers(config.nx // 8, config.nx * 7 // 8, config.n_bad_columns)
    images[config.bands[0].name][:, columns] = np.nan


def _header(field: SimField, band: SimBand) -> Header:
    header = Header()
    header["OBJECT"] = ("skyloom simulation", "simulated field, truth is known")
    header["FILTER"] = (band.name, "band")
    header["BUNIT"] = "adu"
    header["ZP_AUTO"] = (round(band.zp_auto, 6), "[mag] AB zero point of 1 ADU")
    header["SKYSIG"] = (band.sky_sigma, "[adu] sky noise per pixel")
    header["EGAIN"] = (band.gain, "[electron/adu] gain")
    header["SATURATE"] = (band.saturate, "[adu] saturation level")
    header["SEEING"] = (
        round(band.fwhm * field.config.pixel_scale, 4),
        "[arcsec] FWHM of point sources",
    )
    wcs = field.wcs.to_header()
    cd = field.wcs.wcs.cd
    for key in ("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        header[key] = (wcs[key], wcs.comments[key])
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = float(cd[i - 1, j - 1])
    header["RADESYS"] = "ICRS"
    return header


def _perturbed_catalog(field: SimField, rng: np.random.Generator) -> Table:
    """Return what a detection run would have known about the sources, as text."""
    config = field.config
    truth = field.truth[field.truth["in_catalog"]]
    n = len(truth)
    x = np.asarray(truth["x"]) + rng.normal(0, config.position_error, n)
    y = np.asarray(truth["y"]) + rng.normal(0, config.position_error, n)
    ra, dec = field.wcs.all_pix2world(x, y, 0)
    re = np.asarray(truth["re"]) * np.exp(rng.normal(0, config.size_error, n))
    ell = np.clip(np.asarray(truth["ell"]) + rng.normal(0, config.ell_error, n), 0, 0.9)
    theta = np.asarray(truth["theta"]) + rng.normal(0, config.theta_error, n)
    theta = (theta + 90) % 180 - 90
    index = np.asarray(truth["sersic_n"]) * np.exp(rng.normal(0, config.sersic_error, n))
    index = np.where(np.asarray(truth["TYPE"]) == "SERSIC", index, np.nan)
    return Table(
        {
            "ID": np.asarray(truth["ID"]).astype(str),
            "RA": _text(ra, "%.8f"),
            "DEC": _text(dec, "%.8f"),
            "TYPE": _perturbed_types(np.asarray(truth["TYPE"]).astype(str), config, rng),
            "ELL": _text(ell, "%.3f"),
            "THETA": _text(theta, "%.2f"),
            "Re": _text(re, "%.3f"),
            "SERSIC_n": _text(index, "%.2f"),
        }
    )


def _perturbed_types(
    stype: npt.NDArray[np.str_], config: TileSimConfig, rng: np.random.Generator
) -> npt.NDArray[np.str_]:
    wrong = (rng.uniform(size=len(stype)) < config.type_error) & (stype != "STAR")
    step = rng.integers(1, len(_GALAXY_TYPES), len(stype))
    position = np.array([_GALAXY_TYPES.index(t) if t in _GALAXY_TYPES else 0 for t in stype])
    other = np.array(_GALAXY_TYPES)[(position + step) % len(_GALAXY_TYPES)]
    return np.where(wrong, other, stype)


def _gaia_table(field: SimField) -> Table:
    """Return the Gaia XP table: true positions and magnitudes of the bright stars, as text."""
    stars = field.truth[field.truth["gaia_source_id"] != ""]
    columns = {
        "source_id": np.asarray(stars["gaia_source_id"]).astype(str),
        "ra": _text(np.asarray(stars["RA"]), "%.9f"),
        "dec": _text(np.asarray(stars["DEC"]), "%.9f"),
        "phot_g_mean_mag": _text(np.asarray(stars["mag_ref"]), "%.6f"),
    }
    for band in field.config.bands:
        columns[f"mag_{band.name}"] = _text(np.asarray(stars[f"mag_{band.name}"]), "%.6f")
    return Table(columns)


def _text(values: Floats, form: str) -> npt.NDArray[np.str_]:
    """Format numbers; NaN becomes an empty cell."""
    return np.array(["" if np.isnan(v) else form % v for v in values], dtype=np.str_)

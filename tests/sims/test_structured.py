"""Spirals among smooth galaxies and stars: the flag finds the spirals and leaves the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import fftconvolve

from skyloom.catalogs import column_as_float, column_as_text, read_csv
from skyloom.flags import FitFlag
from skyloom.pipelines.tile import run_tile
from skyloom.sim import SimField, simulate_tile, truth_config, write_tile
from skyloom.sim.field import draw_field
from skyloom.sim.render import Sersic

pytest.importorskip("galsim", reason="GalSim draws the smooth light (test extra)")
from galsim_tile import render_with_galsim

ARMS = 0.5  # of the surface brightness of the disc, half range
SEEING = 2.8  # pix: galaxies of this population have half-light radii of 4 to 8
HALF = 60  # pix, of the box in which arms are drawn


def is_large(truth) -> np.ndarray:
    galaxy = np.asarray(truth["TYPE"]) != "STAR"
    return galaxy & (np.asarray(truth["re"]) > 4.0) & (np.asarray(truth["mag_ref"]) < 17.0)


def is_spiral(truth) -> np.ndarray:
    """Return every other large galaxy."""
    large = np.flatnonzero(is_large(truth))
    return np.isin(np.arange(len(truth)), large[::2])


def add_arms(image: np.ndarray, row, flux: float, psf) -> None:
    """Wind two logarithmic arms around a galaxy; the total flux stays within some per cent."""
    law = Sersic(re=row["re"], n=row["sersic_n"], ell=row["ell"], theta=row["theta"])
    x0, y0 = round(row["x"]), round(row["y"])
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1].astype(float)
    dx, dy = x - (row["x"] - x0), y - (row["y"] - y0)
    angle = np.radians(row["theta"])
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = (dy * np.cos(angle) - dx * np.sin(angle)) / (1.0 - row["ell"])
    r = np.hypot(u, v) / row["re"]
    wave = np.cos(2.0 * np.arctan2(v, u) - 3.0 * np.log(np.maximum(r, 0.1)))
    arms = flux * law(dx, dy) * ARMS * wave * np.clip(2.0 * r - 0.6, 0.0, 1.0)
    arms = fftconvolve(arms, psf(x, y), mode="same")
    ny, nx = image.shape
    ys, xs = y + y0, x + x0
    inside = (ys >= 0) & (ys < ny) & (xs >= 0) & (xs < nx)
    image[ys[inside].astype(int), xs[inside].astype(int)] += arms[inside]


def render(field: SimField) -> list[np.ndarray]:
    images = render_with_galsim(field)
    for band, psfs, image in zip(field.config.bands, field.psfs, images, strict=True):
        flux = field.flux(band)
        for k in np.flatnonzero(is_spiral(field.truth)):
            row = field.truth[int(k)]
            add_arms(image, row, flux[k], psfs.at(row["x"], row["y"]))
    return images


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    config = truth_config()
    config = replace(
        config,
        nx=620,
        ny=620,
        bands=tuple(replace(band, fwhm=SEEING) for band in config.bands[1:4]),
        n_sources=150,
        star_fraction=0.4,
        galaxy_mag=(14.8, 20.0),
        galaxy_slope=0.05,
        blend_fraction=0.0,
        min_separation=18.0,
    )
    tile = simulate_tile(config, np.random.default_rng(11), render=render)
    folder = tmp_path_factory.mktemp("spirals") / "tile"
    path = write_tile(tile, folder, settings={"skyloom": {"plots": "none", "model_choice": False}})
    assert run_tile(path, progress="quiet", executor="serial").exit_status == 0
    table = read_csv(folder / "work" / "output_catalog.csv")
    order = {i: k for k, i in enumerate(column_as_text(table, "ID").tolist())}
    rows = [order[i] for i in np.asarray(tile.truth["ID"]).tolist()]
    found = np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)[rows]
    return tile.truth, (found & FitFlag.STRUCTURED) > 0, table[rows]


def test_spirals_are_named(flags):
    truth, structured, _ = flags
    spirals = is_spiral(truth)
    assert spirals.sum() >= 10
    assert structured[spirals].mean() >= 0.8  # inclined and compact ones hide their arms


def test_smooth_galaxies_and_stars_of_the_same_signal_are_not(flags):
    truth, structured, table = flags
    snr = column_as_float(table, "fit_snr")
    spirals = is_spiral(truth)
    alike = ~spirals & (snr > 0.5 * np.median(snr[spirals]))
    stars = alike & (np.asarray(truth["TYPE"]) == "STAR")
    assert alike.sum() > 30
    assert stars.sum() > 10
    assert structured[~spirals].mean() < 0.01


def test_it_is_a_soft_issue_and_the_column_tells_how_much(flags):
    truth, structured, table = flags
    issues = column_as_text(table, "fit_quality_issues")
    assert all("structured" in issue for issue in issues[structured])
    assert not any("structured" in issue for issue in issues[~structured])
    reliable = column_as_text(table, "fit_is_reliable")
    assert (reliable[structured] == "True").mean() > 0.7
    names = [f"structure_{band.name}" for band in truth_config().bands[1:4]]
    part = np.stack([column_as_float(table, name) for name in names])
    # rms of the cosine, less what blurring and the fit take away
    assert 0.03 < np.nanmedian(part[:, structured & is_spiral(truth)]) < ARMS / np.sqrt(2.0)
    smooth = is_large(truth) & ~is_spiral(truth)
    assert np.nanmedian(part[:, smooth]) < 0.03


def test_the_arms_change_the_light_little():
    """The oracle itself: what `add_arms` adds has next to no net flux."""
    band = replace(truth_config().bands[1], fwhm=SEEING)
    config = replace(truth_config(), nx=200, ny=200, n_sources=8, bands=(band,))
    psf = draw_field(config, np.random.default_rng(1)).psfs[0].at(100.0, 100.0)
    row = {"x": 100.2, "y": 99.7, "re": 6.0, "sersic_n": 1.0, "ell": 0.3, "theta": 40.0}
    image = np.zeros((200, 200))
    add_arms(image, row, 1.0, psf)
    assert abs(image.sum()) < 0.01
    assert np.abs(image).sum() > 0.05

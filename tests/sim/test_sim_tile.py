"""Simulated tiles: truth, noise, catalogues, files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from skyloom.errors import MissingFile, Unwritable, WrongValue
from skyloom.sim import (
    SimBand,
    TileSimConfig,
    demo_config,
    draw_field,
    read_band_truth,
    read_truth,
    render_field,
    simulate_tile,
    write_tile,
)

SMALL = TileSimConfig(
    bands=(
        SimBand(name="a", wavelength=0.5, zp_error=0.03, sky_level=2.0),
        SimBand(name="b", wavelength=0.8, fwhm=3.2, gain=5.0),
    ),
    nx=220,
    ny=180,
    n_sources=30,
    rotation=20.0,
)


@pytest.fixture(scope="module")
def tile():
    return simulate_tile(SMALL, np.random.default_rng(3))


@pytest.fixture(scope="module")
def demo():
    return simulate_tile(demo_config(size=400, n_sources=90), np.random.default_rng(5))


def test_image_flux_is_the_true_flux_within_aperture_losses(tile):
    for band, clean in zip(SMALL.bands, render_field(tile.field), strict=True):
        # 3 %: de Vaucouleurs wings below 1 % of the noise and light beyond the edges
        assert clean.sum() == pytest.approx(tile.field.flux(band).sum(), rel=0.03)
        assert clean.sum() < tile.field.flux(band).sum() * 1.001


def test_aperture_flux_of_a_star_is_the_moffat_growth_curve():
    config = dataclasses.replace(
        SMALL, n_sources=1, star_fraction=1.0, psf_shear=0.0, blend_fraction=0.0, border=60.0,
        star_mag=(16.0, 16.1), bands=(SimBand(name="a", wavelength=0.6, g1=0.0, g2=0.0),),
    )  # fmt: skip
    field = draw_field(config, np.random.default_rng(0))
    (clean,) = render_field(field)
    x, y = field.truth["x"][0], field.truth["y"][0]
    j, i = np.mgrid[: config.ny, : config.nx]
    aperture = clean[np.hypot(i - x, j - y) < 15.0].sum() / field.flux(config.bands[0])[0]
    # 1e-3: pixels on the rim are in or out as a whole
    assert aperture == pytest.approx(field.psfs[0].at(x, y).enclosed(15.0), abs=1e-3)


@pytest.mark.parametrize("band", SMALL.bands, ids=lambda b: b.name)
def test_noise_has_the_variance_of_sky_and_source(tile, band):
    clean = render_field(tile.field)[SMALL.bands.index(band)]
    sigma = np.hypot(band.sky_sigma, np.sqrt(np.maximum(clean, 0) / band.gain))
    pull = (tile.images[band.name] - clean - band.sky_level) / sigma
    n = pull.size
    assert abs(pull.mean()) < 4 / np.sqrt(n)  # four standard errors
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * n))
    bright = clean > 5 * band.sky_sigma
    assert pull[bright].std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * bright.sum()))


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_tile(simulate_tile(SMALL, np.random.default_rng(3)), tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_seed_gives_another_tile(tile):
    other = simulate_tile(SMALL, np.random.default_rng(4))
    assert not np.array_equal(tile.images["a"], other.images["a"])
    assert not np.array_equal(tile.truth["x"], other.truth["x"])


def test_noise_of_a_band_does_not_depend_on_the_other_bands(tile):
    def without_a(field):
        clean_a, clean_b = render_field(field)
        return [0 * clean_a, clean_b]

    again = simulate_tile(SMALL, np.random.default_rng(3), render=without_a)
    assert np.array_equal(tile.images["b"], again.images["b"])
    assert not np.array_equal(tile.images["a"], again.images["a"])


def test_sky_positions_of_the_truth_are_those_of_the_header(tile):
    wcs = WCS(tile.headers["a"])
    x, y = wcs.all_world2pix(tile.truth["RA"], tile.truth["DEC"], 0)
    assert np.abs(x - tile.truth["x"]).max() < 1e-6  # rounding of degrees
    assert np.abs(y - tile.truth["y"]).max() < 1e-6


def test_brightest_star_peaks_at_its_true_position(tile):
    stars = tile.truth[tile.truth["TYPE"] == "STAR"]
    star = stars[np.argmax(stars["flux_b"])]
    j, i = np.unravel_index(np.nanargmax(tile.images["b"]), tile.images["b"].shape)
    assert np.hypot(i - star["x"], j - star["y"]) < 1.5


def test_magnitudes_fluxes_and_zero_points_belong_together(tile):
    for row, band in zip(tile.band_truth, SMALL.bands, strict=True):
        mag = band.zp - 2.5 * np.log10(tile.field.flux(band))
        assert np.abs(mag - tile.truth[f"mag_{band.name}"]).max() < 1e-9
        assert float(tile.headers[band.name]["ZP_AUTO"]) == pytest.approx(row["zp_auto"])
        scale = 10 ** (-0.4 * (row["zp_auto"] - SMALL.zp_ref))
        expected = SMALL.zp_ref + row["zp_true"] - row["zp_auto"]
        assert row["zp_expected"] == pytest.approx(expected)
        scaled = tile.field.flux(band) * scale
        recovered = row["zp_expected"] - 2.5 * np.log10(scaled)
        assert np.abs(recovered - tile.truth[f"mag_{band.name}"]).max() < 1e-9


def test_catalogue_errors_have_the_size_asked_for():
    config = dataclasses.replace(SMALL, nx=900, ny=900, n_sources=500)
    bare = simulate_tile(
        config, np.random.default_rng(1), render=lambda f: [np.zeros(f.config.shape)] * 2
    )
    x, y = bare.field.wcs.all_world2pix(
        bare.catalog["RA"].astype(float), bare.catalog["DEC"].astype(float), 0
    )
    offsets = np.r_[x - bare.truth["x"], y - bare.truth["y"]]
    assert offsets.std() == pytest.approx(0.3, rel=4 / np.sqrt(2 * len(offsets)))
    galaxy = np.asarray(bare.catalog["TYPE"] != "STAR")
    ratio = np.log(bare.catalog["Re"][galaxy].astype(float) / bare.truth["re"][galaxy])
    assert ratio.std() == pytest.approx(0.2, rel=4 / np.sqrt(2 * galaxy.sum()))
    assert set(bare.catalog["Re"][~galaxy]) == {""}
    assert not any(name.startswith("FLUX") for name in bare.catalog.colnames)


def test_wrong_types_are_other_galaxy_types():
    config = dataclasses.replace(SMALL, nx=900, ny=900, n_sources=400, type_error=0.5)
    bare = simulate_tile(
        config, np.random.default_rng(1), render=lambda f: [np.zeros(f.config.shape)] * 2
    )
    wrong = np.asarray(bare.catalog["TYPE"] != bare.truth["TYPE"])
    galaxies = np.asarray(bare.truth["TYPE"] != "STAR")
    assert not wrong[~galaxies].any()
    assert wrong[galaxies].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(galaxies.sum()))


def test_pairs_stand_one_to_two_fwhm_apart():
    config = dataclasses.replace(SMALL, nx=900, ny=900, n_sources=300, blend_fraction=0.3)
    truth = draw_field(config, np.random.default_rng(2)).truth
    separations = []
    for k in range(int(truth["pair"].max()) + 1):
        pair = truth[truth["pair"] == k]
        assert len(pair) == 2
        separations.append(np.hypot(np.diff(pair["x"]), np.diff(pair["y"]))[0] / config.mean_fwhm)
    assert len(separations) == 45
    assert min(separations) >= 1
    assert max(separations) <= 2
    alone = truth[truth["pair"] < 0]
    distance, _ = cKDTree(np.c_[alone["x"], alone["y"]]).query(np.c_[alone["x"], alone["y"]], k=2)
    assert distance[:, 1].min() >= config.min_separation


def test_psf_varies_by_the_range_asked_for(tile):
    x, y = np.meshgrid(np.linspace(0, SMALL.nx - 1, 33), np.linspace(0, SMALL.ny - 1, 33))
    for band, psf in zip(SMALL.bands, tile.field.psfs, strict=True):
        fwhm, g1, g2 = psf.values(x, y)
        assert np.ptp(fwhm) / band.fwhm == pytest.approx(0.1, rel=1e-9)
        assert fwhm.mean() == pytest.approx(band.fwhm, rel=1e-9)
        assert np.ptp(g1) == pytest.approx(0.05, rel=1e-9)
        assert np.ptp(g2) == pytest.approx(0.05, rel=1e-9)


def test_the_demo_has_what_real_tiles_have(demo):
    saturated = demo.truth[demo.truth["is_saturated"]]
    assert len(saturated) >= 3
    for band in demo.config.bands:
        image = demo.images[band.name]
        assert np.nanmax(image) == pytest.approx(band.saturate)
        for star in saturated[-3:]:
            assert image[round(star["y"]), round(star["x"])] >= band.saturate / 1.3
    assert np.isnan(demo.images["m475"]).any(axis=0).sum() == 1
    assert not np.isnan(demo.images["m625"]).any()
    missing = demo.truth[~demo.truth["in_catalog"]]
    assert len(missing) == 4
    assert all(m["ID"] == f"gaia_{m['gaia_source_id']}" for m in missing)
    assert not set(missing["ID"]) & set(demo.catalog["ID"])
    assert set(missing["gaia_source_id"]) <= set(demo.gaia["source_id"])


def test_gaia_table_holds_true_magnitudes_of_bright_stars(demo):
    stars = demo.truth[demo.truth["gaia_source_id"] != ""]
    assert list(demo.gaia["source_id"]) == list(stars["gaia_source_id"])
    assert demo.gaia.colnames[:4] == ["source_id", "ra", "dec", "phot_g_mean_mag"]
    for band in ("m475", "m625", "m825"):
        difference = demo.gaia[f"mag_{band}"].astype(float) - stars[f"mag_{band}"]
        assert np.abs(difference).max() < 1e-6  # six decimals
    assert max(demo.gaia["phot_g_mean_mag"].astype(float)) <= 18
    assert len(set(demo.gaia["source_id"])) == len(demo.gaia)


def test_written_folder_reads_back(tile, tmp_path):
    config = write_tile(tile, tmp_path / "t", settings={"epsf": {"ngrid": 5}, "zp": {}})
    settings = yaml.safe_load(config.read_text())
    assert settings["epsf"] == {"epsf_ngrid": 2, "ngrid": 5}
    assert settings["crop"]["margin"] == 0
    assert settings["inputs"]["input_catalog"] == "input_catalog.csv"
    names = [
        line
        for line in (tmp_path / "t" / "image_list.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert names == ["images/sim_a.fits", "images/sim_b.fits"]
    with fits.open(tmp_path / "t" / names[0]) as hdus:
        assert np.array_equal(hdus[0].data, tile.images["a"])
        assert hdus[0].header["FILTER"] == "a"
        assert hdus[0].header["EGAIN"] == 20.0
    truth = read_truth(tmp_path / "t")
    assert truth.colnames == tile.truth.colnames
    assert list(truth["ID"]) == [f"{k:05d}" for k in range(1, 31)]
    for name in ("x", "re", "mag_b"):
        assert np.array_equal(truth[name], tile.truth[name], equal_nan=True)
    assert truth["is_saturated"].dtype == bool
    assert list(read_band_truth(tmp_path / "t" / "truth_bands.csv")["band"]) == ["a", "b"]


def test_faults_say_what_to_do(tile, tmp_path):
    with pytest.raises(MissingFile, match="folder of a simulated tile"):
        read_truth(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="writable place"):
        write_tile(tile, tmp_path / "file")
    with pytest.raises(WrongValue, match=r"star_fraction = 1.4 must lie in \[0, 1\]"):
        dataclasses.replace(SMALL, star_fraction=1.4)
    with pytest.raises(WrongValue, match="at least one SimBand"):
        dataclasses.replace(SMALL, bands=())
    with pytest.raises(WrongValue, match="no room"):
        draw_field(dataclasses.replace(SMALL, min_separation=60.0), np.random.default_rng(0))

"""The truth harness itself: GalSim tiles and the package's own renderer agree."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("galsim", reason="GalSim draws the truth tiles (test extra)")

import galsim_tile
from galsim_tile import TileCache, make_galsim_tile, render_with_galsim, truth_config

from skyloom.sim import draw_field, render_field

CONFIG = truth_config(nx=256, ny=256, n_sources=45)


def test_two_independent_renderers_agree():
    field = draw_field(CONFIG, np.random.default_rng(11))
    pairs = zip(field.config.bands, render_with_galsim(field), render_field(field), strict=True)
    for band, theirs, ours in pairs:
        difference = (ours - theirs) / band.sky_sigma
        # 0.1 sky sigma on peaks of hundreds: stamps end at 1 % of the noise, k space at 3e-4
        assert np.abs(difference).max() < 0.1
        assert difference.std() < 0.01


def test_a_galsim_tile_has_the_files_of_any_tile(tmp_path):
    config, tile = make_galsim_tile(tmp_path / "t", seed=1, config=truth_config(
        nx=128, ny=128, n_sources=10))  # fmt: skip
    assert config.name == "config.yaml"
    assert list(tile.images) == ["m400", "m500", "m625", "m750", "m850"]
    assert len(list((tmp_path / "t" / "images").glob("*.fits"))) == 5
    assert not any(name.startswith("FLUX") for name in tile.catalog.colnames)
    assert not tile.truth["is_saturated"].any()


def test_truth_tiles_hold_what_the_truth_tests_need():
    field = draw_field(truth_config(), np.random.default_rng(1))
    stars = field.truth["TYPE"] == "STAR"
    assert len(field.truth) == 600
    assert np.mean(stars) == pytest.approx(0.4, abs=0.06)  # three binomial standard errors
    assert np.sum(field.truth["gaia_source_id"] != "") >= 50
    assert not field.truth["is_saturated"].any()
    for band, psf in zip(field.config.bands, field.psfs, strict=True):
        assert 3.0 <= band.fwhm <= 5.0
        core = np.sqrt(np.pi) * psf.at(500, 500).alpha * band.sky_sigma
        snr = field.flux(band)[stars] / np.sqrt(
            core**2 * 1.25 + field.flux(band)[stars] / band.gain
        )
        assert snr.min() < 10
        assert snr.max() > 700


def test_a_session_makes_each_tile_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        galsim_tile,
        "make_galsim_tile",
        lambda folder, *, seed: calls.append(seed) or (folder, None),
    )
    cache = TileCache(tmp_path)
    assert cache(1) == cache(1)
    cache(2)
    assert calls == [1, 2]

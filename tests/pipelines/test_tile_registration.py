"""Offsets between bands: a smooth field, found whatever single stars do."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from skyloom.pipelines.tile.registration import band_offsets, no_offsets, offset_table, offsets_at
from skyloom.pipelines.tile.scene_table import state_to_table
from skyloom.scene import SceneState, Sources

SHAPE = (1024, 1024)
BANDS = ("a", "b", "c")
NOISE = 0.03  # pix, of one source


def true_offsets(x, y):
    out = np.zeros((len(x), 3, 2))
    out[:, 0, 0] = 0.2
    out[:, 1, 1] = -0.2 + 0.1 * x / 1023
    out[:, 2, 0] = -0.1 * y / 1023
    return out - out.mean(axis=1, keepdims=True)


def scene(x, y, own, snr=100.0):
    table = Table({"x": x, "y": y, "converged": np.ones(len(x), bool)})
    for b, band in enumerate(BANDS):
        table[f"flux_{band}"] = np.full(len(x), snr)
        table[f"variance_{band}"] = np.ones(len(x))
        table[f"dx_{band}"], table[f"dy_{band}"] = own[:, b].T
    return table


def test_the_field_is_found_and_moving_stars_do_not_bend_it():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 1023, (2, 300))
    field = no_offsets(3, SHAPE)
    for _ in range(2):  # as in a run: what is left after the first pass is seen by the second
        own = true_offsets(x, y) - offsets_at(field, x, y, SHAPE)
        own += rng.normal(0.0, NOISE, own.shape)
        own[:20] += rng.normal(0.0, 0.5, (20, 3, 2))
        field = band_offsets(scene(x, y, own), BANDS, SHAPE, field)
    wrong = offsets_at(field, x, y, SHAPE) - true_offsets(x, y)
    assert wrong.std() < 0.01  # 280 stars about 25 nodes: 0.03 / sqrt(11) = 0.009
    assert np.abs(wrong).max() < 0.05  # corners have few stars


def test_faint_or_few_sources_move_nothing():
    x, y = np.random.default_rng(3).uniform(0, 1023, (2, 50))
    own = true_offsets(x, y)
    zero = no_offsets(3, SHAPE)
    assert not band_offsets(scene(x, y, own, snr=20.0), BANDS, SHAPE, zero).any()
    assert not band_offsets(scene(x[:2], y[:2], own[:2]), BANDS, SHAPE, zero).any()
    assert not band_offsets(Table({"row": []}), BANDS, SHAPE, zero).any()


def test_positions_do_not_hang_on_how_many_sources_a_band_shows():
    x, y = np.random.default_rng(5).uniform(0, 1023, (2, 60))
    own = true_offsets(x, y)
    seen = scene(x, y, own)
    seen["flux_c"][:40] = 1.0  # too faint to count
    field = band_offsets(seen, BANDS, SHAPE, no_offsets(3, SHAPE))
    assert np.abs(field).max() > 0.1
    # the frame is the mean of the bands, each alike: a single source cannot move it
    np.testing.assert_allclose(field.mean(axis=0), 0.0, atol=1e-12)


def test_the_table_has_every_cell_of_every_band():
    x, y = np.random.default_rng(4).uniform(0, 1023, (2, 80))
    own = np.full((80, 3, 2), 0.04)
    own[40:] = 0.0  # faint: they follow
    field = no_offsets(3, SHAPE)
    field[1, 0] = 0.15
    table = offset_table(scene(x, y, own), BANDS, field, SHAPE, n_cells=2)
    assert len(table) == 3 * 4
    assert set(table["n"].tolist()) != {0}
    assert table["n"].sum() == 3 * 40
    np.testing.assert_allclose(table["dx"][table["band"] == "b"], 0.15, rtol=1e-12)
    np.testing.assert_allclose(table["scatter"], 0.04, rtol=1e-12)


def test_an_offset_that_is_rounding_is_none_of_the_source() -> None:
    sources = Sources.create(np.zeros(2, np.int64), np.array([5.0, 9.0]), np.array([5.0, 9.0]))
    state = SceneState.start(sources, 1, 1)
    state.offset_mean[:] = 0.3
    state.offset[0] = np.nextafter(0.3, 1.0)  # the mean of one band, subtracted from it
    state.offset[1] = 0.3001
    rows = np.arange(2)
    table = state_to_table(state, rows, rows, ["r"])
    assert table["dx_r"].tolist()[0] == table["dy_r"].tolist()[0] == 0.0
    assert table["dx_r"][1] == pytest.approx(1e-4, rel=1e-6)  # 1e-10 of 0.3 by rounding

"""Patches leave out what they do not look at, and that changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skyloom.geometry import Box
from skyloom.images import read_frame
from skyloom.pipelines.tile import payloads, run_tile
from skyloom.pipelines.tile.patch_scene import PatchScene
from skyloom.sim import demo_config, simulate_tile, write_tile


def test_a_pass_is_the_same_with_the_light_of_all_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = simulate_tile(demo_config(size=360, n_sources=40), np.random.default_rng(1))
    settings = {"epsf": {"epsf_ngrid": 2, "ngrid": 2}, "skyloom": {"fit_passes": 1}}
    config = write_tile(tile, tmp_path / "tile", settings=settings)
    how = {"executor": "serial", "progress": "quiet", "plots": "none"}
    run_tile(config, **how)
    (scene,) = config.parent.rglob("scene/pass1.parquet")
    before = scene.read_bytes()
    omitted = []

    def everything(patch, state):
        seen = near_owned(patch, state)
        omitted.append(int(((state.flux != 0) & (seen.flux == 0)).any(axis=1).sum()))
        return state

    near_owned = PatchScene.near_owned
    monkeypatch.setattr(PatchScene, "near_owned", everything)
    run_tile(config, **how, force=["fit-1"])
    assert sum(omitted) > 0
    assert scene.read_bytes() == before


def test_boxes_are_the_same_read_at_once_or_one_by_one(
    finished_tile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sorted((finished_tile / "images").glob("*.fits*"))[0]
    frame = read_frame(path, zp_ref=25.0, margin=3)
    boxes = [Box(5, 40, 2, 30), Box(20, 60, 41, 50), Box(0, 9, 10, 12)]
    together = list(payloads._cuts(frame, boxes))
    monkeypatch.setattr(payloads, "TOGETHER", 0)
    apart = list(payloads._cuts(frame, boxes))
    assert [cut.shape for cut in together] == [box.shape for box in boxes]
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)

"""Patches share the light of all sources, and that changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skyloom._types import Pixels
from skyloom.geometry import Box
from skyloom.images import read_frame
from skyloom.pipelines.tile import field_light, payloads, run_tile
from skyloom.pipelines.tile.field_light import FieldLight
from skyloom.pipelines.tile.patch_scene import PatchScene
from skyloom.pipelines.tile.recent import Recent
from skyloom.psf import FieldPsf
from skyloom.scene import FitOptions, SceneImage, ScenePass, SceneState, Sources
from skyloom.sim import demo_config, simulate_tile, write_tile


@pytest.fixture
def small_tile(tmp_path: Path) -> Path:
    tile = simulate_tile(demo_config(size=360, n_sources=40), np.random.default_rng(1))
    settings = {"epsf": {"epsf_ngrid": 2, "ngrid": 2}, "skyloom": {"fit_passes": 1}}
    return write_tile(tile, tmp_path / "tile", settings=settings)


HOW = {"executor": "serial", "progress": "quiet", "plots": "none"}


def test_patches_see_the_light_that_they_would_draw_themselves(
    small_tile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, differences = PatchScene.residual, []

    def both(patch: PatchScene, state: SceneState) -> tuple[Pixels, Pixels]:
        found = shared(patch, state)
        alone = patch.scene.residual(state)
        differences.append(np.abs(found[0] - alone[0]) * np.sqrt(alone[1]))
        return found

    monkeypatch.setattr(PatchScene, "residual", both)
    run_tile(small_tile, **HOW)
    found = np.concatenate(differences)
    # Light beyond the stamps that a patch knows: below a tenth of the noise by their rule.
    assert found.max() < 0.1
    # Rounding of single precision, 6e-8 of the light of stars with 1000 sigma in a pixel.
    assert np.quantile(found, 0.99) < 1e-3


def test_blocks_of_light_do_not_depend_on_who_asks(
    small_tile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_light, "BLOCKS", (128, 128))
    lights: list[FieldLight] = []
    model = FieldLight.model

    def noted(light: FieldLight, box: Box) -> Pixels:
        lights.append(light)
        return model(light, box)

    monkeypatch.setattr(FieldLight, "model", noted)
    run_tile(small_tile, **HOW)
    light, whole = lights[-1], Box(0, 360, 0, 360)
    field_light._BLOCKS = Recent(field_light.KEPT, np.size)
    first = light.model(whole)
    assert (first.max(axis=(1, 2)) > 0.0).all()
    field_light._BLOCKS = Recent(1, np.size)  # keeps nothing
    for box in (Box(200, 300, 110, 250), Box(0, 130, 0, 360), Box(359, 360, 359, 360)):
        np.testing.assert_array_equal(light.model(box), first[:, *box.slices])


def test_the_light_is_made_anew_for_another_state(
    small_tile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, draw = [], FieldLight._drawn

    def counted(light: FieldLight, block: Box) -> Pixels:
        drawn.append((light._key, block))
        return draw(light, block)

    monkeypatch.setattr(FieldLight, "_drawn", counted)
    run_tile(small_tile, **HOW)
    # After pass 0 with the offsets before it and after, after pass 1.
    assert len({key for key, _ in drawn}) == 3
    assert len(drawn) == len(set(drawn))


def test_stamps_larger_than_those_in_the_light_are_drawn_again() -> None:
    axis = np.arange(-30, 31)
    stamp = np.exp(-0.5 * (axis[:, None] ** 2 + axis[None, :] ** 2) / 8.0**2)
    psf = FieldPsf(
        basis=(stamp / stamp.sum())[None].astype(np.float32),
        polynomial=np.ones((1, 1)),
        shape=(100, 100),
        fwhm=19.0,
    )
    plane = np.zeros((100, 100), np.float32)
    image = SceneImage(data=plane, ivar=np.ones_like(plane), psf=psf)
    sources = Sources.create(np.zeros(2, np.int64), np.array([30.0, 70.0]), np.array([40.0, 55.0]))
    scene = ScenePass([image], sources, FitOptions())
    state = SceneState.start(sources, 1)
    state.flux[:], state.started[:] = 1000.0, True
    state.side = np.array([64, 64])
    exact, _ = scene.residual(state)
    drawn = np.array([32, 64])
    state.side = drawn
    model = scene.model(scene.residual(state)[0])
    state.side = np.array([64, 64])
    left, _ = scene.residual_of(model, state, rows=np.array([1]), drawn=drawn)
    assert np.abs(left - exact).max() > 0.1
    left, _ = scene.residual_of(model, state, rows=np.array([0, 1]), drawn=drawn)
    np.testing.assert_allclose(left, exact, atol=1e-6)  # single precision, values up to 2.5


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

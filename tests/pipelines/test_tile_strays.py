"""Models that left their sources: which are fitted again, and what they are held to."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from skyloom.pipelines.tile.strays import STRAYED, fitted_again, strayed, strayed_of_table
from skyloom.psf import PixelPsf
from skyloom.scene import FitOptions, SceneImage, ScenePass, SceneState, Sources, SourceType

FWHM = 4.0


def verdict(
    *,
    moved: float = 3.0,
    before: float = 2.0,
    after: float = 40.0,
    near: bool = False,
    kind: SourceType = SourceType.EXP,
) -> bool:
    """Judge one source: shift and radii [pix]."""
    start = SimpleNamespace(
        x=np.full(8, 50.0),
        y=np.full(8, 60.0),
        log_r=np.full(8, math.log(before)),
        g1=np.zeros(8),
        g2=np.zeros(8),
    )
    patch: Any = SimpleNamespace(
        rows=np.array([0, 7]),  # of the catalogue; the second is judged
        start=start,
        scene=SimpleNamespace(psf_fwhm=FWHM),
        sources=SimpleNamespace(kind=np.full(2, kind)),
        groups={"near_saturated": np.full(8, near)},
    )
    theta = np.zeros((2, 6))
    theta[:, :3] = 50.0 + 0.6 * moved, 60.0 - 0.8 * moved, math.log(after)
    state: Any = SimpleNamespace(theta=theta)
    return bool(strayed(patch, state, np.array([1]))[0])


def test_a_model_that_moved_and_grew_far_beyond_its_source_strayed() -> None:
    assert verdict()


@pytest.mark.parametrize(
    "galaxy",
    [
        {"moved": 0.49 * FWHM},  # a large galaxy where the catalogue has a small one
        {"before": 20.0},  # the catalogue knew, and was wrong about its centre
        {"after": 2.5 * FWHM},
        {"after": 1.0},  # it went to a neighbour, perhaps; there is no light that it could spoil
        {"kind": SourceType.STAR},
    ],
)
def test_sources_that_only_moved_or_only_grew_are_left_alone(galaxy: dict[str, Any]) -> None:
    assert not verdict(**galaxy)


def test_where_models_cannot_grow_to_have_moved_is_enough() -> None:
    assert verdict(near=True, after=2.8)
    assert not verdict(near=True, after=2.8, moved=0.49 * FWHM)
    assert not verdict(near=True, kind=SourceType.STAR)


def test_the_state_of_a_pass_says_whose_models_strayed() -> None:
    table = Table({"row": [2, 5, 9], STRAYED: [False, True, True]})
    assert strayed_of_table(table, np.array([1, 2, 5, 9, 30])).tolist() == [
        *(False, False, True, True, False)
    ]
    assert not strayed_of_table(None, np.array([1])).any()


class Scene:
    """A faint compact source on a broad glow, 8 pixels aside, that no row is for."""

    truth, glow = (40.0, 40.0), (47.0, 44.0)

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        y, x = np.mgrid[:96, :96].astype(float)
        psf = _gauss(*np.mgrid[-15:16, -15:16].astype(float), FWHM / 2.3548)
        wide = _gauss(x - self.glow[0], y - self.glow[1], 14.0)
        light = 120.0 * _gauss(x - self.truth[0], y - self.truth[1], FWHM / 2.3548) + 4000.0 * wide
        data = (light + rng.normal(0.0, 1.0, light.shape)).astype(np.float32)
        image = SceneImage(
            data=data,
            ivar=np.ones_like(data),
            psf=PixelPsf(stamp=psf, fwhm_pix=FWHM),
            flux_key="r",
            sky_key="r",
        )
        kind = np.array([SourceType.EXP])
        self.sources = Sources.create(
            kind, np.array([40.0]), np.array([40.0]), r=np.array([2.0]), max_shift=5.0
        )
        self.scene = ScenePass([image], self.sources, FitOptions())
        self.rows = np.array([0])
        self.start = SimpleNamespace(
            x=np.array([40.0]),
            y=np.array([40.0]),
            log_r=np.log([2.0]),
            g1=np.zeros(1),
            g2=np.zeros(1),
        )
        self.groups = {"near_saturated": np.zeros(1, bool)}

    def planes(self, flat: Any) -> list[Any]:
        return [flat.reshape(96, 96)]

    def own_groups(self) -> dict[int, list[Any]]:
        return {0: [np.array([0])]}


def _gauss(x: Any, y: Any, sigma: float) -> Any:
    return np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2.0 * np.pi * sigma**2)


def test_a_stray_is_fitted_again_and_stays_with_its_source() -> None:
    patch: Any = Scene()
    scene = patch.scene
    free = scene.run(SceneState.start(patch.sources, 1, 1), patch.own_groups(), linear=True)
    tolerance = scene.options.tolerance
    for _ in range(6):  # stamps, and with them models, grow from pass to pass
        state = scene.resized(free)
        prepared = scene.residual(state)
        free = scene.run(state, patch.own_groups(), prepared=prepared, tolerance=tolerance)
        if strayed(patch, free, np.array([0])).all():
            break
    assert strayed(patch, free, np.array([0])).all()  # or this test shows nothing
    after, held = fitted_again(patch, state, free, prepared, tolerance=tolerance)
    assert held.tolist() == [True]
    assert held.tolist() == [True]
    away = np.abs(after.theta[0, :2] - 40.0)
    assert away.max() <= 0.5 * FWHM + 1e-9  # it had got farther when the pass began
    assert np.exp(after.theta[0, 2]) <= 2.0 * math.exp(0.4) + 1e-9
    # The glow under it stays, but it no longer takes all of it.
    assert 120.0 < after.flux[0, 0] < 0.2 * free.flux[0, 0]
    assert np.isfinite(after.flux_err).all()

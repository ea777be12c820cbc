"""The noise of the sky, measured between sources."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from skyloom.detect.blank_sky import blank_sky
from skyloom.detect.noise_mesh import NoiseMesh, measure_noise_mesh, noise_range
from skyloom.geometry import Box
from skyloom.sim import demo_config, simulate_tile

SHAPE = (512, 640)


def measured(image: np.ndarray, **options: int) -> NoiseMesh:
    found = measure_noise_mesh(lambda box: image[box.slices], image.shape, **options)
    assert found is not None
    return found


def whole(mesh: NoiseMesh) -> np.ndarray:
    return mesh.surface(Box.of_shape(mesh.shape))


def test_the_rms_of_crowded_fields_is_that_of_the_sky() -> None:
    config = demo_config(size=512, n_sources=300)
    tile = simulate_tile(config, np.random.default_rng(3))
    for band in config.bands:
        found = measured(tile.images[band.name])
        # the median of 16 meshes: 0.7 % / 4; what faint sources add is below 1 %
        assert found.median == pytest.approx(band.sky_sigma, rel=0.012)


def test_a_gradient_of_the_noise_is_followed_to_the_edges() -> None:
    truth = np.broadcast_to(np.linspace(1.0, 2.0, SHAPE[1]), SHAPE)
    noise = np.random.default_rng(1).normal(0, truth)
    found = whole(measured(noise.astype(np.float32)))
    # a mesh of 16 000 pixels: 0.6 %; extrapolated over half a mesh, twice that; 3 sigma
    assert np.abs(found / truth - 1).max() < 0.04
    assert np.abs(found / truth - 1).mean() < 0.01


def test_level_gradients_bright_galaxies_and_holes_do_not_count() -> None:
    y, x = np.indices(SHAPE)
    image = np.random.default_rng(2).normal(0, 1, SHAPE)
    image += 0.004 * x + 500 * np.exp(-np.hypot(x - 300, y - 200) / 12)
    image[:, :130] = np.nan  # no sky in the first meshes
    found = whole(measured(image.astype(np.float32)))
    assert np.abs(found - 1).max() < 0.04  # as above


def test_correlated_noise_is_measured_as_it_is_per_pixel() -> None:
    white = np.random.default_rng(4).normal(0, 1, (512, 513))
    image = (0.8 * white[:, 1:] + 0.6 * white[:, :-1]).astype(np.float32)
    assert measured(image).median == pytest.approx(1.0, rel=0.01)
    # 0.48 between neighbours along x, none along y
    assert blank_sky(image).neighbour == pytest.approx(0.24, abs=0.01)


def test_a_part_is_the_part_of_the_whole_and_all_is_positive() -> None:
    mesh = NoiseMesh(values=np.array([[1.0, 4.0, 1.0]]), shape=(20, 90))
    box = Box(10, 50, 3, 9)
    assert np.array_equal(mesh.surface(box), whole(mesh)[box.slices])
    assert whole(mesh).min() > 0
    assert whole(mesh)[:, [14, 15]].mean() == pytest.approx(1.0, rel=1e-6)  # the centre of a mesh
    assert (whole(dataclasses.replace(mesh, values=np.array([[3.0]]))) == 3).all()


def test_without_sky_there_is_nothing() -> None:
    nan = np.full(SHAPE, np.nan, np.float32)
    assert measure_noise_mesh(lambda box: nan[box.slices], SHAPE) is None
    assert measure_noise_mesh(lambda box: 0 * nan[box.slices] + 1, SHAPE) is None


def test_strips_are_read_one_row_of_meshes_at_a_time() -> None:
    heights = []

    def read(box: Box) -> np.ndarray:
        heights.append(box.height)
        return np.random.default_rng(5).normal(size=box.shape).astype(np.float32)

    measure_noise_mesh(read, SHAPE, side=100)
    assert sum(heights) == SHAPE[0]
    assert max(heights) < 110


def test_the_range_tells_two_exposure_times_from_a_crowd_of_sources() -> None:
    config = demo_config(size=512, n_sources=120)
    tile = simulate_tile(config, np.random.default_rng(3))
    thin = np.where(np.arange(512) > 300, np.sqrt(2.0), 1.0)
    extra = np.random.default_rng(5).normal(0, 1, (512, 512)) * np.sqrt(thin**2 - 1)
    for band in config.bands:
        even = tile.images[band.name]
        low, high = noise_range(lambda box, image=even: image[box.slices], even.shape)
        assert high / low < 1.12  # sources cover more of one mesh than of the next
        assert low == pytest.approx(band.sky_sigma, rel=0.12)  # on what is left of the sky
        uneven = (even + band.sky_sigma * extra).astype(np.float32)
        low, high = noise_range(lambda box, image=uneven: image[box.slices], uneven.shape)
        assert high / low == pytest.approx(np.sqrt(2.0), rel=0.08)


def test_the_range_of_nothing_is_nan() -> None:
    nan = np.full(SHAPE, np.nan, np.float32)
    assert np.isnan(noise_range(lambda box: nan[box.slices], SHAPE)).all()
    assert np.isnan(noise_range(lambda box: nan[box.slices][:, :5], (512, 5))).all()

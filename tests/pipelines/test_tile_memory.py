"""Memory of the steps that hold a whole band: so many bytes per pixel, for tiles of 61 Mpx."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from skyloom._types import Pixels
from skyloom.detect.stars import select_psf_stars
from skyloom.geometry import Box
from skyloom.pipelines.tile.sky import SkyField, first_level

SIDE = 1600  # pix: what does not grow with the pixels is below half a byte per pixel


def bytes_per_pixel(work: Callable[[], Any]) -> float:
    """Return the most memory that work takes besides its inputs, per pixel."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / SIDE**2
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def image() -> Pixels:
    rng = np.random.default_rng(4)
    pixels = rng.normal(2.0, 1.0, (SIDE, SIDE)).astype(np.float32)
    pixels += np.linspace(0, 1, SIDE, dtype=np.float32)  # a sky that rises by one sigma
    return pixels


def test_the_first_guess_of_the_sky(image: Pixels) -> None:
    bad = np.zeros(image.shape, bool)
    bad[:, 100:140] = True
    found: list[Any] = []
    # the image without bad pixels and the mesh [float32], and a strip of rows
    assert bytes_per_pixel(lambda: found.append(first_level(image, bad, 1.0))) < 14
    field = replace(SkyField.zero(1, image.shape), level=found[0][None])
    surface = field.surface(0, Box.of_shape(image.shape))
    rising = 2.0 + np.linspace(0, 1, SIDE)
    # a mode of 64 x 64 pixels is known to 0.02 sigma; a dozen of them make a node
    assert np.abs(surface.mean(axis=0) - rising).max() < 0.05


def test_the_choice_of_stars(image: Pixels) -> None:
    bad = np.zeros(image.shape, bool)
    image = image - 2.5

    def choose() -> object:
        return select_psf_stars(image, 1.0, bad=bad, saturated=bad, fwhm=4.0)

    # the noise, twice, and masks
    assert bytes_per_pixel(choose) < 14

"""Models that grew over what is no source: which are named, and which are galaxies."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from skyloom.pipelines.tile.halo_flags import is_swollen
from skyloom.scene import SourceType

FWHM = 4.0


def verdict(
    *,
    before: float = 2.0,
    after: float = 40.0,
    shear: float = 0.0,
    pixels: float = 0.0,
    kind: SourceType = SourceType.EXP,
) -> bool:
    """Judge one source: radii [pix], and pixels above the noise in units of pi r**2."""
    rows = np.array([0, 7])  # of the catalogue; the second is judged
    start = SimpleNamespace(
        log_r=np.full(8, math.log(before)), g1=np.zeros(8), g2=np.full(8, shear)
    )
    scene = SimpleNamespace(psf_fwhm=FWHM)
    patch: Any = SimpleNamespace(
        rows=rows, start=start, scene=scene, sources=SimpleNamespace(kind=np.full(2, kind))
    )
    theta = np.zeros((2, 6))
    theta[:, 2], theta[:, 4] = math.log(after), shear
    state: Any = SimpleNamespace(theta=theta)
    n_above = np.array([[0, round(pixels * math.pi * after**2)]])  # of two bands
    found: Any = SimpleNamespace(n_above=n_above)
    return bool(is_swollen(patch, state, found, np.array([1]))[0])


def test_a_small_source_that_became_large_and_hardly_shows_is_no_source() -> None:
    assert verdict()


@pytest.mark.parametrize(
    "galaxy",
    [
        {"pixels": 1.0},  # it grew since it is that large: it shows
        {"before": 20.0},  # the catalogue knew
        {"after": 2.5 * FWHM},  # no larger than what surrounds it
        {"kind": SourceType.STAR},
    ],
)
def test_large_galaxies_and_stars_are_left_alone(galaxy: dict[str, Any]) -> None:
    assert not verdict(**galaxy)


@pytest.mark.parametrize("shear", [0.0, 0.4])
def test_the_limits_are_of_the_major_axis_and_of_the_ellipse(shear: float) -> None:
    stretch = math.sqrt((1 + shear) / (1 - shear))
    limit = 3 * FWHM / stretch  # circularised radius [pix] whose major axis has three FWHM
    assert verdict(after=1.01 * limit, shear=shear)
    assert not verdict(after=0.99 * limit, shear=shear)
    assert verdict(pixels=0.49, shear=shear)
    assert not verdict(pixels=0.51, shear=shear)


def test_a_source_is_judged_by_the_band_that_shows_it_best() -> None:
    assert not verdict(pixels=0.6)  # nothing in the other band

"""Neighbours of PSF stars: taken away as what they are, whatever else shines near them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from key_effects import Bench

from skyloom.pipelines.tile import psfs


def rings(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> np.ndarray:
    """Return the median [sigma] of what the cutout of each PSF star has beyond 14 pixels."""
    found: list[float] = []
    isolate = psfs.isolated_stars

    def spy(*args: Any, **kwargs: Any) -> Any:
        result = isolate(*args, **kwargs)
        side = result.cutouts.data.shape[-1]
        y, x = np.indices((side, side)) - side // 2
        for data, weight in zip(result.cutouts.data, result.cutouts.weight, strict=True):
            outside = (np.hypot(x, y) > 14.0) & (weight > 0)
            found.append(float(np.median((data * np.sqrt(weight))[outside])))
        return result

    monkeypatch.setattr(psfs, "isolated_stars", spy)
    Bench(folder).run("run-epsf", settings)
    return np.array(found)


@pytest.mark.parametrize("has_shapes", [True, False])
def test_galaxies_do_not_grow_into_stars_that_the_scene_lacks(
    small_tile: Path, monkeypatch: pytest.MonkeyPatch, has_shapes: bool
) -> None:
    """Three saturated stars lie between the PSF stars of this tile, too far off to be in the scene.

    Galaxies that were free to grow followed their light to radii of 160 pixels, and left the PSF
    stars 3 to 60 sigma too low in every pixel.
    """
    if not has_shapes:
        path = small_tile / "input_catalog.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["ID", "RA", "DEC", "TYPE"], extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
    settings = {"epsf.epsf_ngrid": 1, "epsf.cutout_size": 41, "epsf.edge_pad": 2}
    found = rings(small_tile, monkeypatch, settings)
    assert len(found) >= 6
    # where no size is stated a galaxy of 10 pixels may lie under a star
    assert np.abs(found).max() < (0.3 if has_shapes else 2.0)

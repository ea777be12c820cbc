"""Small fields and runs that the end-to-end tests share."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from skyloom.pipelines.tile import run_tile
from skyloom.sim import demo_config, simulate_tile, write_tile


@pytest.fixture(scope="session")
def small_field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated field of two bands, 320 pixels, about 60 sources; copy it."""
    config = demo_config(size=320, n_sources=60)
    config = dataclasses.replace(config, bands=config.bands[:2], n_saturated=1, n_uncatalogued=1)
    folder = tmp_path_factory.mktemp("small") / "field"
    tile = simulate_tile(config, np.random.default_rng(11))
    settings = {"epsf": {"epsf_ngrid": 1, "ngrid": 3}, "skyloom": {"plots": "none"}}
    write_tile(tile, folder, settings=settings)
    return folder


@pytest.fixture(scope="session")
def undisturbed(small_field: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small field after an undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed") / "field"
    shutil.copytree(small_field, folder)
    result = run_tile(folder / "config.yaml", executor="serial", progress="quiet")
    assert result.exit_status == 0
    return folder

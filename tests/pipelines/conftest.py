"""Small simulated tiles for the tests of the pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from key_effects import Bench, write_small_tile

from skyloom.sim import demo_config, simulate_tile, write_tile


@pytest.fixture(scope="session")
def tile_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated three-band tile of 200 pixels; not to be written to."""
    tile = simulate_tile(demo_config(size=200, n_sources=40), np.random.default_rng(1))
    folder = tmp_path_factory.mktemp("tile")
    settings = {
        "plotting": {"dpi": 60},  # what pictures look like is tested elsewhere
        "skyloom": {"plots": "none"},
        "epsf": {"epsf_ngrid": 2, "ngrid": 2},
    }
    return write_tile(tile, folder / "small", settings=settings).parent


@pytest.fixture
def small_tile(tile_original: Path, tmp_path: Path) -> Path:
    """Return a fresh copy of the small tile's folder."""
    return Path(shutil.copytree(tile_original, tmp_path / "tile"))


@pytest.fixture
def edit() -> Callable[..., Path]:
    """Return ``edit(folder, section={key: value})``, which changes the configuration."""

    def change(folder: Path, **sections: dict[str, object]) -> Path:
        path = folder / "config.yaml"
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section, values in sections.items():
            config.setdefault(section, {}).update(values)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return path

    return change


@pytest.fixture(scope="session")
def finished_tile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small two-band tile that was run; not to be written to."""
    folder = write_small_tile(tmp_path_factory.mktemp("finished") / "tile")
    Bench(folder).run("run", {})
    return folder

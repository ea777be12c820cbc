"""Shared fixtures of the truth tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def galsim_tiles(tmp_path_factory):
    """Tiles by seed, made once: ``config, tile = galsim_tiles(1)``; see `galsim_tile.TileCache`."""
    pytest.importorskip("galsim", reason="GalSim draws the truth tiles (test extra)")
    from galsim_tile import TileCache  # noqa: PLC0415 - only where GalSim is installed

    return TileCache(tmp_path_factory.mktemp("galsim_tiles"))

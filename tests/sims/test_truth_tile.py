"""GalSim tiles with known truth through the whole pipeline: offsets, pulls, completeness.

Bounds are those of the project's target plus three standard errors of the sample, which
`assess_tile` reports; a tile has about 600 sources in five bands.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from skyloom.catalogs import column_as_float, read_csv
from skyloom.flags import FitFlag
from skyloom.pipelines.tile import run_tile
from skyloom.sim import read_truth
from skyloom.sim.assess import Assessment, SnrBin, assess_tile, pool_assessments

BRIGHT, MEDIUM, FAINT = SnrBin(30, np.inf), SnrBin(30, 100), SnrBin(10, 30)


def run(config: Path, folder: Path) -> tuple[Assessment, float]:
    shutil.copytree(config.parent, folder)
    with (folder / "config.yaml").open("a") as stream:
        stream.write("skyloom:\n  plots: none\n")
    begin = time.monotonic()
    result = run_tile(folder / "config.yaml", progress="quiet", workers=2)
    seconds = time.monotonic() - begin
    assert result.exit_status == 0
    catalog = read_csv(folder / "work" / "output_catalog.csv")
    truth = read_truth(folder)
    columns = ("x_pix_err", "y_pix_err")
    bands = [name[5:-4] for name in catalog.colnames if name.startswith("FLUX_")]
    found = assess_tile(catalog, truth, bands=bands, position_error_columns=columns)
    assert len(catalog) >= len(read_csv(folder / "input_catalog.csv"))
    flags = np.nan_to_num(column_as_float(catalog, "fit_flags")).astype(int)
    assert ((flags & FitFlag.STRUCTURED) > 0).mean() < 0.01  # its galaxies are smooth
    return found, seconds


def check(found: Assessment, group: str, snr: SnrBin, limit: float) -> None:
    """Hold a median offset [mmag] to a limit plus three standard errors."""
    offset = found.value("offset", group=group, snr=snr, band="all")
    error = found.value("offset_err", group=group, snr=snr, band="all")
    assert abs(offset) < limit + 3 * error, (group, snr, offset, error)


def check_tile(found: Assessment) -> None:
    assert found.fraction_fitted > 0.99
    assert found.n_silent == 0  # no missing or infinite flux without its flag
    check(found, "star", BRIGHT, 8.0)
    check(found, "star", FAINT, 20.0)
    check(found, "galaxy", MEDIUM, 20.0)
    check(found, "galaxy", FAINT, 35.0)
    for group in ("star", "galaxy"):
        snr = SnrBin(10, 100)
        width = found.value("width", group=group, snr=snr, band="all")
        error = found.value("width_err", group=group, snr=snr, band="all")
        assert 0.85 - 3 * error < width < 1.2 + 3 * error, (group, width, error)


def test_tile_recovers_the_truth(galsim_tiles, tmp_path):
    config, _ = galsim_tiles(1)
    found, _ = run(config, tmp_path / "tile")
    check_tile(found)


@pytest.mark.soak
def test_four_tiles_pooled(galsim_tiles, tmp_path):
    tiles = []
    for seed in (1, 2, 3, 4):
        config, _ = galsim_tiles(seed)
        found, seconds = run(config, tmp_path / f"tile{seed}")
        check_tile(found)
        assert seconds < 60.0  # warm, on two cores
        tiles.append(found)
    check(pool_assessments(tiles), "star", BRIGHT, 5.0)

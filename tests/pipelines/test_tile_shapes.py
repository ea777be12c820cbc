"""Images that end before the tile does: as good as images that are NaN there."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from key_effects import Bench

ROWS = 170  # of 240 that are left of one band
LOOSE = {"checks.require_same_shape": False}
CATALOGUE = "output_catalog.csv"


@pytest.fixture
def tiles(finished_tile: Path, tmp_path: Path) -> tuple[Bench, Bench]:
    """Two tiles whose second band has no data in its upper rows: cut off, and NaN there."""
    out = []
    for name in ("cut", "nan"):
        bench = Bench(Path(shutil.copytree(finished_tile, tmp_path / name)))
        path = bench.folder / "images/sim_m625.fits"
        with fits.open(path) as hdus:
            data, header = np.array(hdus[0].data, np.float32), hdus[0].header
        if name == "cut":
            data = data[:ROWS]
        else:
            data[ROWS:] = np.nan
        fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
        out.append(bench)
    return out[0], out[1]


def test_a_band_cut_off_with_require_same_shape_false_is_one_with_nan(
    tiles: tuple[Bench, Bench], caplog: pytest.LogCaptureFixture
) -> None:
    cut, nan = tiles
    with caplog.at_level(logging.WARNING):
        cut.run("run", LOOSE)
    assert f"has 240 x {ROWS} of 240 x 240 pix; there is no data beyond them" in caplog.text
    nan.run("run", {})
    assert (cut.work / CATALOGUE).read_bytes() == (nan.work / CATALOGUE).read_bytes()
    text = (cut.work / CATALOGUE).read_text(encoding="utf-8").splitlines()
    fluxes = [line.split(",")[text[0].split(",").index("FLUX_m625_fit")] for line in text[1:]]
    assert any(value in {"", "nan"} for value in fluxes)  # beyond the cut
    assert any(value not in {"", "nan"} for value in fluxes)

"""Start fluxes: by the catalogue, else by an aperture, and never below a floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from key_effects import Bench

from skyloom.catalogs import column_as_bool, column_as_float, read_csv
from skyloom.pipelines.tile.first_light import first_fluxes

EVEN = np.full((40, 50), 2.0, np.float32)


def test_an_aperture_counts_where_the_catalogue_has_no_flux() -> None:
    nothing = np.full((3, 2), np.nan)
    nothing[1] = 70.0, -5.0
    x, y = np.array([20.0, 20.0, 30.5]), np.array([20.0, 20.0, 19.25])
    found = first_fluxes(nothing, x, y, [EVEN, 3 * EVEN], radius=4.0, floor=1e-4)
    area = np.pi * 4.0**2
    # 1 %: sep divides pixels on the rim into 5 x 5
    np.testing.assert_allclose(found[[0, 2]], np.array([[2.0, 6.0]] * 2) * area, rtol=0.01)
    assert found[1, 0] == 70.0
    assert found[1, 1] == pytest.approx(6.0 * area, rel=0.01)


def test_no_start_flux_is_below_the_floor_or_comes_from_beyond_the_image() -> None:
    x, y = np.array([20.0, -30.0, 49.0, 500.0]), np.array([20.0, 20.0, 20.0, 20.0])
    image = EVEN.copy()
    image[:, :30] = -1.0
    image[:, 47:] = np.nan
    found = first_fluxes(np.full((4, 1), np.nan), x, y, [image], radius=1.0, floor=0.5)
    assert found.ravel().tolist() == [0.5, 0.5, 0.5, 0.5]


def test_start_fluxes_lead_an_unstaged_fit_of_several_patches_to_the_fluxes_of_a_staged_one(
    finished_tile: Path, tmp_path: Path
) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path / "tile")
    settings = {"skyloom.fit_passes": 4, "skyloom.bright_stars": False, "epsf.ngrid": 2}
    found = []
    for staged in (True, False):
        bench.run("run", {"patch_run.enable_staged_fit": staged, **settings})
        found.append(read_csv(bench.work / "output_catalog.csv"))
    good = np.all([column_as_bool(table, "fit_is_reliable") for table in found], axis=0)
    assert good.sum() > 20
    flux = [column_as_float(table, "FLUX_m475_fit")[good] for table in found]
    away = np.abs(flux[1] - flux[0]) / column_as_float(found[0], "FLUXERR_m475_fit")[good]
    # both stop within a tenth of an error; few faint galaxies have two minima
    assert np.median(away) < 0.03
    assert np.percentile(away, 90) < 0.2


def test_a_staged_fit_does_not_depend_on_start_fluxes(finished_tile: Path, tmp_path: Path) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path / "tile")
    given = {"epsf.ngrid": 2}
    changed = {"patch_run.r_ap": 9.0, "patch_run.eps_flux": 3e4}
    assert not bench.difference("run-patches", "outputs/*/*_cat_fit.csv", changed, given)

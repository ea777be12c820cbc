"""Settings of the fit: each changes the catalogues of the patches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from key_effects import Bench, Settings

from skyloom.catalogs import column_as_bool, column_as_float, read_csv

FITS = "outputs/*/*_cat_fit.csv"
UNSTAGED = {"patch_run.enable_staged_fit": False, "epsf.ngrid": 2}
MIXTURE = {"patch_run.psf_model": "gaussian_mixture_from_stamp"}

EFFECTS: dict[str, tuple[str, object, Settings]] = {
    "patch_run.enable_multi_band_simultaneous_fitting": (FITS, False, {}),
    "patch_run.enable_staged_fit": (FITS, False, {}),
    "patch_run.r_ap": (FITS, 9.0, UNSTAGED),
    "patch_run.eps_flux": (FITS, 3e4, UNSTAGED),
    "patch_run.gal_model": (FITS, "dev", {}),
    "patch_run.n_opt_iters": (FITS, 1, {}),
    "patch_run.dlnp_stop": (FITS, 1e3, {}),
    "patch_run.sersic_n_init": (FITS, 1.0, {}),
    "patch_run.re_fallback_pix": (FITS, 9.0, {}),
    "patch_run.pos_max_shift_pix": (FITS, 0.05, {}),
    "patch_run.psf_model": (FITS, "gaussian_mixture_from_stamp", {}),
    "patch_run.gaussian_mixture_n": (FITS, 2, MIXTURE),
    "patch_run.hybrid_psf_n": (FITS, 2, {"patch_run.psf_model": "hybrid"}),
    "patch_run.min_epsf_nstars_for_use": (FITS, 99, {}),
    "patch_run.psf_fallback_model": (
        FITS, "ncircular_gaussian", {"patch_run.min_epsf_nstars_for_use": 99}
    ),
    "moffat_psf.beta": (FITS, 2.5, {"patch_run.min_epsf_nstars_for_use": 99}),
    "skyloom.fit_passes": (FITS, 1, {}),
    "skyloom.aperture_radius": (FITS, 3.0, {}),
    "skyloom.model_choice": (FITS, "check", {}),
    "skyloom.psf_error": (FITS, 0.05, {}),
    "skyloom.galaxy_index_scatter": (FITS, 0.2, {}),
    "skyloom.galaxy_size_scatter": (FITS, 0.05, {}),
    "skyloom.bright_stars": (FITS, False, {}),
    "skyloom.profile": (FITS, "hl13", {}),
    "skyloom.correlated_noise": ("skyloom/scene/pass1/*_sky.npz", False, {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path_factory.mktemp("fit") / "tile")


@pytest.mark.parametrize("key", list(EFFECTS))
def test_a_setting_of_the_fit_changes_a_catalogue(bench: Bench, key: str) -> None:
    pattern, value, given = EFFECTS[key]
    assert bench.difference("run-patches", pattern, {key: value}, given)


def test_a_hybrid_psf_changes_galaxies_by_little_and_stars_by_next_to_nothing(bench: Bench) -> None:
    """What a sum of nine Gaussians misses is far below the errors; stars feel only neighbours."""
    found = []
    for settings in ({}, {"patch_run.psf_model": "hybrid"}):
        bench.run("run", settings)
        found.append(read_csv(bench.work / "output_catalog.csv"))
    is_star = np.asarray(found[0]["stype_fit"]) == "star"
    exact, hybrid = (column_as_float(table, "FLUX_m475_fit") for table in found)
    shift = np.abs(hybrid - exact) / column_as_float(found[0], "FLUXERR_m475_fit")
    known = np.isfinite(shift)
    assert 0.0 < np.median(shift[known & ~is_star]) < 0.05
    assert np.median(shift[known & is_star]) < 0.005


def test_a_fit_without_stages_arrives_at_the_same_fluxes(
    finished_tile: Path, tmp_path: Path
) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path / "tile")
    # without halos, whose measurement is uncertain by more; see tests/sims/test_bright_stars.py
    settings = {"skyloom.fit_passes": 4, "skyloom.bright_stars": False}
    found = []
    for staged in (True, False):
        bench.run("run", {"patch_run.enable_staged_fit": staged, **settings})
        found.append(read_csv(bench.work / "output_catalog.csv"))
        meta = next((bench.work / "outputs").glob("*/meta.json"))
        assert json.loads(meta.read_text(encoding="utf-8"))["staged_fit_enabled"] is staged
    good = np.all([column_as_bool(table, "fit_is_reliable") for table in found], axis=0)
    assert good.sum() > 20
    for band in ("m475", "m625"):
        flux = [column_as_float(table, f"FLUX_{band}_fit")[good] for table in found]
        away = np.abs(flux[1] - flux[0]) / column_as_float(found[0], f"FLUXERR_{band}_fit")[good]
        # both stop within a tenth of an error; few faint galaxies have two minima
        assert np.median(away) < 0.03
        assert np.percentile(away, 90) < 0.2

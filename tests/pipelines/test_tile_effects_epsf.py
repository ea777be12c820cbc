"""Settings of the ePSF: each changes the model, the stars or what is said about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from key_effects import Bench, Settings

MODEL = "skyloom/epsf/*.npz"
STARS = "skyloom/epsf/*_stars.parquet"
META = "EPSFs/*/*/meta.json"
STAMPS = "EPSFs/*/*/epsf.npy"
GAIA = {"epsf.psfstar_mode": "gaia"}

EFFECTS: dict[str, tuple[str, object, Settings]] = {
    "epsf.use_gaiaxp": (STARS, False, {}),
    "epsf.thresh_sigma": (STARS, 300.0, {"epsf.psfstar_mode": "sep"}),
    "epsf.minarea": (STARS, 400, {"epsf.psfstar_mode": "sep"}),
    "epsf.cutout_size": (MODEL, 41, {}),
    "epsf.edge_pad": (STARS, 40, {}),
    "epsf.min_sep": (STARS, 90.0, {}),
    "epsf.max_stars": (STARS, 3, {}),
    "epsf.q_range": (STARS, [1.01, 1.03], {"epsf.psfstar_mode": "sep"}),
    "epsf.psfstar_mode": (STARS, "sep", {}),
    "epsf.gaia_mag_min": (STARS, 17.0, GAIA),
    "epsf.gaia_mag_max": (STARS, 16.0, GAIA),
    "epsf.gaia_snap_to_sep": (STARS, False, GAIA),
    "epsf.gaia_forced_k_fwhm": (STARS, 5.0, {**GAIA, "epsf.gaia_snr_min": 300.0}),
    "epsf.gaia_forced_rmin_pix": (STARS, 14.0, {**GAIA, "epsf.gaia_snr_min": 300.0}),
    "epsf.gaia_forced_rmax_pix": (
        STARS,
        3.0,
        {**GAIA, "epsf.gaia_snr_min": 300.0, "epsf.gaia_forced_k_fwhm": 5.0},
    ),
    "epsf.gaia_snr_min": (STARS, 300.0, GAIA),
    "epsf.gaia_match_r_pix": (STARS, 0.001, GAIA),
    "epsf.star_sat_check_r": (STARS, 90, {}),
    "epsf.maxiters": (MODEL, 1, {}),
    "epsf.final_psf_size": (STAMPS, 31, {}),
    "epsf.background_subtract_patch": (MODEL, False, {}),
    "epsf.background_boxsize": (META, 16, {}),
    "epsf.background_filtersize": (META, 1, {"epsf.background_boxsize": 16}),
    "epsf.background_source_mask_sigma": (META, 1.0, {}),
    "epsf.background_mask_dilate": (META, 5, {}),
    "epsf.star_local_bkg_subtract": (META, False, {}),
    "epsf.star_local_bkg_annulus_rin_pix": (META, 10.0, {}),
    "epsf.star_local_bkg_annulus_rout_pix": (META, 24.0, {}),
    "epsf.star_local_bkg_sigma": (META, 1.0, {}),
    "epsf.star_local_bkg_minpix": (META, 3000, {}),
    "patch_run.min_epsf_nstars_for_use": (META, 99, {}),
    "skyloom.psf_loops": (MODEL, 1, {}),
}


@pytest.fixture(scope="module")
def bench(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path_factory.mktemp("epsf") / "tile")


@pytest.mark.parametrize("key", list(EFFECTS))
def test_a_setting_of_the_epsf_changes_a_product(bench: Bench, key: str) -> None:
    pattern, value, given = EFFECTS[key]
    assert bench.difference("run-epsf", pattern, {key: value}, given)

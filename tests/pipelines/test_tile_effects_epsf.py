"""Settings of the ePSF: each changes the model, the stars or what is said about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from key_effects import Bench, Settings

from skyloom.butler import Butler
from skyloom.psf import StarFlag

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
    "epsf.oversamp": (STAMPS, 2, {}),
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


def test_oversamp_changes_what_is_written_and_not_what_is_fitted(bench: Bench) -> None:
    assert not bench.difference("run-epsf", MODEL, {"epsf.oversamp": 3})
    meta = json.loads((bench.work / "EPSFs/m475/r00_c00/meta.json").read_text(encoding="utf-8"))
    fine = np.load(bench.work / "EPSFs/m475/r00_c00/epsf.npy")
    assert meta["epsf_oversampling"] == 3
    assert meta["epsf_shape"] == list(fine.shape) == [3 * 54 + 1] * 2
    bench.run("run-epsf", {})
    native = np.load(bench.work / "EPSFs/m475/r00_c00/epsf.npy")
    assert native.shape == (55, 55)
    for stamp in (fine, native):
        assert stamp.sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)  # single precision
    # one sample holds a ninth of the light; the sum beyond the outermost pixel centres differs
    ratio = 9.0 * fine[::3, ::3] / native
    np.testing.assert_allclose(ratio[20:35, 20:35], ratio[27, 27], rtol=1e-5)
    assert ratio[27, 27] == pytest.approx(1.0, abs=2e-3)


def test_recenter_boxsize_leaves_out_stars_far_from_their_seeds(bench: Bench) -> None:
    """Gaia's positions of half of the stars are 2 pixels off: more than 3 / 2, less than 9 / 2."""
    gaia = Table.read(bench.folder / "gaiaxp.csv")
    scale = abs(fits.getheader(bench.folder / "images/sim_m475.fits")["CD1_1"])
    gaia["dec"][::2] += 2.0 * scale
    gaia.write(bench.folder / "shifted.csv")
    given = {
        **GAIA,
        "inputs.gaiaxp_synphot_csv": "shifted.csv",
        "epsf.gaia_snap_to_sep": False,
    }
    found = {}
    for size in (3, 9, 99):
        bench.run("run-epsf", {**given, "epsf.recenter_boxsize": size})
        stars = Butler(bench.work).get("epsf_stars", band="m475")
        shift = np.maximum(*(np.abs(np.asarray(stars[f"{c}_fit"] - stars[c])) for c in "xy"))
        assert not (shift > 0.5 * size)[np.asarray(stars["used"])].any()
        found[size] = np.asarray(stars["flags"]) & int(StarFlag.MOVED) > 0
        assert ((shift > 0.5 * size) == found[size]).all()
    assert not found[9].any()
    assert not found[99].any()
    assert found[3].any()
    assert not found[3].all()

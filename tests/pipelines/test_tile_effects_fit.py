"""Settings of the fit: each changes the catalogues of the patches."""

from __future__ import annotations

from pathlib import Path

import pytest
from key_effects import Bench, Settings

FITS = "outputs/*/*_cat_fit.csv"
MIXTURE = {"patch_run.psf_model": "gaussian_mixture_from_stamp"}

EFFECTS: dict[str, tuple[str, object, Settings]] = {
    "patch_run.enable_multi_band_simultaneous_fitting": (FITS, False, {}),
    "patch_run.gal_model": (FITS, "dev", {}),
    "patch_run.n_opt_iters": (FITS, 1, {}),
    "patch_run.dlnp_stop": (FITS, 1e3, {}),
    "patch_run.sersic_n_init": (FITS, 1.0, {}),
    "patch_run.re_fallback_pix": (FITS, 9.0, {}),
    "patch_run.pos_max_shift_pix": (FITS, 0.05, {}),
    "patch_run.psf_model": (FITS, "gaussian_mixture_from_stamp", {}),
    "patch_run.gaussian_mixture_n": (FITS, 2, MIXTURE),
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

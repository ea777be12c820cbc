"""Settings from the frame to the patches: each changes a product."""

from __future__ import annotations

from pathlib import Path

import pytest
from key_effects import Bench, Settings

from skyloom.pipelines.tile import Verb

SOURCES = "skyloom/sources.parquet"
PATCHES = "patches/patches.csv"
PAYLOADS = "patch_payloads/*.npz"
MASK = "bright_mask/white_bright_mask.fits"

EFFECTS: dict[str, tuple[Verb, str, object, Settings]] = {
    "image_scaling.zp_ref": ("build-patches", "skyloom/frames.json", 24.0, {}),
    "crop.enabled": ("build-patches", SOURCES, False, {}),
    "crop.margin": ("build-patches", SOURCES, 60, {}),
    "source_saturation_cut.enabled": ("build-patches", SOURCES, False, {}),
    "source_saturation_cut.radius_pix": ("build-patches", SOURCES, 60.0, {}),
    "source_saturation_cut.require_all_bands": (
        "build-patches",
        SOURCES,
        True,
        {"source_saturation_cut.saturation_divisor": 30.0},
    ),
    "source_saturation_cut.saturation_divisor": ("build-patches", SOURCES, 100.0, {}),
    "bright_mask.enabled": ("build-patch-inputs", PAYLOADS, False, {}),
    "bright_mask.thresh_sigma": ("build-patch-inputs", MASK, 1e4, {}),
    "bright_mask.minarea": ("build-patch-inputs", MASK, 4000, {}),
    "bright_mask.match_radius_pix": ("build-patch-inputs", MASK, 0.01, {}),
    "bright_mask.ellipse_scale": ("build-patch-inputs", MASK, 6.0, {}),
    "bright_mask.min_radius_pix": ("build-patch-inputs", MASK, 40.0, {}),
    "bright_mask.dilate_pix": ("build-patch-inputs", MASK, 5, {}),
    "epsf.epsf_ngrid": ("build-patches", PATCHES, 2, {}),
    "epsf.ngrid": ("build-patches", PATCHES, 2, {}),
    "epsf.skip_empty_epsf_patches": ("build-patches", PATCHES, False, {"epsf.epsf_ngrid": 12}),
    "patches.halo_pix_min": ("build-patches", PATCHES, 60, {"epsf.ngrid": 2}),
    "patch_inputs.skip_empty_patch": ("build-patch-inputs", PAYLOADS, False, {"epsf.ngrid": 9}),
    "patch_inputs.include_wcs_in_payload": ("build-patch-inputs", PAYLOADS, True, {}),
    "zp.enabled": ("build-patches", SOURCES, False, {}),
    "zp.inject_gaia_sources": ("build-patches", SOURCES, False, {}),
    "zp.gaia_mag_min": ("build-patches", SOURCES, 15.5, {}),
    "zp.gaia_mag_max": ("build-patches", SOURCES, 15.0, {}),
    "zp.match_radius_arcsec": ("build-patches", SOURCES, 0.01, {}),
    "zp.min_box_size_pix": ("build-patches", SOURCES, 1, {"source_saturation_cut.radius_pix": 70}),
    "zp.gaia_pos_err_pix": ("build-patches", SOURCES, None, {}),
}


@pytest.fixture(scope="module")
def bench(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path_factory.mktemp("input") / "tile")


@pytest.mark.parametrize("key", list(EFFECTS))
def test_a_setting_of_the_input_changes_a_product(bench: Bench, key: str) -> None:
    verb, pattern, value, given = EFFECTS[key]
    assert bench.difference(verb, pattern, {key: value}, given)

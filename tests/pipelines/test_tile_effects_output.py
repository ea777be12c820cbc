"""Settings of merge, zero points and pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from key_effects import Bench, Settings

SUMMARY = "ZP/zp_summary.csv"
ALL = {"skyloom.plots": "all"}

EFFECTS: dict[str, tuple[str, object, Settings]] = {
    "merge.pattern": ("output_catalog.csv", "*pc00_cat_fit.csv", {"epsf.ngrid": 2}),
    "zp.clip_sigma": (SUMMARY, 0.5, {}),
    "zp.clip_max_iters": (SUMMARY, 0, {"zp.clip_sigma": 0.5}),
    "zp.zp_err_method": ("output_catalog.csv", "bright_std", {}),
    "zp.zp_err_snr_min": (SUMMARY, 10.0, {}),
    "crop.display_downsample": ("cropped_images/white_before_crop.png", 4, ALL),
    "crop.post_crop_display_downsample": ("cropped_images/white_after_crop.png", 4, ALL),
    "overlay.downsample_full": ("overlay/white_overlay.png", 4, ALL),
    "overlay.zoom_box": ("overlay/white_overlay_zoom.png", [20, 80, 20, 80], ALL),
    "plotting.dpi": ("overlay/white_overlay.png", 40, ALL),
    "zp.plot_mag_lo": ("ZP/zp_vs_mag__m475.png", 8.0, ALL),
    "zp.plot_mag_hi": ("ZP/zp_vs_mag__m475.png", 21.0, ALL),
    "zp.plot_zp_offset": ("ZP/zp_vs_mag__m475.png", 0.4, ALL),
}


@pytest.fixture(scope="module")
def bench(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path_factory.mktemp("output") / "tile")


@pytest.mark.parametrize("key", list(EFFECTS))
def test_a_setting_of_the_output_changes_a_product(bench: Bench, key: str) -> None:
    pattern, value, given = EFFECTS[key]
    assert bench.difference("run", pattern, {key: value}, given)

"""Settings of merge, zero points and pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from key_effects import Bench, Settings

from skyloom.pipelines.tile import TileConfig
from skyloom.pipelines.tile.frame_sections import tile_label

SUMMARY = "ZP/zp_summary.csv"
ALL = {"skyloom.plots": "all"}

EFFECTS: dict[str, tuple[str, object, Settings]] = {
    "inputs.tile_name": ("overlay/white_overlay.png", "T$7$", ALL),
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


def test_a_tile_name_is_a_label_in_the_log_and_on_pictures_and_decides_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run("run", ALL)
    before = bench.products()
    with caplog.at_level(logging.INFO):
        bench.run("run", {**ALL, "inputs.tile_name": "T7 north"})
    changed = {name for name, value in bench.products().items() if before.get(name) != value}
    assert "tile T7 north" in [record.getMessage() for record in caplog.records]
    assert {name.rpartition("/")[2] for name in changed - {"run_summary.csv"}} == {  # has times
        "white_before_crop.png",
        "white_after_crop.png",
        "white_overlay.png",
        "white_overlay_zoom.png",
        "white_bright_mask_overlay.png",
        "gaia_augmentation_overlay.png",
    }
    assert tile_label(TileConfig().inputs.tile_name) == ""  # the placeholder is no name

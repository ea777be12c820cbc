"""Tables: which test shows the effect of each setting, makes an acceptance check, meets a fault.

A setting that is missing, and a test that does not exist, fail.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
import test_tile_effects_epsf
import test_tile_effects_fit
import test_tile_effects_input
import test_tile_effects_output
from acceptance_tests import BEHAVIOUR, FACTS
from fault_tests import COVERED, FAULTS, PROMISES

from skyloom.config import list_settings
from skyloom.pipelines.tile import TileConfig
from skyloom.pipelines.tile.compat import KEYS_WITHOUT_MEANING

TESTS = Path(__file__).parents[1]
REACH = "pipelines/test_tile_key_reach.py"
RUN = "pipelines/test_tile_run.py"
MISTAKES = "pipelines/test_tile_faults.py"
APP = "cli/test_cli_app.py"
OUTPUTS = f"{REACH}::test_products_lie_where_the_outputs_say"
CHECKS = f"{REACH}::test_a_check_is_as_strict_as_it_is_set"
DRAWN = "pipelines/test_tile_pictures.py"
IMAGES = "pipelines/test_tile_images.py"
MAPS = "pipelines/test_tile_maps.py"
WORK = "pipelines/test_tile_work.py"
AT_ONCE = f"{WORK}::test_a_number_of_workers_is_a_limit_of_its_stages"
ZP_KEYS = "pipelines/test_tile_zero_points.py"
PICTURES = f"{REACH}::test_a_picture_that_is_switched_off_has_no_stage"
FALLBACK = f"{REACH}::test_the_fallback_psf_is_as_configured"
BRIGHT = f"{REACH}::test_detection_of_the_bright_mask_is_told"

EFFECT: dict[str, str] = {
    **dict.fromkeys(
        test_tile_effects_input.EFFECTS,
        "pipelines/test_tile_effects_input.py::test_a_setting_of_the_input_changes_a_product",
    ),
    **dict.fromkeys(
        test_tile_effects_epsf.EFFECTS,
        "pipelines/test_tile_effects_epsf.py::test_a_setting_of_the_epsf_changes_a_product",
    ),
    **dict.fromkeys(
        test_tile_effects_fit.EFFECTS,
        "pipelines/test_tile_effects_fit.py::test_a_setting_of_the_fit_changes_a_catalogue",
    ),
    **dict.fromkeys(
        test_tile_effects_output.EFFECTS,
        "pipelines/test_tile_effects_output.py::test_a_setting_of_the_output_changes_a_product",
    ),
    "inputs.input_catalog": f"{MISTAKES}::test_settings_that_do_not_fit_the_images_are_refused",
    "inputs.image_list_file": f"{MISTAKES}::test_a_mistake_stops_before_any_work",
    "inputs.gaiaxp_synphot_csv": f"{RUN}::test_switched_off_parts_leave_the_rest",
    "outputs.work_dir": f"{RUN}::test_processes_and_serial_agree_byte_for_byte",
    "outputs.epsf_dir": OUTPUTS,
    "outputs.patches_dir": OUTPUTS,
    "outputs.patch_inputs_dir": OUTPUTS,
    "outputs.tractor_out_dir": OUTPUTS,
    "outputs.final_catalog": OUTPUTS,
    "outputs.cropped_images_dir": OUTPUTS,
    "outputs.overlay_dir": OUTPUTS,
    "crop.plot_pre_crop": PICTURES,
    "crop.plot_post_crop": PICTURES,
    "overlay.enabled": PICTURES,
    "overlay.zoom_enabled": PICTURES,
    "checks.require_wcs_alignment": CHECKS,
    "checks.require_same_shape": (
        "pipelines/test_tile_shapes.py::test_a_band_cut_off_with_require_same_shape_false_is_one_with_nan"
    ),
    "checks.wcs_tolerance.crval": CHECKS,
    "checks.wcs_tolerance.crpix": CHECKS,
    "checks.wcs_tolerance.cd": CHECKS,
    "checks.wcs_tolerance.cdelt": CHECKS,
    "bright_mask.deblend_nthresh": BRIGHT,
    "bright_mask.deblend_cont": BRIGHT,
    "bright_mask.clean": BRIGHT,
    "bright_mask.clean_param": BRIGHT,
    "logging.ignore_warnings": f"{REACH}::test_warnings_are_silenced_on_request",
    "logging.level": f"{APP}::test_an_unknown_level_means_info",
    "logging.file": f"{APP}::test_the_log_file_is_named_after_the_verb",
    "logging.format": f"{REACH}::test_log_lines_have_the_format_that_is_set",
    "epsf.recenter_boxsize": (
        "pipelines/test_tile_effects_epsf.py::"
        "test_recenter_boxsize_leaves_out_stars_far_from_their_seeds"
    ),
    "epsf.do_clip": f"{REACH}::test_do_clip_decides_whether_odd_stars_are_left_out",
    **dict.fromkeys(
        (
            "performance.frame_prep_workers",
            "epsf.max_workers",
            "epsf.parallel_bands",
            "patch_inputs.max_workers",
        ),
        AT_ONCE,
    ),
    "performance.white_stack_workers": (
        f"{WORK}::test_white_stack_workers_are_strips_at_work_at_the_same_time"
    ),
    "patch_inputs.save_patch_inputs": (
        f"{WORK}::test_payloads_go_when_they_are_read_and_come_back_for_a_fit"
    ),
    "patch_inputs.gzip_compresslevel": (
        f"{WORK}::test_any_gzip_compresslevel_shrinks_payloads_and_changes_no_catalogue"
    ),
    "patch_inputs.keep_payloads_in_memory": f"{WORK}::test_payloads_in_memory_are_read_once",
    "patch_run.python_exe": f"{WORK}::test_python_exe_starts_the_workers",
    "patch_run.resume": (f"{WORK}::test_resume_false_fits_all_patches_again_and_changes_no_byte"),
    "patch_run.threads_per_process": (
        f"{WORK}::test_threads_per_process_are_those_of_a_fit_and_change_no_byte"
    ),
    "patch_run.max_workers": f"{REACH}::test_workers_are_ours_then_the_originals",
    "patch_run.ncircular_gaussian_n": FALLBACK,
    "patch_run.fallback_stamp_radius_pix": FALLBACK,
    "patch_run.fallback_default_fwhm_pix": (
        f"{REACH}::test_without_a_header_the_fallback_has_the_default_width"
    ),
    "patch_run.no_patch_overview": PICTURES,
    "patch_run.flag_maxiter_margin": f"{REACH}::test_the_margin_of_the_iteration_limit",
    "moffat_psf.radius_pix": FALLBACK,
    "moffat_psf.fwhm_default_pix": (
        "pipelines/test_tile_config.py::"
        "test_the_old_key_of_the_default_width_counts_where_the_new_one_is_not_set"
    ),
    "skyloom.executor": f"{RUN}::test_processes_and_serial_agree_byte_for_byte",
    "skyloom.workers": f"{REACH}::test_workers_are_ours_then_the_originals",
    "skyloom.white_bands": (
        "pipelines/test_tile_white_bands.py::test_the_white_image_is_made_of_the_bands_that_are_named"
    ),
    "skyloom.plots": f"{DRAWN}::test_the_command_line_wins_over_the_key",
    "skyloom.images": f"{IMAGES}::test_a_run_with_settings_is_a_run_with_other_headers",
    **{
        f"skyloom.images.*.{name}": (
            f"{IMAGES}::test_a_setting_is_the_same_as_its_keyword_which_may_be_absent"
        )
        for name in ("filter", "zp_auto", "sky_sigma", "gain", "saturation", "fwhm_pix")
    },
    **dict.fromkeys(
        ("skyloom.images.*.weight_map", "skyloom.images.*.rms_map"),
        f"{MAPS}::test_a_map_of_the_noise_replaces_skysig",
    ),
    "skyloom.noise": f"{MAPS}::test_measured_noise_mends_a_wrong_or_missing_skysig",
    "skyloom.gain_follows_noise": f"{MAPS}::test_half_the_exposure_is_found_and_has_half_the_gain",
    "skyloom.images.*.weight_type": f"{MAPS}::test_a_constant_map_gives_what_the_header_gives",
    **dict.fromkeys(
        ("skyloom.images.*.mask_map", "skyloom.images.*.mask_bits"),
        f"{MAPS}::test_marked_pixels_are_as_good_as_nan",
    ),
    "skyloom.images.*.hdu": f"{IMAGES}::test_pixels_and_wcs_come_from_the_hdu",
    "skyloom.images.*.no_data": f"{IMAGES}::test_regions_without_data_are_as_good_as_nan",
    "skyloom.zp_estimate": f"{ZP_KEYS}::test_the_estimate_that_calibrates_is_a_choice",
    "skyloom.zp_surface": f"{ZP_KEYS}::test_a_surface_flattens_the_magnitudes",
    "skyloom.gaia_epoch": (
        "pipelines/test_tile_epochs.py::test_the_key_overrules_the_headers_and_needs_none"
    ),
    "skyloom.faint_magnitudes": f"{ZP_KEYS}::test_faint_sources_get_what_was_asked_for",
    **{
        f"epsf.{key}": f"{DRAWN}::test_the_keys_of_the_original_switch_single_pictures"
        for key in (
            "save_patch_background_diagnostics",
            "save_star_local_background_diagnostics",
            "save_growth_curve",
            "save_residual_diagnostics",
        )
    },
    **dict.fromkeys(
        (
            "epsf.save_star_montage_max",
            "epsf.diagnostics_show_colorbar",
            "epsf.residual_diag_max_stars",
            "patch_run.cutout_data_p_lo",
            "patch_run.cutout_data_p_hi",
            "patch_run.cutout_model_p_lo",
            "patch_run.cutout_model_p_hi",
            "patch_run.cutout_resid_p_abs",
        ),
        f"{DRAWN}::test_what_a_picture_shows_is_a_setting",
    ),
    **{
        f"patch_run.{key}": f"{DRAWN}::test_cutout_keys_choose_sources_and_resolution"
        for key in (
            "no_cutouts",
            "cutout_size",
            "cutout_max_sources",
            "cutout_start",
        )
    },
}
"""Key -> the test that shows its effect."""


@functools.cache
def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def assert_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert (TESTS / file).is_file(), test
    assert name in functions(file), test


@pytest.mark.parametrize("key", [setting.key for setting in list_settings(TileConfig)])
def test_every_setting_has_a_test_of_its_effect_or_a_reason(key: str) -> None:
    if key in KEYS_WITHOUT_MEANING:
        assert key not in EFFECT, "it has an effect: take it out of KEYS_WITHOUT_MEANING"
        assert len(KEYS_WITHOUT_MEANING[key].split()) > 3, "a reason is a sentence"
    else:
        assert key in EFFECT, "name the test that shows its effect"
        assert_exists(EFFECT[key])
        file = (TESTS / EFFECT[key].partition("::")[0]).read_text(encoding="utf-8")
        assert key.rpartition(".")[2] in file, f"{EFFECT[key]} does not mention it"


def test_the_table_names_no_setting_that_does_not_exist() -> None:
    assert set(EFFECT) <= {setting.key for setting in list_settings(TileConfig)}


@pytest.mark.parametrize(
    "sentence", [*FACTS, *BEHAVIOUR, *FAULTS, *PROMISES], ids=lambda s: s.replace(" ", "-")[:60]
)
def test_every_check_fault_and_promise_has_a_test(sentence: str) -> None:
    tests = {**FACTS, **BEHAVIOUR, **FAULTS, **PROMISES}[sentence]
    assert tests
    for test in tests:
        assert_exists(test)


def test_no_sentence_stands_in_two_tables() -> None:
    tables = (FACTS, BEHAVIOUR, FAULTS, PROMISES)
    assert sum(map(len, tables)) == len({s for table in tables for s in table})


@pytest.mark.parametrize("file", COVERED)
def test_every_test_of_a_fault_or_promise_stands_in_a_table(file: str) -> None:
    listed = {test for table in (FAULTS, PROMISES) for tests in table.values() for test in tests}
    known = {f"{file}::{name}" for name in functions(file) if name.startswith("test_")}
    assert known <= listed, sorted(known - listed)

"""Which test shows what happens when something is wrong, and which that a promise is kept.

`FAULTS` are mistakes and damages, in the words of whoever meets them: each test looks whether the
message names the place and the remedy.  `PROMISES` are what this pipeline does better than others
of its kind often do.  `test_tile_tables.py` checks that every test exists, and that every test of
the files below stands here.
"""

from __future__ import annotations

COVERED = (
    "pipelines/test_tile_faults.py",
    "pipelines/test_tile_promises.py",
    "pipelines/test_tile_warnings.py",
)
"""Every test of these files is named below."""

FAULT = f"{COVERED[0]}::test"
PROMISE = f"{COVERED[1]}::test"
WARNING = f"{COVERED[2]}::test"
MISTAKE = f"{FAULT}_a_mistake_stops_before_any_work"
CONFIG = "pipelines/test_tile_config.py::test"
MODEL = "config/test_config_model.py::test"
FRAME = "images/test_frame.py::test"
FITS = "images/test_fits_image.py::test"
SOURCES = "catalogs/test_input_catalog.py::test"
CSV = "catalogs/test_csv.py::test"
RUN = "pipelines/test_tile_run.py::test"
REACH = "pipelines/test_tile_key_reach.py::test"
STAGES = "pipelines/test_tile_stages.py::test"
DRAWN = "pipelines/test_tile_pictures.py::test"
FLOW = "flow/test_flow_faults.py::test"
ZP = "calib/test_zeropoint.py::test"
AUGMENT = "calib/test_augment.py::test"
STARS = "detect/test_stars.py::test"
CONTROL = "scene/test_fit_control.py::test"
APP = "cli/test_cli_app.py::test"
WORK = "pipelines/test_tile_work.py::test"
PYTHON = "flow/test_flow_interpreter.py::test"

FAULTS: dict[str, tuple[str, ...]] = {
    # the configuration
    "The configuration does not exist, is a directory or no text": (
        f"{APP}_a_missing_configuration_is_one_line",
        f"{MODEL}_read_yaml_names_what_is_missing_or_unreadable",
    ),
    "It is no YAML, or no mapping": (
        f"{MODEL}_broken_yaml_names_the_line",
        f"{MODEL}_root_must_be_a_mapping",
        f"{CONFIG}_a_section_must_be_a_mapping",
    ),
    "A key is misspelt": (f"{CONFIG}_a_misspelling_names_its_key",),
    "A key is of an older release": (f"{CONFIG}_old_keys_are_unknown_and_name_their_successor",),
    "A value has the wrong type": (f"{CONFIG}_a_wrong_type_names_its_key",),
    "A value is no choice, has the wrong length or sign, or is even where odd is needed": (
        f"{CONFIG}_a_value_out_of_range_names_its_key",
    ),
    "psfstar_mode is none of the three": (f"{CONFIG}_unknown_psfstar_mode_warns_and_becomes_both",),
    "The interpreter of the workers cannot be used": (
        f"{WORK}_another_python_exe_is_looked_for_before_any_work",
        f"{PYTHON}_what_cannot_be_executed_is_refused",
        f"{PYTHON}_an_interpreter_without_skyloom_is_refused",
        f"{PYTHON}_an_interpreter_with_an_old_skyloom_is_refused",
        f"{PYTHON}_an_interpreter_with_an_edited_skyloom_is_refused",
        f"{PYTHON}_an_interpreter_in_which_skyloom_does_not_work_is_refused",
        f"{PYTHON}_an_interpreter_without_a_library_is_refused",
        f"{PYTHON}_an_interpreter_that_does_not_answer_is_refused",
        f"{PYTHON}_what_is_no_python_is_refused",
        f"{PYTHON}_other_libraries_are_warned_of",
    ),
    "Workers times threads are more than the CPUs": (
        f"{WORK}_too_many_workers_times_threads_are_warned_of",
    ),
    "Files of patches were not kept": (
        f"{WORK}_payloads_go_when_they_are_read_and_come_back_for_a_fit",
        "flow/test_flow_transient.py::test_what_cannot_be_made_again_blocks_those_who_need_it",
    ),
    "Inputs are not set": (f"{CONFIG}_empty_file_loads_and_its_placeholders_are_refused_together",),
    "The zoom box is no box, or lies beside the frame": (
        f"{CONFIG}_unusable_zoom_box_warns_and_leaves_out_the_zoom",
        f"{WARNING}_a_zoom_beside_the_frame_shows_its_middle",
        f"{WARNING}_where_a_zoom_is",
    ),
    "The crop takes most of the image": (f"{WARNING}_a_crop_that_takes_most_of_a_small_image",),
    "Crop, cells or patches are too fine for the images": (
        f"{FAULT}_settings_that_do_not_fit_the_images_are_refused",
    ),
    "PSF cells are too small to hold a star": (f"{FAULT}_too_small_cells_are_warned_of",),
    "merge.pattern matches nothing": (f"{REACH}_a_pattern_chooses_patches_and_must_choose_one",),
    "Several things are wrong": (
        f"{FAULT}_all_mistakes_are_told_at_once",
        f"{FRAME}_all_faults_of_all_images_come_in_one_message",
    ),
    # images
    "An image or the image list is missing, or the list is empty": (
        MISTAKE,
        f"{CSV}_an_absent_or_empty_image_list",
        f"{FITS}_missing_file",
    ),
    "An image is truncated, no FITS, or a directory": (
        MISTAKE,
        f"{FITS}_a_truncated_file_is_recognised_at_opening_or_reading",
        f"{FITS}_what_is_not_fits_is_named",
        f"{FITS}_a_directory_is_no_image",
    ),
    "Compressed pixels are damaged": (
        f"{FAULT}_pixels_that_cannot_be_read_stop_the_run",
        f"{FITS}_damaged_compressed_tiles_do_not_pass",
    ),
    "An image has the same value everywhere": (
        f"{FAULT}_an_image_that_is_the_same_everywhere_stops_the_run",
        "pipelines/test_noise_sums.py::test_without_any_noise_there_is_no_correlation",
    ),
    "Parts of an image hold no data but zeros; its sky is not subtracted": (
        f"{WARNING}_edges_without_data_and_a_sky_that_is_not_subtracted",
        "pipelines/test_tile_check.py::test_edges_without_data",
        "pipelines/test_tile_images.py::test_regions_without_data_are_as_good_as_nan",
    ),
    "The first image of a file is not the one with the keywords": (
        "pipelines/test_tile_images.py::test_a_first_image_that_lacks_keywords_tells_of_the_others",
    ),
    "The catalogue is FITS or Parquet, has semicolons, or coordinates in hours and minutes": (
        f"{CSV}_damaged_files_name_the_place",
        f"{SOURCES}_faults_name_file_row_column_and_remedy",
    ),
    "ELL, THETA or Re hold what cannot be": (
        f"{SOURCES}_shapes_that_cannot_be_are_warned_of",
        "pipelines/test_tile_check.py::test_shapes_that_cannot_be",
    ),
    "An image has no usable pixel": (
        f"{WARNING}_a_band_without_a_usable_pixel",
        f"{PROMISE}_a_band_of_nan_has_no_fluxes_and_spoils_no_other",
    ),
    "FILTER, ZP_AUTO, SKYSIG, EGAIN or the WCS is missing, empty or nonsense": (
        MISTAKE,
        f"{FRAME}_header_faults_name_keyword_file_and_remedy",
    ),
    "FILTER cannot name a file": (f"{FRAME}_header_faults_name_keyword_file_and_remedy",),
    "SATURATE is missing": (f"{FRAME}_missing_saturation_warns_and_is_infinite",),
    "PEEING and SEEING are missing": (
        f"{REACH}_without_a_header_the_fallback_has_the_default_width",
    ),
    "Two images are of one band": (
        MISTAKE,
        f"{FRAME}_images_that_do_not_belong_together",
    ),
    "Images have different shapes": (
        MISTAKE,
        f"{REACH}_images_of_different_shapes_are_refused_or_padded_as_require_same_shape_says",
    ),
    "Images have different WCS": (MISTAKE, f"{REACH}_a_check_is_as_strict_as_it_is_set"),
    # the catalogue
    "The catalogue is missing or empty": (MISTAKE,),
    "The catalogue is no text, cut off, or has odd quotes": (
        MISTAKE,
        f"{CSV}_damaged_files_name_the_place",
    ),
    "RA or DEC is missing": (MISTAKE, f"{SOURCES}_positions_are_needed"),
    "RA, DEC are spelt otherwise": (f"{WARNING}_columns_spelt_otherwise",),
    "Two columns could be meant": (f"{SOURCES}_the_exact_name_wins_and_ambiguity_is_refused",),
    "A cell is no number, a declination beyond the pole": (
        MISTAKE,
        f"{SOURCES}_faults_name_file_row_column_and_remedy",
    ),
    "Rows have no position": (
        f"{SOURCES}_rows_without_position_stay_with_a_warning",
        f"{RUN}_rows_without_a_position_stay_without_a_fit",
    ),
    "No row lies in the frame, or has a position": (MISTAKE,),
    "IDs are not unique": (MISTAKE,),
    "FLUX_ columns name other bands than the images": (
        MISTAKE,
        f"{SOURCES}_flux_columns_of_other_bands",
    ),
    "TYPE is missing: all sources are of the fallback model": (
        f"{WARNING}_no_type_at_all",
        f"{WARNING}_known_types_are_no_warning",
        "plots/test_plots_tile.py::test_white_overlay_sorts_sources_by_type_and_fate",
    ),
    "TYPE has a value that nobody knows": (f"{WARNING}_types_that_nobody_knows",),
    "Nothing is left to fit": (
        f"{WARNING}_nothing_to_fit",
        f"{STAGES}_no_patch_at_all_is_a_catalogue_without_fits",
    ),
    # Gaia and zero points
    "The Gaia table is missing": (f"{WARNING}_an_absent_gaia_table",),
    "Identifiers of Gaia were rounded: many stars share one": (
        "calib/test_reference.py::test_faults",
    ),
    "A band is flipped or of another place; ZP_AUTO is a placeholder": (
        "pipelines/test_tile_check.py::test_a_flipped_band",
        "pipelines/test_tile_check.py::test_a_zero_point_that_is_none",
    ),
    "The Gaia table lacks a column, or a cell is no number": (
        MISTAKE,
        "calib/test_reference.py::test_faults",
    ),
    "No Gaia star is in the magnitude window or in the field": (
        f"{WARNING}_no_gaia_star_in_the_magnitude_window",
        f"{AUGMENT}_no_star_in_the_box_changes_nothing",
    ),
    "Gaia stars give no PSF star": (f"{PROMISE}_gaia_stars_that_cannot_be_psf_stars_are_told",),
    "The Gaia table has no magnitude of a band: its MAG is empty": (
        f"{WARNING}_a_band_that_the_gaia_table_lacks",
    ),
    "There is no reliable star for a zero point": (
        f"{ZP}_nothing_to_measure_is_said_and_leaves_the_catalogue",
    ),
    # the run
    "A step is asked for before the one that it needs": (f"{RUN}_a_step_asks_for_the_one_before",),
    "The work directory is a file or cannot be written": (
        MISTAKE,
        f"{FAULT}_a_directory_without_permission_is_told",
        f"{FLOW}_read_only_directory_is_a_mistake_of_the_user",
    ),
    "The disk is full": (
        f"{FLOW}_full_disk_stops_the_run_with_status_1",
        f"{FLOW}_full_disk_while_writing_leaves_no_part_of_a_file",
    ),
    "Two runs are in one directory": (
        "pipelines/test_tile_interrupt.py::test_two_runs_in_one_directory_are_refused",
    ),
    "The ledger is damaged": (
        f"{FLOW}_damaged_ledger_is_moved_aside_and_all_is_redone",
        "cli/test_cli_inspect.py::test_a_damaged_ledger_is_told",
    ),
    "A product is damaged or gone": (
        "flow/test_flow_run.py::test_damaged_product_is_made_again",
        "cli/test_cli_inspect.py::test_verify_finds_what_is_missing_or_changed",
    ),
    "A patch fails": (f"{RUN}_a_failing_patch_costs_its_sources_only",),
    "A worker is killed, the run is stopped": (
        "pipelines/test_tile_interrupt.py::test_a_killed_worker_costs_nothing_but_time",
        "pipelines/test_tile_interrupt.py::test_a_stopped_run_goes_on_where_it_stopped",
    ),
    "A picture fails": (f"{DRAWN}_a_failed_picture_fails_no_fit",),
    "A file is in the way of dump-config or the sample": (
        f"{APP}_dump_config_into_a_file_as_directory",
        "pipelines/test_tile_sample.py"
        "::test_an_existing_folder_is_replaced_only_with_force_and_at_the_end",
    ),
    # what comes out
    "A band has few PSF stars or none": (
        f"{PROMISE}_a_band_without_stars_takes_the_fallback_and_says_so",
    ),
    "The PSF of a band failed": (f"{PROMISE}_a_band_whose_psf_failed_is_in_the_summary",),
    "Many fits stop at their iteration limit": (
        f"{WARNING}_many_fits_at_their_limit",
        f"{CONTROL}_an_exhausted_fit_is_reported",
    ),
    "A row has no fit": (f"{RUN}_excluded_rows_say_why_and_have_no_fit",),
    "A source has no usable pixel in a band": (
        f"{CONTROL}_a_masked_source_has_no_flux_and_its_neighbours_do_not_suffer",
    ),
    "A wrong model grew too large to be judged": (
        "pipelines/test_tile_types.py::test_a_type_that_could_not_be_judged_is_flagged",
    ),
    "Two sources lie on one place": (f"{CONTROL}_coincident_sources_are_singular_and_nobody_else",),
    "Headers are wrong in what only pixels can tell": (
        "pipelines/test_tile_check.py::test_wrong_skysig",
        "pipelines/test_tile_check.py::test_wrong_seeing",
        "pipelines/test_tile_check.py::test_a_shifted_band",
        "pipelines/test_tile_check.py::test_impossible_gains",
    ),
}
"""What is wrong -> tests of what is said and done."""

PROMISES: dict[str, tuple[str, ...]] = {
    "python is the interpreter that is running": (
        f"{PYTHON}_python_means_the_one_that_is_running",
        f"{PYTHON}_workers_are_that_interpreter_and_give_the_same_bytes",
    ),
    "A number of workers or threads changes no byte": (
        f"{RUN}_processes_and_serial_agree_byte_for_byte",
        f"{WORK}_threads_per_process_are_those_of_a_fit_and_change_no_byte",
        f"{WORK}_white_stack_workers_are_strips_at_work_at_the_same_time",
        "flow/test_flow_limits.py::test_a_limit_is_no_part_of_a_key_and_changes_no_byte",
    ),
    "Fits that are done again give the same bytes": (
        f"{WORK}_resume_false_fits_all_patches_again_and_changes_no_byte",
    ),
    # same answer whatever the way
    "Steps one by one give the payloads and the catalogue of a run": (
        "pipelines/test_tile_acceptance.py::test_the_chain_of_real_steps_gives_what_run_gives",
    ),
    "Exclusion columns are there with and without Gaia": (
        f"{RUN}_switched_off_parts_leave_the_rest",
    ),
    "IDs stay text, byte for byte, also after compute-zp": (
        f"{RUN}_merge_takes_magnitudes_away_and_compute_zp_brings_them_back",
        f"{ZP}_applying_twice_gives_the_same_bytes_and_keeps_ids",
        f"{SOURCES}_leading_zeros_tell_ids_apart_and_empty_ids_do_not_clash",
    ),
    "The order of rows changes nothing": (f"{PROMISE}_the_order_of_rows_does_not_matter",),
    "A bare catalogue and one image are enough": (
        f"{PROMISE}_a_bare_catalogue_and_one_image_are_enough",
    ),
    "The division into patches changes nothing, neither fluxes nor sky": (
        f"{PROMISE}_the_division_into_patches_does_not_matter",
        "pipelines/test_tile_sky.py::test_division_into_patches_does_not_matter",
    ),
    "A source is fitted once, with the light of all its neighbours": (
        f"{STAGES}_each_row_gets_its_own_fit_whatever_the_patches",
        "scene/test_fit_images.py::test_a_group_in_a_part_of_the_field_has_the_same_answer",
        "scene/test_large_galaxies.py::test_the_flux_of_a_large_galaxy_is_right",
    ),
    # pixels and headers
    "A pixel that one band lacks is seen by the others": (
        "coadd/test_white.py::test_nan_in_one_band_leaves_the_others",
        f"{STAGES}_white_is_the_weighted_mean_and_skips_missing_pixels",
    ),
    "Rows without a position do not stop the Gaia match": (
        f"{AUGMENT}_excluded_and_positionless_rows",
    ),
    "SEEING is in arcsec": (f"{FRAME}_fwhm_in_pixels",),
    "Pixels may stand in any HDU, compressed, with weight, rms and mask maps": (
        "pipelines/test_tile_images.py::test_pixels_and_wcs_come_from_the_hdu",
        f"{FITS}_a_real_compressed_tile",
        "pipelines/test_tile_maps.py::test_a_map_of_the_noise_replaces_skysig",
        "pipelines/test_tile_maps.py::test_marked_pixels_are_as_good_as_nan",
    ),
    "Stars are where they were when the images were taken": (
        "pipelines/test_tile_epochs.py"
        "::test_added_stars_stand_where_they_were_when_the_images_were_taken",
    ),
    # PSFs
    "Numbers of PSF stars count those that made the PSF": (
        f"{PROMISE}_numbers_of_stars_are_those_that_made_the_psf",
    ),
    "A PSF that is sampled finer is not wider": (
        "psf/test_psf_field.py::test_native_stamp_of_an_oversampled_psf",
        "psf/test_psf_builder.py::test_narrow_psfs_are_oversampled_and_do_not_ring",
    ),
    "A fallback PSF is one model for stars and galaxies, never fitted": (
        f"{REACH}_the_fallback_psf_is_as_configured",
        f"{REACH}_a_fallback_psf_stays_as_it_is_whatever_psf_model_says",
    ),
    "A Gaussian mixture as a fallback is the Gaussian that it fits": (
        f"{REACH}_a_gaussian_mixture_fallback_is_one_gaussian_whatever_its_number",
    ),
    "Which Gaia stars become PSF stars does not depend on their order": (
        f"{STARS}_bright_seeds_go_first_where_magnitudes_are_known",
    ),
    # the fit
    "A source at its bound stops no other; convergence is told per source": (
        f"{CONTROL}_a_source_at_its_bound_says_so_and_does_not_stop_its_neighbour",
        f"{CONTROL}_a_neighbour_that_still_moves_leaves_a_settled_source_settled",
    ),
    "Errors hold neighbours, position, shape, sky and the source's own noise": (
        "sims/test_blend_pulls.py::test_errors_are_honest_in_blends",
        "scene/test_fit_truth.py::test_errors_are_honest",
        "scene/test_fit_images.py::test_source_noise_comes_from_the_model",
    ),
    "pos_max_shift_pix: null frees positions": (f"{REACH}_null_means_that_positions_are_free",),
    "Errors of positions and shapes in the catalogue are priors": (
        "pipelines/test_tile_priors.py::test_positions_and_sizes",
        "pipelines/test_tile_priors.py"
        "::test_errors_of_ellipticity_and_angle_are_those_of_the_components",
    ),
    "Errors of catalogue fluxes are priors, and no band of their own": (
        f"{SOURCES}_flux_columns_that_fit_the_bands",
        f"{CONTROL}_flux_priors_join_the_data",
    ),
    "Fluxes need no start: wild or missing ones do no harm": (
        f"{PROMISE}_fluxes_of_the_catalogue_start_nothing",
        f"{AUGMENT}_injected_stars_without_magnitude_get_flux_zero",
    ),
    "Sky, errors of shapes, chi-square and masked parts are in the catalogue": (
        "pipelines/test_tile_zero_points.py::test_every_column_of_ours_has_a_unit_or_a_meaning",
        "scene/test_fit_images.py::test_diagnostics_count_pixels",
    ),
    # zero points
    "A Gaia star belongs to one row": (
        f"{AUGMENT}_of_two_rows_the_nearest_gets_the_star",
        f"{AUGMENT}_matching_is_one_to_one_within_the_radius",
    ),
    "Zero points have true errors": (f"{ZP}_the_zero_point_is_recovered_within_its_error",),
    # files and runs
    "Nothing is read twice that has not changed": (
        f"{RUN}_a_second_run_does_nothing_and_changes_no_product",
        f"{RUN}_a_changed_key_redoes_what_reads_it_and_what_follows",
        "images/test_fits_image.py::test_reading_a_box_does_not_touch_the_rest",
    ),
    "Products of another grid are not mixed in": (
        f"{RUN}_stale_patches_of_another_grid_are_not_merged",
    ),
    "Workers and their number change nothing": (
        f"{RUN}_processes_and_serial_agree_byte_for_byte",
        f"{REACH}_workers_are_ours_then_the_originals",
    ),
    "Files that are read run no code": (
        "butler/test_butler_formats.py::test_arrays_with_code_in_them_are_not_loaded",
        "test_house.py::test_no_file_format_runs_code_and_no_copyleft_is_imported",
    ),
    "A file is whole or not there": (
        f"{FLOW}_full_disk_while_writing_leaves_no_part_of_a_file",
        "e2e/test_resume.py::test_run_that_was_killed_ends_like_an_undisturbed_one",
    ),
    "JSON is valid: what is missing is null": (
        "butler/test_butler_formats.py::test_json_on_disk_is_valid_and_keeps_order",
    ),
    "Metadata have the entries of the original": (
        f"{PROMISE}_the_metadata_of_a_patch_has_what_the_original_has",
    ),
    "Pictures are steps of their own, and few unless asked for": (
        f"{DRAWN}_every_level_has_its_stages",
        f"{DRAWN}_the_keys_of_the_original_switch_single_pictures",
    ),
    "The log says how long loading took, and what a patch went through": (
        f"{WARNING}_the_time_that_loading_takes_is_in_the_log",
        "pipelines/test_tile_log.py::test_the_tile_has_a_log_per_patch",
    ),
    # the configuration
    "Numbers may be written as 1e-12": (f"{CONFIG}_yaml_12_floats_are_numbers",),
    "null is accepted where it has a meaning": (f"{CONFIG}_values_that_must_be_accepted",),
    "Loading twice is as strict as loading once": (
        f"{CONFIG}_loading_does_not_change_the_defaults",
    ),
    "The sample configuration has the defaults": (
        f"{CONFIG}_sample_config_loads_to_the_defaults",
    ),
    "A setting without meaning here says why": (
        f"{CONFIG}_keys_without_effect_exist_and_say_why",
    ),
}  # fmt: skip
"""What is promised -> tests."""

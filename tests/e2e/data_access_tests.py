"""Which test shows each promise of the data access; see `test_data_access_tables.py`."""

from __future__ import annotations

LISTINGS = "compat/test_hsc_listings.py"
MORE = "compat/test_hsc_more_names.py"
SCRIPTS = "compat/test_hsc_scripts.py"
IDS = "butler/test_butler_data_ids.py"
REGISTRY = "butler/test_butler_registry.py"
ROOTS = "butler/test_butler_roots.py"
EXPOSURES = "butler/test_butler_exposures.py"
BACK = "butler/test_butler_bridge_back.py"
BRIDGE = "butler/test_butler_bridge.py"
AFW = "images/test_afw_files.py"
MASKS = "images/test_mask_planes.py"
CALIBRATION = "images/test_calibration.py"
CATALOGS = "catalogs/test_source_catalog.py"
FILES = "catalogs/test_catalog_files.py"
NAMES = "catalogs/test_catalog_names.py"
COMMANDS = "display/test_display_commands.py"
CHOICE = "display/test_display_choice.py"
DS9 = "display/test_display_ds9.py"
E2E = "e2e/test_data_access.py"

MUST_PASS: dict[int, tuple[str, ...]] = {
    1: (f"{IDS}::test_files_of_a_rerun_stand_where_the_original_put_them",),
    2: (
        f"{EXPOSURES}::test_headers_come_from_a_file_whose_pixels_are_missing",
        f"{AFW}::test_headers_of_a_file_without_its_pixels",
        f"{LISTINGS}::test_the_butler_gets_everything_of_the_manual_by_visit_and_ccd",
    ),
    3: (
        f"{AFW}::test_the_same_plane_has_other_bits_in_other_files",
        f"{MASKS}::test_masks_with_other_bits_are_not_combined_silently",
        f"{E2E}::test_masks_are_counted_by_name",
    ),
    4: (f"{AFW}::test_the_hsc_file",),
    5: (
        f"{FILES}::test_the_real_catalogue",
        f"{EXPOSURES}::test_a_rerun_is_read_by_visit_and_ccd_alone",
    ),
    6: (
        f"{AFW}::test_real_files_come_back",
        f"{EXPOSURES}::test_exposures_go_out_and_come_back",
        f"{FILES}::test_the_real_catalogue_comes_back_unchanged",
    ),
    7: ("geometry/test_ellipse.py::test_closed_forms", f"{LISTINGS}::test_calls_of_print_moment"),
    8: (
        f"{COMMANDS}::test_an_exposure_brings_title_wcs_and_origin",
        f"{COMMANDS}::test_settings_follow_the_image_in_their_order",
        f"{LISTINGS}::test_calls_of_show_in_ds9",
    ),
    9: (f"{REGISTRY}::test_two_writers_lose_nothing",),
    10: (
        "catalogs/test_catalog_photometry.py::test_fluxmag0_of_zero_is_no_calibration",
        f"{SCRIPTS}::test_an_uncalibrated_exposure_is_said_so",
    ),
}
"""The ten tests of the specification, by number."""

SCRIPTS_OF_THE_MANUAL: dict[str, tuple[str, ...]] = {
    "ccdplot.py": (f"{LISTINGS}::test_calls_of_ccdplot",),
    "matchRaDec.py": (f"{LISTINGS}::test_calls_of_match_ra_dec",),
    "print_coord.py": (f"{LISTINGS}::test_calls_of_print_coord",),
    "print_mags_from_butler.py": (
        f"{LISTINGS}::test_calls_of_print_mags_from_butler",
        f"{SCRIPTS}::test_magnitudes_from_fluxmag0",
    ),
    "print_moment.py": (f"{LISTINGS}::test_calls_of_print_moment",),
    "psfMosaic.py": (f"{LISTINGS}::test_calls_of_psf_mosaic",),
    "rotateMomentToWcs.py": (f"{LISTINGS}::test_calls_of_rotate_moment_to_wcs",),
    "showBackground.py": (f"{LISTINGS}::test_calls_of_show_background",),
    "showInDs9.py": (
        f"{LISTINGS}::test_calls_of_show_in_ds9",
        f"{SCRIPTS}::test_show_in_ds9",
        f"{DS9}::test_the_script_of_the_manual",
    ),
    "showVisitSkyMap.py": (
        f"{LISTINGS}::test_calls_of_show_visit_sky_map",
        f"{LISTINGS}::test_what_is_not_there_is_said_with_the_line",  # --showPatch: a pickle
    ),
    "toyShear.py": (f"{LISTINGS}::test_calls_of_toy_shear",),
    "findTract.py": (f"{LISTINGS}::test_what_is_not_there_is_said_with_the_line",),  # a task
}
"""Scripts that the manual prints, and what runs their calls or says that they cannot run."""

LISTINGS_OF_THE_MANUAL: dict[str, tuple[str, ...]] = {
    "butler.get, by dataId": (
        f"{LISTINGS}::test_the_butler_gets_everything_of_the_manual_by_visit_and_ccd",
    ),
    "_filename, _md": (
        f"{LISTINGS}::test_the_butler_gets_everything_of_the_manual_by_visit_and_ccd",
    ),
    "hscButler.getDataRef": (
        f"{LISTINGS}::test_the_butler_gets_everything_of_the_manual_by_visit_and_ccd",
    ),
    "tables of targets: bias dark flat fringe postISRCCD calexp psf src wcs fcr, deepCoadd_*": (
        f"{LISTINGS}::test_the_butler_gets_everything_of_the_manual_by_visit_and_ccd",
        f"{IDS}::test_every_type_has_a_sentence",
    ),
    "excerpt of the mapper's policy": (f"{ROOTS}::test_policies_of_the_original_are_layouts",),
    "mask.getPlaneBitMask, clone, &=": (
        f"{LISTINGS}::test_a_mask_plane_alone_is_zero_or_its_bit",
        f"{SCRIPTS}::test_mask_statistics",
    ),
    "sources.get, for src in sources": (f"{LISTINGS}::test_columns_and_records_of_a_catalogue",),
    "print sources.schema": (
        f"{LISTINGS}::test_columns_and_records_of_a_catalogue",
        f"{CATALOGS}::test_the_schema_prints_one_field_per_line",
    ),
    "zero point from FLUXMAG0; FluxFitParams(fcr_md).eval": (
        f"{LISTINGS}::test_zero_points_of_the_exposure_and_of_the_mosaic",
        f"{CALIBRATION}::test_corrections_of_meas_mosaic_are_read",
    ),
    "ds9.mtv with frame, title, settings": (
        f"{LISTINGS}::test_an_exposure_is_shown_with_settings_and_dots",
    ),
    "ds9.Buffering, ds9.dot, @:Ixx,Ixy,Iyy": (f"{LISTINGS}::test_calls_of_show_in_ds9",),
    "mask colours": ("display/test_display_planes.py::test_names_not_bits_choose_the_colour",),
    "hscPipe 5 to 8: cat['base_SdssCentroid_x'], dafPersist.Butler('~/HSC/rerun/...')": (
        f"{LISTINGS}::test_an_exposure_is_shown_with_settings_and_dots",
        f"{LISTINGS}::test_a_tilde_in_the_root_is_the_home",
    ),
}
"""What the pages of the manual print beside the scripts."""

ERRORS: dict[str, tuple[str, ...]] = {
    "BadDataId: no number, unknown key with those there are, / and .., contradiction": (
        f"{IDS}::test_what_is_no_number_is_refused",
        f"{IDS}::test_unknown_keys_are_answered_with_the_known_ones",
        f"{IDS}::test_values_stay_in_their_directory",
        f"{EXPOSURES}::test_a_rerun_is_added_to_by_visit_and_ccd",
    ),
    "AmbiguousDataId: candidates and missing keys": (f"{IDS}::test_several_answers_are_listed",),
    "DataNotFound: type, data ID, path": (f"{IDS}::test_no_answer_says_where_it_was_looked_for",),
    "UnknownDatasetType: close matches": (
        "butler/test_butler_layout.py::test_butler_says_what_is_wrong",
    ),
    "deepCoadd_wcs is a part, no dataset": (f"{EXPOSURES}::test_proper_names_win_over_suffixes",),
    "ReadOnlyError": (f"{SCRIPTS}::test_puts_need_to_be_allowed",),
    "ConflictError: a second put": (
        f"{REGISTRY}::test_second_puts_are_refused_unless_they_are_meant",
        f"{REGISTRY}::test_of_two_puts_at_once_one_is_refused",
    ),
    "TypeError: names both types": (f"{EXPOSURES}::test_exposures_go_out_and_come_back",),
    "unknown fields of a policy: a warning": (
        f"{ROOTS}::test_policies_of_the_original_are_layouts",
    ),
    "a box outside": (
        "images/test_exposure.py::test_a_box_outside_is_refused",
        f"{AFW}::test_a_box_outside_names_file_and_hdu",
    ),
    "float and integer only on demand": (
        "images/test_exposure.py::test_types_are_converted_explicitly_only",
    ),
    "NotCalibrated: FLUXMAG0 = 0": (
        "catalogs/test_catalog_photometry.py::test_fluxmag0_of_zero_is_no_calibration",
    ),
    "UnsupportedFcr": (f"{CALIBRATION}::test_other_corrections_are_refused",),
    "masks: an unknown plane, no bit left": (
        f"{MASKS}::test_an_unknown_plane_is_answered_with_the_known_ones",
        f"{MASKS}::test_no_bit_is_left",
    ),
    "masks that clash are not combined without conform=True": (
        f"{MASKS}::test_masks_with_other_bits_are_not_combined_silently",
    ),
    "no MP_ cards: the first seven, with a warning": (
        f"{AFW}::test_planes_without_names_go_by_position",
    ),
    "fluxes that are not positive: NaN, no warnings": (
        f"{CALIBRATION}::test_fluxes_that_are_not_positive_have_no_magnitude",
    ),
    "an unknown column: near matches": (
        f"{NAMES}::test_a_name_that_is_not_there_is_answered_with_near_ones",
    ),
    "aliases in a circle": (f"{NAMES}::test_aliases_lead_on_and_circles_are_refused",),
    "moments of no ellipse": (
        "geometry/test_ellipse.py::test_no_ellipse_is_nan_in_arrays_and_refused_by_normalize",
        f"{COMMANDS}::test_moments_of_no_ellipse_become_a_cross",
    ),
    "mtv of an exposure with another WCS": (f"{COMMANDS}::test_exposure_and_wcs_contradict",),
    "DisplayNotAvailable; ds9 is never started unasked": (
        f"{CHOICE}::test_nobody_answers",
        f"{CHOICE}::test_launched_but_never_there",
        f"{DS9}::test_launch",
        "display/test_display_pyds9.py::test_no_ds9_of_that_name",
    ),
    "an exception in buffering()": (f"{COMMANDS}::test_an_exception_does_not_lose_the_buffer",),
    "a file without a row, a row without a file": (
        f"{REGISTRY}::test_verify_tells_what_is_wrong",
        f"{REGISTRY}::test_a_lost_registry_is_made_anew",
    ),
    "a damaged, missing or locked registry": (
        f"{REGISTRY}::test_a_damaged_registry_loses_nothing",
        f"{REGISTRY}::test_without_a_registry_file_names_tell",
        f"{REGISTRY}::test_a_held_registry_is_waited_for_and_then_explained",
    ),
    "damaged files: one error with file and HDU, 200 of them": (
        "images/test_afw_fuzz.py::test_damaged_files_are_refused_with_one_error",
        "catalogs/test_catalog_fuzz.py::test_damaged_files_raise_one_error",
        "images/test_background_cells.py::test_damaged_files_raise_nothing_else",
    ),
    "the bridge: no package, no counterpart, keys that are lacking": (
        f"{BRIDGE}::test_without_the_package_the_remedy_is_named",
        f"{BRIDGE}::test_what_has_no_counterpart_is_said",
        f"{BACK}::test_what_is_lacking_is_said",
    ),
    "old names without counterpart": (
        f"{LISTINGS}::test_what_is_not_there_is_said_with_the_line",
        f"{LISTINGS}::test_names_that_are_not_there_can_be_asked_for",
    ),
}
"""Errors of the specification, and what is said."""

PROMISES: dict[str, tuple[str, ...]] = {
    "a rerun without registry resolves visit + ccd, and says what is absent": (
        f"{EXPOSURES}::test_a_rerun_is_read_by_visit_and_ccd_alone",
        f"{REGISTRY}::test_without_a_registry_file_names_tell",
    ),
    "rerun chains; asked for by run": (
        f"{REGISTRY}::test_reruns_read_their_parents_and_write_to_themselves",
        f"{ROOTS}::test_datasets_are_asked_for_by_rerun",
    ),
    "calibrations by validity": (f"{IDS}::test_calibrations_hold_for_some_time",),
    "lsst-daf-butler, both ways, calibrations and components": (
        f"{BACK}::test_calibrations_are_those_of_the_visit",
        f"{BACK}::test_spans_say_what_our_rule_says",
        f"{BACK}::test_components_and_boxes_are_read_alone",
        f"{BACK}::test_a_repository_comes_back_as_it_went",
    ),
    "a real ds9 shows exposure, mask and symbols and tells them back": (
        f"{DS9}::test_pixels_planes_and_symbols",
        f"{DS9}::test_a_real_exposure",
    ),
    "the tutorial and the page of old calls run": (
        "docs/test_docs_tools_tutorial.py::test_the_tutorial_runs_from_top_to_bottom",
        "docs/test_docs_hsc.py::test_the_migration_page",
        "compat/test_hsc_names.py::test_the_page_shows_the_table_as_it_is",
    ),
}
"""What else users were told."""

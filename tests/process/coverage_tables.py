"""Which test shows each rule of file processors, and what happens when something is wrong.

`COUNTING` are the rules of counting and of messages, `STATES` the lines of the state machine of
header processors, `FAULTS` what may be wrong with files, machines and command lines, in the words
of whoever meets it, `SOLVING` what holds for plates.  `test_process_tables.py` checks that the
tests exist, and that every line of the state machine is in the table that its test goes through.
"""

from __future__ import annotations

COUNTS = "process/test_process_counting.py::test"
PARALLEL = "process/test_process_parallel.py::test"
HEADERS = "process/test_header_processors.py::test"
REWRITE = "process/test_header_rewrite.py::test"
CARDS = "process/test_header_cards.py::test"
AGAIN = "process/test_process_again.py::test"
VALID = "process/test_process_validate.py::test"
KILLED = "process/test_process_killed.py::test"
SCALED = "process/test_preview_scaling.py::test"
MAKER = "process/test_preview_maker.py::test"
ANET = "process/test_process_solving.py::test"
FIELDS = "calib/test_solve_fields.py::test"
PLATES = "calib/test_plate_solving.py::test"
SOURCES = "process/test_process_sources.py::test"
CLI = "cli/test_cli_process.py::test"
CLI_SOLVE = "cli/test_cli_solve.py::test"
TEMPLATES = "process/test_process_templates.py::test"

COUNTING: dict[str, tuple[str, ...]] = {
    "hook returned, None too: processed": (f"{COUNTS}_counting",),
    "hook raised SkipThis: counted nowhere": (f"{COUNTS}_counting",),
    "rejected by --filter: counted nowhere": (
        f"{COUNTS}_filter_is_a_plain_substring_and_counts_nothing",
    ),
    "hook raised anything else: processed and ignored": (f"{COUNTS}_counting",),
    "the same numbers with -j": (
        f"{COUNTS}_counting",
        f"{PARALLEL}_results_are_those_of_one_process",
    ),
    "progress text on terminals only": (f"{COUNTS}_progress_is_for_terminals",),
    "one line per failure": (f"{COUNTS}_a_failure_is_one_line_and_the_others_go_on",),
    "--bail: traceback, status 1, later ones untouched": (
        f"{COUNTS}_bail_stops_with_a_traceback",
        f"{PARALLEL}_bail_ends_workers_that_are_at_work",
    ),
    "interrupt: no traceback": (f"{COUNTS}_an_interrupt_has_no_traceback",),
    "auxiliaries and identifiers: errors are not caught": (
        f"{COUNTS}_errors_before_the_first_file_are_not_caught",
    ),
    "--report classifies, never processes, with -j too": (
        f"{COUNTS}_report_classifies_and_never_processes",
    ),
    "--report --verbose names members": (
        f"{COUNTS}_verbose_report_names_the_members_of_small_classes",
    ),
    "a failing handle_result": (f"{COUNTS}_a_failing_handle_result_fails_its_file",),
    "auxiliaries once, _init_worker once per process": (
        f"{COUNTS}_counting",
        f"{PARALLEL}_init_worker_runs_once_in_each_process",
    ),
    "bounded queue of 4 per worker": (f"{PARALLEL}_identifiers_are_taken_as_they_are_needed",),
    "state changed in a worker is lost": (
        f"{PARALLEL}_state_changed_in_a_worker_is_lost_and_results_are_the_way",
    ),
    "product keys compare components": (f"{COUNTS}_product_keys_compare_whole_components",),
    "order of sources": (
        f"{SOURCES}_order_is_items_patterns_file",
        f"{SOURCES}_directories_of_a_pattern_are_sorted",
        f"{SOURCES}_recursion_leaves_dot_directories_out",
        f"{SOURCES}_ignored_ones_are_left_out",
    ),
}
"""Sections 1.1 and 2."""

STATES: tuple[str, ...] = (
    "",
    "--apply",
    "--apply --no-compute",
    "--no-compute",
    "--reprocess",
    "--reprocess --apply",
    "--reheader",
    "--reheader --apply",
    "--reheader --apply --no-compute",
    "--reprocess --reheader --apply",
    "--reprocess --no-compute",
    "--reprocess --no-compute --apply",
)
"""Section 5.1: each with P and C false and true, by `test_every_state_with_every_option`."""

FAULTS: dict[str, tuple[str, ...]] = {
    # files
    "A file is truncated": (
        f"{HEADERS}_bad_files_fail_and_the_others_go_on",
        f"{REWRITE}_a_truncated_file_is_left_alone",
        f"{VALID}_truncation_padding_and_what_follows",
        f"{SCALED}_damaged_files_say_where",
    ),
    "A file is empty": (
        f"{HEADERS}_bad_files_fail_and_the_others_go_on",
        f"{CARDS}_what_is_no_header",
    ),
    "A file is no FITS": (
        f"{HEADERS}_bad_files_fail_and_the_others_go_on",
        f"{VALID}_what_is_no_fits",
        f"{SCALED}_what_is_no_image_is_named",
    ),
    "A file is read-only": (
        f"{HEADERS}_bad_files_fail_and_the_others_go_on",
        f"{REWRITE}_compressed_read_only_and_vanished_files",
    ),
    "A file vanishes, before its turn or during it": (
        f"{HEADERS}_bad_files_fail_and_the_others_go_on",
        f"{REWRITE}_compressed_read_only_and_vanished_files",
        f"{REWRITE}_a_file_that_vanishes_or_is_replaced_meanwhile",
    ),
    "A header is against the standard": (
        f"{VALID}_damaged_headers",
        f"{HEADERS}_missing_mandatory_cards_fail",
        f"{HEADERS}_odd_cards_survive_computing_and_applying",
        f"{REWRITE}_odd_cards_survive",
    ),
    "Data are damaged": (
        f"{VALID}_damaged_data_are_found_by_their_sums",
        f"{REWRITE}_a_checksum_does_not_hide_damaged_data",
    ),
    "A cache is damaged": (f"{HEADERS}_a_damaged_cache_is_a_failure",),
    "There is no new header": (f"{HEADERS}_no_header_no_cache_and_the_old_one_stays",),
    "The new header does not fit the data": (
        f"{HEADERS}_immediate_changes_of_structure_fail",
        f"{REWRITE}_what_does_not_fit_the_data_is_refused",
        f"{REWRITE}_a_wrong_order_is_refused",
    ),
    # the machine
    "The disk is full": (
        f"{REWRITE}_a_full_disk_leaves_the_original",
        f"{AGAIN}_a_full_disk_is_said_of_each_list",
        f"{MAKER}_a_failed_picture_leaves_the_old_one",
    ),
    "A worker is killed": (
        f"{PARALLEL}_a_dead_worker_costs_its_file",
        f"{PARALLEL}_a_dead_worker_is_tried_again_too",
    ),
    "The run is killed": (
        f"{KILLED}_no_file_is_lost_or_half_written",
        f"{REWRITE}_a_killed_overwrite_is_completed",
        f"{REWRITE}_what_a_killed_copy_left_is_removed",
        f"{PARALLEL}_when_the_parent_ends_so_do_workers",
    ),
    "A file takes too long": (
        f"{PARALLEL}_time_limit",
        f"{PARALLEL}_time_limit_for_code_that_does_not_listen",
    ),
    "Two runs are at one file": (f"{REWRITE}_two_processes_do_not_change_one_file",),
    "A result cannot be sent": (f"{PARALLEL}_results_that_cannot_be_sent_fail",),
    "A worker cannot start": (f"{PARALLEL}_a_failing_init_worker_ends_the_run",),
    # the user
    "The command line is wrong": (
        f"{COUNTS}_a_wrong_command_line_shows_the_help",
        f"{CLI}_mistakes",
    ),
    "Rules, tables, lists, journals cannot be read": (
        f"{CLI}_mistakes",
        f"{SOURCES}_a_table_that_cannot_be_read",
        f"{AGAIN}_mistakes_stop_before_any_work",
        "process/test_process_rules.py::test_mistakes_in_the_file",
    ),
}
"""What is wrong -> tests of what is said and done."""

SOLVING: dict[str, tuple[str, ...]] = {
    "--no-anet --reprocess keeps the calibration, never solves": (
        f"{ANET}_no_anet_keeps_the_calibration",
    ),
    "Status 0 without img.solved: one error, no cache": (
        f"{PLATES}_status_0_without_a_solved_file_is_no_solution",
        f"{ANET}_no_solution_is_one_error_and_leaves_no_cache",
    ),
    "Other statuses, interrupts, programs that do not end": (
        f"{PLATES}_other_states_of_the_program",
        f"{PLATES}_the_program_and_its_children_are_killed_in_time",
    ),
    "--copy-to replaces a folder, never the sources; not with -j": (
        f"{ANET}_copy_to_replaces_a_folder_but_not_the_sources",
        f"{CLI_SOLVE}_mistakes_in_a_calibration_stop_before_any_work",
    ),
    "The stored fields": (
        f"{FIELDS}_the_synthetic_fields",
        f"{FIELDS}_apod5_with_the_smallest_index",
        f"{FIELDS}_a_picture_with_nebulae",
        f"{FIELDS}_a_picture_with_nebulae_and_all_indexes",
        f"{FIELDS}_apod4",
        f"{FIELDS}_no_solution_is_explained",
    ),
    "Ten generated fields": (
        f"{FIELDS}_a_generated_field",
        f"{FIELDS}_a_field_that_nobody_chose",
    ),
    "Positions from 1; without it the test sees a pixel": (f"{FIELDS}_positions_count_from_one",),
    "Control texts mean what they mean to SExtractor": (
        "calib/test_solve_extraction.py::test_the_same_stars_as_sextractor",
    ),
    "The time limit is kept, and used": (
        f"{FIELDS}_the_package_keeps_to_its_time",
        "calib/test_solve_time.py::test_a_question_that_would_not_end_in_time_is_not_asked",
        "calib/test_solve_time.py::test_time_goes_to_coarse_indexes_where_the_scale_is_unknown",
    ),
    "Thresholds of calibrate": (f"{ANET}_thresholds_of_calibrate",),
    "No solver": (f"{PLATES}_no_solver_is_said",),
    "Wrong hints, negatives, epochs": (
        f"{FIELDS}_wrong_hints_of_a_header_are_dropped",
        f"{FIELDS}_a_negative_is_solved",
        f"{PLATES}_a_catalogue_moves_to_the_epoch_of_the_plate",
    ),
    "Templates do not influence each other": (
        f"{TEMPLATES}_two_calls_do_not_influence_each_other",
    ),
}
"""Sections 6, 8 and 9."""

"""Which test makes each acceptance check of the tile pipeline; see `test_tile_tables.py`."""

from __future__ import annotations

RUN = "pipelines/test_tile_run.py"
FAULTS = "pipelines/test_tile_faults.py"
TILING = "geometry/test_tiling.py"
MODELS = "psf/test_psf_models.py"
FRAME = "images/test_frame.py"
ZP = "calib/test_zeropoint.py"
CONFIG = "pipelines/test_tile_config.py"
ACCEPTANCE = "pipelines/test_tile_acceptance.py"

FACTS: dict[str, tuple[str, ...]] = {
    "ZP_AUTO 24.5, zp_ref 25: scale": (f"{FRAME}::test_scale_and_saturation_of_the_specification",),
    "SATURATE 4000, divisor 1.3": (f"{FRAME}::test_scale_and_saturation_of_the_specification",),
    "white of two bands": ("coadd/test_white.py::test_two_bands_of_the_specification",),
    "first patch of 520 pixels": (f"{TILING}::test_first_patch_of_a_520_pixel_tile",),
    "halo 29 and 20": (f"{TILING}::test_halo_of_the_default_and_of_a_small_stamp",),
    "Moffat alpha": (f"{MODELS}::test_moffat_alpha_of_the_specification",),
    "fallback sigma": (f"{MODELS}::test_gaussian_sigma_of_the_specification",),
    "ab 0.8, phi 0": (f"{ACCEPTANCE}::test_shape_without_columns_lies_along_y",),
    "ELL 0.5, THETA 45": (f"{ACCEPTANCE}::test_shape_of_half_ellipticity_at_45_degrees",),
    "THETA -30": (f"{ACCEPTANCE}::test_negative_angles_are_the_same_axis",),
    "clipping of eight zero points": (f"{ZP}::test_clipping_of_the_specification",),
    "weighted median and MAD": (f"{ZP}::test_weighted_median_and_mad_of_the_specification",),
    "annulus in a 61-pixel stamp": (
        "psf/test_psf_local_background.py::test_the_annulus_fits_into_the_stamp",
    ),
    "need of 40 pixels": (f"{FAULTS}::test_too_small_cells_are_warned_of",),
}
"""Numbers that everybody can compute by hand -> tests."""

BEHAVIOUR: dict[str, tuple[str, ...]] = {
    "An empty configuration loads; wrong types and misspellings name their key": (
        f"{CONFIG}::test_empty_file_loads_and_its_placeholders_are_refused_together",
        f"{CONFIG}::test_a_wrong_type_names_its_key",
        f"{CONFIG}::test_a_misspelling_names_its_key",
    ),
    "Fluxes, positions and zero points of a simulated tile are those of the truth": (
        f"{ACCEPTANCE}::test_isolated_stars_and_positions_are_recovered",
        "sims/test_truth_tile.py::test_tile_recovers_the_truth",
    ),
    "Every row comes back once, in order, its ID byte for byte, with and without zero points": (
        f"{RUN}::test_a_run_gives_every_input_row_once_and_in_order",
        f"{RUN}::test_unusual_catalogues_come_through_unchanged",
        f"{RUN}::test_switched_off_parts_leave_the_rest",
        f"{ZP}::test_applying_twice_gives_the_same_bytes_and_keeps_ids",
    ),
    "A run is the chain of its steps": (
        f"{RUN}::test_the_chain_of_steps_gives_what_run_gives",
        f"{ACCEPTANCE}::test_the_chain_of_real_steps_gives_what_run_gives",
    ),
    "A source on a border belongs to one patch and is reported by no other": (
        f"{TILING}::test_source_on_a_border_belongs_to_the_upper_patch",
        f"{ACCEPTANCE}::test_each_source_is_in_the_catalogue_of_its_patch_alone",
    ),
    "A bright star that no row lists is masked and does not pull its neighbours": (
        "pipelines/test_tile_stages.py"
        "::test_an_unlisted_bright_thing_is_masked_and_a_listed_one_is_not",
        f"{ACCEPTANCE}::test_a_bright_unlisted_star_is_masked_and_does_not_pull_its_neighbour",
    ),
    "A killed worker leaves the others; the next run does what is missing": (
        f"{RUN}::test_a_failing_patch_costs_its_sources_only",
        "pipelines/test_tile_interrupt.py::test_a_killed_worker_costs_nothing_but_time",
        "e2e/test_resume.py::test_killed_worker_costs_nothing_but_time",
    ),
    "compute-zp twice gives the same file; zp_err_method changes MAGERR only": (
        f"{RUN}::test_merge_takes_magnitudes_away_and_compute_zp_brings_them_back",
        f"{RUN}::test_zp_err_method_changes_magnitude_errors_only",
        f"{ZP}::test_applying_twice_gives_the_same_bytes_and_keeps_ids",
    ),
    "One band alone and all bands together give the same numbers": (
        "pipelines/test_tile_single_band.py"
        "::test_of_one_band_both_modes_give_the_same_numbers",
    ),
    "No Gaia, FLUX, ID, TYPE, other spelling, one image, no crop: all finish": (
        f"{RUN}::test_switched_off_parts_leave_the_rest",
        f"{RUN}::test_unusual_catalogues_come_through_unchanged",
        f"{RUN}::test_a_single_image_is_a_tile",
        "pipelines/test_tile_promises.py::test_a_bare_catalogue_and_one_image_are_enough",
    ),
}  # fmt: skip
"""What a tile has to do -> tests that show it."""

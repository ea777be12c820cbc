"""The tile configuration: every key of the specification, path rules, old names."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyloom.config import build_config, config_subset, list_settings, parse_yaml, read_yaml
from skyloom.errors import ConfigError, UnknownKey, WrongType, WrongValue
from skyloom.pipelines.tile.compat import (
    FILE_RELATIVE,
    KEYS_WITHOUT_MEANING,
    OLD_KEYS,
    WORK_DIR_RELATIVE,
)
from skyloom.pipelines.tile.config import (
    TileConfig,
    config_reference,
    load_config,
    require_inputs,
    sample_config,
)

REPO = Path(__file__).parents[2]

# Section 3 of the specification of the tile pipeline, key by key; notes where we differ on purpose.
DEFAULTS: dict[str, dict[str, Any]] = {
    "inputs": {
        "tile_name": "your_tile_name",
        "input_catalog": "path/to/input_catalog.csv",
        "image_list_file": "path/to/image_list.txt",
        "gaiaxp_synphot_csv": "path/to/gaiaxp_synphot.csv",
    },
    "outputs": {
        "work_dir": "path/to/work_dir",
        "epsf_dir": "EPSFs",
        "patches_dir": "patches",
        "patch_inputs_dir": "patch_payloads",
        "tractor_out_dir": "outputs",
        "final_catalog": "output_catalog.csv",
        "cropped_images_dir": "cropped_images",
        "overlay_dir": "overlay",
    },
    "image_scaling": {"zp_ref": 25.0},
    "crop": {
        "enabled": True,
        "margin": 500,
        "plot_pre_crop": True,
        "plot_post_crop": True,
        "display_downsample": 4,
        "post_crop_display_downsample": 4,
    },
    "overlay": {
        "enabled": True,
        "downsample_full": 4,
        "zoom_enabled": True,
        "zoom_box": [4000, 5000, 4000, 5000],
    },
    "checks": {
        "require_wcs_alignment": True,
        "wcs_tolerance": {"crval": 1e-6, "crpix": 1e-6, "cd": 1e-9, "cdelt": 1e-9},
        "require_same_shape": True,
    },
    "source_saturation_cut": {
        "enabled": True,
        "radius_pix": 20.0,
        "require_all_bands": False,
        "saturation_divisor": 1.3,
    },
    "bright_mask": {
        "enabled": True,
        "thresh_sigma": 5.0,
        "minarea": 20,
        "deblend_nthresh": 32,
        "deblend_cont": 0.005,
        "clean": True,
        "clean_param": 1.0,
        "match_radius_pix": 3.0,
        "ellipse_scale": 3.0,
        "min_radius_pix": 6.0,
        "dilate_pix": 1,
    },
    "logging": {
        "ignore_warnings": True,
        "level": "INFO",
        "file": "auto",
        "format": "%(asctime)s | %(name)s | %(levelname)s | %(message)s",
    },
    "performance": {"frame_prep_workers": "auto", "white_stack_workers": "auto"},
    "epsf": {
        "use_gaiaxp": True,
        "epsf_ngrid": 7,
        "ngrid": 6,
        "skip_empty_epsf_patches": True,
        "thresh_sigma": 10.0,
        "minarea": 25,
        "cutout_size": 61,
        "edge_pad": 10,
        "min_sep": 30.0,
        "max_stars": 30,
        "q_range": [0.7, 1.3],
        "psfstar_mode": "sep+gaia",
        "gaia_mag_min": 10.0,
        "gaia_mag_max": 30.0,
        "gaia_snap_to_sep": True,
        "gaia_forced_k_fwhm": 1.5,
        "gaia_forced_rmin_pix": 3.0,
        "gaia_forced_rmax_pix": 15.0,
        "gaia_snr_min": 20.0,
        "gaia_match_r_pix": 5.0,
        "star_sat_check_r": "auto",
        "oversamp": 1,
        "maxiters": 30,
        "do_clip": True,
        "recenter_boxsize": 9,
        "final_psf_size": 55,
        "save_star_montage_max": 100,
        "background_subtract_patch": True,
        "background_boxsize": 96,
        "background_filtersize": 9,
        "background_source_mask_sigma": 3.0,
        "background_mask_dilate": 1,
        "star_local_bkg_subtract": True,
        "star_local_bkg_annulus_rin_pix": 20.0,
        "star_local_bkg_annulus_rout_pix": 30.0,
        "star_local_bkg_sigma": 3.0,
        "star_local_bkg_minpix": 30,
        "save_patch_background_diagnostics": True,
        "save_star_local_background_diagnostics": True,
        "diagnostics_show_colorbar": True,
        "save_growth_curve": True,
        "save_residual_diagnostics": True,
        "residual_diag_max_stars": 100,
        "parallel_bands": True,
        "max_workers": "auto",
    },
    "patches": {"halo_pix_min": 20},
    "patch_inputs": {
        "save_patch_inputs": True,
        "skip_empty_patch": True,
        "include_wcs_in_payload": False,
        "max_workers": 16,
        "gzip_compresslevel": 0,  # the original: 1; it costs more than it saves
        "keep_payloads_in_memory": False,
    },
    "patch_run": {
        "enable_multi_band_simultaneous_fitting": True,
        "python_exe": "python",
        "resume": True,  # the original: false, because it did not know what was still right
        "max_workers": 32,
        "threads_per_process": 1,
        "gal_model": "exp",
        "n_opt_iters": 20,
        "dlnp_stop": 1e-12,
        "r_ap": 5.0,
        "eps_flux": 1e-4,
        "sersic_n_init": 3.0,
        "re_fallback_pix": 3.0,
        "psf_model": "pixelized",
        "psf_fallback_model": "moffat",
        "min_epsf_nstars_for_use": 2,
        "ncircular_gaussian_n": 3,
        "hybrid_psf_n": 9,
        "gaussian_mixture_n": 4,
        "fallback_default_fwhm_pix": 4.0,
        "fallback_stamp_radius_pix": 25.0,
        "cutout_size": 100,
        "cutout_max_sources": None,
        "cutout_start": 0,
        "cutout_data_p_lo": 1.0,
        "cutout_data_p_hi": 99.0,
        "cutout_model_p_lo": 1.0,
        "cutout_model_p_hi": 99.0,
        "cutout_resid_p_abs": 99.0,
        "no_cutouts": False,
        "no_patch_overview": False,
        "flag_maxiter_margin": 0,
        "pos_max_shift_pix": 5.0,
        "enable_staged_fit": True,
    },
    "moffat_psf": {"fwhm_default_pix": 4.0, "beta": 3.5, "radius_pix": 25.0, "module_path": None},
    "merge": {"pattern": "*_cat_fit.csv"},
    "plotting": {"dpi": 300},
    "zp": {
        "enabled": True,
        "inject_gaia_sources": True,
        "gaia_mag_min": 8.0,
        "gaia_mag_max": 18.0,
        "match_radius_arcsec": 3.0,
        "min_box_size_pix": 3000,
        "clip_sigma": 3.0,
        "clip_max_iters": 10,
        "gaia_pos_err_pix": 0.1,
        "plot_mag_lo": 10.0,
        "plot_mag_hi": 20.0,
        "plot_zp_offset": 0.25,
        "zp_err_method": "all_mad",
        "zp_err_snr_min": 100.0,
    },
}

SETTINGS = [s for s in list_settings(TileConfig) if not s.key.startswith("skyloom.")]


def nested(key: str, value: object) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def build(data: dict[str, Any]) -> TileConfig:
    document = parse_yaml("", name="tile.yaml")
    document.data.update(data)
    return build_config(TileConfig, document, old_keys=OLD_KEYS)


def build_with(key: str, value: object) -> TileConfig:
    return build(nested(key, value))


def load(directory: Path, text: str) -> TileConfig:
    path = directory / "tile.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def test_keys_and_defaults_are_those_of_the_specification() -> None:
    dump = TileConfig().model_dump(mode="json")
    dump.pop("skyloom")
    assert dump == DEFAULTS
    assert list(dump) == list(DEFAULTS)
    assert len(SETTINGS) == 155


def test_defaults_of_numbers_have_the_declared_type() -> None:
    for setting in SETTINGS:
        if setting.kind.startswith("number"):
            assert isinstance(setting.default, float), setting.key
        elif setting.kind == "integer":
            assert type(setting.default) is int, setting.key


def test_every_setting_has_a_sentence() -> None:
    for setting in list_settings(TileConfig):
        assert setting.sentence.endswith("."), setting.key


def test_settings_named_in_pixels_say_so() -> None:
    for setting in SETTINGS:
        if setting.key.endswith("_pix"):
            assert setting.unit == "pix", setting.key


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.key)
def test_a_wrong_type_names_its_key(setting: Any) -> None:
    wrong = [object(), {"a": 1}]
    if not setting.kind.startswith(("true", "string", "path", "'")):
        wrong += [True, "abc"] if setting.key != "overlay.zoom_box" else ["abc"]
    if setting.kind.startswith("integer"):
        wrong.append(5.0)
    if "null" not in setting.kind:
        wrong.append(None)
    if setting.kind.startswith(("string", "path", "'", "true")):
        wrong.append(3)
    for value in wrong:
        with pytest.raises(WrongType, match=re.escape(setting.key)) as caught:
            build_with(setting.key, value)
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.key)
def test_a_misspelling_names_its_key(setting: Any) -> None:
    misspelt = f"{setting.key[:-1]}{setting.key[-1]}x"
    with pytest.raises(UnknownKey, match=re.escape(misspelt)) as caught:
        build_with(misspelt, 1)
    assert isinstance(caught.value, KeyError)
    assert f"did you mean '{setting.name}'?" in str(caught.value)


@pytest.mark.parametrize("section", list(DEFAULTS))
@pytest.mark.parametrize("value", [None, 3, [], "x"])
def test_a_section_must_be_a_mapping(section: str, value: object) -> None:
    with pytest.raises(WrongType, match=f"{section}.* must be a mapping"):
        build({section: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source_saturation_cut.saturation_divisor", 0),
        ("crop.margin", -1),
        ("crop.display_downsample", 0),
        ("checks.wcs_tolerance.cd", -1e-9),
        ("epsf.q_range", [1.3, 0.7]),
        ("epsf.q_range", [0.7]),
        ("epsf.q_range", [0.7, 1.0, 1.3]),
        ("epsf.q_range", [0, 1.3]),
        ("epsf.final_psf_size", 54),
        ("epsf.epsf_ngrid", 0),
        ("epsf.oversamp", 0),
        ("epsf.gaia_mag_max", 5),
        ("epsf.gaia_forced_rmax_pix", 1),
        ("epsf.star_local_bkg_annulus_rin_pix", 40),
        ("epsf.star_sat_check_r", -1),
        ("epsf.max_workers", 0),
        ("patches.halo_pix_min", -1),
        ("patch_inputs.gzip_compresslevel", 10),
        ("patch_inputs.gzip_compresslevel", -1),
        ("patch_inputs.max_workers", 0),
        ("patch_run.python_exe", ""),
        ("patch_run.gal_model", "EXPO"),
        ("patch_run.psf_model", "gauss"),
        ("patch_run.psf_fallback_model", "pixelized"),
        ("patch_run.ncircular_gaussian_n", 4),
        ("patch_run.pos_max_shift_pix", 0),
        ("patch_run.pos_max_shift_pix", -5.0),
        ("patch_run.n_opt_iters", 0),
        ("patch_run.eps_flux", 0),
        ("patch_run.cutout_data_p_hi", 0.5),
        ("patch_run.cutout_model_p_lo", 101),
        ("patch_run.max_workers", 0),
        ("moffat_psf.beta", 1.0),
        ("moffat_psf.radius_pix", 0),
        ("merge.pattern", ""),
        ("plotting.dpi", 0),
        ("zp.gaia_mag_min", 18.0),
        ("zp.gaia_pos_err_pix", 0),
        ("zp.plot_mag_hi", 10),
        ("zp.zp_err_method", "mad"),
        ("zp.match_radius_arcsec", 0),
        ("logging.format", "%(asctime"),
        ("inputs.input_catalog", ""),
        ("skyloom.executor", "threads"),
        ("skyloom.workers", 0),
        ("skyloom.fit_passes", 0),
        ("skyloom.plots", "some"),
        ("skyloom.profile", "sdss"),
    ],
)
def test_a_value_out_of_range_names_its_key(key: str, value: object) -> None:
    name = key.rpartition(".")[2]
    with pytest.raises(WrongValue, match=name) as caught:
        build_with(key, value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("patch_run.pos_max_shift_pix", None, None),
        ("patch_run.pos_max_shift_pix", 3, 3.0),
        ("patch_run.cutout_data_p_lo", 0.5, 0.5),
        ("patch_run.cutout_max_sources", None, None),
        ("patch_run.min_epsf_nstars_for_use", -1, -1),
        ("zp.gaia_pos_err_pix", None, None),
        ("inputs.gaiaxp_synphot_csv", None, None),
        ("epsf.star_sat_check_r", 0, 0),
        ("epsf.star_sat_check_r", "12", 12),
        ("epsf.q_range", [1, 2], (1.0, 2.0)),
        ("performance.frame_prep_workers", 0, 0),
        ("logging.level", "LOUD", "LOUD"),
        ("logging.file", None, None),
        ("logging.file", " AUTO", "auto"),
        ("skyloom.executor", "serial", "serial"),
        ("skyloom.executor", None, None),
    ],
)
def test_values_that_must_be_accepted(key: str, value: object, expected: object) -> None:
    section, name = key.split(".")
    assert getattr(getattr(build_with(key, value), section), name) == expected


def test_annulus_is_free_when_no_local_background_is_subtracted() -> None:
    epsf = {"star_local_bkg_subtract": False, "star_local_bkg_annulus_rin_pix": 99}
    assert build({"epsf": epsf}).epsf.star_local_bkg_annulus_rin_pix == 99


def test_yaml_12_floats_are_numbers(tmp_path: Path) -> None:
    config = load(tmp_path, "patch_run: {dlnp_stop: 1e-12, eps_flux: 1E-4}\n")
    assert config.patch_run.dlnp_stop == 1e-12
    assert config.patch_run.eps_flux == 1e-4


def test_unknown_psfstar_mode_warns_and_becomes_both(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert build_with("epsf.psfstar_mode", "stars").epsf.psfstar_mode == "sep+gaia"
    assert "epsf.psfstar_mode = 'stars'" in caplog.text
    caplog.clear()
    assert build_with("epsf.psfstar_mode", "gaia").epsf.psfstar_mode == "gaia"
    assert not caplog.records


@pytest.mark.parametrize("box", [[0, 10, 0], [10, 10, 0, 5], [0, 5, 9, 2], []])
def test_unusable_zoom_box_warns_and_leaves_out_the_zoom(
    box: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    overlay = build_with("overlay.zoom_box", box).overlay
    assert not overlay.has_zoom
    assert "overlay.zoom_box" in caplog.text
    caplog.clear()
    assert not build({"overlay": {"zoom_box": box, "zoom_enabled": False}}).overlay.has_zoom
    assert not caplog.records


def test_zoom_needs_both_switches() -> None:
    assert TileConfig().overlay.has_zoom
    assert not build({"overlay": {"enabled": False}}).overlay.has_zoom


@pytest.mark.parametrize("key", sorted(OLD_KEYS))
def test_old_keys_are_unknown_and_name_their_successor(key: str) -> None:
    with pytest.raises(UnknownKey, match=re.escape(f"{key}; {OLD_KEYS[key]}")):
        build_with(key, 1)


def test_old_keys_name_successors_that_exist() -> None:
    known = {s.key for s in SETTINGS}
    assert not known & set(OLD_KEYS)
    for remedy in OLD_KEYS.values():
        for name in re.findall(r"\b(?:overlay|epsf|source_saturation_cut)\.\w+", remedy):
            assert name in known


def test_every_path_has_a_rule() -> None:
    paths = {s.key for s in SETTINGS if "path" in s.kind.split(" or ")}
    assert paths == set(FILE_RELATIVE) | set(WORK_DIR_RELATIVE)


def test_relative_paths_start_where_the_rules_say(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    text = (
        "inputs: {input_catalog: in/cat.csv, image_list_file: ../list.txt}\n"
        "outputs: {work_dir: work, final_catalog: deep/cat.csv}\n"
        "logging: {file: logs/run.log}\n"
        "moffat_psf: {module_path: lib}\n"
    )
    config = load(tmp_path, text)
    assert config.directory == root
    assert config.inputs.input_catalog == root / "in/cat.csv"
    assert config.inputs.image_list_file == root.parent / "list.txt"
    assert config.inputs.gaiaxp_synphot_csv == root / "path/to/gaiaxp_synphot.csv"
    assert config.outputs.work_dir == root / "work"
    assert config.outputs.epsf_dir == root / "work/EPSFs"
    assert config.outputs.final_catalog == root / "work/deep/cat.csv"
    assert config.logging.file == root / "work/logs/run.log"
    assert config.moffat_psf.module_path == root / "lib"


def test_home_absolute_and_linked_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = tmp_path.resolve()
    text = (
        f"inputs: {{input_catalog: ~/cat.csv, image_list_file: {tmp_path}/list.txt}}\n"
        "outputs: {work_dir: link, epsf_dir: ~/psf}\n"
    )
    config = load(tmp_path, text)
    assert config.inputs.input_catalog == root / "home/cat.csv"
    assert config.inputs.image_list_file == root / "list.txt"
    assert config.outputs.work_dir == root / "real"
    assert config.outputs.patches_dir == root / "real/patches"
    assert config.outputs.epsf_dir == root / "home/psf"


def test_config_found_through_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tile.yaml").write_text("outputs: {work_dir: w}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_config("tile.yaml").outputs.work_dir == tmp_path.resolve() / "w"


@pytest.mark.parametrize("path", ["~nobody-has-this-name/cat.csv", "a\\0b"])
def test_paths_that_cannot_be_resolved_name_their_key(tmp_path: Path, path: str) -> None:
    with pytest.raises(WrongValue, match=r"tile.yaml:2: inputs.input_catalog"):
        load(tmp_path, f'inputs:\n  input_catalog: "{path}"\n')


def test_loading_does_not_change_the_defaults(tmp_path: Path) -> None:
    before = TileConfig().model_dump()
    load(tmp_path, "outputs: {work_dir: w}\nzp: {enabled: false}\n")
    assert TileConfig().model_dump() == before
    with pytest.raises(WrongType):  # the original accepts this once it has resolved a null path
        load(tmp_path, "moffat_psf: {module_path: 3}\n")


def test_empty_file_loads_and_its_placeholders_are_refused_together(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    with pytest.raises(ConfigError, match="are not set") as caught:
        require_inputs(config)
    expected = ["inputs.input_catalog", "inputs.image_list_file", "outputs.work_dir"]
    assert caught.value.facts["keys"] == expected
    with pytest.raises(ConfigError, match=r"outputs.work_dir is not set"):
        require_inputs(TileConfig(), ["outputs.work_dir"])


def test_paths_that_are_set_satisfy(tmp_path: Path) -> None:
    text = "inputs: {input_catalog: c, image_list_file: l}\noutputs: {work_dir: w}\n"
    assert require_inputs(load(tmp_path, text)) is None


def test_sample_config_loads_to_the_defaults(tmp_path: Path) -> None:
    sample = load(tmp_path, sample_config())
    assert sample.model_dump() == load(tmp_path, "").model_dump()
    plain = yaml.safe_load(sample_config())  # as a YAML 1.1 reader such as the original's sees it
    assert plain.pop("skyloom")["fit_passes"] == 3
    assert plain == DEFAULTS


def test_configuration_page_is_current() -> None:
    page = (REPO / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == config_reference(), "docs/configuration.md is old: run 'make docs'"


def test_keys_without_effect_exist_and_say_why() -> None:
    assert {s.key for s in SETTINGS} >= set(KEYS_WITHOUT_MEANING)
    page = config_reference()
    for key, reason in KEYS_WITHOUT_MEANING.items():
        assert not reason.endswith("."), key
        assert f"accepted without effect: {reason}" in page, key


def test_subset_for_a_stage_key() -> None:
    subset = config_subset(TileConfig(), ["crop.margin", "checks", "epsf.q_range"])
    assert subset == {"crop.margin": 500, "checks": DEFAULTS["checks"], "epsf.q_range": [0.7, 1.3]}


def test_configs_of_the_real_tile_and_of_the_original_load(shared_data: Path) -> None:
    tile = load_config(shared_data / "kids_viking_tile" / "config.yaml")
    require_inputs(tile)
    assert tile.inputs.input_catalog.is_file()
    assert tile.image_scaling.zp_ref == 30.0
    assert tile.inputs.gaiaxp_synphot_csv is None
    original = shared_data / "tract7dt_reference" / "config_used_example.yaml"
    assert load_config(original).epsf.max_workers == 2
    assert read_yaml(original).data["patch_run"]["threads_per_process"] == 1


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("moffat_psf: {fwhm_default_pix: 3}\n", 3.0),
        ("moffat_psf: {fwhm_default_pix: 2.5}\npatch_run: {gal_model: dev}\n", 2.5),
        (
            "moffat_psf: {fwhm_default_pix: 2.5}\npatch_run: {fallback_default_fwhm_pix: 5.0}\n",
            5.0,
        ),
        ("moffat_psf: {beta: 3.0}\n", 4.0),
    ],
)
def test_the_old_key_of_the_default_width_counts_where_the_new_one_is_not_set(
    tmp_path: Path, text: str, width: float
) -> None:
    config = load(tmp_path, text)
    assert config.patch_run.fallback_default_fwhm_pix == width
    assert config.patch_run.gal_model == ("dev" if "dev" in text else "exp")


@pytest.mark.parametrize("value", ["x", "true", "[1]"])
def test_a_wrong_old_width_is_named_once_and_by_its_own_key(tmp_path: Path, value: str) -> None:
    with pytest.raises(TypeError, match=r"moffat_psf.fwhm_default_pix") as caught:
        load(tmp_path, f"moffat_psf: {{fwhm_default_pix: {value}}}\n")
    assert "fallback_default_fwhm_pix" not in str(caught.value)

"""What keeps configurations of the original tile pipeline working.

Three tables: where relative paths start, which keys of earlier releases became what, and which
keys are accepted although this version does nothing with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from skyloom.config import Config, YamlDocument
from skyloom.errors import WrongValue

__all__ = [
    "FILE_RELATIVE",
    "INERT_KEYS",
    "OLD_KEYS",
    "WORK_DIR_RELATIVE",
    "describe_keys",
    "inert_keys_set_by_user",
    "resolve_path",
    "resolve_paths",
]

ConfigT = TypeVar("ConfigT", bound=Config)

FILE_RELATIVE: Final = (
    "inputs.input_catalog",
    "inputs.image_list_file",
    "inputs.gaiaxp_synphot_csv",
    "outputs.work_dir",
    "moffat_psf.module_path",
)
"""Path keys whose relative values start at the directory of the YAML file."""

WORK_DIR_RELATIVE: Final = (
    "outputs.epsf_dir",
    "outputs.patches_dir",
    "outputs.patch_inputs_dir",
    "outputs.tractor_out_dir",
    "outputs.final_catalog",
    "outputs.cropped_images_dir",
    "outputs.overlay_dir",
    "logging.file",
)
"""Path keys whose relative values start at ``outputs.work_dir``."""

OLD_KEYS: Final[Mapping[str, str]] = {
    "crop.overlay_catalog": "since 0.6.1 it is overlay.enabled",
    "crop.overlay_downsample_full": "since 0.6.1 it is overlay.downsample_full",
    "crop.overlay_downsample_crop": "remove it: since 0.6.1 the zoom (overlay.zoom_enabled) has "
    "full resolution",
    "crop.overlay_crop_box": "since 0.6.1 it is overlay.zoom_box",
    "crop.overlay_crop_enabled": "since 0.6.1 it is overlay.zoom_enabled",
    "merge.wcs_fits": "remove it: since 0.6.1 the merge reads work_dir/wcs.fits",
    "epsf.gaia_seed_sat_r": "since 0.7.0 it is epsf.star_sat_check_r",
    "epsf.gaia_seed_sat_div": "since 0.7.0 it is source_saturation_cut.saturation_divisor",
}
"""Keys of earlier releases, with what to do about each."""

INERT_KEYS: Final = frozenset(
    {
        # pictures that are not drawn yet
        "epsf.save_star_montage_max",
        "epsf.save_patch_background_diagnostics",
        "epsf.save_star_local_background_diagnostics",
        "epsf.diagnostics_show_colorbar",
        "epsf.save_growth_curve",
        "epsf.save_residual_diagnostics",
        "epsf.residual_diag_max_stars",
        "patch_run.no_cutouts",
        "patch_run.cutout_size",
        "patch_run.cutout_max_sources",
        "patch_run.cutout_start",
        "patch_run.cutout_data_p_lo",
        "patch_run.cutout_data_p_hi",
        "patch_run.cutout_model_p_lo",
        "patch_run.cutout_model_p_hi",
        "patch_run.cutout_resid_p_abs",
        # fits of single bands, PSFs as sums of Gaussians
        "patch_run.enable_multi_band_simultaneous_fitting",
        "patch_run.psf_model",
        "patch_run.hybrid_psf_n",
        "patch_run.gaussian_mixture_n",
        # the builder and the optimiser of the original; ours work differently
        "epsf.recenter_boxsize",
        "patch_run.r_ap",
        "patch_run.eps_flux",
        "patch_run.enable_staged_fit",
        # how the original spread its work; ours has executors and always resumes
        "performance.frame_prep_workers",
        "performance.white_stack_workers",
        "epsf.parallel_bands",
        "epsf.max_workers",
        "patch_inputs.max_workers",
        "patch_inputs.keep_payloads_in_memory",
        "patch_inputs.gzip_compresslevel",
        "patch_inputs.include_wcs_in_payload",
        "patch_run.python_exe",
        "patch_run.threads_per_process",
        "patch_run.resume",
        # patches are always written, and those of the current grid are what is merged
        "patch_inputs.save_patch_inputs",
        "merge.pattern",
        # ignored by the original too
        "moffat_psf.fwhm_default_pix",
        "moffat_psf.module_path",
    }
)
"""Dotted keys that are accepted and checked, but change nothing in this version."""


def resolve_path(path: str | Path, base: Path) -> Path:
    """Make a user's path absolute: ``~`` expanded, relative to ``base``, symbolic links resolved.

    Raises
    ------
    ValueError
        If the path names an unknown user, holds a NUL, or runs in circles.
    """
    try:
        return (base / Path(path).expanduser()).resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def resolve_paths(config: ConfigT, directory: Path, document: YamlDocument) -> ConfigT:
    """Apply the path rules: return a copy whose paths are all absolute.

    Parameters
    ----------
    config : Config
        Validated tile configuration, paths as the user wrote them.
    directory : Path
        Directory of the YAML file, absolute.
    document : YamlDocument
        The file, for messages.

    Raises
    ------
    WrongValue
        If a path cannot be made absolute.
    """
    for key in FILE_RELATIVE:
        config = _with_path(config, key, directory, document)
    work_dir = _get(config, "outputs.work_dir")
    for key in WORK_DIR_RELATIVE:
        config = _with_path(config, key, work_dir, document)
    return config


def _with_path(config: ConfigT, key: str, base: Path, document: YamlDocument) -> ConfigT:
    value = _get(config, key)
    if not isinstance(value, Path):  # null, or "auto"
        return config
    try:
        path = resolve_path(value, base)
    except ValueError as error:
        msg = f"{document.where(key)}: {key} = '{value}' is not a usable path ({error}); correct it"
        raise WrongValue(msg, key=key, value=str(value)) from None
    section_name, name = key.split(".")
    section: Config = getattr(config, section_name)
    return config.model_copy(update={section_name: section.model_copy(update={name: path})})


def _get(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def inert_keys_set_by_user(user: Mapping[str, Any]) -> list[str]:
    """List the keys of a user's mapping that this version accepts without effect.

    Parameters
    ----------
    user : mapping
        What the YAML file holds: ``read_yaml(path).data``.

    Returns
    -------
    list of str
        Dotted keys, in the order of the file.
    """
    return [key for key in _dotted_keys(user, "") if key in INERT_KEYS]


def _dotted_keys(mapping: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        yield key
        if isinstance(value, Mapping):
            yield from _dotted_keys(value, f"{key}.")


def describe_keys(keys: Iterable[str]) -> str:
    """Write dotted keys in short, one list for each section: ``crop: margin, enabled; ...``."""
    sections: dict[str, list[str]] = {}
    for key in keys:
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(name)
    return "; ".join(f"{section}: {', '.join(names)}" for section, names in sections.items())

"""What keeps configurations of the original tile pipeline working.

Tables: where relative paths start, which keys of earlier releases became what, which keys are
accepted although nothing depends on them, and what the loggers are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from skyloom.config import Config, YamlDocument
from skyloom.errors import WrongValue

__all__ = [
    "FILE_RELATIVE",
    "KEYS_WITHOUT_MEANING",
    "LOGGER_NAMES",
    "OLD_KEYS",
    "WORK_DIR_RELATIVE",
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

KEYS_WITHOUT_MEANING: Final[Mapping[str, str]] = {
    "moffat_psf.module_path": "it named Python code of earlier releases; the original ignores it "
    "today, and no code that a setting names is run here",
}
"""Keys of the original that mean nothing here, with the reason.  They are accepted silently."""


LOGGER_NAMES: Final[Mapping[str, str]] = {
    "skyloom.cli": "skyloom.cli",
    "skyloom.flow": "skyloom.pipeline",
    "skyloom.images": "skyloom.pipeline",
    "skyloom.catalogs": "skyloom.pipeline",
    "skyloom.pipelines.tile": "skyloom.pipeline",
    "skyloom.detect.stars": "skyloom.epsf",
    "skyloom.pipelines.tile.psfs": "skyloom.epsf",
    "skyloom.pipelines.tile.psf_seeds": "skyloom.epsf",
    "skyloom.pipelines.tile.patches": "skyloom.patches",
    "skyloom.pipelines.tile.payloads": "skyloom.patch_inputs",
    "skyloom.pipelines.tile.halos": "skyloom.run_patches",
    "skyloom.pipelines.tile.registration": "skyloom.run_patches",
    "skyloom.pipelines.tile.merge": "skyloom.merge",
    "skyloom.pipelines.tile.bright": "skyloom.bright_mask",
    "skyloom.pipelines.tile.epochs": "skyloom.zp",
    "skyloom.pipelines.tile.zeropoint": "skyloom.zp",
    "skyloom.calib": "skyloom.zp",
}
"""What log lines of a run call our loggers: by the names of the original, so that what looks for
``.zp`` or ``.merge`` in its logs finds them.  The longest name that a logger starts with counts."""


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
    config = _with_image_paths(config, directory)
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


def _with_image_paths(config: ConfigT, directory: Path) -> ConfigT:
    """Make the paths of ``skyloom.images`` absolute: maps, and names that are paths of files."""
    section = _section(config, "skyloom")
    images = {
        _image_name(name, directory): image.model_copy(
            update={
                key: resolve_path(path, directory)
                for key in ("weight_map", "rms_map", "mask_map")
                if (path := getattr(image, key)) is not None
            }
        )
        for name, image in section.images.items()
    }
    if len(images) < len(section.images):
        return config  # two names of one file: refused when the images are looked up
    return config.model_copy(update={"skyloom": section.model_copy(update={"images": images})})


def _section(config: Config, name: str) -> Any:
    return getattr(config, name)


def _image_name(name: str, directory: Path) -> str:
    try:
        path = resolve_path(name, directory)
        return str(path) if path.is_file() else name
    except (OSError, ValueError):
        return name


def _get(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(_section(config, section), name)

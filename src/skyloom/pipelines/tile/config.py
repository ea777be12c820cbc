"""The configuration of the tile pipeline: the user's YAML file as one frozen object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import PrivateAttr, model_validator

from skyloom.config import (
    Config,
    build_config,
    config_subset,
    read_yaml,
    render_reference,
    render_sample,
)
from skyloom.errors import ConfigError

from .compat import KEYS_WITHOUT_MEANING, OLD_KEYS, resolve_paths
from .fit_sections import (
    EpsfConfig,
    MergeConfig,
    MoffatPsfConfig,
    PatchesConfig,
    PatchInputsConfig,
    PatchRunConfig,
    PlottingConfig,
    SkyloomConfig,
    ZpConfig,
)
from .frame_sections import (
    BrightMaskConfig,
    ChecksConfig,
    CropConfig,
    ImageScalingConfig,
    InputsConfig,
    LoggingConfig,
    OutputsConfig,
    OverlayConfig,
    PerformanceConfig,
    SaturationCutConfig,
)

__all__ = [
    "REQUIRED_KEYS",
    "TileConfig",
    "config_reference",
    "config_subset",
    "load_config",
    "require_inputs",
    "sample_config",
]

REQUIRED_KEYS: Final = ("inputs.input_catalog", "inputs.image_list_file", "outputs.work_dir")
"""Keys whose defaults are placeholders that no run can use."""

_NOTES: Final = {
    key: f"accepted without effect: {reason}" for key, reason in KEYS_WITHOUT_MEANING.items()
}


class TileConfig(Config):
    """Settings of the tile pipeline."""

    inputs: InputsConfig = InputsConfig()
    outputs: OutputsConfig = OutputsConfig()
    image_scaling: ImageScalingConfig = ImageScalingConfig()
    crop: CropConfig = CropConfig()
    overlay: OverlayConfig = OverlayConfig()
    checks: ChecksConfig = ChecksConfig()
    source_saturation_cut: SaturationCutConfig = SaturationCutConfig()
    bright_mask: BrightMaskConfig = BrightMaskConfig()
    logging: LoggingConfig = LoggingConfig()
    performance: PerformanceConfig = PerformanceConfig()
    epsf: EpsfConfig = EpsfConfig()
    patches: PatchesConfig = PatchesConfig()
    patch_inputs: PatchInputsConfig = PatchInputsConfig()
    patch_run: PatchRunConfig = PatchRunConfig()
    moffat_psf: MoffatPsfConfig = MoffatPsfConfig()
    merge: MergeConfig = MergeConfig()
    plotting: PlottingConfig = PlottingConfig()
    zp: ZpConfig = ZpConfig()
    skyloom: SkyloomConfig = SkyloomConfig()

    _directory: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="before")
    @classmethod
    def _take_old_width(cls, values: Any) -> Any:
        """Let the old key of the width stand for the new one, where only the old one is set."""
        moffat, run = (_mapping(values, name) for name in ("moffat_psf", "patch_run"))
        width = moffat.get("fwhm_default_pix")
        is_usable = isinstance(width, int | float) and not isinstance(width, bool) and width > 0
        if is_usable and "fallback_default_fwhm_pix" not in run:
            return {**values, "patch_run": {**run, "fallback_default_fwhm_pix": width}}
        return values

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        joint = self.patch_run.enable_multi_band_simultaneous_fitting
        if self.skyloom.model_choice == "auto" and not joint:
            msg = (
                "skyloom.model_choice = auto needs all bands in one fit, since bands by themselves "
                "could choose different types; set "
                "patch_run.enable_multi_band_simultaneous_fitting: true, or model_choice: check"
            )
            raise ValueError(msg)
        return self

    @property
    def directory(self) -> Path:
        """Directory of the YAML file, where relative lines of the image list start.

        The current directory for a configuration that was not loaded from a file.
        """
        return self._directory


def _mapping(values: Any, name: str) -> Mapping[str, Any]:
    """Return a section as the user wrote it; empty where it is absent or no mapping."""
    section = values.get(name) if isinstance(values, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def load_config(path: str | Path) -> TileConfig:
    """Read a configuration file; all its paths become absolute, with symbolic links resolved.

    Parameters
    ----------
    path : path
        YAML file; settings that it leaves out have their defaults, an empty file all of them.

    Returns
    -------
    TileConfig
        The validated settings. Whether the required inputs are set is the question of
        `require_inputs`.

    Raises
    ------
    MissingConfig
        If there is no such file.
    UnknownKey, WrongType, WrongValue
        If a key does not exist or a value cannot be used; they are also a `KeyError`,
        `TypeError` and `ValueError`.
    ConfigError
        If the file is not valid YAML.
    """
    path = Path(path)
    document = read_yaml(path)
    config = build_config(TileConfig, document, old_keys=OLD_KEYS)
    directory = path.resolve().parent
    resolved = resolve_paths(config, directory, document)
    resolved._directory = directory
    return resolved


def require_inputs(config: TileConfig, keys: Iterable[str] = REQUIRED_KEYS) -> None:
    """Refuse a configuration whose required paths were left at their placeholders.

    Parameters
    ----------
    config : TileConfig
        A loaded configuration.
    keys : iterable of str
        Dotted keys that this run needs.

    Raises
    ------
    ConfigError
        If one of them is not set; the message names all that are missing.
    """
    missing = [key for key in keys if _is_placeholder(config, key)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        msg = f"{', '.join(missing)} {verb} not set; give the path in the configuration file"
        raise ConfigError(msg, keys=missing)


def _is_placeholder(config: TileConfig, key: str) -> bool:
    """Tell whether a path is the default of its key, before or after it was made absolute."""
    section, name = key.split(".")
    default: Path = getattr(getattr(TileConfig(), section), name)
    path: Path = getattr(getattr(config, section), name)
    return path.parts[-len(default.parts) :] == default.parts and not path.exists()


def sample_config() -> str:
    """Render the commented YAML file that ``dump-config`` writes: every key at its default."""
    header = (
        "Skyloom tile pipeline: every setting at its default.\n"
        "A setting that you leave out has the value shown here.\n"
        "Each comment ends with [accepted values, unit]."
    )
    return render_sample(TileConfig, header=header, notes=_NOTES)


def config_reference() -> str:
    """Render ``docs/configuration.md``: every key in tables, one for each section."""
    intro = (
        "```\nskyloom tile dump-config --out tile.yaml\n```\n\n"
        "writes a commented file with all of these settings. A file needs only what differs from\n"
        "the defaults, and an unknown key, a wrong type or a value out of range stops the run\n"
        "before any work, with the file, the line, the key and the remedy.\n\n"
        "Relative paths of `inputs`, `outputs.work_dir` and `moffat_psf.module_path` start at the\n"
        "directory of the YAML file, and so do the lines of the image list; all other `outputs`\n"
        "and `logging.file` start at `outputs.work_dir`. `~` is expanded.\n\n"
        "This page is generated from the code: `make docs`."
    )
    return render_reference(
        TileConfig,
        title="Configuration of the tile pipeline",
        intro=intro,
        notes=_NOTES,
    )

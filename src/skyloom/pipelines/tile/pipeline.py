"""The tile pipeline: which stages it has, and which of them a verb asks for."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

from skyloom.butler import Butler, DataId, Layout
from skyloom.errors import MissingFile
from skyloom.flow import Pipeline, Stage
from skyloom.pipelines.verbs import Verb

from .bright import BrightMaskStage
from .config import TileConfig
from .fit import fit_stages
from .load import Load, Masks, White
from .merge import Merge
from .noise import Noise, needs_noise
from .patches import Patches
from .pictures import picture_stages
from .preflight import TileInputs
from .psfs import epsf_stages
from .sources import Sources
from .zeropoint import Catalog, ZeroPoint

__all__ = [
    "build_pipeline",
    "check_prerequisites",
    "forced_stages",
    "is_picture",
    "tile_butler",
    "tile_layout",
    "uses_gaia",
    "verb_targets",
]

log = logging.getLogger(__name__)

AnyStage: TypeAlias = Stage[Any, Any, Any]

_ENDS = {
    "run": ("final_catalog",),
    "run-epsf": ("epsf_summary",),
    "build-patches": ("patches_csv",),
    "build-patch-inputs": ("payload",),
    "run-patches": ("patch_catalog", "registration"),
    "merge": ("final_catalog",),
    "compute-zp": ("final_catalog",),
}
"""Dataset types that a verb brings up to date."""

_CHAIN: tuple[Verb, ...] = (
    "build-patches",
    "run-epsf",
    "build-patch-inputs",
    "run-patches",
    "merge",
    "compute-zp",
)
"""Order in which a user takes the steps."""


def tile_layout(config: TileConfig) -> Layout:
    """Return the layout ``tile`` with the directories of a configuration."""
    out = config.outputs
    level = config.patch_inputs.gzip_compresslevel
    return (
        Layout.load("tile")
        .with_options("payload", level=level)
        .bind(
            epsf_dir=out.epsf_dir,
            patches_dir=out.patches_dir,
            patch_inputs_dir=out.patch_inputs_dir,
            tractor_out_dir=out.tractor_out_dir,
            cropped_images_dir=out.cropped_images_dir,
            overlay_dir=out.overlay_dir,
            final_catalog=out.final_catalog,
            stem=config.inputs.input_catalog.stem,
        )
    )


def tile_butler(config: TileConfig, inputs: TileInputs) -> Butler:
    """Return the butler of a run: the work directory and the user's files."""
    external: dict[str, Any] = {"raw_image": inputs.images, "input_catalog": inputs.catalog}
    external["pixel_map"] = {
        DataId({"band": band, "map": kind}): path for (band, kind), path in inputs.maps.items()
    }
    if inputs.gaia is not None:
        external["gaia_catalog"] = inputs.gaia
    return Butler(config.outputs.work_dir, tile_layout(config), external=external, writeable=True)


def uses_gaia(config: TileConfig, verb: Verb) -> bool:
    """Tell whether a run reads the GaiaXP catalogue."""
    return config.zp.enabled or config.epsf.use_gaiaxp or verb == "compute-zp"


def build_pipeline(config: TileConfig, verb: Verb = "run") -> Pipeline:
    """Return the stages of a verb's pipeline, in order.

    ``merge`` has no zero points, whatever the configuration says, and ``compute-zp`` always has
    them; all verbs share the other stages, so that a chain of steps gives what ``run`` gives.
    """
    has_zero_points = verb == "compute-zp" or (config.zp.enabled and verb != "merge")
    stages: list[AnyStage] = [Load(config), Masks(config)]
    if needs_noise(config):
        stages.append(Noise(config))
    stages += [White(config), Sources(config)]
    if config.bright_mask.enabled:
        stages.append(BrightMaskStage(config))
    stages += [Patches(config), *epsf_stages(config), *fit_stages(config), Merge(config)]
    if has_zero_points:
        stages.append(ZeroPoint(config))
    stages += [Catalog(config), *picture_stages(config, has_zero_points=has_zero_points)]
    return Pipeline(stages, layout=tile_layout(config))


def verb_targets(pipeline: Pipeline, verb: Verb) -> tuple[str, ...] | None:
    """Return the stages that a verb asks for; None: all.

    They are those that make the verb's products, and the pictures of what these need anyway.
    """
    if verb == "run":
        return None
    ends = [s.name for s in pipeline.stages if _makes(s, _ENDS[verb])]
    work = {stage.name for stage in pipeline.select(ends)}
    pictures = [
        stage.name
        for stage in pipeline.stages
        if is_picture(pipeline, stage) and set(pipeline.producers(stage)) <= work
    ]
    return (*ends, *pictures)


def forced_stages(
    pipeline: Pipeline, verb: Verb, force: bool | Collection[str]
) -> bool | Collection[str]:
    """Return the stages that ``force`` means: those named, or with True those of the verb.

    The stages of a verb are those that no verb before it brings up to date.

    Raises
    ------
    WrongValue
        If a name is not that of a stage.
    """
    if not isinstance(force, bool):
        pipeline.check_names(force)
        return force
    if not force or verb == "run":
        return force
    before: set[str] = set()
    for step in _CHAIN[: _CHAIN.index(verb)]:
        ends = [s.name for s in pipeline.stages if _makes(s, _ENDS[step])]
        before |= {stage.name for stage in pipeline.select(ends)}
    mine = pipeline.select(verb_targets(pipeline, verb))
    return frozenset(stage.name for stage in mine) - (before - {"catalog"})


def is_picture(pipeline: Pipeline, stage: AnyStage) -> bool:
    """Tell whether all that a stage makes is pictures."""
    types = [dataset.type for dataset in stage.output_types.values()]
    return all(pipeline.layout[type_].format == "png" for type_ in types)


def _makes(stage: AnyStage, types: Sequence[str]) -> bool:
    return any(dataset.type in types for dataset in stage.output_types.values())


def check_prerequisites(butler: Butler, verb: Verb, config: TileConfig) -> None:
    """Check that the steps before a verb have left their products.

    Payloads that do not stay are made again where they are needed, so that nobody has to do it.

    Raises
    ------
    MissingFile
        If not; the message says which verb makes them.
    """
    if verb == "compute-zp" and not butler.exists("final_catalog"):
        path = butler.path("final_catalog")
        raise MissingFile(f"Merged catalog not found: {path}. Run 'merge' first.", path=path)
    stays = config.patch_inputs.save_patch_inputs
    if verb == "build-patch-inputs" and not stays:
        log.warning(
            "patch_inputs.save_patch_inputs is false: the files in %s stay only until "
            "'run-patches' has read them; set it to true to keep them",
            _folder(butler, "payload"),
        )
    if verb == "run-patches" and not stays:
        return
    needed = {
        "run-patches": ("payload", "outputs.patch_inputs_dir", "build-patch-inputs"),
        "merge": ("patch_catalog", "outputs.tractor_out_dir", "run-patches"),
    }
    if verb not in needed:
        return
    type_, key, step = needed[verb]
    if not butler.query(type_):
        folder = _folder(butler, type_)
        raise MissingFile(
            f"{folder}: no {butler.layout[type_].doc or type_} there ({key}). Run '{step}' first.",
            path=folder,
        )


def _folder(butler: Butler, type_: str) -> str:
    variable = {"payload": "patch_inputs_dir", "patch_catalog": "tractor_out_dir"}[type_]
    return str(butler.root / butler.layout.variables[variable])

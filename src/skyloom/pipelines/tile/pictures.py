"""Pictures: stages of their own, so that they can be switched off or drawn again alone."""

from __future__ import annotations

from typing import Any, TypeAlias

from skyloom.butler import DataId
from skyloom.flow import Stage

from .config import TileConfig
from .passes import last_pass

__all__ = ["picture_stages"]

AnyStage: TypeAlias = Stage[Any, Any, Any]


def picture_stages(config: TileConfig, *, has_zero_points: bool) -> list[AnyStage]:
    """Return the stages of the pictures that a configuration asks for."""
    level = config.skyloom.plots
    if level == "none":
        return []
    # Drawing takes a while to import.
    from .pictures_fit import DrawCutouts, DrawPatch, DrawResidual  # noqa: PLC0415
    from .pictures_psf import DrawEpsf, DrawPsfCells  # noqa: PLC0415
    from .pictures_psf_model import DrawPsfModels  # noqa: PLC0415
    from .pictures_tile import (  # noqa: PLC0415
        DrawAfterCrop,
        DrawAugmentation,
        DrawBeforeCrop,
        DrawBrightMask,
        DrawSources,
        DrawZoom,
    )
    from .pictures_zeropoint import DrawZeroPoints, DrawZeroPointTrends  # noqa: PLC0415

    every = level == "all"
    crop, overlay, run = config.crop, config.overlay, config.patch_run
    switches: list[tuple[type[AnyStage], bool]] = [
        (DrawBeforeCrop, every and crop.enabled and crop.plot_pre_crop),
        (DrawAfterCrop, every and crop.enabled and crop.plot_post_crop),
        (DrawSources, overlay.enabled),
        (DrawZoom, every and overlay.has_zoom),
        (DrawAugmentation, config.zp.enabled),
        (DrawBrightMask, config.bright_mask.enabled),
        (DrawEpsf, True),
        (DrawPsfCells, every),
        (DrawPsfModels, every and run.psf_model != "pixelized"),
        (DrawResidual, True),
        (DrawPatch, every and not run.no_patch_overview),
        (DrawZeroPoints, has_zero_points),
        (DrawZeroPointTrends, has_zero_points),
    ]
    stages = [stage(config) for stage, wanted in switches if wanted]
    if every and not run.no_cutouts:
        stages.append(DrawCutouts(config, fixed=DataId({"pass": last_pass(config)})))
    return stages

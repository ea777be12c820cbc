"""Pictures: stages of their own, so that they can be switched off or drawn again alone."""

from __future__ import annotations

from typing import Any, TypeAlias

from skyloom.flow import Stage

from .config import TileConfig
from .pictures_fit import DrawEpsf, DrawPatch, DrawZeroPoints
from .pictures_tile import (
    DrawAfterCrop,
    DrawAugmentation,
    DrawBeforeCrop,
    DrawBrightMask,
    DrawSources,
    DrawZoom,
)
from .pictures_zp import DrawZeroPointTrends

__all__ = ["picture_stages"]

AnyStage: TypeAlias = Stage[Any, Any, Any]


def picture_stages(config: TileConfig, *, has_zero_points: bool) -> list[AnyStage]:
    """Return the stages of the pictures that a configuration asks for."""
    level = config.skyloom.plots
    if level == "none":
        return []
    every = level == "all"
    crop, overlay = config.crop, config.overlay
    switches: list[tuple[type[AnyStage], bool]] = [
        (DrawBeforeCrop, every and crop.enabled and crop.plot_pre_crop),
        (DrawAfterCrop, every and crop.enabled and crop.plot_post_crop),
        (DrawSources, overlay.enabled),
        (DrawZoom, every and overlay.has_zoom),
        (DrawAugmentation, every and config.zp.enabled),
        (DrawBrightMask, every and config.bright_mask.enabled),
        (DrawEpsf, True),
        (DrawPatch, not config.patch_run.no_patch_overview),
        (DrawZeroPoints, has_zero_points),
        (DrawZeroPointTrends, has_zero_points),
    ]
    return [stage(config) for stage, wanted in switches if wanted]

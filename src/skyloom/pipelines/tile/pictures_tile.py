"""Pictures of the tile: crop, sources, Gaia stars, bright mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from scipy.spatial import cKDTree
from typing_extensions import override

from skyloom._types import Bools
from skyloom.butler import FitsImages
from skyloom.catalogs import column_as_text, resolve_columns
from skyloom.flow import Dataset, Handle, Stage
from skyloom.geometry import Box
from skyloom.plots import (
    Points,
    plot_bright_mask_overlay,
    plot_crop,
    plot_gaia_overlay,
    plot_white_overlay,
    png_bytes,
)

from .bright import bright_pixels
from .config import TileConfig
from .frame_sections import tile_label, zoom_region
from .load import WHITE_KEY, band_frame, white_frames, whole_white_of, working_wcs
from .noise import sky_noise

__all__ = [
    "DrawAfterCrop",
    "DrawAugmentation",
    "DrawBeforeCrop",
    "DrawBrightMask",
    "DrawSources",
    "DrawZoom",
]


PNG_KEYS = ("inputs.tile_name", "plotting.dpi")


def _points(table: Table, x: str = "x_pix_white", y: str = "y_pix_white") -> Points:
    return Points(x=np.asarray(table[x]), y=np.asarray(table[y]))


def _png(ax: Axes, config: TileConfig) -> bytes:
    """Return a picture of the tile as a file; the name of the tile goes before its title."""
    if name := tile_label(config.inputs.tile_name):
        ax.title.set_text(f"{name}: {ax.get_title()}")
        ax.title.set_parse_math(False)  # a name may hold dollars
    return png_bytes(ax, dpi=config.plotting.dpi)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeCropInputs:
    """All images."""

    images: Annotated[dict[str, Handle[FitsImages]], Dataset("raw_image", gather="band", lazy=True)]
    maps: Annotated[
        dict[Any, Handle[FitsImages]], Dataset("pixel_map", gather=("band", "map"), lazy=True)
    ]
    noise: Annotated[dict[str, dict[str, Any]], Dataset("noise", gather="band", optional=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeCropOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("white_before_crop")]


class DrawBeforeCrop(Stage[TileConfig, BeforeCropInputs, BeforeCropOutputs]):
    """Draw the white image of the whole frame and the crop box."""

    name = "plot-before-crop"
    late = True
    config_keys = (WHITE_KEY, "crop.display_downsample", *PNG_KEYS)

    @override
    def run(self, inputs: BeforeCropInputs) -> BeforeCropOutputs:
        """Return the picture."""
        frames = [band_frame(inputs.frames, b, image) for b, image in inputs.images.items()]
        frames = white_frames(frames, self.config)
        noise = [sky_noise(frame, inputs.noise.get(frame.band)) for frame in frames]
        ax = plot_crop(
            whole_white_of(frames, noise).image,
            box=frames[0].box,
            downsample=self.config.crop.display_downsample,
        )
        return BeforeCropOutputs(picture=_png(ax, self.config))


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterCropInputs:
    """The white image."""

    white: Annotated[FitsImages, Dataset("white")]


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterCropOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("white_after_crop")]


class DrawAfterCrop(Stage[TileConfig, AfterCropInputs, AfterCropOutputs]):
    """Draw the white image of the working frame."""

    name = "plot-after-crop"
    late = True
    config_keys = ("crop.post_crop_display_downsample", *PNG_KEYS)

    @override
    def run(self, inputs: AfterCropInputs) -> AfterCropOutputs:
        """Return the picture."""
        downsample = self.config.crop.post_crop_display_downsample
        ax = plot_crop(inputs.white["IMAGE"], downsample=downsample)
        return AfterCropOutputs(picture=_png(ax, self.config))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesPictureInputs:
    """The white image and the sources on it."""

    white: Annotated[FitsImages, Dataset("white")]
    wcs: Annotated[FitsImages, Dataset("wcs")]
    sources: Annotated[Table, Dataset("sources")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesPictureOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("white_overlay")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomPictureOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("white_overlay_zoom")]


def _draw_sources(
    inputs: SourcesPictureInputs, *, gal_model: str, box: Box | None, downsample: int
) -> Axes:
    sources = inputs.sources
    kind = resolve_columns(sources).type
    return plot_white_overlay(
        inputs.white["IMAGE"],
        sources=_points(sources),
        stype=column_as_text(sources, kind) if kind else np.full(len(sources), ""),
        excluded_crop=np.asarray(sources["excluded_crop"]),
        excluded_saturation=np.asarray(sources["excluded_saturation"]),
        fallback_model=gal_model,
        wcs=working_wcs(inputs.wcs),
        box=box,
        downsample=downsample,
    )


class DrawSources(Stage[TileConfig, SourcesPictureInputs, SourcesPictureOutputs]):
    """Draw the sources on the white image."""

    name = "plot-sources"
    late = True
    config_keys = ("overlay.downsample_full", "patch_run.gal_model", *PNG_KEYS)

    @override
    def run(self, inputs: SourcesPictureInputs) -> SourcesPictureOutputs:
        """Return the picture."""
        cfg = self.config
        ax = _draw_sources(
            inputs,
            gal_model=cfg.patch_run.gal_model,
            box=None,
            downsample=cfg.overlay.downsample_full,
        )
        return SourcesPictureOutputs(picture=_png(ax, cfg))


class DrawZoom(Stage[TileConfig, SourcesPictureInputs, ZoomPictureOutputs]):
    """Draw the sources on a part of the white image."""

    name = "plot-zoom"
    version = 2
    late = True
    config_keys = ("overlay.zoom_box", "patch_run.gal_model", *PNG_KEYS)

    @override
    def run(self, inputs: SourcesPictureInputs) -> ZoomPictureOutputs:
        """Return the picture."""
        cfg = self.config
        box = Box(*zoom_region(cfg.overlay.zoom_box, inputs.white["IMAGE"].shape))
        ax = _draw_sources(inputs, gal_model=cfg.patch_run.gal_model, box=box, downsample=1)
        return ZoomPictureOutputs(picture=_png(ax, cfg))


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationPictureOutputs:
    """The picture; none where the catalogue was not augmented."""

    picture: Annotated[bytes | None, Dataset("augmentation_overlay", optional=True)]


class DrawAugmentation(Stage[TileConfig, SourcesPictureInputs, AugmentationPictureOutputs]):
    """Draw what Gaia did to the catalogue."""

    name = "plot-augmentation"
    late = True
    config_keys = ("overlay.downsample_full", *PNG_KEYS)

    @override
    def run(self, inputs: SourcesPictureInputs) -> AugmentationPictureOutputs:
        """Return the picture."""
        cfg, sources = self.config, inputs.sources
        if "gaia_box" not in sources.meta:
            return AugmentationPictureOutputs(picture=None)
        injected = np.asarray(sources["_is_injected_gaia"])
        old = sources[~injected]
        dropped = np.array(sources.meta["gaia_dropped"], dtype=np.float64).reshape(-1, 2)
        ax = plot_gaia_overlay(
            inputs.white["IMAGE"],
            sources=_points(old),
            is_matched=column_as_text(old, "gaia_source_id") != "",
            excluded_crop=np.asarray(old["excluded_crop"]),
            excluded_saturation=np.asarray(old["excluded_saturation"]),
            injected=_points(sources).where(injected),
            dropped=Points(x=dropped[:, 0], y=dropped[:, 1]),
            selection=Box(*sources.meta["gaia_box"]),
            wcs=working_wcs(inputs.wcs),
            downsample=cfg.overlay.downsample_full,
        )
        return AugmentationPictureOutputs(picture=_png(ax, cfg))


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightPictureInputs:
    """The white image, the mask, and what was detected."""

    white: Annotated[FitsImages, Dataset("white")]
    wcs: Annotated[FitsImages, Dataset("wcs")]
    sources: Annotated[Table, Dataset("sources")]
    mask: Annotated[FitsImages, Dataset("bright_mask")]
    affected: Annotated[Table, Dataset("bright_sources")]
    detections: Annotated[Table, Dataset("bright_detections")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightPictureOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("bright_mask_overlay")]


class DrawBrightMask(Stage[TileConfig, BrightPictureInputs, BrightPictureOutputs]):
    """Draw the bright mask."""

    name = "plot-bright-mask"
    late = True
    config_keys = ("bright_mask.match_radius_pix", "overlay.downsample_full", *PNG_KEYS)

    @override
    def run(self, inputs: BrightPictureInputs) -> BrightPictureOutputs:
        """Return the picture."""
        cfg = self.config
        found, matched = _points(inputs.detections, "x", "y"), inputs.detections["is_matched"]
        sources = _points(inputs.sources)
        is_active = ~np.asarray(inputs.sources["excluded_any"])
        near = _is_near(sources, found.where(np.asarray(matched)), cfg.bright_mask.match_radius_pix)
        masked = np.asarray(inputs.affected["affected_by_bright_mask"])
        ax = plot_bright_mask_overlay(
            inputs.white["IMAGE"],
            mask=bright_pixels(inputs.mask),
            matched=found.where(np.asarray(matched)),
            unmatched=found.where(~np.asarray(matched)),
            catalog_matched=sources.where(is_active & near),
            catalog_masked=sources.where(masked & ~near),
            wcs=working_wcs(inputs.wcs),
            downsample=cfg.overlay.downsample_full,
        )
        return BrightPictureOutputs(picture=_png(ax, cfg))


def _is_near(points: Points, others: Points, radius: float) -> Bools:
    """Tell which points have one of the others within a radius."""
    near = np.zeros(len(points), dtype=bool)
    finite = np.isfinite(points.x) & np.isfinite(points.y)
    if len(others) and finite.any():
        tree = cKDTree(np.column_stack([others.x, others.y]))
        places = np.column_stack([points.x[finite], points.y[finite]])
        near[finite] = np.isfinite(tree.query(places, distance_upper_bound=radius)[0])
    return near

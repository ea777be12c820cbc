"""Settings of the tile pipeline up to the working frame: files, crop, masks, logs, workers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from skyloom.config import (
    AutoInt,
    AutoPath,
    Config,
    Float,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Unit,
    UserPath,
)

__all__ = [
    "BrightMaskConfig",
    "ChecksConfig",
    "CropConfig",
    "ImageScalingConfig",
    "InputsConfig",
    "LoggingConfig",
    "OutputsConfig",
    "OverlayConfig",
    "PerformanceConfig",
    "SaturationCutConfig",
    "WcsToleranceConfig",
    "tile_label",
    "zoom_region",
]

log = logging.getLogger(__name__)

ZOOM_BOX_LENGTH: Final = 4


class InputsConfig(Config):
    """Files that the run reads; relative paths start at the directory of this file."""

    tile_name: str = "your_tile_name"
    """Label of the tile, in the log and in the titles of its pictures."""
    input_catalog: UserPath = Path("path/to/input_catalog.csv")
    """Source catalogue, CSV with a header line; must be set."""
    image_list_file: UserPath = Path("path/to/image_list.txt")
    """Text file with one FITS path per line; must be set. Its order is the order of the bands,
    and its first image is the reference."""
    gaiaxp_synphot_csv: UserPath | None = Path("path/to/gaiaxp_synphot.csv")
    """GaiaXP synthetic photometry, CSV; null or no such file: the run goes on without Gaia."""


def tile_label(tile_name: str) -> str:
    """Return the name of a tile; empty where the user left the placeholder."""
    return "" if tile_name == InputsConfig().tile_name else tile_name.strip()


class OutputsConfig(Config):
    """Where products go; relative paths start at work_dir."""

    work_dir: UserPath = Path("path/to/work_dir")
    """Directory of all products, created when absent; must be set. A relative path starts at the
    directory of this file."""
    epsf_dir: UserPath = Path("EPSFs")
    """PSF models and their diagnostics."""
    patches_dir: UserPath = Path("patches")
    """Patch definitions, patches.csv and patches.json."""
    patch_inputs_dir: UserPath = Path("patch_payloads")
    """Pixels and sources of each patch."""
    tractor_out_dir: UserPath = Path("outputs")
    """Fit products of each patch."""
    final_catalog: UserPath = Path("output_catalog.csv")
    """The catalogue: every input row once, with fits and magnitudes."""
    cropped_images_dir: UserPath = Path("cropped_images")
    """Pictures of the crop."""
    overlay_dir: UserPath = Path("overlay")
    """Pictures of the sources on the white stack."""


class ImageScalingConfig(Config):
    """The common flux scale of all images."""

    zp_ref: Annotated[Float, Unit("AB mag")] = 25.0
    """Zero point to which each image is scaled, by 10^(-0.4 (ZP_AUTO - zp_ref))."""


class CropConfig(Config):
    """Removal of the frame's border."""

    enabled: bool = True
    """Crop the images and flag the sources outside (excluded_crop)."""
    margin: Annotated[NonNegativeInt, Unit("pix")] = 500
    """Width of the strip that is removed on each side."""
    plot_pre_crop: bool = True
    """Draw the white stack with the crop box."""
    plot_post_crop: bool = True
    """Draw the white stack after the crop."""
    display_downsample: Annotated[PositiveInt, Unit("factor")] = 4
    """Stride of pixels in the picture before the crop."""
    post_crop_display_downsample: Annotated[PositiveInt, Unit("factor")] = 4
    """Stride of pixels in the picture after the crop."""


class OverlayConfig(Config):
    """Pictures of the sources on the white stack."""

    enabled: bool = True
    """Draw the overlay, cropped or not."""
    downsample_full: Annotated[PositiveInt, Unit("factor")] = 4
    """Stride of pixels in the overlay."""
    zoom_enabled: bool = True
    """Draw the zoomed overlay too; needs enabled."""
    zoom_box: Annotated[tuple[int, ...], Field(strict=False), Unit("pix")] = (
        4000,
        5000,
        4000,
        5000,
    )
    """Region of the zoom, x0, x1, y0, y1 in the working frame; what lies outside the frame stays
    blank, and a box wholly outside moves to the middle of the frame, with a warning. Without four
    numbers, x1 > x0 and y1 > y0 there is a warning and no zoom."""

    @property
    def has_zoom(self) -> bool:
        """True where a zoomed overlay is wanted and its box is a box."""
        return self.enabled and self.zoom_enabled and self._zoom_box_is_usable()

    def _zoom_box_is_usable(self) -> bool:
        if len(self.zoom_box) != ZOOM_BOX_LENGTH:
            return False
        x0, x1, y0, y1 = self.zoom_box
        return x1 > x0 and y1 > y0

    @model_validator(mode="after")
    def _warn_about_zoom_box(self) -> Self:
        if self.enabled and self.zoom_enabled and not self._zoom_box_is_usable():
            log.warning(
                "overlay.zoom_box = %s is not [x0, x1, y0, y1] with x1 > x0 and y1 > y0; "
                "the zoomed overlay is left out",
                list(self.zoom_box),
            )
        return self


def zoom_region(box: tuple[int, ...], shape: tuple[int, int]) -> tuple[int, ...]:
    """Return ``overlay.zoom_box``, or the middle of a frame of ``(ny, nx)`` that it misses."""
    x0, x1, y0, y1 = box
    ny, nx = shape
    if x0 < nx and x1 > 0 and y0 < ny and y1 > 0:
        return box
    width, height = min(x1 - x0, nx), min(y1 - y0, ny)
    x0, y0 = (nx - width) // 2, (ny - height) // 2
    return (x0, x0 + width, y0, y0 + height)


class WcsToleranceConfig(Config):
    """Largest differences between WCS headers that count as aligned."""

    crval: Annotated[NonNegativeFloat, Unit("deg")] = 1e-6
    """Reference coordinates."""
    crpix: Annotated[NonNegativeFloat, Unit("pix")] = 1e-6
    """Reference pixel."""
    cd: Annotated[NonNegativeFloat, Unit("deg/pix; none for PC")] = 1e-9
    """Elements of the CD or PC matrix."""
    cdelt: Annotated[NonNegativeFloat, Unit("deg/pix")] = 1e-9
    """Pixel scales beside a PC matrix."""


class ChecksConfig(Config):
    """Conditions on the images of a tile."""

    require_wcs_alignment: bool = True
    """Refuse images whose WCS differs from that of the first."""
    wcs_tolerance: WcsToleranceConfig = WcsToleranceConfig()
    require_same_shape: bool = True
    """Refuse images whose NAXIS1 or NAXIS2 differs from the first; false: the tile is as large as
    the largest, all share the lower left pixel, and there is no data beyond the smaller ones."""


class SaturationCutConfig(Config):
    """Sources near saturated pixels."""

    enabled: bool = True
    """Flag sources near saturated pixels (excluded_saturation)."""
    radius_pix: Annotated[NonNegativeFloat, Unit("pix")] = 20.0
    """Radius about a source within which a saturated pixel counts."""
    require_all_bands: bool = False
    """true: saturated in all bands; false: in any band."""
    saturation_divisor: PositiveFloat = 1.3
    """A pixel is saturated from SATURATE / saturation_divisor on: 1.0 is the full level, 1.3 about
    77 %, 2.0 half of it. Defines the saturation mask even when enabled is false."""


class BrightMaskConfig(Config):
    """Bright things that are not in the catalogue."""

    enabled: bool = True
    """Mask bright detections that no catalogue source explains."""
    thresh_sigma: Annotated[PositiveFloat, Unit("sigma")] = 5.0
    """Detection threshold on the white stack."""
    minarea: Annotated[PositiveInt, Unit("pix")] = 20
    """Least connected area of a detection."""
    deblend_nthresh: PositiveInt = 32
    """Deblending levels."""
    deblend_cont: NonNegativeFloat = 0.005
    """Deblending contrast."""
    clean: bool = True
    """Remove detections that the wings of a neighbour explain."""
    clean_param: PositiveFloat = 1.0
    """Strength of that cleaning."""
    match_radius_pix: Annotated[NonNegativeFloat, Unit("pix")] = 3.0
    """A detection this close to an active source is that source and is not masked."""
    ellipse_scale: Annotated[NonNegativeFloat, Unit("factor")] = 3.0
    """Size of a masked ellipse in units of the detection's a and b."""
    min_radius_pix: Annotated[NonNegativeFloat, Unit("pix")] = 6.0
    """Least semi-axis of a masked ellipse."""
    dilate_pix: Annotated[NonNegativeInt, Unit("pix")] = 1
    """Growth of the finished mask."""


class LoggingConfig(Config):
    """What is logged, and where to."""

    ignore_warnings: bool = True
    """Silence Python warnings of libraries."""
    level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR; any other word means INFO."""
    file: AutoPath | None = "auto"
    """Log file, appended to; auto: work_dir/{verb}.log; null: console only. A relative path starts
    at work_dir."""
    format: str = "%(asctime)s | %(name)s | %(levelname)s | %(message)s"
    """Format of a log line, in the notation of Python's logging."""

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        try:
            logging.Formatter(self.format)
        except ValueError as error:
            msg = f"format = {self.format!r} is not a log line format ({error}); try the default"
            raise ValueError(msg) from None
        return self


class PerformanceConfig(Config):
    """Parallel reading and stacking."""

    frame_prep_workers: AutoInt = "auto"
    """Images prepared at the same time (masks and noise); auto: as many as there are workers. At
    least 1 is used."""
    white_stack_workers: AutoInt = "auto"
    """Threads that stack strips of rows, 120 MB each; auto: 4. Never more than CPUs or strips, nor
    fewer than 1."""

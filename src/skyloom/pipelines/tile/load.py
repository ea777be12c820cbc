"""The first stages: headers of all bands, the working WCS, pixel masks, the white image."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from astropy.wcs import WCS
from typing_extensions import override

from skyloom._types import Bools, Pixels
from skyloom.butler import Array, FitsImages
from skyloom.coadd import SkySigma, WhiteImage, row_strips, white_stack
from skyloom.detect.no_data import constant_pixels
from skyloom.errors import UnreadableFile, WrongValue
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box, WcsTolerance, wcs_snapshot_header
from skyloom.images import (
    UNUSABLE,
    Frame,
    frame_wcs,
    pixels_and_mask,
    read_frames,
    read_scaled_pixels,
)

from .config import TileConfig
from .image_overrides import find_images, header_overrides, with_maps
from .noise import SkyNoise, sky_noise
from .sky import first_level
from .work import STACK_KEY, stack_threads

__all__ = [
    "SMALL_CROP",
    "WHITE_KEY",
    "Load",
    "Masks",
    "White",
    "band_frame",
    "crop_share",
    "read_tile_frames",
    "warn_of_crop",
    "white_frames",
    "white_of",
    "whole_white_of",
    "working_wcs",
]

log = logging.getLogger(__name__)

WHITE_KEY: Final = "skyloom.white_bands"
SMALL_CROP: Final = 0.5  # of the image: whoever wants less knows it
SKY_LEVEL: Final = 3.0  # times the noise: an image that is not background-subtracted
_STRIP_PIXELS: Final = 4_000_000  # of one strip; the stack holds about 30 bytes for each


def read_tile_frames(paths: list[Path], config: Any) -> tuple[Frame, ...]:
    """Read and check the headers of a tile's images, in the order of the image list.

    Parameters
    ----------
    paths : list of path
        One image per band.
    config : TileConfig
        Reads ``image_scaling``, ``crop``, ``checks``, ``source_saturation_cut``,
        ``skyloom.images`` and ``skyloom.noise``.

    Raises
    ------
    InputError
        With the problems of all files.
    WrongValue
        If a name in ``skyloom.images`` does not mean one of them.
    """
    images = config.skyloom.images
    names = find_images(paths, images)
    checks = config.checks
    tolerance = WcsTolerance(
        crval=checks.wcs_tolerance.crval,
        crpix=checks.wcs_tolerance.crpix,
        cd=checks.wcs_tolerance.cd,
        cdelt=checks.wcs_tolerance.cdelt,
    )
    frames = read_frames(
        paths,
        zp_ref=config.image_scaling.zp_ref,
        saturation_divisor=config.source_saturation_cut.saturation_divisor,
        margin=config.crop.margin if config.crop.enabled else 0,
        tolerance=tolerance if checks.require_wcs_alignment else None,
        same_shape=checks.require_same_shape,
        overrides=header_overrides(
            paths, names, images, needs_sky_sigma=config.skyloom.noise != "measured"
        ),
    )
    return with_maps(frames, names, images)


def white_frames(frames: Sequence[Frame], config: TileConfig) -> list[Frame]:
    """Return the frames that make the white image, in the order of the image list.

    Raises
    ------
    WrongValue
        If ``skyloom.white_bands`` names a band that no image has.
    """
    wanted = config.skyloom.white_bands
    bands = [frame.band for frame in frames]
    unknown = [band for band in wanted if band not in bands]
    if unknown:
        raise WrongValue(
            f"skyloom.white_bands: no image is of band {', '.join(unknown)}; there are "
            f"{', '.join(bands)}",
            key="skyloom.white_bands",
            value=list(wanted),
        )
    return [frame for frame in frames if not wanted or frame.band in wanted]


def crop_share(frame: Frame) -> float:
    """Return the part of the image that the crop leaves."""
    ny, nx = frame.working_shape
    return nx * ny / (frame.shape[0] * frame.shape[1])


def warn_of_crop(frame: Frame) -> None:
    """Warn of a crop that takes most of the image, as its default does of a small one."""
    if crop_share(frame) >= SMALL_CROP:
        return
    (ny, nx), (height, width) = frame.working_shape, frame.shape
    log.warning(
        "the crop leaves %d x %d of %d x %d pix, %.0f %% of the image; lower crop.margin, or set "
        "crop.enabled: false",
        nx,
        ny,
        width,
        height,
        100 * crop_share(frame),
    )


def band_frame(frames: Mapping[str, Any], band: str, image: Handle[Any] | None = None) -> Frame:
    """Return the frame of a band out of the dataset ``frames``, at the path of its handle."""
    frame = Frame.from_dict(frames["frames"][band])
    return frame if image is None else replace(frame, path=image.path)


def working_wcs(snapshot: FitsImages) -> WCS:
    """Return the WCS of the working frame out of the dataset ``wcs``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old keywords that astropy repairs
        return WCS(snapshot.header)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadInputs:
    """The images of the tile."""

    images: Annotated[dict[str, Handle[FitsImages]], Dataset("raw_image", gather="band", lazy=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutputs:
    """What their headers say."""

    frames: Annotated[dict[str, Any], Dataset("frames")]
    wcs: Annotated[FitsImages, Dataset("wcs")]


class Load(Stage[TileConfig, LoadInputs, LoadOutputs]):
    """Read the headers of all images, check that they match, fix the working frame."""

    name = "load"
    version = 2
    light = True
    config_keys = (
        "image_scaling.zp_ref",
        "crop.enabled",
        "crop.margin",
        "checks",
        "source_saturation_cut.saturation_divisor",
        "skyloom.images",
        "skyloom.noise",
    )

    @override
    def run(self, inputs: LoadInputs) -> LoadOutputs:
        """Return ``frames`` (in band order) and the WCS of the reference image's crop."""
        frames = read_tile_frames([image.path for image in inputs.images.values()], self.config)
        box = frames[0].box
        wcs = frame_wcs(frames[0])
        if any(getattr(wcs, name) is not None for name in ("cpdis1", "cpdis2", "det2im1")):
            log.warning(
                "%s: its distortion tables have no place in wcs.fits; positions leave them out",
                frames[0].path,
            )
        warn_of_crop(frames[0])
        for frame in frames:
            if frame.data_shape is not None:
                log.warning(
                    "%s: %s has %d x %d of %d x %d pix; there is no data beyond them",
                    frame.band,
                    frame.path,
                    *frame.data_shape[::-1],
                    *frame.shape[::-1],
                )
        log.info(
            "bands %s; working frame %d x %d pix",
            ", ".join(frame.band for frame in frames),
            box.width,
            box.height,
        )
        return LoadOutputs(
            frames={
                "bands": [frame.band for frame in frames],
                "shape": list(box.shape),
                "crop": [box.x0, box.x1, box.y0, box.y1],
                "frames": {frame.band: frame.as_dict() for frame in frames},
            },
            wcs=FitsImages(
                header=wcs_snapshot_header(wcs),
                images={"PRIMARY": np.zeros((1, 1), dtype=np.uint8)},
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MasksInputs:
    """One image."""

    band: Annotated[str, Dim("band")]
    image: Annotated[Handle[FitsImages], Dataset("raw_image", lazy=True)]
    maps: Annotated[dict[str, Handle[FitsImages]], Dataset("pixel_map", gather="map", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MasksOutputs:
    """Its mask: ``mask``, uint8 of the working frame, bits of `MaskBit`; a guess of its sky."""

    mask: Annotated[dict[str, Array], Dataset("band_mask")]
    sky: Annotated[dict[str, Array], Dataset("sky_start")]


class Masks(Stage[TileConfig, MasksInputs, MasksOutputs]):
    """Mark the pixels of a band that are of no use or saturated; guess the level of its sky."""

    name = "masks"
    version = 4
    dimensions = ("band",)

    @override
    def run(self, inputs: MasksInputs) -> MasksOutputs:
        """Return the mask of the working frame."""
        frame = band_frame(inputs.frames, inputs.band, inputs.image)
        pixels, mask = pixels_and_mask(frame)
        _check_pixels(pixels, (mask & np.uint8(UNUSABLE)) == 0, frame)
        if frame.maps.files:
            share = float(((mask & np.uint8(UNUSABLE)) > 0).mean())
            log.log(
                logging.WARNING if share > 0.5 else logging.INFO,
                "%s: %.2f %% of the pixels are of no use, by NaN and maps",
                inputs.band,
                100 * share,
            )
        # Where a map tells the noise, any number will do: only ratios of weights matter.
        sigma = 1.0 if math.isnan(frame.sky_sigma) else frame.sky_sigma
        pixels *= np.float32(frame.scale)
        level = first_level(pixels, mask != 0, sigma)
        _check_level(float(np.median(level)), frame)
        return MasksOutputs(mask={"mask": mask}, sky={"level": level})


def _check_pixels(pixels: Pixels, usable: Bools, frame: Frame) -> None:
    """Refuse an image that is the same everywhere; warn of one without a usable pixel."""
    if not usable.any():
        log.warning(
            "%s: %s[%d] has no usable pixel in the working frame: all fluxes of this band stay "
            "empty; correct the image or its maps, or take it off the image list",
            frame.band,
            frame.path,
            frame.hdu,
        )
        return
    low = float(np.min(pixels, where=usable, initial=np.inf))
    high = float(np.max(pixels, where=usable, initial=-np.inf))
    if low == high and usable.sum() > 1:
        raise UnreadableFile(
            f"{frame.path}[{frame.hdu}]: all pixels of the working frame are {low:g}; the file is "
            "damaged or empty: make it again, or take it off the image list",
            path=frame.path,
            value=low,
        )
    blank = constant_pixels(pixels)
    if blank is not None:
        log.warning(
            "%s: %.2g %% of the pixels of %s[%d] lie in blocks that are exactly %g: no data there? "
            "They count as sky without light, and fluxes on them are wrong; set "
            "skyloom.images.%s.no_data: %g, or give a weight_map or mask_map",
            frame.band,
            100 * blank.share,
            frame.path,
            frame.hdu,
            blank.value,
            frame.band,
            blank.value,
        )


def _check_level(level: float, frame: Frame) -> None:
    """Warn of an image whose sky was not subtracted; ``level`` is in scaled counts."""
    if not abs(level) > SKY_LEVEL * frame.sky_sigma:  # or NaN: a map tells the noise
        return
    log.warning(
        "%s: the sky of %s[%d] is at %+.4g ADU, %.3g times its noise; fits follow it, but the "
        "white image and all detections on it take it for light; subtract the background",
        frame.band,
        frame.path,
        frame.hdu,
        level / frame.scale,
        abs(level) / frame.sky_sigma,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteInputs:
    """All images."""

    images: Annotated[dict[str, Handle[FitsImages]], Dataset("raw_image", gather="band", lazy=True)]
    maps: Annotated[
        dict[Any, Handle[FitsImages]], Dataset("pixel_map", gather=("band", "map"), lazy=True)
    ]
    noise: Annotated[dict[str, dict[str, Any]], Dataset("noise", gather="band", optional=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    wcs: Annotated[FitsImages, Dataset("wcs")]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteOutputs:
    """The stack: ``IMAGE`` and ``SIGMA`` [scaled counts]."""

    white: Annotated[FitsImages, Dataset("white")]


class White(Stage[TileConfig, WhiteInputs, WhiteOutputs]):
    """Stack the bands, weighted by their sky noise."""

    name = "white"
    config_keys = (WHITE_KEY, f"-{STACK_KEY}")

    @override
    def run(self, inputs: WhiteInputs) -> WhiteOutputs:
        """Return the stack of the working frame."""
        frames = [band_frame(inputs.frames, b, image) for b, image in inputs.images.items()]
        frames = white_frames(frames, self.config)
        noise = [sky_noise(f, inputs.noise.get(f.band)) for f in frames]
        threads = stack_threads(self.config, len(_strips(frames)))
        white = white_of(frames, noise, threads=threads)
        images = {"IMAGE": white.image, "SIGMA": white.sigma}
        return WhiteOutputs(white=FitsImages(header=inputs.wcs.header, images=images))


def white_of(frames: list[Frame], noise: list[SkyNoise], *, threads: int = 1) -> WhiteImage:
    """Stack the working frames of the bands, so many strips at the same time."""
    return _stack(frames, [n.level if n.is_constant else n.of for n in noise], threads=threads)


def whole_white_of(frames: list[Frame], noise: list[SkyNoise]) -> WhiteImage:
    """Stack the whole images, beyond the crop too, each with the median of its noise."""
    whole = [replace(frame, box=Box.of_shape(frame.shape)) for frame in frames]
    return _stack(whole, [n.level for n in noise])


def _stack(frames: list[Frame], sky_sigma: list[SkySigma], *, threads: int = 1) -> WhiteImage:
    strips = ((box, _planes(frames, box)) for box in _strips(frames))
    shape = frames[0].working_shape
    return white_stack(strips, sky_sigma=sky_sigma, shape=shape, threads=threads)


def _strips(frames: list[Frame]) -> list[Box]:
    shape = frames[0].working_shape
    return list(row_strips(shape, max(64, _STRIP_PIXELS // shape[1])))


def _planes(frames: list[Frame], box: Box) -> Iterator[Pixels]:
    return (read_scaled_pixels(frame, box) for frame in frames)

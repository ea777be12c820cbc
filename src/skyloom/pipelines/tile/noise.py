"""Stage ``noise``: the sky noise of a band where it is more than one number.

Without maps the noise of every pixel is SKYSIG, there is nothing to be made, and the stage is not
part of the pipeline.  The product holds numbers, not pixels: consumers read the user's map, strip
by strip, and scale it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from typing_extensions import override

from skyloom._types import Bools, Pixels
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box
from skyloom.images import Frame

from .config import TileConfig

__all__ = ["NOISE_RATIO", "Noise", "SkyNoise", "needs_noise", "sky_noise", "stated_noise"]

log = logging.getLogger(__name__)

NOISE_RATIO: Final = 1.1
"""Measured over stated noise, or the other way round, beyond which there is a warning."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SkyNoise:
    """Sky noise of the pixels of a frame [scaled counts]."""

    frame: Frame
    level: float  # median over the working frame
    norm: float = 1.0  # scaled counts per unit of the map; without a map of no meaning

    @property
    def is_constant(self) -> bool:
        """Tell whether all pixels have the same noise."""
        return self.frame.maps.noise is None

    def of(self, box: Box | None = None) -> float | Pixels:
        """Return the noise in a box of the working frame, or in all of it.

        Returns
        -------
        float or ndarray of float32
            One number where the noise is constant; inf where a pixel has no weight.
        """
        if self.is_constant:
            return self.level
        frame = self.frame
        box = Box.of_shape(frame.working_shape) if box is None else box
        sigma = frame.maps.sigma(box.shifted(frame.box.x0, frame.box.y0))
        return sigma * np.float32(self.norm)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"level": self.level, "norm": self.norm}


def sky_noise(frame: Frame, product: Mapping[str, Any] | None) -> SkyNoise:
    """Return the noise of a band from its product; None: that of the header."""
    if product is None:
        return SkyNoise(frame=frame, level=frame.sky_sigma)
    return SkyNoise(frame=frame, level=product["level"], norm=product["norm"])


def stated_noise(frame: Frame, bad: Bools | None = None) -> SkyNoise:
    """Return the noise that header and maps of a frame state.

    Relative weights are scaled so that the median of the noise is that of the header.

    Parameters
    ----------
    frame : Frame
        The band.
    bad : ndarray of bool, optional
        Pixels of the working frame that do not count for the median.
    """
    if frame.maps.noise is None:
        return SkyNoise(frame=frame, level=frame.sky_sigma)
    sigma = frame.maps.sigma(frame.box)
    good = np.isfinite(sigma) if bad is None or bad.all() else np.isfinite(sigma) & ~bad
    median = float(np.median(sigma[good])) if good.any() else math.inf
    norm = frame.sky_sigma / median if frame.maps.is_relative else frame.scale
    return SkyNoise(frame=frame, level=median * norm, norm=norm)


def needs_noise(config: TileConfig) -> bool:
    """Tell whether the noise of some band is more than one number of its header."""
    images = config.skyloom.images.values()
    return any(i.weight_map is not None or i.rms_map is not None for i in images)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseInputs:
    """A band and its maps."""

    band: Annotated[str, Dim("band")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    maps: Annotated[dict[str, Handle[Any]], Dataset("pixel_map", gather="map", lazy=True)]
    mask: Annotated[dict[str, Any], Dataset("band_mask")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOutputs:
    """`SkyNoise` as plain values, and digests of the maps; none where SKYSIG says everything."""

    noise: Annotated[dict[str, Any] | None, Dataset("noise", optional=True)]


class Noise(Stage[TileConfig, NoiseInputs, NoiseOutputs]):
    """Scale the noise map of a band."""

    name = "noise"
    dimensions = ("band",)

    @override
    def run(self, inputs: NoiseInputs) -> NoiseOutputs:
        frame = Frame.from_dict(inputs.frames["frames"][inputs.band])
        if frame.maps.noise is None:
            return NoiseOutputs(noise=None)
        noise = stated_noise(frame, inputs.mask["mask"] != 0)
        log.info("%s: sky noise from a map, median %.4g", inputs.band, noise.level)
        # What reads the map depends on its content, and knows it from here.
        digests = {k: h.digest for k, h in inputs.maps.items() if k != "mask"}
        return NoiseOutputs(noise={**noise.as_dict(), "maps": digests})

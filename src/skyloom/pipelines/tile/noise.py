"""Stage ``noise``: the sky noise of a band where it is more than one number.

The noise of a pixel is what the header says (SKYSIG) or a map of the user's, and with
``skyloom.noise: measured`` this times a smooth field: the measured over the stated noise.  ``auto``
measures where SKYSIG cannot be right for the whole field.  Where SKYSIG alone is asked for there is
nothing to be made, and the stage is not part of the pipeline.  The product holds numbers, not
pixels: consumers read the user's map, strip by strip, and scale it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import numpy as np
from typing_extensions import override

from skyloom._types import Bools, Pixels
from skyloom.detect import NoiseMesh, measure_noise_mesh, noise_range
from skyloom.errors import Unprocessable
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box
from skyloom.images import Frame, read_scaled_pixels

from .config import TileConfig

__all__ = [
    "NOISE_RATIO",
    "Noise",
    "SkyNoise",
    "measured_noise",
    "needs_noise",
    "noise_by_choice",
    "sky_noise",
    "stated_noise",
    "with_level",
]

log = logging.getLogger(__name__)

NOISE_RATIO: Final = 1.1
"""Measured over stated noise, or the other way round, beyond which there is a warning."""

UNEVEN: Final = 1.15
"""Largest over least noise of a field beyond which one number cannot tell it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SkyNoise:
    """Sky noise of the pixels of a frame [scaled counts]."""

    frame: Frame
    level: float  # median over the working frame
    norm: float  # scaled counts per unit of the map; without a map the stated noise
    ratio: NoiseMesh | None = None  # measured over stated; None: not measured

    @property
    def is_constant(self) -> bool:
        """Tell whether all pixels have the same noise."""
        return not self.is_by_pixel and self.ratio is None

    @property
    def is_by_pixel(self) -> bool:
        """Tell whether each pixel has a noise of its own, from a map."""
        return self.frame.maps.noise is not None

    @property
    def smooth(self) -> NoiseMesh | None:
        """The noise as a smooth field where it is one: measured, without a map of the user's."""
        if self.ratio is None or self.is_by_pixel:
            return None
        return replace(self.ratio, values=self.norm * self.ratio.values)

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
        if self.smooth is not None:
            return self.smooth.surface(box)
        sigma = frame.maps.sigma(box.shifted(frame.box.x0, frame.box.y0)) * np.float32(self.norm)
        return sigma if self.ratio is None else sigma * self.ratio.surface(box)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        ratio = None if self.ratio is None else self.ratio.values.tolist()
        return {"level": self.level, "norm": self.norm, "ratio": ratio}


def sky_noise(frame: Frame, product: Mapping[str, Any] | None) -> SkyNoise:
    """Return the noise of a band from its product; None: that of the header."""
    if product is None:
        return SkyNoise(frame=frame, level=frame.sky_sigma, norm=frame.sky_sigma)
    ratio = product["ratio"]
    mesh = None
    if ratio is not None:
        mesh = NoiseMesh(values=np.array(ratio, dtype=np.float64), shape=frame.working_shape)
    return SkyNoise(frame=frame, level=product["level"], norm=product["norm"], ratio=mesh)


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
        return SkyNoise(frame=frame, level=frame.sky_sigma, norm=frame.sky_sigma)
    sigma = frame.maps.sigma(frame.box)
    good = np.isfinite(sigma) if bad is None or bad.all() else np.isfinite(sigma) & ~bad
    median = float(np.median(sigma[good])) if good.any() else math.inf
    norm = frame.sky_sigma / median if frame.maps.is_relative else frame.scale
    return SkyNoise(frame=frame, level=median * norm, norm=norm)


def with_level(stated: SkyNoise, bad: Bools | None = None) -> SkyNoise:
    """Return the stated noise, or where nobody states its level one with a median of 1 ADU."""
    if math.isfinite(stated.level):
        return stated
    one = replace(stated.frame, sky_sigma_adu=1.0)
    return replace(stated_noise(one, bad), frame=stated.frame)


def measured_noise(
    stated: SkyNoise,
    bad: Bools | None = None,
    *,
    least_range: float = 0.0,
    pixels: Pixels | None = None,
) -> SkyNoise:
    """Return the noise as the sky between the sources shows it.

    Parameters
    ----------
    stated : SkyNoise
        The noise that is stated; a map of the user's gives the small structure.
    bad : ndarray of bool, optional
        Pixels of the working frame that do not count.
    least_range : float
        Largest over least noise of the field up to which the stated noise stands.
    pixels : ndarray, optional
        Of the working frame [scaled counts], NaN where they do not count; default: read from it.

    Returns
    -------
    SkyNoise
        As it is stated, after a warning, where there is no sky to measure.

    Raises
    ------
    Unprocessable
        If nothing is stated either.
    """
    frame = stated.frame
    base = with_level(stated, bad)
    known = base is stated
    pixels = _sky_pixels(frame, bad) if pixels is None else pixels
    mesh = measure_noise_mesh(_pulls(base, pixels), frame.working_shape)
    if mesh is None:
        if not known:
            raise Unprocessable(
                f"{frame.path}: no blank sky to measure the noise, and no SKYSIG; give sky_sigma "
                "under skyloom.images"
            )
        log.warning("%s: no blank sky to measure the noise; SKYSIG or the map stands", frame.band)
        return stated
    if mesh.values.max() <= least_range * mesh.values.min():
        return stated
    found = replace(base, level=base.level * mesh.median, ratio=mesh)
    low, high = mesh.values.min() / mesh.median, mesh.values.max() / mesh.median
    times = f", {mesh.median:.3f} times what is stated" if known else ""
    far = known and not 1 / NOISE_RATIO < mesh.median < NOISE_RATIO
    log.log(
        logging.WARNING if far else logging.INFO,
        "%s: sky noise measured, %.4g ADU%s; %.2f to %.2f of that over the field",
        frame.band,
        found.level / frame.scale,
        times,
        low,
        high,
    )
    return found


def noise_by_choice(stated: SkyNoise, config: TileConfig, bad: Bools | None = None) -> SkyNoise:
    """Return the noise as it is stated, or as measured, by ``skyloom.noise``.

    Parameters
    ----------
    stated : SkyNoise
        The noise that is stated.
    config : TileConfig
        Reads ``skyloom.noise``.
    bad : ndarray of bool, optional
        Pixels of the working frame that do not count.
    """
    choice = config.skyloom.noise
    if choice == "stated" or (choice == "auto" and stated.is_by_pixel):
        return stated
    if choice == "measured":
        return measured_noise(stated, bad)
    pixels = _sky_pixels(stated.frame, bad)
    low, high = noise_range(_pulls(stated, pixels), stated.frame.working_shape)
    if not high > UNEVEN * low:  # NaN: nothing to judge by
        return stated
    return measured_noise(stated, bad, least_range=UNEVEN, pixels=pixels)


def _sky_pixels(frame: Frame, bad: Bools | None) -> Pixels:
    """Return the pixels of the working frame [scaled counts], NaN where they do not count."""
    pixels = read_scaled_pixels(frame)
    if bad is not None:
        pixels[bad] = np.nan
    return pixels


def _pulls(noise: SkyNoise, pixels: Pixels) -> Callable[[Box], Pixels]:
    """Return what gives pixels in units of a noise."""
    return lambda box: np.asarray(pixels[box.slices] / noise.of(box), dtype=np.float32)


def needs_noise(config: TileConfig) -> bool:
    """Tell whether the noise of some band is more than one number of its header."""
    images = config.skyloom.images.values()
    return config.skyloom.noise != "stated" or any(
        i.weight_map is not None or i.rms_map is not None for i in images
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseInputs:
    """A band and its maps."""

    band: Annotated[str, Dim("band")]
    image: Annotated[Handle[Any], Dataset("raw_image", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    maps: Annotated[dict[str, Handle[Any]], Dataset("pixel_map", gather="map", lazy=True)]
    mask: Annotated[dict[str, Any], Dataset("band_mask")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOutputs:
    """`SkyNoise` as plain values, and digests of the maps; none where SKYSIG says everything."""

    noise: Annotated[dict[str, Any] | None, Dataset("noise", optional=True)]


class Noise(Stage[TileConfig, NoiseInputs, NoiseOutputs]):
    """Scale the noise map of a band, or measure its noise."""

    name = "noise"
    version = 3
    dimensions = ("band",)
    config_keys = ("skyloom.noise",)

    @override
    def run(self, inputs: NoiseInputs) -> NoiseOutputs:
        frame = Frame.from_dict(inputs.frames["frames"][inputs.band])
        bad = inputs.mask["mask"] != 0
        noise = stated_noise(frame, bad)
        noise = noise_by_choice(noise, self.config, bad)
        if noise.is_constant:
            return NoiseOutputs(noise=None)
        # What reads the map depends on its content, and knows it from here.
        digests = {k: h.digest for k, h in inputs.maps.items() if k != "mask"}
        return NoiseOutputs(noise={**noise.as_dict(), "maps": digests})

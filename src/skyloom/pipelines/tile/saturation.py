"""Stage ``saturation``: which sources have a saturated core, with or without a header keyword."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from scipy import ndimage
from typing_extensions import override

from skyloom._types import Ints
from skyloom.catalogs import column_as_float
from skyloom.detect.saturation import find_plateau, saturated_pixels
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.images import Frame, MaskBit, read_scaled_pixels

from .config import TileConfig
from .noise import sky_noise

__all__ = ["Saturation"]

MIN_SNR = 100.0  # of the peak pixel; fainter sources cannot be saturated
MIN_BLOB = 5  # pix: smaller regions are hot pixels and cosmic rays
CORE = 1.5  # FWHM: a saturated pixel this close belongs to the source


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationInputs:
    """A band and the sources on it."""

    band: Annotated[str, Dim("band")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    image: Annotated[Handle[Any], Dataset("raw_image", lazy=True)]
    mask: Annotated[dict[str, Any], Dataset("band_mask")]
    noise: Annotated[dict[str, Any] | None, Dataset("noise", optional=True)]
    sources: Annotated[Table, Dataset("sources")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationOutputs:
    """``level`` [scaled counts] of a plateau or null; ``rows``, ``area`` of saturated sources.

    ``blobs`` lists x, y [pix] and area [pix] of all connected saturated regions, catalogued or not.
    """

    saturation: Annotated[dict[str, Any], Dataset("saturation")]


class Saturation(Stage[TileConfig, SaturationInputs, SaturationOutputs]):
    """Find saturated stars by SATURATE and by flat tops at a common level."""

    name = "saturation"
    version = 2
    dimensions = ("band",)
    config_keys = (
        "patch_run.fallback_default_fwhm_pix",
        "source_saturation_cut.saturation_divisor",
    )

    @override
    def run(self, inputs: SaturationInputs) -> SaturationOutputs:
        frame = Frame.from_dict(inputs.frames["frames"][inputs.band])
        image = read_scaled_pixels(frame)
        fwhm = frame.fwhm_pix or self.config.patch_run.fallback_default_fwhm_pix
        x = column_as_float(inputs.sources, "x_pix_white")
        y = column_as_float(inputs.sources, "y_pix_white")
        plateau = find_plateau(
            image,
            x,
            y,
            fwhm=fwhm,
            min_peak=MIN_SNR * sky_noise(frame, inputs.noise).level,
            divisor=max(1.0, self.config.source_saturation_cut.saturation_divisor),
        )
        full = (inputs.mask["mask"] & np.uint8(MaskBit.SATURATED)) > 0
        full |= saturated_pixels(image, plateau.level)
        labels, count = ndimage.label(full)
        area = np.bincount(labels.ravel(), minlength=count + 1)
        touched = _nearest_label(labels, x, y, CORE * fwhm)
        rows = np.flatnonzero(touched > 0)
        return SaturationOutputs(
            saturation={
                "level": plateau.level if np.isfinite(plateau.level) else None,
                "rows": [int(r) for r in rows],
                "area": [int(area[touched[r]]) for r in rows],
                "blobs": _blobs(labels, area),
            }
        )


def _blobs(labels: Any, area: Ints) -> list[list[float]]:
    """Return centre and area of the saturated regions that are more than a hot pixel."""
    numbers = np.flatnonzero(area[1:] >= MIN_BLOB) + 1
    if len(numbers) == 0:
        return []
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, numbers)).reshape(-1, 2)
    return [
        [round(float(x), 2), round(float(y), 2), float(area[k])]
        for k, (y, x) in zip(numbers, centres, strict=True)
    ]


def _nearest_label(labels: Any, x: Any, y: Any, radius: float) -> Ints:
    """Return the label of the nearest saturated pixel within ``radius`` of each position, or 0."""
    found = np.zeros(len(x), np.int64)
    ny, nx = labels.shape
    for row in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        x0, y0 = max(0, int(x[row] - radius)), max(0, int(y[row] - radius))
        part = labels[
            y0 : min(ny, int(y[row] + radius) + 2), x0 : min(nx, int(x[row] + radius) + 2)
        ]
        if not part.any():
            continue
        iy, ix = np.nonzero(part)
        distance = np.hypot(ix + x0 - x[row], iy + y0 - y[row])
        best = int(np.argmin(distance))
        if distance[best] <= radius:
            found[row] = part[iy[best], ix[best]]
    return found

"""The bright mask: pixels of bright objects that the catalogue does not list."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools
from skyloom.butler import Array, FitsImages
from skyloom.detect import bright_mask, inside_mask
from skyloom.flow import Dataset, Handle, Stage

from .config import TileConfig
from .sources import saturated_pixels

__all__ = ["BrightMaskStage", "bright_pixels"]

log = logging.getLogger(__name__)


def bright_pixels(product: FitsImages) -> Bools:
    """Return the bright mask alone, without saturated pixels, out of the dataset."""
    return np.asarray(product["BRIGHT"] != 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightMaskInputs:
    """The white image and the sources that explain its light."""

    white: Annotated[FitsImages, Dataset("white")]
    sources: Annotated[Table, Dataset("sources")]
    masks: Annotated[
        dict[str, Handle[dict[str, Array]]], Dataset("band_mask", gather="band", lazy=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightMaskOutputs:
    """``PRIMARY``: bright or saturated; ``BRIGHT``: bright alone; and who is affected."""

    mask: Annotated[FitsImages, Dataset("bright_mask")]
    affected: Annotated[Table, Dataset("bright_sources")]
    detections: Annotated[Table, Dataset("bright_detections")]


class BrightMaskStage(Stage[TileConfig, BrightMaskInputs, BrightMaskOutputs]):
    """Mask bright detections without an active source."""

    name = "bright-mask"
    config_keys = ("bright_mask", "-bright_mask.enabled")

    @override
    def run(self, inputs: BrightMaskInputs) -> BrightMaskOutputs:
        """Return the mask, the rows inside it and the detections."""
        cfg = self.config.bright_mask
        x, y = (np.asarray(inputs.sources[name]) for name in ("x_pix_white", "y_pix_white"))
        active = ~np.asarray(inputs.sources["excluded_any"])
        result = bright_mask(
            inputs.white["IMAGE"],
            inputs.white["SIGMA"],
            x=x[active],
            y=y[active],
            thresh_sigma=cfg.thresh_sigma,
            minarea=cfg.minarea,
            deblend_nthresh=cfg.deblend_nthresh,
            deblend_cont=cfg.deblend_cont,
            clean=cfg.clean,
            clean_param=cfg.clean_param,
            match_radius_pix=cfg.match_radius_pix,
            ellipse_scale=cfg.ellipse_scale,
            min_radius_pix=cfg.min_radius_pix,
            dilate_pix=cfg.dilate_pix,
        )
        matched = np.asarray(result.detections["is_matched"])
        log.info(
            "bright mask: %d detections, %d not in the catalogue, %.2f %% of the pixels",
            len(matched),
            int((~matched).sum()),
            100 * float(result.mask.mean()),
        )
        both = result.mask.copy()
        for saturated in saturated_pixels(inputs.masks):
            both |= saturated
        affected = Table(
            {
                "row": np.asarray(inputs.sources["row"]),
                "affected_by_bright_mask": inside_mask(x, y, result.mask),
            }
        )
        return BrightMaskOutputs(
            mask=FitsImages(
                header=inputs.white.header, images={"PRIMARY": both, "BRIGHT": result.mask}
            ),
            affected=affected,
            detections=result.detections,
        )

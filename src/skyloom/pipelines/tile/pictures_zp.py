"""Pictures of the zero points: what they depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom.flow import Dataset, Stage
from skyloom.plots import TrendLine, TrendStars, plot_zero_point_trends, png_bytes

from .config import TileConfig
from .pictures_fit import ZeroPointPictureInputs

__all__ = ["DrawZeroPointTrends"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPictureOutputs:
    """A picture for each band."""

    pictures: Annotated[dict[str, bytes], Dataset("zp_trends_plot", scatter="band")]


class DrawZeroPointTrends(Stage[TileConfig, ZeroPointPictureInputs, TrendPictureOutputs]):
    """Draw the zero point of every star against place, magnitude and colour."""

    name = "plot-zero-point-trends"
    late = True
    config_keys = ("plotting.dpi",)

    @override
    def run(self, inputs: ZeroPointPictureInputs) -> TrendPictureOutputs:
        """Return the pictures."""
        pictures: dict[str, bytes] = {}
        for band, facts in inputs.zero_points["zero_points"].items():
            assert inputs.stars is not None
            stars = inputs.stars[np.asarray(inputs.stars["band"]) == band]
            pictures[band] = self._draw(band, facts, stars)
        return TrendPictureOutputs(pictures=pictures)

    def _draw(self, band: str, facts: dict[str, Any], stars: Table) -> bytes:
        x, y, mag, colour = (np.asarray(stars[n]) for n in ("x", "y", "mag", "colour"))
        abscissae = {
            "x": ("x [pix]", x),
            "y": ("y [pix]", y),
            "mag": (f"reference magnitude, {band} [AB]", mag),
        }
        if np.isfinite(colour).any():
            abscissae[facts["colour"]] = (f"{facts['colour']} [mag]", colour)
        lines = {
            t["against"]: TrendLine(
                pivot=t["pivot"],
                level=t["level"] - facts["zp"],
                slope=t["slope"],
                slope_err=t["slope_err"],
                is_significant=t["is_significant"],
            )
            for t in facts["trends"]
        }
        surface = facts["surface"]
        corrected = f", after a {surface['kind']} over the frame" if surface else ""
        figure = plot_zero_point_trends(
            abscissae,
            TrendStars(
                offset=np.asarray(stars["zp"] - stars["correction"]) - facts["zp"],
                error=np.asarray(stars["zp_err"]),
                is_kept=np.asarray(stars["is_kept"], dtype=bool),
            ),
            lines=lines,
            title=f"zero point {band} = {facts['zp']:.4f} ± {facts['standard_error']:.4f} mag, "
            f"intrinsic scatter {1e3 * facts['intrinsic']:.1f} mmag{corrected}",
        )
        return png_bytes(figure, dpi=self.config.plotting.dpi)

"""Pictures of the zero points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom.flow import Dataset, Stage
from skyloom.plots import (
    TrendLine,
    TrendStars,
    ZeroPointStars,
    plot_zero_point,
    plot_zero_point_trends,
    png_bytes,
)

from .config import TileConfig

__all__ = ["DrawZeroPointTrends", "DrawZeroPoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointPictureInputs:
    """The zero points and the stars behind them."""

    zero_points: Annotated[dict[str, Any], Dataset("zero_points")]
    stars: Annotated[Table | None, Dataset("zp_stars", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointPictureOutputs:
    """Two pictures for each band."""

    pictures: Annotated[dict[str, bytes], Dataset("zp_plot", scatter="band")]
    full: Annotated[dict[str, bytes], Dataset("zp_plot_full", scatter="band")]


class DrawZeroPoints(Stage[TileConfig, ZeroPointPictureInputs, ZeroPointPictureOutputs]):
    """Draw the zero point of every star, for every band."""

    name = "plot-zero-point"
    late = True
    config_keys = (
        "zp.plot_mag_lo",
        "zp.plot_mag_hi",
        "zp.plot_zp_offset",
        "zp.zp_err_method",
        "zp.zp_err_snr_min",
        "plotting.dpi",
    )

    @override
    def run(self, inputs: ZeroPointPictureInputs) -> ZeroPointPictureOutputs:
        """Return the pictures."""
        near: dict[str, bytes] = {}
        full: dict[str, bytes] = {}
        for band, facts in inputs.zero_points["zero_points"].items():
            assert inputs.stars is not None
            stars = inputs.stars[np.asarray(inputs.stars["band"]) == band]
            half_range = self.config.zp.plot_zp_offset
            near[band] = self._draw(band, facts, stars, half_range)
            full[band] = self._draw(band, facts, stars, None)
        return ZeroPointPictureOutputs(pictures=near, full=full)

    def _draw(
        self, band: str, facts: dict[str, Any], stars: Table, half_range: float | None
    ) -> bytes:
        zp = self.config.zp
        bright = zp.zp_err_method == "bright_std"
        reliable, kept = (np.asarray(stars[n], dtype=bool) for n in ("is_reliable", "is_kept"))
        columns = {name: np.asarray(stars[name]) for name in ("mag", "zp", "zp_err", "snr")}
        ax = plot_zero_point(
            ZeroPointStars(
                **columns,
                is_kept=kept,
                is_clipped=reliable & ~kept,
                is_unreliable=~reliable,
            ),
            band=band,
            zp_median=facts["zp"],
            zp_err=facts["zp_err"] or 0.0,
            err_label="bright std" if bright else "MAD",
            snr_min=zp.zp_err_snr_min if bright else None,
            mag_range=(zp.plot_mag_lo, zp.plot_mag_hi),
            half_range=half_range,
        )
        return png_bytes(ax, dpi=self.config.plotting.dpi)


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

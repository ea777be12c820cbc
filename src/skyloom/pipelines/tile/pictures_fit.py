"""Pictures of the results: PSFs, patches, zero points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom.butler import Array
from skyloom.flow import Dataset, Dim, Stage
from skyloom.geometry import Box
from skyloom.plots import (
    EpsfCell,
    FittedPoints,
    PatchPicture,
    Points,
    ZeroPointStars,
    plot_epsf_stamps,
    plot_patch_overview,
    plot_zero_point,
    png_bytes,
)

from .config import TileConfig

__all__ = ["DrawEpsf", "DrawPatch", "DrawZeroPoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfPictureInputs:
    """The PSFs of a band."""

    band: Annotated[str, Dim("band")]
    stamps: Annotated[dict[str, Array], Dataset("epsf", gather="cell")]
    metas: Annotated[dict[str, dict[str, Any]], Dataset("epsf_meta", gather="cell")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfPictureOutputs:
    """The picture; none for a band without cells."""

    picture: Annotated[bytes | None, Dataset("epsf_stamps_plot", optional=True)]


class DrawEpsf(Stage[TileConfig, EpsfPictureInputs, EpsfPictureOutputs]):
    """Draw the PSF of every cell of a band and the growth curves."""

    name = "plot-epsf"
    late = True
    dimensions = ("band",)
    config_keys = ("plotting.dpi",)

    @override
    def run(self, inputs: EpsfPictureInputs) -> EpsfPictureOutputs:
        """Return the picture."""
        if not inputs.metas:
            return EpsfPictureOutputs(picture=None)
        cells = []
        for tag, meta in inputs.metas.items():
            row, col = (int(part[1:]) for part in tag.split("_"))
            stars = int(meta.get("nstars_used") or 0)
            cells.append(EpsfCell(row=row, col=col, stamp=inputs.stamps.get(tag), n_stars=stars))
        axes = plot_epsf_stamps(cells, band=inputs.band)
        return EpsfPictureOutputs(picture=png_bytes(axes[0], dpi=self.config.plotting.dpi))


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPictureInputs:
    """The fit of a patch."""

    patch: Annotated[str, Dim("patch")]
    white: Annotated[dict[str, Array], Dataset("patch_white")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPictureOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("patch_overview")]


class DrawPatch(Stage[TileConfig, PatchPictureInputs, PatchPictureOutputs]):
    """Draw data, model and residual of a patch."""

    name = "plot-patch"
    late = True
    dimensions = ("patch",)
    config_keys = ("plotting.dpi",)

    @override
    def run(self, inputs: PatchPictureInputs) -> PatchPictureOutputs:
        """Return the picture."""
        white = inputs.white
        axes = plot_patch_overview(
            PatchPicture(
                tag=inputs.patch,
                data=white["data"],
                model=white["model"],
                sigma=white["sigma"],
                bad=white["mask"].astype(bool),
                base=_fitted(white, white["is_base"].astype(bool)),
                halo=_fitted(white, ~white["is_base"].astype(bool)),
            )
        )
        return PatchPictureOutputs(picture=png_bytes(axes[0], dpi=self.config.plotting.dpi))


def _fitted(white: dict[str, Array], chosen: Array) -> FittedPoints:
    """Return start and fitted positions in the frame of a patch; those inside its picture."""
    x0, y0 = float(white["x0"]), float(white["y0"])
    ny, nx = white["data"].shape
    inside = Box.of_shape((ny, nx)).contains(white["x_start"] - x0, white["y_start"] - y0)
    use = chosen & inside
    return FittedPoints(
        start=Points(x=white["x_start"][use] - x0, y=white["y_start"][use] - y0),
        fitted=Points(x=white["x_fit"][use] - x0, y=white["y_fit"][use] - y0),
    )


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

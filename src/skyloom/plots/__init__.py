"""Pictures: functions that draw on Axes or on a canvas and return it; saving is the caller's."""

from .compare import (
    comparison_figures,
    plot_delta_mag,
    plot_difference_histogram,
    plot_lost_gained,
    plot_position_offsets,
    plot_pull_histogram,
    plot_type_changes,
)
from .cutouts import CutoutPicture, DisplayRange, draw_cutouts
from .epsf import (
    EpsfCell,
    StarResiduals,
    draw_epsf_cells,
    draw_growth_curve,
    draw_psf_model,
    draw_star_residuals,
    growth_curve,
)
from .marks import FittedPoints
from .overlays import (
    Points,
    plot_bright_mask_overlay,
    plot_crop,
    plot_gaia_overlay,
    plot_white_overlay,
)
from .patch import PatchPicture, draw_patch
from .psf_stars import (
    draw_background,
    draw_local_backgrounds,
    draw_star_positions,
    draw_star_stamps,
)
from .raster import Canvas, Panel
from .solving import plot_extracted_stars
from .style import asinh_norm, new_axes, new_figure, png_bytes, save_figure, show_image
from .zeropoint import ZeroPointStars, plot_zero_point
from .zp_trends import TrendLine, TrendStars, plot_trend, plot_zero_point_trends

__all__ = [
    "Canvas",
    "CutoutPicture",
    "DisplayRange",
    "EpsfCell",
    "FittedPoints",
    "Panel",
    "PatchPicture",
    "Points",
    "StarResiduals",
    "TrendLine",
    "TrendStars",
    "ZeroPointStars",
    "asinh_norm",
    "comparison_figures",
    "draw_background",
    "draw_cutouts",
    "draw_epsf_cells",
    "draw_growth_curve",
    "draw_local_backgrounds",
    "draw_patch",
    "draw_psf_model",
    "draw_star_positions",
    "draw_star_residuals",
    "draw_star_stamps",
    "growth_curve",
    "new_axes",
    "new_figure",
    "plot_bright_mask_overlay",
    "plot_crop",
    "plot_delta_mag",
    "plot_difference_histogram",
    "plot_extracted_stars",
    "plot_gaia_overlay",
    "plot_lost_gained",
    "plot_position_offsets",
    "plot_pull_histogram",
    "plot_trend",
    "plot_type_changes",
    "plot_white_overlay",
    "plot_zero_point",
    "plot_zero_point_trends",
    "png_bytes",
    "save_figure",
    "show_image",
]

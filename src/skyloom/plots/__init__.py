"""Pictures: functions that draw on Axes and return them; saving belongs to the caller."""

from .compare import (
    comparison_figures,
    plot_delta_mag,
    plot_difference_histogram,
    plot_lost_gained,
    plot_position_offsets,
    plot_pull_histogram,
    plot_type_changes,
)
from .epsf import (
    EpsfCell,
    growth_curve,
    plot_epsf_stamps,
    plot_growth_curve,
    plot_psf_star_positions,
    plot_psf_stars,
)
from .overlays import (
    Points,
    plot_bright_mask_overlay,
    plot_crop,
    plot_gaia_overlay,
    plot_white_overlay,
)
from .patch import FittedPoints, PatchPicture, plot_patch_overview
from .style import asinh_norm, new_axes, new_figure, png_bytes, save_figure, show_image
from .zeropoint import ZeroPointStars, plot_zero_point
from .zp_trends import TrendLine, TrendStars, plot_trend, plot_zero_point_trends

__all__ = [
    "EpsfCell",
    "FittedPoints",
    "PatchPicture",
    "Points",
    "TrendLine",
    "TrendStars",
    "ZeroPointStars",
    "asinh_norm",
    "comparison_figures",
    "growth_curve",
    "new_axes",
    "new_figure",
    "plot_bright_mask_overlay",
    "plot_crop",
    "plot_delta_mag",
    "plot_difference_histogram",
    "plot_epsf_stamps",
    "plot_gaia_overlay",
    "plot_growth_curve",
    "plot_lost_gained",
    "plot_patch_overview",
    "plot_position_offsets",
    "plot_psf_star_positions",
    "plot_psf_stars",
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

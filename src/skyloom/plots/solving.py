"""Pictures of plate solving: what was found on an image, and what belongs to it on the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from skyloom._types import Floats

from .style import COLORS, asinh_norm, new_axes, show_image, styled

__all__ = ["plot_extracted_stars"]

_SIZE = 7.0  # inch, the longer side
_LARGEST = 1500  # pix shown along the longer side
_BRIGHTEST = 30  # stars drawn as those that quads are made of


@styled
def plot_extracted_stars(
    shape: tuple[int, int],
    *,
    x: Floats,
    y: Floats,
    image: npt.NDArray[Any] | None = None,
    reference_x: Floats | None = None,
    reference_y: Floats | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw extracted stars on their image, and reference stars where a WCS puts them.

    Parameters
    ----------
    shape : tuple of int
        Of the image (ny, nx).
    x, y : ndarray
        Extracted stars, brightest first [pix], 0-based; the 30 brightest stand out.
    image : ndarray, shape (ny, nx), optional
        The image; without it, stars on an empty field.
    reference_x, reference_y : ndarray, optional
        Reference stars [pix].
    title : str
        Above the picture.
    ax : Axes, optional
        Where to draw.
    """
    ny, nx = shape
    scale = _SIZE / max(nx, ny)
    ax = ax if ax is not None else new_axes(nx * scale + 0.9, ny * scale + 1.3, legend_rows=2)
    if image is not None:
        data = np.asarray(image, dtype=np.float32)
        show_image(ax, data, norm=asinh_norm(data), downsample=max(1, max(nx, ny) // _LARGEST))
    else:
        ax.set_facecolor("white")
    for rows, color, size, label in (
        (slice(_BRIGHTEST, None), COLORS["sky"], 25, "extracted"),
        (slice(None, _BRIGHTEST), COLORS["orange"], 60, f"the {_BRIGHTEST} brightest"),
    ):
        ax.scatter(x[rows], y[rows], s=size, facecolors="none", edgecolors=color, linewidths=0.9,
                   label=label)  # fmt: skip
    if reference_x is not None and reference_y is not None:
        ax.scatter(reference_x, reference_y, s=45, marker="+", c=COLORS["lime"], linewidths=0.9,
                   label="reference stars, by the WCS")  # fmt: skip
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5), xlabel="x [pix]", ylabel="y [pix]")
    ax.set_aspect("equal")
    ax.set_title(title)
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.45 / (ny * scale)), ncols=3, frameon=False
    )
    return ax

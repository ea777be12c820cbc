"""The one style of all pictures: sizes, colours, stretches, and how a figure reaches the disk.

Figures are made without pyplot, so plotting keeps no global state and works in any thread.
Colours are those of Okabe & Ito (2008), which colour-blind readers tell apart; masked pixels are
red everywhere.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from skyloom._types import Floats
from skyloom.errors import Unwritable
from skyloom.geometry.box import Box

__all__ = [
    "COLORS",
    "MASKED",
    "asinh_norm",
    "colorbar_below",
    "colormap",
    "new_axes",
    "new_figure",
    "png_bytes",
    "robust_level",
    "save_figure",
    "show_image",
    "shrink",
    "styled",
]

P = ParamSpec("P")
R = TypeVar("R")
Image = npt.NDArray[np.floating[Any]]

COLORS = {
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "lime": "#7CFC00",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "red": "#E0301E",
    "magenta": "#FF6EC7",
    "cyan": "#3CE0E6",
    "grey": "#8C8C8C",
    "ink": "#1A1A1A",
}
MASKED = "#C1121F"  # pixels without data, on every map

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.edgecolor": COLORS["ink"],
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "image.interpolation": "nearest",
    "image.origin": "lower",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_SAMPLE = 200_000  # pixels that a stretch looks at


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw with the house style, whatever the user's matplotlib settings are."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_STYLE):
            return function(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size [inch] that no pyplot knows of."""
    return Figure(figsize=(width, height), dpi=100)


def new_axes(width: float = 6.0, height: float = 4.0, *, legend_rows: int = 0) -> Axes:
    """Return the only Axes of a new figure of a size [inch], with room for a legend below."""
    figure = new_figure(width, height)
    left, bottom, top = 0.75 / width, (0.5 + 0.2 * legend_rows) / height, 0.4 / height
    return figure.add_axes((left, bottom, 1 - left - 0.15 / width, 1 - bottom - top))


def png_bytes(drawn: Axes | Figure, *, dpi: float = 150) -> bytes:
    """Return a figure, or the one that an Axes is part of, as a PNG file in memory.

    The same figure gives the same bytes.

    Parameters
    ----------
    drawn : Axes or Figure
        What to write.
    dpi : float
        Resolution [pixels / inch].
    """
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    assert figure is not None
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(
            buffer,
            format="png",
            dpi=dpi,
            metadata={"Software": None},  # the library version is not part of the picture
            pil_kwargs={"compress_level": 3},  # 6 costs twice the time for 5 % of the size
        )
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path, *, dpi: float = 150) -> Path:
    """Write a PNG under a temporary name, then rename it; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
        What to write.
    path : path
        Target; its folder must exist.
    dpi : float
        Resolution [pixels / inch].

    Raises
    ------
    Unwritable
        If the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(png_bytes(figure, dpi=dpi))
        temporary.replace(path)
    except OSError as error:
        raise Unwritable(
            f"{path}: cannot write the picture ({error.strerror or error}); "
            "check that the folder exists, its permissions and the disk space",
            path=str(path),
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def colormap(name: str) -> Colormap:
    """Return a colour map whose masked pixels look masked."""
    return mpl.colormaps[name].with_extremes(bad=MASKED)


def robust_level(image: Image) -> tuple[float, float]:
    """Return median and noise, 1.4826 MAD of the fainter half, of the finite pixels.

    Sources only add light, so the pixels below the median know the noise best.

    Parameters
    ----------
    image : ndarray
        Any shape; at most about 200 000 pixels of it are looked at.

    Returns
    -------
    tuple of float
        (0, 1) without a finite pixel; the noise is never 0.
    """
    sample = _sample(image)
    if sample.size == 0:
        return 0.0, 1.0
    middle = float(np.median(sample))
    noise = 1.4826 * float(np.median(middle - sample[sample <= middle]))
    spread = noise or float(np.std(sample)) or 1.0
    return middle, spread


def asinh_norm(image: Image, *, faint: float = 2.0, top: float = 99.8) -> Normalize:
    """Return a stretch, linear in the noise and logarithmic in the stars.

    Parameters
    ----------
    image : ndarray
        Pixels to look at.
    faint : float
        Lower end, this many sigma below the median.
    top : float
        Upper end, a percentile; at least 12 sigma.
    """
    sample = _sample(image)
    middle, sigma = robust_level(image)
    high = float(np.percentile(sample, top)) if sample.size else 1.0
    width = 3 * sigma

    def forward(value: Floats) -> Floats:
        return np.asarray(np.arcsinh((np.asarray(value) - middle) / width))

    def inverse(value: Floats) -> Floats:
        return np.asarray(middle + width * np.sinh(value))

    vmin, vmax = middle - faint * sigma, max(high, middle + 12 * sigma)
    return FuncNorm((forward, inverse), vmin=vmin, vmax=vmax)


def show_image(
    ax: Axes,
    image: Image,
    *,
    cmap: str = "gray",
    norm: Normalize | None = None,
    box: Box | None = None,
    downsample: int = 1,
) -> AxesImage:
    """Show an image with pixel coordinates on the axes; NaN and masked pixels are red.

    Parameters
    ----------
    ax : Axes
        Where.
    image : ndarray, shape (ny, nx)
        Pixels of the full frame.
    cmap, norm
        Colour map and stretch; the default stretch is `asinh_norm`.
    box : Box, optional
        Part to show; parts of it outside the frame stay blank.
    downsample : int
        Averages squares of this side first.
    """
    frame = Box.of_shape((image.shape[0], image.shape[1]))
    shown = frame if box is None else box.clipped(frame)
    part = shrink(image[shown.slices], downsample)
    extent = (
        shown.x0 - 0.5,
        shown.x0 - 0.5 + part.shape[1] * downsample,
        shown.y0 - 0.5,
        shown.y0 - 0.5 + part.shape[0] * downsample,
    )
    picture = ax.imshow(
        np.ma.masked_invalid(part),
        cmap=colormap(cmap),
        norm=norm or asinh_norm(part),
        extent=extent,
        origin="lower",
        interpolation="nearest",
        aspect="equal",
    )
    view = box or Box(0, frame.width, 0, frame.height)
    ax.set(xlim=(view.x0 - 0.5, view.x1 - 0.5), ylim=(view.y0 - 0.5, view.y1 - 0.5))
    return picture


def shrink(image: Image, factor: int) -> Image:
    """Average squares of pixels; a square is NaN only where it has no finite pixel.

    Rows and columns beyond a multiple of the factor are dropped.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels.
    factor : int
        Side of the squares; 1 returns the image itself.
    """
    if factor <= 1 or min(image.shape) < factor:
        return image
    ny, nx = (n // factor for n in image.shape)
    blocks = image[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor)
    good = np.isfinite(blocks)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    mean = np.full((ny, nx), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def colorbar_below(ax: Axes, picture: AxesImage, *, label: str) -> Axes:
    """Draw a thin colour bar under an Axes and return its Axes."""
    cax = ax.inset_axes((0.0, -0.075, 1.0, 0.028))
    bar = ax.figure.colorbar(picture, cax=cax, orientation="horizontal")
    norm = picture.norm
    if isinstance(norm, FuncNorm):
        bar.set_ticks(_asinh_ticks(float(norm.vmin or 0), float(norm.vmax or 1)))
        cax.minorticks_off()
    cax.tick_params(length=2.5, pad=2, labelsize=7.5)
    cax.set_xlabel(label, labelpad=1.5)
    return cax


def _asinh_ticks(vmin: float, vmax: float) -> list[float]:
    """Zero and round numbers, one or two per decade, not crowded at the faint end."""
    top = 10.0 ** np.floor(np.log10(max(vmax, 1e-30)))
    ticks = [k * top * 10.0**-j for j in range(3) for k in (1.0, 3.0)]
    return [t for t in sorted([0.0, *ticks]) if vmin <= t <= vmax and (t == 0 or t > 0.03 * vmax)]


def _sample(image: Image) -> Floats:
    values = np.asarray(np.ma.filled(np.ma.asarray(image, dtype=np.float64), np.nan)).ravel()
    values = values[:: max(1, values.size // _SAMPLE)]
    return values[np.isfinite(values)]

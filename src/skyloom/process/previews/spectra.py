"""Small pictures of spectra: a black line on white, without a frame."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import Unprocessable

__all__ = ["draw_spectrum"]

_WIDTH, _HEIGHT = 200, 100  # pix; 4 x 2 inch at 50 dpi
_FINE: Final = 4  # drawn this much larger, then reduced: smooth lines
_MARGIN: Final = 0.05  # of the range of values, on each side
_GREYS: Final = 8


def draw_spectrum(
    spectral: npt.NDArray[Any],
    flux: npt.NDArray[Any],
    *,
    is_linear: bool = False,
    is_connected: bool = True,
) -> bytes:
    """Return a PNG of 200 x 100 pixels and 8 greys.

    Parameters
    ----------
    spectral, flux : ndarray, shape (n,)
        Wavelength, frequency or energy, in any order, and flux, in any units.  Points where either
        is not finite are left out, and on a logarithmic axis fluxes that are not positive.
    is_linear : bool
        Draw fluxes on a linear axis; default: logarithmic.
    is_connected : bool
        Draw a line; otherwise dots.

    Raises
    ------
    Unprocessable
        If no point can be drawn.
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415 - a dependency that few modules need

    x, y = _points(spectral, flux, is_linear=is_linear)
    picture = Image.new("L", (_WIDTH * _FINE, _HEIGHT * _FINE), 255)
    pen = ImageDraw.Draw(picture)
    across = _placed(x, picture.width)
    down = picture.height - _placed(y, picture.height)
    if is_connected and len(x) > 1:
        pen.line(list(zip(across, down, strict=True)), fill=0, width=_FINE, joint="curve")
    else:
        radius = 0.75 * _FINE
        for px, py in zip(across, down, strict=True):
            pen.ellipse((px - radius, py - radius, px + radius, py + radius), fill=0)
    small = np.asarray(picture.reduce(_FINE), np.float64)
    levels = np.round(small / 255 * (_GREYS - 1)).astype(np.uint8)
    reduced = Image.fromarray(levels, "P")
    reduced.putpalette([round(255 * k / (_GREYS - 1)) for k in range(_GREYS) for _ in range(3)])
    buffer = io.BytesIO()
    reduced.save(buffer, "png", bits=4)
    return buffer.getvalue()


def _points(
    spectral: npt.NDArray[Any], flux: npt.NDArray[Any], *, is_linear: bool
) -> tuple[Floats, Floats]:
    """Return what can be drawn, in spectral order."""
    x, y = (np.ma.filled(np.ma.asarray(v, np.float64), np.nan).ravel() for v in (spectral, flux))
    shown = np.isfinite(x) & np.isfinite(y)
    if not is_linear:
        shown &= y > 0
    if not shown.any():
        raise Unprocessable(
            f"none of {len(x)} points of the spectrum can be drawn: "
            f"{'no finite values' if is_linear else 'no positive flux; draw it linear_fluxes'}"
        )
    order = np.argsort(x[shown], kind="stable")
    x, y = x[shown][order], y[shown][order]
    return x, y if is_linear else np.log10(y)


def _placed(values: Floats, length: int) -> Floats:
    """Return positions on an axis of a length [pix]; a single value lies in the middle."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.full(len(values), 0.5 * length)
    return length * (_MARGIN + (1 - 2 * _MARGIN) * (values - low) / (high - low))

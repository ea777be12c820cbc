"""Colour composites that keep the colours of bright objects (Lupton et al. 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import Mismatch

__all__ = ["lupton_shades", "stacked"]

Values = npt.NDArray[Any]

_SKY: Final = 2.0  # level of the sky above black, in noise of the mean of the channels
_LINEAR: Final = 15.0  # where the stretch ceases to be linear, in the same unit
_SEEN: Final = 3.0  # mean signal / noise of a pixel that has a colour
_LEAST: Final = 12  # such pixels that decide on what is white


def stacked(r: Values, g: Values, b: Values) -> Floats:
    """Return three images as one, shape (ny, nx, 3).

    Raises
    ------
    Mismatch
        If the shapes differ.
    """
    if not r.shape == g.shape == b.shape:
        raise Mismatch(
            f"red, green and blue have shapes {r.shape}, {g.shape}, {b.shape}; give three images "
            "of one pixel grid",
            shapes=(r.shape, g.shape, b.shape),
        )
    return np.stack([np.asarray(v, np.float64) for v in (r, g, b)], axis=-1)


def lupton_shades(
    r: Values,
    g: Values,
    b: Values,
    *,
    minimum: float | Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    stretch: float | None = None,
    q: float = 8.0,
) -> Floats:
    """Return a colour image whose hue does not depend on brightness.

    All channels are multiplied by ``F(I) / I``, where ``I`` is their mean and ``F`` is linear in
    the faint and logarithmic in the bright; a pixel too bright for the screen keeps its colour too.

    Parameters
    ----------
    r, g, b : ndarray, shape (ny, nx)
        Pixels of one grid, the reddest first; one that any channel lacks is NaN in all.
    minimum : float or three, optional
        Value of black [of the pixels]; default: such that the sky is a dark grey, and its noise
        neither cut off nor colourful.
    scales : three floats, optional
        Factors of the channels after the sky is off; default: such that the usual colour of what
        is brighter than the sky is white, which needs no zero points.
    stretch : float, optional
        ``I`` up to which the stretch is linear [of the scaled pixels]; default: 15 times the noise.
    q : float
        Softening: the larger, the more the bright is held back.

    Returns
    -------
    ndarray, shape (ny, nx, 3)
        0 for black to 1.

    References
    ----------
    Lupton et al. 2004, PASP, 116, 133.
    """
    image = stacked(r, g, b)
    image[~np.isfinite(image).all(axis=-1)] = np.nan
    good = image[np.isfinite(image[..., 0])]
    if not len(good):
        return image
    sky = np.median(good, axis=0)
    image -= sky if minimum is None else np.asarray(minimum, np.float64)
    image *= _white_balance(good - sky) if scales is None else np.asarray(scales, np.float64)
    intensity = image.mean(axis=-1)
    noise = _noise(intensity[np.isfinite(intensity)])
    if minimum is None:
        image, intensity = image + _SKY * noise, intensity + _SKY * noise
    if stretch is None:
        stretch = _LINEAR * noise
    with np.errstate(invalid="ignore", divide="ignore"):
        # 0.1 of the screen at I = 0.1 stretch, whatever q is.
        bright = np.arcsinh(q * intensity / stretch) * (0.1 / np.arcsinh(0.1 * q))
        shades = image * np.where(intensity > 0, bright / intensity, 0.0)[..., None]
        shades = np.maximum(shades, np.where(np.isnan(shades), np.nan, 0.0))
        return np.asarray(shades / np.maximum(shades.max(axis=-1, keepdims=True), 1.0))


def _white_balance(good: Floats) -> Floats:
    """Return factors that make the median colour of significant pixels white.

    Parameters
    ----------
    good : ndarray, shape (n, 3)
        Pixels without sky.
    """
    noise = np.array([_noise(channel) for channel in good.T])
    seen = good[((good / noise).mean(axis=1) > _SEEN) & (good > 0).all(axis=1)]
    if len(seen) < _LEAST:
        return np.asarray(noise.mean() / noise)
    parts = np.median(seen / seen.sum(axis=1, keepdims=True), axis=0)
    return np.asarray(parts.mean() / parts)


def _noise(values: Floats) -> float:
    """Return 1.4826 MAD of the fainter half about the median; never 0."""
    middle = np.median(values)
    return float(1.4826 * np.median(middle - values[values <= middle]) or np.std(values) or 1.0)

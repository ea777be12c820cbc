"""Colour composites that keep the colours of bright objects (Lupton et al. 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import Mismatch

__all__ = ["lupton_shades", "stacked"]

Values = npt.NDArray[Any]


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
        Value of black [of the pixels]; default: median of each channel, which is its sky.
    scales : three floats, optional
        Factors of the channels after the sky is off; default: such that the brightest half per
        cent of the pixels is white on average, which needs no zero points.
    stretch : float, optional
        ``I`` up to which the stretch is linear [of the scaled pixels]; default: 5 times the noise.
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
    image -= np.median(good, axis=0) if minimum is None else np.asarray(minimum, np.float64)
    good = image[np.isfinite(image[..., 0])]
    image *= _white_balance(good) if scales is None else np.asarray(scales, np.float64)
    intensity = image.mean(axis=-1)
    if stretch is None:
        stretch = 5.0 * _noise(intensity[np.isfinite(intensity)])
    with np.errstate(invalid="ignore", divide="ignore"):
        # 0.1 of the screen at I = 0.1 stretch, whatever q is.
        bright = np.arcsinh(q * intensity / stretch) * (0.1 / np.arcsinh(0.1 * q))
        shades = image * np.where(intensity > 0, bright / intensity, 0.0)[..., None]
        shades = np.maximum(shades, np.where(np.isnan(shades), np.nan, 0.0))
        return np.asarray(shades / np.maximum(shades.max(axis=-1, keepdims=True), 1.0))


def _white_balance(good: Floats) -> Floats:
    """Return factors that give the brightest half per cent of each channel the same level."""
    top = np.percentile(good, 99.5, axis=0)
    top = np.where(top > 0, top, 1.0)
    return np.asarray(top.mean() / top)


def _noise(values: Floats) -> float:
    """Return 1.4826 MAD of the fainter half about the median; never 0."""
    middle = np.median(values)
    return float(1.4826 * np.median(middle - values[values <= middle]) or np.std(values) or 1.0)

"""Light that models of a scene leave: peaks of the residual of all bands together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from skyloom._types import Bools, Floats, Pixels

__all__ = ["Leftovers", "find_leftovers"]

_FWHM: Final = 2.3548  # over the standard deviation of a Gaussian
_SEEN: Final = 0.5  # share of the filter that usable pixels have to cover
_TRUNCATE: Final = 3.5  # standard deviations at which filters end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leftovers:
    """Peaks of what is left of an image; arrays of shape (n,)."""

    x: Floats  # pix
    y: Floats  # pix
    snr: Floats  # of a point source with the light of the peak


def find_leftovers(
    residual: Sequence[Pixels],
    weight: Sequence[Pixels],
    *,
    fwhm: float,
    threshold: float,
    variance_factor: Sequence[float] | None = None,
) -> Leftovers:
    """Find peaks in residuals of several bands, filtered with a PSF of Gaussian form.

    Parameters
    ----------
    residual, weight : sequence of ndarray, shape (ny, nx)
        Data less all models, and inverse variances, of each band; 0 for pixels without use.
    fwhm : float
        Of the filter [pix].
    threshold : float
        Least signal-to-noise of a peak.
    variance_factor : sequence of float, optional
        By what correlated noise widens the variance of a filtered pixel of each band.

    Notes
    -----
    The signal is ``sum_b g * (w_b r_b)``, g the filter, its variance ``sum_b f_b g**2 * w_b``: the
    best filter for a source of equal flux in all bands.  A peak is the highest pixel of 5 x 5.
    """
    factor = np.ones(len(residual)) if variance_factor is None else np.asarray(variance_factor)
    signal = np.zeros(np.shape(residual[0]), np.float32)
    noise = np.zeros_like(signal)
    for r, w, f in zip(residual, weight, factor, strict=True):
        signal += w * r
        noise += np.float32(f) * w
    sigma = fwhm / _FWHM
    seen = noise > 0.0
    signal = ndimage.gaussian_filter(signal, sigma, truncate=_TRUNCATE, mode="constant")
    noise = ndimage.gaussian_filter(
        noise, sigma / np.sqrt(2.0), truncate=_TRUNCATE, mode="constant"
    ) / np.float32(4.0 * np.pi * sigma**2)
    snr = np.divide(signal, np.sqrt(noise), out=np.zeros_like(signal), where=noise > 0.0)
    y, x = np.nonzero(snr > threshold)
    places = zip(y.tolist(), x.tolist(), strict=True)
    top = np.array(
        [_is_top(snr, i, j) and _is_seen(seen, i, j, sigma) for i, j in places], dtype=np.bool_
    )
    y, x = y[top], x[top]
    return Leftovers(
        x=x.astype(np.float64), y=y.astype(np.float64), snr=snr[y, x].astype(np.float64)
    )


def _is_top(snr: Pixels, i: int, j: int) -> bool:
    around = snr[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3]
    return bool(snr[i, j] >= around.max())


def _is_seen(seen: Bools, i: int, j: int, sigma: float) -> bool:
    """Tell whether usable pixels cover enough of the filter; edges of masks are no peaks."""
    half = round(2.0 * sigma)
    part = seen[max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
    return bool(part.sum() >= _SEEN * (2 * half + 1) ** 2)

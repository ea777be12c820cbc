"""How the noise of neighbouring pixels is correlated, measured where there are no sources.

Resampled images have correlated noise: each output pixel shares input pixels with its neighbours.
Weights say nothing about it.  Errors of sums over many pixels, that is of large galaxies, are then
wrong by the square root of the sum of the correlation over all lags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from skyloom._types import Bools, Floats, Pixels

__all__ = [
    "WHITE_NOISE_LIMIT",
    "NoiseCorrelation",
    "measure_noise_correlation",
    "with_positive_power",
]

WHITE_NOISE_LIMIT = (
    0.02  # of the nearest neighbours: errors of small sources are then right within 5 %
)
CLIP = 4.0  # sigma; beyond are sources too faint to be in the catalogue
SIGNIFICANT = 3.0  # standard errors
WINDOW = 4  # lag ranges across the window of the local mean; see `measure_noise_correlation`
ROUNDING = 1e-6  # of correlations given in single precision
ROUNDS = 3  # of correction and significance, each of which needs the other
PROJECTIONS = 30  # the power that is still negative then is below 1e-3 of the mean

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseCorrelation:
    """Correlation of the noise of pixels by their distance, the same all over an image.

    Parameters
    ----------
    rho : ndarray, shape (2 L + 1, 2 L + 1)
        Correlation at lag (dy, dx), dy and dx from -L to L; symmetric about the centre, which is 1.
    rho_err : ndarray, shape (2 L + 1, 2 L + 1), optional
        Standard errors of the measured lags, those set to zero included; infinite without data.
    n_pixels : int
        Pixels that were measured.

    Raises
    ------
    ValueError
        If ``rho`` is not such an array.
    """

    rho: Floats
    rho_err: Floats | None = None
    n_pixels: int = 0

    def __post_init__(self) -> None:
        rho = self.rho
        if rho.ndim != 2 or rho.shape[0] != rho.shape[1] or rho.shape[0] % 2 == 0:
            msg = f"noise correlation of shape {rho.shape}: a square of odd side is needed"
            raise ValueError(msg)
        lag = rho.shape[0] // 2
        symmetric = np.allclose(rho, rho[::-1, ::-1], rtol=0.0, atol=ROUNDING)
        if not symmetric or abs(rho[lag, lag] - 1.0) > ROUNDING:
            msg = "a noise correlation must be 1 at lag zero, and the same at lags d and -d"
            raise ValueError(msg)

    @property
    def max_lag(self) -> int:
        """Largest lag along an axis [pix]."""
        return int(self.rho.shape[0]) // 2

    @property
    def neighbour(self) -> float:
        """Mean correlation of the four nearest neighbours."""
        c = self.max_lag
        if c == 0:
            return 0.0
        return float(0.5 * (self.rho[c, c + 1] + self.rho[c + 1, c]))

    @property
    def is_white(self) -> bool:
        """Whether errors that ignore the correlation are good enough."""
        return abs(self.neighbour) <= WHITE_NOISE_LIMIT

    @property
    def total(self) -> float:
        """Sum over all lags: the variance of sums over large areas relative to white noise."""
        return float(self.rho.sum())

    def variance_factor(self, profile: Floats) -> float:
        """Return the variance of ``sum(profile * noise)`` relative to white noise of equal rms.

        Parameters
        ----------
        profile : ndarray, shape (ny, nx)
            Weights of the sum: an aperture, or a matched filter.
        """
        p = np.asarray(profile, dtype=np.float64)
        c = self.max_lag
        covariance = -0.5 * float((p**2).sum())  # lag zero counts once
        for dy, dx in _half_plane(c):
            one, other = _shifted(p, dy, dx)
            covariance += self.rho[c + dy, c + dx] * float(np.einsum("ij,ij->", one, other))
        return float(2.0 * covariance / (p**2).sum())


def measure_noise_correlation(
    residual: Pixels, weight: Pixels, blank: Bools, *, max_lag: int = 5
) -> NoiseCorrelation:
    """Measure the correlation of the noise between pixels without sources.

    Parameters
    ----------
    residual : ndarray, shape (ny, nx)
        Data minus sky minus models; NaN allowed.
    weight : ndarray, shape (ny, nx)
        Inverse variance; pixels where it is not positive are ignored.
    blank : ndarray of bool, shape (ny, nx)
        Pixels where no source is known.
    max_lag : int
        Largest lag along each axis [pix].

    Returns
    -------
    NoiseCorrelation
        White, with infinite errors, where there are not enough pixels to tell.

    Raises
    ------
    ValueError
        If the shapes differ or ``max_lag`` is not positive.

    Notes
    -----
    Mean products of ``residual * sqrt(weight)`` over pairs of blank pixels, over that at lag
    zero.  Undetected sources add a correlation of the shape of the PSF: pixels beyond 4 sigma are
    left out with their neighbours, fainter ones count as noise, as they do in apertures.  Errors of
    the sky would add the same small number to all lags, and many lags make that large: the mean
    over a window four times as wide as the lags is subtracted.  That takes q S (2 - T(d)) off the
    covariance at lag d, which is given back: S is the sum of the covariance over all lags, each
    times the chance that a blank pixel has a blank partner there, q the mean of one over the number
    of blank pixels in a window, and T the common area of two windows at distance d.

    The errors are those of the sample correlation of a Gaussian field (Bartlett 1946, in two
    dimensions), with N(d) pairs at lag d and for rho what is significant of the measurement::

        N(d) var(d) = sum_u rho(u)**2 + rho(u+d) rho(u-d) - 4 rho(d) rho(u) rho(u-d)
                          + 2 rho(d)**2 rho(u)**2

    Lags below 3 errors become 0 unless they adjoin a lag above: errors of large galaxies depend on
    the sum over all lags, which also sums up the noise of all.  Last, the correlation becomes the
    nearest one whose power spectrum is nowhere negative, so that no variance can be; only noise
    much smoother than its range of lags is changed by more than its errors (0.01 in 400 x 400
    pixels smoothed by a Gaussian of 1 pixel).

    References
    ----------
    Bartlett 1946, Supplement to the Journal of the Royal Statistical Society, 8, 27.
    """
    if not residual.shape == weight.shape == blank.shape or residual.ndim != 2:
        msg = f"shapes {residual.shape}, {weight.shape}, {blank.shape}: three equal planes needed"
        raise ValueError(msg)
    if max_lag < 1:
        msg = f"max_lag = {max_lag} must be at least 1 [pix]"
        raise ValueError(msg)
    with np.errstate(invalid="ignore"):
        usable = blank & np.isfinite(residual) & np.isfinite(weight) & (weight > 0)
    noise = np.zeros(residual.shape)
    noise[usable] = residual[usable].astype(np.float64) * np.sqrt(weight[usable])
    window = WINDOW * (2 * max_lag + 1) + 1
    noise, usable, inverse_count = _remove_trend(noise, usable, window, (2 * max_lag + 1) ** 2)
    covariance, pairs = _sample_covariance(noise, usable, max_lag)
    n_pixels = int(pairs[max_lag, max_lag])
    if n_pixels == 0 or covariance[max_lag, max_lag] <= 0.0:
        rho = _only_centre(max_lag)
        return NoiseCorrelation(rho=rho, rho_err=np.where(rho > 0, 0.0, np.inf), n_pixels=n_pixels)
    lag = np.abs(np.arange(-max_lag, max_lag + 1)) / window
    loss = inverse_count * (2.0 - np.outer(1.0 - lag, 1.0 - lag))
    kept = covariance * _only_centre(max_lag)
    for _ in range(ROUNDS):
        whole = covariance + loss * float((kept * pairs).sum()) / n_pixels
        rho = whole / whole[max_lag, max_lag]
        error = _bartlett_error(kept / kept[max_lag, max_lag], rho, pairs)
        keep = _significant(rho, error)
        kept = np.where(keep, whole, 0.0)
    rho = with_positive_power(np.where(keep, rho, 0.0))
    return NoiseCorrelation(rho=rho, rho_err=error, n_pixels=n_pixels)


def _half_plane(max_lag: int) -> Iterator[tuple[int, int]]:
    """Yield the lags (dy, dx), one of each pair d and -d, zero first."""
    for dy in range(max_lag + 1):
        for dx in range(0 if dy == 0 else -max_lag, max_lag + 1):
            yield dy, dx


def _shifted(plane: npt.NDArray[T], dy: int, dx: int) -> tuple[npt.NDArray[T], npt.NDArray[T]]:
    """Return views of the pixels at x + d, and at x, where both lie in the plane; dy >= 0."""
    ny, nx = plane.shape
    rows, columns = max(ny - dy, 0), max(nx - abs(dx), 0)
    right, left = max(dx, 0), max(-dx, 0)
    one = plane[dy : dy + rows, right : right + columns]
    return one, plane[:rows, left : left + columns]


def _remove_trend(
    noise: Floats, usable: Bools, window: int, n_least: int
) -> tuple[Floats, Bools, float]:
    """Subtract a local mean and leave out outliers.

    Returns
    -------
    tuple
        The noise, 0 where unusable; the usable pixels, each with ``n_least`` in its window; the
        mean of one over the number in a window.
    """
    for is_last in (False, False, True):
        count = ndimage.uniform_filter(usable.astype(np.float64), window, mode="constant")
        count = np.rint(count * window**2)
        usable = usable & (count >= n_least)
        if not usable.any():
            break
        total = ndimage.uniform_filter(np.where(usable, noise, 0.0), window, mode="constant")
        flat = np.zeros_like(noise)
        flat[usable] = noise[usable] - total[usable] * window**2 / count[usable]
        if is_last:
            return flat, usable, float(np.mean(1.0 / count[usable]))
        sigma = 1.4826 * float(np.median(np.abs(flat[usable])))
        outlier = np.abs(flat) > CLIP * sigma
        usable &= ~ndimage.binary_dilation(outlier, structure=np.ones((3, 3), np.bool_))
    return np.zeros_like(noise), np.zeros_like(usable), 0.0


def _sample_covariance(noise: Floats, usable: Bools, max_lag: int) -> tuple[Floats, Floats]:
    """Return mean products and numbers of pairs by lag; 0 without pairs."""
    side = 2 * max_lag + 1
    covariance, pairs = np.zeros((side, side)), np.zeros((side, side))
    for dy, dx in _half_plane(max_lag):
        number = int(np.count_nonzero(np.logical_and(*_shifted(usable, dy, dx))))
        product = float(np.einsum("ij,ij->", *_shifted(noise, dy, dx))) / max(number, 1)
        for sign in (1, -1):
            at = max_lag + sign * dy, max_lag + sign * dx
            covariance[at], pairs[at] = product, number
    return covariance, pairs


def _only_centre(max_lag: int) -> Floats:
    """Return the correlation of white noise."""
    rho = np.zeros((2 * max_lag + 1, 2 * max_lag + 1))
    rho[max_lag, max_lag] = 1.0
    return rho


def _bartlett_error(known: Floats, rho: Floats, pairs: Floats) -> Floats:
    """Return the standard errors of ``rho``, if the significant part ``known`` is the truth."""
    max_lag = rho.shape[0] // 2
    # Known is symmetric; lags to 2 max_lag.
    self_product = ndimage.convolve(np.pad(known, max_lag), known, mode="constant")
    double = self_product[::2, ::2]
    single = self_product[max_lag:-max_lag, max_lag:-max_lag]
    square = (known**2).sum()
    variance = square + double - 4.0 * known * single + 2.0 * known**2 * square
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(np.maximum(variance, 0.0) / pairs))


def _significant(rho: Floats, error: Floats) -> Bools:
    """Tell which lags are kept: significant ones, their neighbours, and the centre."""
    centre = rho.shape[0] // 2, rho.shape[1] // 2
    found = np.abs(rho) > SIGNIFICANT * error
    found[centre] = False
    found = ndimage.binary_dilation(found, structure=np.ones((3, 3), np.bool_))
    found[centre] = True
    return np.asarray(found)


def with_positive_power(rho: Floats) -> Floats:
    """Return the correlation nearest to ``rho``, with its zeros, of non-negative power spectrum.

    Alternating projections on the two conditions; what they leave is covered by white noise.
    """
    max_lag = rho.shape[0] // 2
    keep = rho != 0.0
    least = 0.0
    for _ in range(PROJECTIONS):
        power = _power(rho)
        least = float(power.min())
        if least >= 0.0:
            break
        full = np.fft.fftshift(np.fft.ifft2(np.maximum(power, 0.0)).real)
        c = full.shape[0] // 2
        part = full[c - max_lag : c + max_lag + 1, c - max_lag : c + max_lag + 1]
        rho = np.where(keep, part, 0.0) / part[max_lag, max_lag]
    least = min(float(_power(rho).min()), 0.0)
    rho = 0.5 * (rho + rho[::-1, ::-1]) / (1.0 - least)
    rho[max_lag, max_lag] = 1.0
    return rho


def _power(rho: Floats) -> Floats:
    """Return the power spectrum of a correlation, sampled finely enough to see its minima."""
    max_lag = rho.shape[0] // 2
    grid = 1 << (8 * max_lag).bit_length()
    plane = np.zeros((grid, grid))
    lags = np.arange(-max_lag, max_lag + 1)
    plane[np.ix_(lags, lags)] = rho  # negative lags count from the end
    return np.asarray(np.fft.fft2(plane).real)

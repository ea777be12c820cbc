"""PSFs that do not change over the field: Moffat, sums of Gaussians, a stamp of pixels.

All of them satisfy `skyloom.protocols.Psf`: basis images sampled at pixel centres, normalised to
the whole flux of a star, so that a stamp sums to one less the light outside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skyloom._types import Floats, Pixels
from skyloom.errors import WrongValue

__all__ = ["GaussianMixturePsf", "MoffatPsf", "PixelPsf", "moffat_alpha", "stamp_radius"]

_SIGMA_PER_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))


def moffat_alpha(*, fwhm: float, beta: float) -> float:
    """Return the core width alpha [same unit as ``fwhm``] of a Moffat profile."""
    return fwhm / (2.0 * math.sqrt(2.0 ** (1.0 / beta) - 1.0))


def stamp_radius(side: int) -> Floats:
    """Return the distance [pix] of each pixel of a stamp from its central pixel, (side, side)."""
    offset = np.arange(side, dtype=np.float64) - side // 2
    return np.hypot(offset[None, :], offset[:, None])


def _constant_coefficients(x: Floats) -> Floats:
    return np.ones((np.asarray(x, dtype=np.float64).size, 1))


def _require_positive(where: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise WrongValue(
                f"{where}: {name} = {value} must be finite and > 0; correct the value",
                name=name,
                value=value,
            )


@dataclass(frozen=True, kw_only=True)
class MoffatPsf:
    """A round Moffat profile, ``I(r) ~ (1 + (r / alpha)**2)**(-beta)``.

    Parameters
    ----------
    fwhm_pix : float
        Full width at half maximum [pix].
    beta : float
        Exponent, > 1 (otherwise the total flux is infinite).
    radius : float
        Half-size of the stamp [pix]; the side is ``2 ceil(radius) + 1``.

    Raises
    ------
    WrongValue
        If a parameter is outside its range.

    References
    ----------
    Moffat 1969, A&A, 3, 455; total flux of the infinite profile: pi alpha**2 / (beta - 1).
    """

    fwhm_pix: float
    beta: float = 3.5
    radius: float = 25.0

    def __post_init__(self) -> None:
        _require_positive("MoffatPsf", fwhm_pix=self.fwhm_pix, radius=self.radius)
        if not (math.isfinite(self.beta) and self.beta > 1.0):
            raise WrongValue(
                f"MoffatPsf: beta = {self.beta} must be > 1; choose 2.5 to 4.5", beta=self.beta
            )

    @property
    def alpha(self) -> float:
        """Core width [pix]."""
        return moffat_alpha(fwhm=self.fwhm_pix, beta=self.beta)

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return 1

    @property
    def fwhm(self) -> float:
        """Full width at half maximum [pix]."""
        return self.fwhm_pix

    @cached_property
    def basis(self) -> Pixels:
        """The stamp, shape (1, S, S)."""
        r2 = stamp_radius(2 * math.ceil(self.radius) + 1) ** 2
        shape = (1.0 + r2 / self.alpha**2) ** (-self.beta)
        # The sum over all pixels of the plane stands for the integral: that of the stamp plus the
        # analytic integral outside; for FWHM < 2 pix the two differ and the sum counts.
        stamp = shape / (shape.sum() + self._outside_integral())
        return _frozen(stamp[None])

    def _outside_integral(self) -> float:
        """Integral of the unnormalised profile outside the square stamp."""
        half = math.ceil(self.radius) + 0.5
        phi = (np.arange(256) + 0.5) * (math.pi / 4 / 256)
        edge = half / np.cos(phi)  # distance of the square's edge, one octant
        tail = (1.0 + (edge / self.alpha) ** 2) ** (1.0 - self.beta)
        return float(math.pi * self.alpha**2 / (self.beta - 1.0) * tail.mean())

    def coefficients(self, x: Floats, y: Floats) -> Floats:  # noqa: ARG002
        """Return ones, shape (n, 1): the PSF is the same everywhere."""
        return _constant_coefficients(x)


@dataclass(frozen=True, kw_only=True)
class GaussianMixturePsf:
    """A sum of round, concentric Gaussians.

    Parameters
    ----------
    sigmas : tuple of float
        Standard deviations [pix].
    weights : tuple of float
        Fractions of the flux; they are scaled to sum to one.
    radius : float
        Half-size of the stamp [pix].

    Raises
    ------
    WrongValue
        If the lists differ in length, are empty, or hold a value that is not positive.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...]
    radius: float = 25.0

    def __post_init__(self) -> None:
        if not self.sigmas or len(self.sigmas) != len(self.weights):
            raise WrongValue(
                f"GaussianMixturePsf: {len(self.sigmas)} sigmas and {len(self.weights)} weights; "
                "give one weight for each sigma",
                n_sigmas=len(self.sigmas),
                n_weights=len(self.weights),
            )
        for sigma, weight in zip(self.sigmas, self.weights, strict=True):
            _require_positive("GaussianMixturePsf", sigma=sigma, weight=weight)
        _require_positive("GaussianMixturePsf", radius=self.radius)

    @classmethod
    def ncircular(cls, *, fwhm_pix: float, n: int = 1, radius: float = 25.0) -> GaussianMixturePsf:
        """Return the conventional sum of 1, 2 or 3 Gaussians for a FWHM [pix]."""
        _require_positive("GaussianMixturePsf", fwhm_pix=fwhm_pix)
        factors = {
            1: ((1.0,), (1.0,)),
            2: ((1.0, 2.5), (0.85, 0.15)),
            3: ((1.0, 2.0, 4.0), (0.8, 0.15, 0.05)),
        }
        if n not in factors:
            raise WrongValue(
                f"GaussianMixturePsf: n = {n} components are not defined; choose 1, 2 or 3", n=n
            )
        widths, weights = factors[n]
        sigma = fwhm_pix * _SIGMA_PER_FWHM
        return cls(sigmas=tuple(sigma * w for w in widths), weights=weights, radius=radius)

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return 1

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum [pix] of the sum."""
        low, high = 0.0, 3.0 * max(self.sigmas)
        half = 0.5 * self._profile(0.0)
        for _ in range(60):  # bisection: 60 halvings reach rounding
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self._profile(middle) > half else (low, middle)
        return 2.0 * low

    def _profile(self, r: float) -> float:
        return sum(
            w / s**2 * math.exp(-0.5 * (r / s) ** 2)
            for s, w in zip(self.sigmas, self.weights, strict=True)
        )

    @cached_property
    def basis(self) -> Pixels:
        """The stamp, shape (1, S, S)."""
        r2 = stamp_radius(2 * math.ceil(self.radius) + 1) ** 2
        total = sum(self.weights)
        stamp = np.zeros_like(r2)
        for sigma, weight in zip(self.sigmas, self.weights, strict=True):
            norm = weight / total / (2.0 * math.pi * sigma**2)
            stamp += norm * np.exp(-0.5 * r2 / sigma**2)
        return _frozen(stamp[None])

    def coefficients(self, x: Floats, y: Floats) -> Floats:  # noqa: ARG002
        """Return ones, shape (n, 1): the PSF is the same everywhere."""
        return _constant_coefficients(x)


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelPsf:
    """A constant stamp of pixels.

    Parameters
    ----------
    stamp : ndarray of float, shape (S, S), S odd
        Effective PSF; its sum is kept (1 less the fraction of the light outside).
    fwhm_pix : float, optional
        Full width at half maximum [pix]; measured from the stamp when absent.

    Raises
    ------
    WrongValue
        If the stamp is not square and odd, holds a value that is not finite, or has no peak.
    """

    stamp: Pixels
    fwhm_pix: float | None = None

    def __post_init__(self) -> None:
        stamp = np.asarray(self.stamp)
        if stamp.ndim != 2 or stamp.shape[0] != stamp.shape[1] or stamp.shape[0] % 2 == 0:
            raise WrongValue(
                f"PixelPsf: stamp of shape {stamp.shape} must be square with an odd side; "
                "crop it about its central pixel",
                shape=stamp.shape,
            )
        if not np.isfinite(stamp).all() or stamp.max() <= 0:
            raise WrongValue(
                "PixelPsf: stamp must be finite with a positive peak; check its source"
            )

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return 1

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum [pix]."""
        return self.fwhm_pix if self.fwhm_pix is not None else stamp_fwhm(self.stamp)

    @cached_property
    def basis(self) -> Pixels:
        """The stamp, shape (1, S, S)."""
        return _frozen(np.asarray(self.stamp)[None])

    def coefficients(self, x: Floats, y: Floats) -> Floats:  # noqa: ARG002
        """Return ones, shape (n, 1): the PSF is the same everywhere."""
        return _constant_coefficients(x)


def stamp_fwhm(stamp: Pixels | Floats) -> float:
    """Return the full width at half maximum [pix] of a stamp: twice the radius of half the peak.

    The radius is interpolated in the azimuthal mean of rings of half a pixel.
    """
    stamp = np.asarray(stamp, dtype=np.float64)
    radius = stamp_radius(stamp.shape[0]).ravel()
    ring = np.floor(2.0 * radius + 0.5).astype(np.intp)
    count = np.bincount(ring)
    used = count > 0
    mean = np.bincount(ring, stamp.ravel())[used] / count[used]
    where = np.bincount(ring, radius)[used] / count[used]
    below = np.flatnonzero(mean < 0.5 * mean[0])
    if below.size == 0:
        return float(stamp.shape[0])
    j = int(below[0])
    step = (mean[j - 1] - 0.5 * mean[0]) / (mean[j - 1] - mean[j])
    return float(2.0 * (where[j - 1] + step * (where[j] - where[j - 1])))


def _frozen(array: Floats | Pixels) -> Pixels:
    out = np.ascontiguousarray(array, dtype=np.float32)
    out.flags.writeable = False
    return out

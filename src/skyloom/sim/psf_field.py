"""Moffat PSFs whose width and ellipticity drift smoothly over the field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats

from .config import SimBand

__all__ = ["Moffat", "MoffatField", "draw_psf_field"]

_POWERS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
_CUBIC_SHARE = 0.1  # cubic terms beside linear and quadratic ones: nature is no parabola


@dataclass(frozen=True, slots=True, kw_only=True)
class Moffat:
    """An elliptical Moffat function of unit flux, before pixel integration.

    ``I(r) = (beta - 1) / (pi alpha^2) (1 + r^2 / alpha^2)^-beta`` with r measured after an
    area-preserving shear (g1, g2); Moffat 1969, A&A, 3, 455.
    """

    fwhm: float  # pix, circularised
    beta: float
    g1: float = 0.0  # (a-b)/(a+b), along +x
    g2: float = 0.0

    @property
    def alpha(self) -> float:
        """Scale radius [pix]."""
        return 0.5 * self.fwhm / math.sqrt(2 ** (1 / self.beta) - 1)

    @property
    def peak(self) -> float:
        """Central surface brightness [1 / pix**2]."""
        return (self.beta - 1) / (math.pi * self.alpha**2)

    def __call__(self, dx: Floats, dy: Floats) -> Floats:
        """Return the surface brightness [1 / pix**2] at offsets dx, dy [pix] (broadcast)."""
        unshear = 1 / math.sqrt(1 - self.g1**2 - self.g2**2)
        u = unshear * ((1 - self.g1) * dx - self.g2 * dy)
        v = unshear * ((1 + self.g1) * dy - self.g2 * dx)
        base = 1 + (u * u + v * v) / self.alpha**2
        return np.asarray(self.peak * base**-self.beta)

    def reach(self, level: float) -> float:
        """Return the radius [pix] where the surface brightness falls to ``level`` [1 / pix**2]."""
        if level >= self.peak:
            return 0.0
        g = math.hypot(self.g1, self.g2)
        circular = self.alpha * math.sqrt((self.peak / level) ** (1 / self.beta) - 1)
        return circular * math.sqrt((1 + g) / (1 - g))

    def enclosed(self, radius: float) -> float:
        """Return the flux inside a circle for a round PSF, ``1 - (1 + r^2/alpha^2)^(1-beta)``."""
        return float(1 - (1 + (radius / self.alpha) ** 2) ** (1 - self.beta))


@dataclass(frozen=True, slots=True, kw_only=True)
class MoffatField:
    """The PSF of one band as a function of position: cubic polynomials of FWHM, g1 and g2."""

    beta: float
    shape: tuple[int, int]  # (ny, nx)
    fwhm: tuple[float, ...]  # pix, constant first, then the nine terms to third order
    g1: tuple[float, ...]
    g2: tuple[float, ...]

    def values(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Return FWHM [pix], g1 and g2 at positions x, y [pix]."""
        ny, nx = self.shape
        terms = _terms(2 * np.asarray(x) / (nx - 1) - 1, 2 * np.asarray(y) / (ny - 1) - 1)
        fwhm, g1, g2 = (np.tensordot(c, terms, 1) for c in (self.fwhm, self.g1, self.g2))
        return np.asarray(fwhm), np.asarray(g1), np.asarray(g2)

    def at(self, x: float, y: float) -> Moffat:
        """Return the PSF at one position [pix]."""
        fwhm, g1, g2 = self.values(np.asarray(x), np.asarray(y))
        return Moffat(fwhm=float(fwhm), beta=self.beta, g1=float(g1), g2=float(g2))


def draw_psf_field(
    band: SimBand,
    *,
    shape: tuple[int, int],
    variation: float,
    shear: float,
    rng: np.random.Generator,
) -> MoffatField:
    """Draw a smooth PSF field with a given range over the frame.

    Parameters
    ----------
    band : SimBand
        Mean FWHM, slope and ellipticity.
    shape : tuple of int
        Frame, ``(ny, nx)``.
    variation : float
        Largest minus smallest FWHM over the frame, relative to the mean.
    shear : float
        Range of g1 and of g2 over the frame.
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    MoffatField
        Mostly quadratic; its mean over the frame is that of the band.
    """
    return MoffatField(
        beta=band.beta,
        shape=shape,
        fwhm=_draw(band.fwhm, band.fwhm * variation, rng),
        g1=_draw(band.g1, shear, rng),
        g2=_draw(band.g2, shear, rng),
    )


def _draw(mean: float, span: float, rng: np.random.Generator) -> tuple[float, ...]:
    weights = np.array([_CUBIC_SHARE if i + j == 3 else 1.0 for i, j in _POWERS])
    terms = rng.standard_normal(len(_POWERS)) * weights
    grid = np.linspace(-1, 1, 33)
    surface = np.tensordot(terms, _terms(*np.meshgrid(grid, grid))[1:], 1)
    scale = span / np.ptp(surface)
    return (float(mean - scale * surface.mean()), *(float(scale * t) for t in terms))


def _terms(u: Floats, v: Floats) -> Floats:
    return np.stack([np.ones_like(u), *(u**i * v**j for i, j in _POWERS)])

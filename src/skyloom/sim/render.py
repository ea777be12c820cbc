"""Pixels of a simulated field, by plain numerical integration.

Nothing here is shared with the fitting engine, so that a fit to these images is a test of it.

- **Stars**: the Moffat function is integrated over each pixel by Gauss-Legendre quadrature.
- **Galaxies**: the Sersic law is cut by a Gaussian window into a core and a smooth rest.  The rest
  is sampled ``s`` times per pixel and transformed by FFT, the core with its cusp is transformed
  exactly, as a sum over points.  Their sum is multiplied by the transforms of the sampled Moffat
  function and of the pixel, transformed back and read at the pixel centres.

Stamps reach out to where the surface brightness is a hundredth of the sky noise in every band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import gamma, gammaincinv

from skyloom._types import Floats
from skyloom.geometry.box import Box

from .field import SimField
from .psf_field import Moffat

__all__ = ["Sersic", "render_field", "render_galaxy", "render_star"]

_CORE = 8  # pix, half side of the finely integrated core of a star
_EDGE_LEVEL = 0.01  # sky sigma per pixel at the edge of a stamp
_MAX_HALF = 160  # pix, half side of the largest stamp
_WINDOW = 2.0  # samples, sigma of the core window along the minor axis
_WINDOW_END = 4.5  # sigma, where the core window ends: exp(-10)
_RADII, _ANGLES = 16, 24  # quadrature nodes of the core


@dataclass(frozen=True, slots=True, kw_only=True)
class Sersic:
    """An elliptical Sersic law of unit flux, ``exp(-b_n (r / re)^(1/n))`` to infinity."""

    re: float  # pix, half-light radius along the major axis
    n: float = 1.0
    ell: float = 0.0  # 1 - b/a
    theta: float = 0.0  # deg, counter-clockwise from +x

    @property
    def b(self) -> float:
        """``b_n``, from half the flux inside re (Ciotti 1991)."""
        return float(gammaincinv(2 * self.n, 0.5))

    @property
    def peak(self) -> float:
        """Central surface brightness [1 / pix**2]."""
        area = 2 * np.pi * self.n * self.re**2 * (1 - self.ell)
        return float(self.b ** (2 * self.n) / (area * gamma(2 * self.n)))

    def __call__(self, dx: Floats, dy: Floats) -> Floats:
        """Return the surface brightness [1 / pix**2] at offsets dx, dy [pix] (broadcast)."""
        return self.at_radius(self.radius(dx, dy))

    def radius(self, dx: Floats, dy: Floats) -> Floats:
        """Return the elliptical radius [pix], measured along the major axis."""
        c, s = np.cos(np.radians(self.theta)), np.sin(np.radians(self.theta))
        return np.asarray(np.hypot(c * dx + s * dy, (c * dy - s * dx) / (1 - self.ell)))

    def at_radius(self, r: Floats) -> Floats:
        """Return the surface brightness [1 / pix**2] at elliptical radii r [pix]."""
        return np.asarray(self.peak * np.exp(-self.b * (r / self.re) ** (1 / self.n)))

    def reach(self, level: float) -> float:
        """Return the radius [pix] where the surface brightness falls to ``level`` [1 / pix**2]."""
        if level >= self.peak:
            return 0.0
        return float(self.re * (np.log(self.peak / level) / self.b) ** self.n)


def render_star(psf: Moffat, *, x: float, y: float, box: Box) -> Floats:
    """Integrate a star of unit flux over the pixels of a box.

    Parameters
    ----------
    psf : Moffat
        PSF before pixel integration.
    x, y : float
        Centre [pix].
    box : Box
        Pixels wanted.

    Returns
    -------
    ndarray, shape (box.height, box.width)
        Flux per pixel.
    """
    stamp = _integrate(psf, x=x, y=y, box=box, nodes=2)
    core = Box.around(x, y, _CORE).clipped(box)
    if not core.is_empty:
        inner = core.shifted(-box.x0, -box.y0)
        stamp[inner.slices] = _integrate(psf, x=x, y=y, box=core, nodes=5)
    return stamp


def render_galaxy(
    galaxy: Sersic, psfs: list[Moffat], *, x: float, y: float, box: Box, oversampling: int = 4
) -> list[Floats]:
    """Convolve a galaxy of unit flux with several PSFs and integrate it over the pixels of a box.

    Parameters
    ----------
    galaxy : Sersic
        Intrinsic profile.
    psfs : list of Moffat
        One PSF per picture wanted (the bands).
    x, y : float
        Centre [pix].
    box : Box
        Pixels wanted; light that leaves it on one side comes back on the other (FFT), so it
        has to hold all but the faintest wings.
    oversampling : int
        Samples per pixel and axis.

    Returns
    -------
    list of ndarray, shape (box.height, box.width)
        Flux per pixel for each PSF.
    """
    s = oversampling
    ny, nx = box.height * s, box.width * s
    u = np.arange(nx)[None, :] / s + box.x0 - x
    v = np.arange(ny)[:, None] / s + box.y0 - y
    kx = 2 * np.pi * s * fft.rfftfreq(nx)
    ky = 2 * np.pi * s * fft.fftfreq(ny)
    width = _WINDOW / (s * (1 - galaxy.ell))
    smooth = galaxy(u, v) * -np.expm1(-0.5 * (galaxy.radius(u, v) / width) ** 2)
    spectrum = fft.rfft2(smooth) / s**2
    spectrum += _core_spectrum(galaxy, kx, ky, width=width, x=x - box.x0, y=y - box.y0)
    spectrum *= np.sinc(ky / (2 * np.pi))[:, None] * np.sinc(kx / (2 * np.pi))
    dx = fft.fftfreq(nx, d=1 / nx)[None, :] / s
    dy = fft.fftfreq(ny, d=1 / ny)[:, None] / s
    kernels = (psf(dx, dy) for psf in psfs)
    return [fft.irfft2(spectrum * fft.rfft2(k), s=(ny, nx))[::s, ::s] for k in kernels]


def render_field(field: SimField) -> list[Floats]:
    """Render a field without noise.

    Parameters
    ----------
    field : SimField
        Sources and PSFs.

    Returns
    -------
    list of ndarray, shape (ny, nx)
        One picture per band [ADU], in band order.
    """
    frame = Box.of_shape(field.config.shape)
    images = [np.zeros(field.config.shape) for _ in field.config.bands]
    fluxes = np.array([field.flux(band) for band in field.config.bands])
    sky = np.array([band.sky_sigma for band in field.config.bands])
    for row, source in enumerate(field.truth):
        x, y = float(source["x"]), float(source["y"])
        psfs = [psf.at(x, y) for psf in field.psfs]
        levels = _EDGE_LEVEL * sky / fluxes[:, row]
        if source["TYPE"] == "STAR":
            half = _clip_half(max(p.reach(v) for p, v in zip(psfs, levels, strict=True)))
            box = Box.around(x, y, half).clipped(frame)
            stamps = [render_star(psf, x=x, y=y, box=box) for psf in psfs]
        else:
            galaxy = Sersic(
                re=float(source["re"]),
                n=float(source["sersic_n"]),
                ell=float(source["ell"]),
                theta=float(source["theta"]),
            )
            reach = max(p.reach(v) for p, v in zip(psfs, levels, strict=True))
            half = _clip_half(max(reach, galaxy.reach(float(levels.min()))) + 4)
            box = _even_box(x, y, half)
            stamps = render_galaxy(
                galaxy, psfs, x=x, y=y, box=box, oversampling=4 if half <= 24 else 3
            )
        inside = box.clipped(frame)
        cut = inside.shifted(-box.x0, -box.y0).slices
        for image, stamp, flux in zip(images, stamps, fluxes[:, row], strict=True):
            image[inside.slices] += flux * stamp[cut]
    return images


def _clip_half(reach: float) -> int:
    return int(np.clip(np.ceil(reach), 12, _MAX_HALF))


def _even_box(x: float, y: float, half: int) -> Box:
    """Return a box whose side is a multiple of 8 pixels: quick transforms."""
    side = 8 * int(np.ceil((2 * half + 1) / 8))
    corner = Box.around(x, y, side // 2)
    return Box(corner.x0, corner.x0 + side, corner.y0, corner.y0 + side)


def _integrate(psf: Moffat, *, x: float, y: float, box: Box, nodes: int) -> Floats:
    """Integrate a PSF over the pixels of a box by Gauss-Legendre quadrature."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    points, weights = points / 2, weights / 2
    # All sample coordinates along an axis in one row: pixels x nodes.
    u = (np.arange(box.x0, box.x1)[:, None] + points - x).ravel()
    v = (np.arange(box.y0, box.y1)[:, None] + points - y).ravel()
    values = psf(u[None, :], v[:, None]).reshape(box.height, nodes, box.width, nodes)
    return np.asarray(np.einsum("yixj,i,j->yx", values, weights, weights))


def _core_spectrum(
    galaxy: Sersic, kx: Floats, ky: Floats, *, width: float, x: float, y: float
) -> npt.NDArray[np.complex128]:
    """Return the exact transform of the galaxy times ``exp(-(r / width)^2 / 2)``.

    The light is a sum over points on ellipses; r is the elliptical radius [pix].  Both the law
    and the window depend on r alone, so only the phases need the angular quadrature.
    """
    t, weight = np.polynomial.legendre.leggauss(_RADII)
    t = 0.5 * (t + 1)
    r = _WINDOW_END * width * t**3  # the power crowds the nodes into the cusp
    ring = 1.5 * _WINDOW_END * width * t**2 * weight * r * (1 - galaxy.ell) * (np.pi / _ANGLES)
    light = ring * galaxy.at_radius(r) * np.exp(-0.5 * (r / width) ** 2)
    angle = np.pi * np.arange(_ANGLES) / _ANGLES  # half a turn: the other half is its mirror
    c, s = np.cos(np.radians(galaxy.theta)), np.sin(np.radians(galaxy.theta))
    major, minor = np.cos(angle), (1 - galaxy.ell) * np.sin(angle)
    px = np.outer(r, c * major - s * minor).ravel()
    py = np.outer(r, s * major + c * minor).ravel()
    along_x = np.exp(-1j * np.outer(px, kx)) * np.repeat(2 * light, _ANGLES)[:, None]
    symmetric = (np.exp(-1j * np.outer(ky, py)) @ along_x).real
    return np.asarray(np.exp(-1j * ky * y)[:, None] * np.exp(-1j * kx * x) * symmetric)

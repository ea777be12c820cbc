"""Stars drawn by GalSim, and a fit of PSF stars that knows nothing of the builder."""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numpy as np

FWHM, BETA, SKY, GAIN = 4.0, 3.0, 5.0, 2.0


def true_psf(u, v, *, fwhm=FWHM, variation=0.1):
    """Moffat whose FWHM varies by `variation` and whose ellipticity varies, both quadratically."""
    size = fwhm * (1 + variation * (0.35 * u + 0.25 * v**2 - 0.2 * u * v - 0.08))
    bent = 0.3 * variation
    g1, g2 = bent * (u**2 - 0.3 * v), bent * (u * v + 0.4 * u)
    return galsim.Moffat(beta=BETA, fwhm=size).shear(g1=g1, g2=g2)


def stamp_of(obj, dx=0.0, dy=0.0, side=61):
    """Pixel-integrated stamp with the object at (dx, dy) from the central pixel."""
    image = obj.drawImage(nx=side, ny=side, scale=1, offset=(dx, dy), method="auto", dtype=float)
    return image.array


@dataclass
class StarField:
    """An image with stars first, then galaxies that pretend to be stars."""

    image: np.ndarray
    ivar: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    snr: np.ndarray
    is_galaxy: np.ndarray
    variation: float

    @property
    def shape(self):
        return self.image.shape

    def uv(self, x, y):
        ny, nx = self.shape
        return (2 * x + 1 - nx) / nx, (2 * y + 1 - ny) / ny


def star_field(
    seed, *, n=40, side=1024, snr=(30, 1000), galaxies=0, neighbours=0, bad=False, variation=0.1
):
    """Draw a field; `neighbours` small sources of S/N 3 to 60 everywhere."""
    rng = np.random.default_rng(seed)
    canvas = galsim.ImageD(side, side, xmin=0, ymin=0)
    x, y = _scattered(rng, n + galaxies, side)
    ratio = np.exp(rng.uniform(*np.log(snr), n + galaxies))
    area = 1.3 * 4 * np.pi * (FWHM / 2.355) ** 2  # noise-equivalent pixels of a Moffat
    flux = 0.5 * (ratio**2 / GAIN + np.sqrt(ratio**4 / GAIN**2 + 4 * ratio**2 * area * SKY**2))

    def add(obj, ox, oy, size):
        ix, iy = int(np.floor(ox + 0.5)), int(np.floor(oy + 0.5))
        h = size // 2
        stamp = galsim.ImageD(galsim.BoundsI(ix - h, ix + h, iy - h, iy + h))
        obj.drawImage(stamp, scale=1, offset=(ox - ix, oy - iy), method="auto")
        common = stamp.bounds & canvas.bounds
        if common.isDefined():
            canvas[common] += stamp[common]

    def local(ox, oy):
        return true_psf(2 * ox / side - 1, 2 * oy / side - 1, variation=variation)

    for k in range(n + galaxies):
        obj = local(x[k], y[k])
        if k >= n:
            disk = galsim.Exponential(half_light_radius=rng.uniform(0.3, 0.6) * FWHM)
            obj = galsim.Convolve([disk.shear(g1=0.2), obj])
        add(obj * flux[k], x[k], y[k], 121)
    for _ in range(neighbours):
        ox, oy = rng.uniform(0, side, 2)
        if np.hypot(x - ox, y - oy).min() < 7:
            continue
        amount = np.exp(rng.uniform(np.log(3), np.log(60))) * np.sqrt(area) * SKY
        add(galsim.Gaussian(fwhm=FWHM * rng.uniform(1, 2)) * amount, ox, oy, 41)
    clean = canvas.array
    image = clean + rng.normal(size=clean.shape) * np.sqrt(SKY**2 + np.maximum(clean, 0) / GAIN)
    ivar = np.full(image.shape, SKY**-2.0)
    if bad:
        broken = rng.random(image.shape) < 0.002
        broken[:, rng.integers(0, side, 2)] = True
        image[broken] = rng.normal(size=broken.sum()) * 1e4
        ivar[broken] = 0
    return StarField(
        image=image.astype(np.float32),
        ivar=ivar.astype(np.float32),
        x=x,
        y=y,
        flux=flux,
        snr=ratio,
        is_galaxy=np.arange(n + galaxies) >= n,
        variation=variation,
    )


def _scattered(rng, n, side):
    x, y = np.empty(0), np.empty(0)
    while x.size < n:
        a, b = rng.uniform(40, side - 40, 2)
        if x.size == 0 or np.hypot(x - a, y - b).min() > 30:
            x, y = np.append(x, a), np.append(y, b)
    return x, y


def shift_matrix(shift, *, side, samples, oversampling):
    """Periodic-sinc interpolation from samples to pixels, with its derivative by the shift."""
    n_dft = max(64 * oversampling, 1 << int(np.ceil(np.log2(samples + 2))))
    pixel = np.arange(side) - side // 2
    sample = np.arange(samples) - samples // 2

    def kernel(d):
        t = oversampling * (pixel[:, None] - d) - sample[None, :]
        t = np.where(np.abs(t) < 1e-9, 1e-9, t)
        return np.sin(np.pi * t) / np.tan(np.pi * t / n_dft) / n_dft

    return kernel(shift), (kernel(shift + 1e-4) - kernel(shift - 1e-4)) / 2e-4


def fit_star(data, weight, stamp, *, oversampling=1, flux, dx=0.0, dy=0.0, steps=5):
    """Gauss-Newton for flux, pedestal, dx, dy of one star; return them and the residual."""
    par = np.array([flux, 0.0, dx, dy])
    side, samples = data.shape[0], stamp.shape[0]
    for _ in range(steps):
        to_x, slope_x = shift_matrix(par[2], side=side, samples=samples, oversampling=oversampling)
        to_y, slope_y = shift_matrix(par[3], side=side, samples=samples, oversampling=oversampling)
        unit = to_y @ stamp @ to_x.T
        jac = np.stack(
            [
                unit,
                np.ones_like(unit),
                par[0] * to_y @ stamp @ slope_x.T,
                par[0] * slope_y @ stamp @ to_x.T,
            ]
        ).reshape(4, -1)
        residual = data - par[0] * unit - par[1]
        scaled = jac * weight.ravel()
        par = par + np.linalg.solve(scaled @ jac.T, scaled @ residual.ravel())
    return par, residual


def flux_errors(field, psf, *, grid=5, sky_limited=True):
    """Errors [mmag] of noise-free stars on a grid of positions fitted with `psf`."""
    _ny, nx = field.shape
    nodes = np.linspace(60, nx - 60, grid)
    rng = np.random.default_rng(3)
    errors = []
    for y in nodes:
        for x in nodes:
            u, v = field.uv(x, y)
            dx, dy = rng.uniform(-0.5, 0.5, 2)
            truth = stamp_of(true_psf(u, v, variation=field.variation), dx, dy)
            flux = 1e3 if sky_limited else 1e6
            weight = 1 / (SKY**2 + flux * truth / GAIN)
            par, _ = fit_star(
                flux * truth,
                weight,
                psf.samples_at(x, y),
                oversampling=psf.oversampling,
                flux=flux,
                dx=dx,
                dy=dy,
            )
            errors.append(1085.7 * (par[0] / flux - 1))
    return np.array(errors)

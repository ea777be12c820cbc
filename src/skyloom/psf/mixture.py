"""PSFs as sums of elliptical Gaussians, fitted to stamps by expectation and maximisation.

A stamp is taken as a histogram of light; each step shares the light of every pixel among the
Gaussians in proportion to their densities there, and gives each Gaussian the weight, mean and
covariance of its share (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B, 39, 1).  The Gaussians
describe the *effective* PSF: they are sampled at pixel centres and not integrated again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Floats
from skyloom.errors import WrongValue

from .field import FieldPsf
from .models import stamp_fwhm

__all__ = ["GaussianMixture", "fit_gaussian_mixture", "mixture_field"]

_LEAST_VARIANCE = 0.2  # pix**2: narrower Gaussians are not sampled by pixels
_SETTLED = 1e-8  # gain of the mean log-likelihood that ends the steps
_NODES = 5  # per axis of the field: the PSF is at most quadratic, joints are below 1e-3 of it
_KEPT = 1e-4  # singular values of the stamps at the nodes, relative to the first


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianMixture:
    """A sum of n elliptical Gaussians about the centre of a stamp."""

    weight: Floats  # (n,), sum 1
    mean: Floats  # (n, 2), x and y [pix]
    covariance: Floats  # (n, 2, 2) [pix**2]

    def density(self, x: Floats, y: Floats) -> Floats:
        """Return the weighted density of each Gaussian [1 / pix**2], shape (n, *x.shape)."""
        dx = x - self.mean[:, 0].reshape(-1, *(1,) * x.ndim)
        dy = y - self.mean[:, 1].reshape(-1, *(1,) * x.ndim)
        inverse = np.linalg.inv(self.covariance).reshape(-1, 2, 2, *(1,) * x.ndim)
        square = dx * dx * inverse[:, 0, 0] + 2 * dx * dy * inverse[:, 0, 1]
        square += dy * dy * inverse[:, 1, 1]
        norm = self.weight / (2.0 * np.pi * np.sqrt(np.linalg.det(self.covariance)))
        return np.asarray(norm.reshape(-1, *(1,) * x.ndim) * np.exp(-0.5 * square))

    def stamp(self, side: int, *, oversampling: int = 1) -> Floats:
        """Return the sum on a stamp of ``side`` samples, ``oversampling`` of them per pixel."""
        x, y = _axes(side, oversampling)
        return np.asarray(self.density(x, y).sum(axis=0))


def fit_gaussian_mixture(
    stamp: Floats, n: int, *, start: GaussianMixture | None = None, steps: int = 300
) -> GaussianMixture:
    """Fit a sum of Gaussians to a stamp.

    Parameters
    ----------
    stamp : ndarray, shape (S, S), S odd
        Effective PSF; negative pixels count as empty.
    n : int
        Number of Gaussians.
    start : GaussianMixture, optional
        Where to begin; by default round ones whose sizes share the light evenly.
    steps : int
        Most steps.

    Raises
    ------
    WrongValue
        If ``n`` is below one, or the stamp holds no light.
    """
    light = np.maximum(np.asarray(stamp, dtype=np.float64), 0.0)
    if n < 1 or not np.isfinite(light).all() or light.sum() <= 0:
        raise WrongValue(
            f"fit_gaussian_mixture: n = {n} must be >= 1 and the stamp finite with light; "
            "correct patch_run.gaussian_mixture_n or redo the ePSF"
        )
    x, y = _axes(light.shape[0], 1)
    used = light > 0
    x, y, light = x[used], y[used], light[used] / light.sum()
    mixture = start if start is not None else _round_start(x, y, light, n)
    before = -np.inf
    for _ in range(steps):
        density = mixture.density(x, y)
        total = np.maximum(density.sum(axis=0), np.finfo(float).tiny)
        likelihood = float(light @ np.log(total))
        mixture = _maximised(density * (light / total), x, y)
        if likelihood - before < _SETTLED:
            break
        before = likelihood
    return mixture


def _axes(side: int, oversampling: int) -> tuple[Floats, Floats]:
    """Return x and y [pix] of the samples of a stamp from its central sample."""
    offset = (np.arange(side, dtype=np.float64) - side // 2) / oversampling
    x, y = np.meshgrid(offset, offset)
    return x, y


def _round_start(x: Floats, y: Floats, light: Floats, n: int) -> GaussianMixture:
    radius = np.hypot(x, y)
    order = np.argsort(radius, kind="stable")
    share = (np.arange(n) + 0.5) / n
    place = np.searchsorted(np.cumsum(light[order]), share)
    variance = np.maximum(radius[order][np.minimum(place, order.size - 1)] ** 2 / 1.386, 0.5)
    variance *= 1.0 + 0.01 * np.arange(n)  # no two alike: equal Gaussians stay equal
    return GaussianMixture(
        weight=np.full(n, 1.0 / n),
        mean=np.zeros((n, 2)),
        covariance=variance[:, None, None] * np.eye(2),
    )


def _maximised(share: Floats, x: Floats, y: Floats) -> GaussianMixture:
    """Return the Gaussians of the shares of light, (n, number of pixels)."""
    weight = np.maximum(share.sum(axis=1), np.finfo(float).tiny)
    mx, my = share @ x / weight, share @ y / weight
    covariance = np.empty((len(weight), 2, 2))
    covariance[:, 0, 0] = np.maximum(share @ (x * x) / weight - mx * mx, _LEAST_VARIANCE)
    covariance[:, 1, 1] = np.maximum(share @ (y * y) / weight - my * my, _LEAST_VARIANCE)
    limit = 0.99 * np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1])
    mixed = np.clip(share @ (x * y) / weight - mx * my, -limit, limit)
    covariance[:, 0, 1] = covariance[:, 1, 0] = mixed
    return GaussianMixture(
        weight=weight / weight.sum(), mean=np.column_stack([mx, my]), covariance=covariance
    )


def mixture_field(psf: FieldPsf, n: int) -> FieldPsf:
    """Return a PSF over the field as sums of Gaussians.

    Where the PSF varies, a sum is fitted at each node of a grid over the field and joined
    bilinearly.  A stamp keeps the sum of the one that it replaces, so that fluxes stay total.

    Parameters
    ----------
    psf : FieldPsf
        As built from stars.
    n : int
        Number of Gaussians, see `fit_gaussian_mixture`.
    """
    varies = psf.degree > 0 or psf.cells is not None or psf.basis.shape[0] > 1
    nodes = _NODES if varies else 1
    ny, nx = psf.shape
    side = psf.basis.shape[-1]
    centre = psf.stamp_at(0.5 * (nx - 1), 0.5 * (ny - 1))
    middle = fit_gaussian_mixture(centre, n)
    stamps = []
    for node in range(nodes * nodes):
        x = (node % nodes + 0.5) * nx / nodes - 0.5
        y = (node // nodes + 0.5) * ny / nodes - 0.5
        native = psf.stamp_at(x, y)
        mixture = middle if nodes == 1 else fit_gaussian_mixture(native, n, start=middle, steps=60)
        scale = native.sum() / mixture.stamp(native.shape[0]).sum()
        stamps.append(scale * mixture.stamp(side, oversampling=psf.oversampling))
    basis, coefficients = _compressed(np.stack(stamps))
    return replace(
        psf,
        basis=basis.astype(np.float32),
        polynomial=np.zeros((len(basis), 1)),
        cells=coefficients.reshape(len(basis), nodes, nodes),
        fwhm=stamp_fwhm(stamps[len(stamps) // 2]) / psf.oversampling,
    )


def _compressed(stamps: Floats) -> tuple[Floats, Floats]:
    """Return few basis images and the coefficients (K, number of stamps) that make the stamps."""
    flat = stamps.reshape(len(stamps), -1)
    left, size, right = np.linalg.svd(flat, full_matrices=False)
    k = max(1, int((size > _KEPT * size[0]).sum()))
    coefficients = (left[:, :k] * size[:k]).T
    return right[:k].reshape(k, *stamps.shape[1:]), coefficients

"""Second moments of a star, with a Gaussian weight that adapts to it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from skyloom._types import Floats
from skyloom.geometry import Quadrupole

__all__ = ["adaptive_moments", "psf_moments"]

_MOST_STEPS = 100
_TOLERANCE = 1e-10  # of the moments, relative


class HasImages(Protocol):
    """A PSF that gives its image at a position."""

    def at(self, x: float, y: float) -> Floats:
        """Return the image at a parent position [pix]."""
        ...


def adaptive_moments(image: Floats, *, x: float, y: float) -> Quadrupole:
    """Measure the moments of the elliptical Gaussian that fits an image best.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Values without background.
    x, y : float
        About where the centre is [pix]; the first pixel is (0, 0).

    Returns
    -------
    Quadrupole
        ``ixx, iyy, ixy`` [pix**2]; NaN where the iteration does not converge.

    Notes
    -----
    The weight is a Gaussian with centre c and moments M. For a Gaussian image the weighted moments
    are M / 2 when both agree, so M is replaced by the inverse of ``S^-1 - M^-1``, S the weighted
    moments, until it stays.

    References
    ----------
    Bernstein & Jarvis 2002, AJ, 123, 583; Hirata & Seljak 2003, MNRAS, 343, 459.
    """
    rows, columns = np.indices(image.shape, dtype=np.float64)
    centre = np.array([x, y], np.float64)
    moments = np.eye(2) * max(2.0, (min(image.shape) / 12.0) ** 2)
    nothing = Quadrupole(np.nan, np.nan, np.nan)
    for _ in range(_MOST_STEPS):
        d = np.stack([columns - centre[0], rows - centre[1]])
        inverse = np.linalg.inv(moments)
        weighted = image * np.exp(-0.5 * np.einsum("iyx,ij,jyx->yx", d, inverse, d))
        total = weighted.sum()
        if not total > 0.0:
            return nothing
        offset = np.einsum("iyx,yx->i", d, weighted) / total
        spread = np.einsum("iyx,jyx,yx->ij", d, d, weighted) / total - np.outer(offset, offset)
        if not np.linalg.det(spread) > 0.0:
            return nothing
        sharper = np.linalg.inv(spread) - inverse
        if not (np.linalg.det(sharper) > 0.0 and np.trace(sharper) > 0.0):
            return nothing
        new = np.linalg.inv(sharper)
        centre = centre + 2.0 * offset
        change = np.abs(new - moments).max() / np.trace(new)
        moments = new
        if change < _TOLERANCE and np.abs(offset).max() < _TOLERANCE:
            return Quadrupole(float(new[0, 0]), float(new[1, 1]), float(new[0, 1]))
    return nothing


def psf_moments(psf: HasImages, x: float, y: float) -> Quadrupole:
    """Measure the adaptive moments of a PSF at a parent position [pix]; see `adaptive_moments`."""
    image = psf.at(x, y)
    half = (image.shape[0] - 1) / 2
    return adaptive_moments(image, x=half, y=half)

"""What the noise of a simulated image did to the magnitude of each star of the grid.

A simulation knows the noise of every pixel, so that the error of a flux which is noise alone can be
told, and taken off a measurement: what is left belongs to the pipeline.  To first order the best
fit of a star moves by

    (A^T V^-1 A)^-1 A^T V^-1 n

with the noise n, its variance V, and in the columns of A the star's own image, its derivatives by
position, and the images of the sources that overlap it.
"""

from __future__ import annotations

from typing import Protocol

import galsim
import numpy as np

__all__ = ["DrawSource", "star_noise_shifts"]

HALF = 24  # pix, half side of a stamp: what lies beyond knows 1e-3 of a star's flux
NEAR = 14.0  # pix, within which other sources are fitted along: three FWHM
MILLIMAG = 2500 / np.log(10)


class DrawSource(Protocol):
    """Adds a source of unit flux to an image."""

    def __call__(self, image: galsim.ImageD, row: int) -> None:
        """Draw the source of a row of the truth."""


def star_noise_shifts(
    stars: np.ndarray,
    others: np.ndarray,
    *,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    noise: np.ndarray,
    variance: np.ndarray,
    draw_star: DrawSource,
    draw_other: DrawSource,
) -> np.ndarray:
    """Return what noise alone adds to the magnitudes of stars [mmag], to first order.

    Parameters
    ----------
    stars, others : ndarray of int
        Rows of the stars, and of all sources that the fit knows, which may hold them too.
    x, y, flux : ndarray
        Positions [pix] and fluxes [ADU] of all rows.
    noise, variance : ndarray, shape (ny, nx)
        Noise [ADU] and its variance [ADU**2].
    draw_star, draw_other : callable
        Draw a star as a whole, and a neighbour, whose outskirts matter less.
    """
    ny, nx = noise.shape
    frame = galsim.BoundsI(0, nx - 1, 0, ny - 1)
    shifts = np.empty(len(stars))
    for i, star in enumerate(stars):
        ix, iy = round(float(x[star])), round(float(y[star]))
        box = galsim.BoundsI(ix - HALF, ix + HALF, iy - HALF, iy + HALF) & frame
        cut = slice(box.ymin, box.ymax + 1), slice(box.xmin, box.xmax + 1)

        def drawn(draw: DrawSource, row: int, box: galsim.BoundsI = box) -> np.ndarray:
            image = galsim.ImageD(box, init_value=0.0)
            draw(image, row)
            return flux[row] * image.array

        near = np.hypot(x[others] - x[star], y[others] - y[star]) < NEAR
        own = drawn(draw_star, star)
        columns = [own, *np.gradient(own)]
        columns += [drawn(draw_other, row) for row in others[near] if row != star]
        design = np.stack([c.ravel() for c in columns], axis=1)
        weighted = design / variance[cut].ravel()[:, None]
        normal = weighted.T @ design
        # Light is positive: no neighbour is known less well than to within its own flux.
        normal[3:, 3:] += np.eye(len(normal) - 3)
        shifts[i] = -MILLIMAG * np.linalg.solve(normal, weighted.T @ noise[cut].ravel())[0]
    return shifts

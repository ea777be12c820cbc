"""Compiled rule of stamp sides; see `skyloom.scene.stamps`."""

from __future__ import annotations

import math

from skyloom._jit import lean_exact_kernel
from skyloom._types import Bools, Floats, Ints

from ._records import DEV, SERSIC, STAR

FAINT_SNR = 100.0  # below, light that wraps around is far below the noise
SPILL = 1.15  # a galaxy may be so much larger than its stamp: the next has four times the area
SPILL_SNR = 1000.0  # brighter ones may not: 2e-4 of the peak comes near the noise
FAINT = 0.1  # sigma of a pixel: light below does not matter
FIRST_NEED = 64.0  # pix: nothing is known of the source yet
LEAST_NEED = 32.0  # pix


@lean_exact_kernel
def light_extent(radius_major: float, n: float, snr: float) -> float:
    """Return the side of the square that holds the light of a galaxy, as far as it matters [pix].

    20 radii, 40 for Sersic indices above 2, half of that for faint ones; 80 for bright ones of
    indices above 4.5.

    Parameters
    ----------
    radius_major, n, snr : float
        Semi-major half-light radius [pix], Sersic index, S/N of the whole flux.
    """
    radii = 40.0 if n > 2.0 else 20.0
    if not snr > FAINT_SNR:
        return 0.5 * radii * radius_major
    return (80.0 if n > 4.5 else radii) * radius_major


@lean_exact_kernel
def needed_sides(
    rows: Ints,
    kind: Ints,
    is_composite: Bools,
    started: Bools,
    theta: Floats,
    flux: Floats,
    snr: Floats,
    position: Floats,
    shapes: Ints,
    key: Ints,
    rings: Floats,
    ring_sides: Floats,
    noise: Floats,
    psf_fwhm: float,
    choices: Ints,
    side: Ints,
    extent: Floats,
) -> None:
    """Fill the smallest sides that are large enough, or the largest there is.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Of the scene; ``kind`` to ``snr`` are of these rows.
    position, shapes, key : ndarray
        Of the geometry of the scene.
    rings, ring_sides, noise, psf_fwhm
        As of `StampRule`; stamps that hold what is beyond the rings [pix].
    choices : ndarray of int
        Sides that there are, ascending [pix].
    side, extent : ndarray, shape (m,)
        Changed: sides; how far the light of galaxies matters [pix], 0 for stars.
    """
    n_images = key.shape[0]
    for i in range(rows.shape[0]):
        need = LEAST_NEED if started[i] else FIRST_NEED
        far = 0.0
        for b in range(n_images):
            peak = abs(flux[i, key[b]])
            for k in range(ring_sides.shape[0]):
                if peak * rings[b, k] > FAINT * noise[b]:  # not where the flux is missing
                    need = max(need, ring_sides[k])
            for axis in range(2):
                place = position[rows[i], b, axis]
                far = max(far, abs(place), abs(shapes[b, 1 - axis] - place))
        extent[i] = 0.0
        if kind[i] != STAR:
            size = math.sqrt(theta[i, 3] ** 2 + theta[i, 4] ** 2)
            index = theta[i, 5] if kind[i] == SERSIC else 4.0 if kind[i] == DEV else 1.0
            radius = math.exp(theta[i, 2]) / math.sqrt((1.0 - size) / (1.0 + size))
            # The components of a composite compensate each other: no light may be lost.
            power = math.inf if is_composite[i] else snr[i]
            extent[i] = light_extent(radius, index, power)
            spill = SPILL if started[i] and power < SPILL_SNR else 1.0
            need = max(need, (extent[i] + 2.0 * psf_fwhm) / spill)
        # No farther than the images: what wraps around the stamp must not reach their pixels.
        need = min(need, max(2.0 * far + 2.0, far + 0.5 * need))
        k = 0
        while k < choices.shape[0] - 1 and choices[k] < need:
            k += 1
        side[i] = choices[k]

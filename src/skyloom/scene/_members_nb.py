"""Compiled loops that place sources in images."""

from __future__ import annotations

from skyloom._jit import lean_exact_kernel
from skyloom._types import Bools, Floats, Ints


@lean_exact_kernel
def total_snr(flux: Floats, flux_cov: Floats, snr: Floats) -> None:
    """Fill the signal-to-noise ratio of all fluxes of each source together.

    Parameters
    ----------
    flux : ndarray, shape (n, F)
    flux_cov : ndarray, shape (n, F, F)
        Fluxes without a positive variance do not count, nor negative ones.
    snr : ndarray, shape (n,)
        Changed.
    """
    for s in range(flux.shape[0]):
        power = 0.0
        for b in range(flux.shape[1]):
            if flux[s, b] > 0.0 and flux_cov[s, b, b] > 0.0:
                power += flux[s, b] ** 2 / flux_cov[s, b, b]
        snr[s] = power**0.5


@lean_exact_kernel
def place_stamps(
    rows: Ints, shift: Floats, side: Ints, position: Floats, jacobian: Floats, corner: Ints
) -> None:
    """Fill the lower-left corners of stamps.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
    shift : ndarray, shape (m, 2)
        Present position minus reference.
    side : ndarray of int, shape (m,)
    position : ndarray, shape (n, B, 2)
        Of the reference in each image [pix].
    jacobian : ndarray, shape (n, B, 4)
    corner : ndarray of int, shape (m, B, 2)
        Changed: x, y.
    """
    for i in range(rows.shape[0]):
        r, half = rows[i], side[i] // 2
        for b in range(position.shape[1]):
            for axis in range(2):
                step = (
                    jacobian[r, b, 2 * axis] * shift[i, 0]
                    + jacobian[r, b, 2 * axis + 1] * shift[i, 1]
                )
                centre = position[r, b, axis] + step + 0.5
                whole = int(centre)
                corner[i, b, axis] = whole - (1 if whole > centre else 0) - half


@lean_exact_kernel
def fill_members(
    rows: Ints,
    side: Ints,
    corner: Ints,
    frame: Ints,
    position: Floats,
    jacobian: Floats,
    coefficients: Floats,
    is_compact: Bools,
    sampling: Ints,
    origin: Ints,
    pos: Floats,
    jac: Floats,
    mixture: Floats,
    fold: Ints,
    code: Ints,
    seen: Bools,
) -> None:
    """Fill what the record of some sources holds for each image; see `Members`.

    Parameters
    ----------
    rows, side, corner, is_compact : ndarray
        Of m sources, as in `SceneGeometry.members`.
    frame : ndarray of int, shape (B, 2)
    position, jacobian, coefficients : ndarray
        Of all n sources in B images.
    sampling : ndarray of int, shape (B,)
        PSF samples per pixel.
    origin, pos, jac, mixture, fold : ndarray
        Changed.
    code : ndarray of int, shape (m, B)
        Changed: number that tells stamp side, folding and image.
    seen : ndarray of bool
        Changed: which of these numbers there are.
    """
    n_images = position.shape[1]
    for i in range(rows.shape[0]):
        r = rows[i]
        for b in range(n_images):
            for axis in range(2):
                origin[i, b, axis] = corner[i, b, axis] - frame[b, axis]
                pos[i, b, axis] = position[r, b, axis] - corner[i, b, axis]
            for k in range(4):
                jac[i, b, k] = jacobian[r, b, k]
            for k in range(coefficients.shape[2]):
                mixture[i, b, k] = coefficients[r, b, k]
            fold[i, b] = sampling[b] if is_compact[i] else 1
            code[i, b] = (side[i] * 4 + fold[i, b]) * n_images + b
            seen[code[i, b]] = True

"""What the kernels need before the first pixel: profile tables, twiddles, transforms of PSFs."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from skyloom._types import Floats, Ints, Pixels
from skyloom.protocols import Psf

from ._fft_nb import twiddles
from ._render_nb import Tables
from .profiles import fixed_table, sersic_table_grid

__all__ = ["STAMP_SIDES", "ProfileVariant", "PsfTransforms", "kernel_tables"]

ProfileVariant = Literal["exact", "hl13"]
STAMP_SIDES = (32, 64, 128, 256)
"""Stamp sides that the engine renders [pix]."""

EDGE_TAPER = 3  # pixels of a cosine edge where a PSF stamp has to be cut


@cache
def kernel_tables(variant: ProfileVariant = "exact") -> Tables:
    """Return the tables that all kernels share; made once per process."""
    log_n, spline = sersic_table_grid()
    rows, widest = max(STAMP_SIDES).bit_length(), max(STAMP_SIDES)
    k1 = np.zeros((rows, widest), np.float32)
    cos, sin = np.zeros_like(k1), np.zeros_like(k1)
    for side in STAMP_SIDES:
        e = side.bit_length() - 1
        k1[e, :side] = 2.0 * np.pi * np.fft.fftfreq(side)
        cos[e, :side], sin[e, :side] = twiddles(side)
    return Tables(
        fixed_table("exp", variant), fixed_table("dev", variant), log_n, spline, k1, cos, sin
    )


class PsfTransforms:
    """Fourier transforms of the basis of one PSF, per stamp side, made on demand.

    Parameters
    ----------
    psf : Psf
        Native sampling (``oversampling == 1``).

    Raises
    ------
    ValueError
        If the PSF is oversampled or its stamp is not square and odd.
    """

    def __init__(self, psf: Psf) -> None:
        basis = np.asarray(psf.basis)
        if psf.oversampling != 1:
            msg = f"PSF with oversampling {psf.oversampling}: only 1 is supported"
            raise ValueError(msg)
        if basis.ndim != 3 or basis.shape[1] != basis.shape[2] or basis.shape[1] % 2 == 0:
            msg = f"PSF basis of shape {basis.shape}: (K, S, S) with odd S is needed"
            raise ValueError(msg)
        self._psf = psf
        self._cache: dict[int, Pixels] = {}

    def basis(self, side: int) -> Pixels:
        """Return the transforms of all basis images, shape (K, 2 * side**2), ``[kx, ky]``."""
        if side not in self._cache:
            self._cache[side] = np.stack([_transform(b, side) for b in self._psf.basis])
        return self._cache[side]

    def coefficients(self, x: Floats, y: Floats) -> Floats:
        """Return the basis coefficients at image positions, shape (n, K)."""
        return np.ascontiguousarray(self._psf.coefficients(x, y), dtype=np.float64)


def _transform(stamp: Pixels, side: int) -> Pixels:
    """Transform a centred odd stamp, cut or padded to ``side``, with its centre at the origin."""
    half = stamp.shape[0] // 2
    keep = min(half, side // 2 - 1)
    cut = np.asarray(stamp, np.float64)[
        half - keep : half + keep + 1, half - keep : half + keep + 1
    ]
    if keep < half:
        # A hard cut rings when shifted by a fraction of a pixel; the last pixels fade out.
        edge = np.minimum(keep + 0.5 - np.abs(np.arange(-keep, keep + 1)), EDGE_TAPER) / EDGE_TAPER
        ramp = np.sin(0.5 * np.pi * edge) ** 2
        cut = cut * np.outer(ramp, ramp)
    padded = np.zeros((side, side))
    padded[: 2 * keep + 1, : 2 * keep + 1] = cut
    spectrum = np.fft.fft2(np.roll(padded, (-keep, -keep), axis=(0, 1)))
    # The Nyquist row and column have no partner: a shifted real image cannot use them.
    spectrum[side // 2, :] = 0.0
    spectrum[:, side // 2] = 0.0
    return np.stack([spectrum.T.real, spectrum.T.imag]).astype(np.float32).ravel()


def next_side(need: Floats) -> Ints:
    """Return the smallest stamp side that is at least ``need``, or the largest there is."""
    sides = np.array(STAMP_SIDES)
    index = np.minimum(np.searchsorted(sides, need), len(sides) - 1)
    return np.asarray(sides[index], dtype=np.int64)

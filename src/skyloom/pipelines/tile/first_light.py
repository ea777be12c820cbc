"""Fluxes that sources start from while nobody has fitted them yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import sep

from skyloom._types import Floats, Pixels

__all__ = ["first_fluxes"]

IMPLAUSIBLE: Final = 10.0  # times the light in the aperture; large galaxies have five times


def first_fluxes(
    catalogue: Floats,
    x: Floats,
    y: Floats,
    planes: Sequence[Pixels],
    *,
    radius: float,
    floor: float,
) -> Floats:
    """Return start fluxes: the catalogue's where it has one, else what an aperture holds.

    Parameters
    ----------
    catalogue : ndarray, shape (n, B)
        Fluxes by the catalogue [scaled counts]; those that are not finite and positive do not
        count, nor those of more than ten times the light of the aperture, where it sees any.
    x, y : ndarray, shape (n,)
        Positions in the planes [pix]; an aperture beyond them holds nothing.
    planes : sequence of ndarray, shape (ny, nx)
        One image per band, 0 where masked [scaled counts].
    radius : float
        Of the apertures [pix].
    floor : float
        Least start flux [scaled counts].
    """
    sums = np.zeros(catalogue.shape)
    for b, plane in enumerate(planes):
        ny, nx = plane.shape
        seen = (x > -radius) & (x < nx - 1 + radius) & (y > -radius) & (y < ny - 1 + radius)
        data = np.ascontiguousarray(plane, np.float32)
        sums[seen, b] = sep.sum_circle(data, x[seen], y[seen], radius, subpix=5)[0]
    sums = np.nan_to_num(sums)
    known = np.isfinite(catalogue) & (catalogue > 0.0)
    known &= (sums <= 0.0) | (catalogue <= IMPLAUSIBLE * sums)
    return np.maximum(np.where(known, catalogue, sums), floor)

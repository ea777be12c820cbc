"""Aperture fluxes with neighbours taken away: a check of a fit by sums of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats, Ints, Pixels

from ._apertures_nb import N_SUMS, aperture_sums
from ._records import Images
from .diagnostics import NOWHERE, in_chunks, positions_in_images
from .models import unit_stamps
from .passes import ScenePass
from .state import SceneState

__all__ = ["ApertureFluxes", "measure_apertures"]

SMALLEST = 1e-3  # of a model inside the aperture: with less there is nothing to correct
LEAST_SHARE = 0.01  # of the aperture's variance, that its difference from the fit has at least


@dataclass(frozen=True, slots=True, kw_only=True)
class ApertureFluxes:
    """Sums over circles about the fitted positions, arrays of shape (m, B); see Notes.

    Parameters
    ----------
    flux : ndarray
        Data less sky and all other models, summed over the circle [unit of the data].  Pixels
        that are not usable count as the source's own model.  NaN without usable pixels.
    noise : ndarray
        Standard error of that sum by the noise of its pixels alone.
    correction : ndarray
        Flux of the source's model over its part inside the circle: ``flux * correction`` is a total
        flux.  NaN where less than a thousandth lies inside.
    masked : ndarray
        Share of the circle's area without usable pixels.
    difference, difference_err : ndarray
        Total flux by the aperture less that of the fit, and its standard error.

    Notes
    -----
    With a the share of a pixel inside the circle, P the unit model, f its fitted flux, r the
    residual of the fit, w the weights, and sums over usable pixels but for C::

        C = sum(a P)    flux = f C + sum(a r)    noise**2 = sum(a**2 / w)    difference = sum(a r)/C

    The fit has taken from the noise what it could, so that the difference is less uncertain than
    the aperture.  With g = sum(a P) / C, which is 1 without masked pixels::

        difference_err**2 = noise**2 / C**2 - g**2 / sum(w P**2)

    Free positions, shapes and neighbours take more: the error is then a little too large.  A
    residual is not correlated with what was fitted to it, so that the error of
    ``flux * correction`` is that of the fitted flux and ``difference_err`` in quadrature.
    """

    flux: Floats
    noise: Floats
    correction: Floats
    masked: Floats
    difference: Floats
    difference_err: Floats


def measure_apertures(
    scene: ScenePass,
    state: SceneState,
    rows: Ints,
    prepared: tuple[Pixels, Pixels],
    *,
    radius: Floats,
    sky_err: Floats | float = 0.0,
    variance_factor: tuple[Floats | float, Floats | float] = (1.0, 1.0),
) -> ApertureFluxes:
    """Sum up what a fit leaves in circles about some sources.

    Parameters
    ----------
    scene, state : ScenePass, SceneState
    rows : ndarray of int, shape (m,)
    prepared : tuple of ndarray
        What `ScenePass.residual` returned for this state.
    radius : ndarray, shape (B,)
        Of the circles in each image [pix].
    sky_err : ndarray, shape (m, B), optional
        Standard error of the sky level at the sources.
    variance_factor : tuple of ndarray, shape (B,), optional
        Of sums over circles, and weighted by the PSF, where the noise of pixels is correlated; see
        `NoiseCorrelation.variance_factor`.
    """
    geometry = scene.geometry
    sides = scene.stamp_sides(state)
    sums = np.zeros((len(rows), geometry.n_images, N_SUMS))
    reach = np.broadcast_to(np.asarray(radius, dtype=np.float64), geometry.n_images).copy()
    images = Images(*prepared, geometry.offsets, geometry.shapes, geometry.key, geometry.sky)
    bad = (prepared[1] <= 0.0).astype(np.uint8)
    nowhere = np.zeros((1, 2), np.int64)
    everything = np.ones((1, geometry.n_images), np.bool_)

    def measure(part: slice) -> None:
        chunk = rows[part]
        members, theta = scene.members(chunk, state.theta, sides, nowhere, offset=state.offset)
        wanted = np.repeat(everything, len(chunk), axis=0)
        values = unit_stamps(members, theta, wanted, scene.tables)
        centre = np.nan_to_num(positions_in_images(members, theta), nan=NOWHERE)
        aperture_sums(members, values, images, bad, centre, reach, sums[part])

    in_chunks(scene, measure, len(rows))
    fitted = state.flux[rows][:, geometry.key]
    return _fluxes(sums, fitted, np.pi * reach**2, sky_err, variance_factor)


def _fluxes(
    sums: Floats,
    fitted: Floats,
    area: Floats,
    sky_err: Floats | float,
    factor: tuple[Floats | float, Floats | float],
) -> ApertureFluxes:
    """Return fluxes and errors from sums; see `ApertureFluxes`."""
    residual, variance, seen_area, seen, inside, wv, wvv = np.moveaxis(sums, -1, 0)
    has_data = (seen_area > 0.0) & (wvv > 0.0) & np.isfinite(fitted)
    c = np.where(has_data & (inside > SMALLEST), inside, np.nan)
    variance = np.where(has_data, variance, np.nan) * factor[0]
    information = np.where(has_data, wvv, np.nan)
    error2 = variance / c**2 - factor[1] * (seen / c) ** 2 / information
    error2 = np.maximum(error2, LEAST_SHARE * variance / c**2)
    error2 = error2 + ((seen_area / c - (seen / c) * wv / information) * sky_err) ** 2
    return ApertureFluxes(
        flux=np.where(has_data, fitted * inside + residual, np.nan),
        noise=np.sqrt(variance),
        correction=1.0 / c,
        masked=1.0 - np.clip(seen_area / area, 0.0, 1.0),
        difference=residual / c,
        difference_err=np.sqrt(error2),
    )

"""How good a fit is, per source and image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from skyloom._types import Floats, Ints, Pixels

from ._records import Images, Members, part_of
from ._stats_nb import MIN_PIXELS, footprint_statistics, residual_peaks
from .models import unit_stamps
from .passes import ScenePass
from .sources import SourceType
from .state import SceneState

__all__ = ["NOWHERE", "SourceDiagnostics", "diagnose", "in_chunks", "positions_in_images"]

CHUNK = 16  # sources whose stamps are in memory at a time
NOWHERE = -1e6  # pix: the place, off all images, of a source without position


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDiagnostics:
    """Statistics per source and image, arrays of shape (m, B).

    ``chi2`` sum of squared residuals in units of the noise over the footprint, ``n_good`` its
    usable pixels, ``masked_fraction`` and ``core_masked_fraction`` the share of the profile
    (weighted by its square) and of the core that no usable pixel covers, ``sky_response`` change
    of the flux per unit of sky level, ``n_above`` pixels in which the model exceeds one sigma
    of the sky.

    ``flux_fraction_others`` tells how much of the light under a source belongs to its neighbours.
    With P its unit profile, f its flux and M the sum of all models, over usable pixels::

        own = max(sum(P f P), 0)    others = max(sum(P (M - f P)), 0)    others / (own + others)

    0 alone, 1 buried; NaN without light.  In the Legacy Surveys' catalogues ``fracflux`` is
    others / own.

    ``residual_peak`` [sigma] is the most significant residual near a source, with its sign: the
    weighted mean over 3 x 3 pixels, sum(w r) / sqrt(sum(w)), centred within
    max(FWHM, half-light radius + FWHM / 2); NaN without pixels.  Positive: light that no model
    has, such as a neighbour that is not in the catalogue.  White noise alone gives 2 to 3; where
    noise is correlated, divide by the square root of
    ``NoiseCorrelation.variance_factor(np.ones((3, 3)))``.
    """

    chi2: Floats
    n_good: Ints
    masked_fraction: Floats
    core_masked_fraction: Floats
    sky_response: Floats
    n_above: Ints
    flux_fraction_others: Floats
    residual_peak: Floats

    @property
    def reduced_chi2(self) -> Floats:
        """Mean chi-square per footprint pixel; NaN without pixels."""
        return np.where(self.n_good > 0, self.chi2 / np.maximum(self.n_good, 1), np.nan)

    @property
    def has_footprint(self) -> Floats:
        """True where enough pixels stand above the noise for chi-square to mean the source."""
        return np.asarray(self.n_above >= MIN_PIXELS)


def diagnose(
    scene: ScenePass,
    state: SceneState,
    rows: Ints,
    residual: Pixels,
    weight: Pixels,
    *,
    model: Pixels | None = None,
    fwhm: Floats | None = None,
) -> SourceDiagnostics:
    """Measure the residual around some sources.

    Parameters
    ----------
    scene, state : ScenePass, SceneState
    rows : ndarray of int, shape (m,)
    residual, weight : ndarray of float32
        From `ScenePass.residual` at this state.
    model : ndarray of float32, optional
        The sum of all models, flat like the residual; without it ``flux_fraction_others`` is NaN.
    fwhm : ndarray, shape (B,), optional
        Of the PSF of each image [pix]; default: the widest of the scene for all.
    """
    geometry = scene.geometry
    sides = scene.stamp_sides(state)
    out = np.zeros((len(rows), geometry.n_images, 9))
    peaks = np.zeros((len(rows), geometry.n_images, 2))
    seeing = np.broadcast_to(scene.psf_fwhm if fwhm is None else fwhm, geometry.n_images)
    light = residual if model is None else model
    images = Images(residual, weight, geometry.offsets, geometry.shapes, geometry.key, geometry.sky)
    bad = np.empty(len(weight), np.uint8)
    cuts = np.linspace(0, len(weight), 2 * scene.in_threads.number + 1).astype(int).tolist()

    def mark(part: slice) -> None:
        np.less_equal(weight[part], 0.0, out=bad[part], casting="unsafe")

    scene.in_threads(mark, [slice(*ends) for ends in pairwise(cuts)])
    nowhere = np.zeros((1, 2), np.int64)
    members, theta = scene.members(
        rows, state.theta, sides, nowhere, offset=state.offset, in_threads=scene.in_threads
    )
    flux = np.nan_to_num(state.flux[rows])
    centre, reach = _neighbourhoods(members, theta, seeing)
    everything = np.arange(geometry.n_images)

    def measure(part: slice) -> None:
        some = part_of(members, part, everything)
        wanted = np.ones((len(some.kind), geometry.n_images), np.bool_)
        values = unit_stamps(some, theta[part], wanted, scene.tables)
        footprint_statistics(some, values, flux[part], images, light, bad, scene.noise, out[part])
        residual_peaks(images, centre[part], reach[part], peaks[part])

    in_chunks(scene, measure, len(rows))
    others = _fraction_of_others(out[..., 7], out[..., 8])
    if model is None:
        others[:] = np.nan
    information = np.zeros((len(rows), len(geometry.flux_keys)))
    for b, key in enumerate(geometry.key):
        information[:, key] += out[:, b, 5]
    information = information[:, geometry.key]
    response = np.full_like(information, np.nan)
    np.divide(out[..., 4], information, out=response, where=information > 0)
    return SourceDiagnostics(
        chi2=out[..., 0],
        n_good=out[..., 1].astype(np.int64),
        masked_fraction=out[..., 2],
        core_masked_fraction=out[..., 3],
        sky_response=response,
        n_above=out[..., 6].astype(np.int64),
        flux_fraction_others=others,
        residual_peak=np.where(peaks[..., 1] > 0, peaks[..., 0], np.nan),
    )


def in_chunks(scene: ScenePass, measure: Callable[[slice], None], number: int) -> None:
    """Call ``measure`` for portions of so many sources, whose stamps fit into memory."""
    starts = range(0, number, CHUNK)
    scene.in_threads(measure, [slice(start, min(start + CHUNK, number)) for start in starts])


def positions_in_images(members: Members, theta: Floats) -> Floats:
    """Return where sources lie in each image, shape (m, B, 2) [pix]."""
    jacobian = members.jac.reshape(*members.jac.shape[:2], 2, 2)
    shift = np.einsum("mbij,mj->mbi", jacobian, theta[:, :2])
    return np.asarray(members.origin + members.pos + shift)


def _neighbourhoods(members: Members, theta: Floats, fwhm: Floats) -> tuple[Floats, Floats]:
    """Return centres (m, B, 2) and radii (m, B) of what counts as near a source, in each image."""
    jacobian = members.jac.reshape(*members.jac.shape[:2], 2, 2)
    scale = np.sqrt(np.abs(np.linalg.det(jacobian)))
    radius = np.where(members.kind == SourceType.STAR, 0.0, np.exp(theta[:, 2]))
    reach = np.maximum(fwhm, radius[:, None] * scale + 0.5 * fwhm)
    centre = positions_in_images(members, theta)
    return np.nan_to_num(centre, nan=NOWHERE), np.nan_to_num(reach)


def _fraction_of_others(own: Floats, light: Floats) -> Floats:
    """Return the share of others in the light under each source; see `SourceDiagnostics`."""
    others = np.maximum(light - own, 0.0)
    total = others + np.maximum(own, 0.0)
    share = np.full_like(total, np.nan)
    np.divide(others, total, out=share, where=total > 0.0)
    return share

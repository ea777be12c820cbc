"""What bright stars do to single sources, as flags."""

from __future__ import annotations

from typing import Final

import numpy as np

from skyloom._types import Bools, Floats, Ints
from skyloom.images import MaskBit
from skyloom.scene import SceneState, SourceDiagnostics, SourceType

from .patch_scene import PatchScene

__all__ = [
    "is_buried",
    "is_overgrown",
    "is_swollen",
    "major_radii",
    "on_spikes",
    "points_at_bright_star",
]

LARGEST: Final = 20.0  # pix
THIN: Final = 0.45  # axis ratio of what may be a piece of a spike
ALIGNED: Final = 12.0  # deg between its major axis and the direction of the star
AWAY: Final = 120.0  # pix from the star
BURIED: Final = 0.9  # of the light under a source belongs to others
GROWTH: Final = 3.0  # of the size: errors of catalogues are less
WIDE: Final = 3.0  # FWHM: what is smaller still resembles its source
SHOWS: Final = 0.5  # of the half-light ellipse: galaxies that grew rightly show in all of it


def is_buried(found: SourceDiagnostics) -> Bools:
    """Tell which sources are a small part of the light under them in every band that shows it."""
    share = found.flux_fraction_others
    seen = np.isfinite(share).any(axis=1)
    return np.asarray(seen & (np.where(np.isfinite(share), share, 1.0) > BURIED).all(axis=1))


def is_swollen(
    patch: PatchScene, state: SceneState, found: SourceDiagnostics, local: Ints
) -> Bools:
    """Tell which models grew large although hardly a pixel shows them.

    The catalogue saw a small source there.  What its model has come to follow is the halo of a
    star, a stripe of the detector, an error of the sky: faint, and larger than any source.  In no
    band do more pixels exceed the noise than half of those within its half-light ellipse.
    """
    area = np.pi * np.exp(2.0 * state.theta[local, 2])
    seen = found.n_above.max(axis=1, initial=0)
    return np.asarray(is_overgrown(patch, state, local) & (seen < SHOWS * area))


def is_overgrown(patch: PatchScene, state: SceneState, local: Ints) -> Bools:
    """Tell which models are far larger than the catalogue says, and than the PSF."""
    rows = patch.rows[local]
    g = np.minimum(np.hypot(patch.start.g1[rows], patch.start.g2[rows]), 0.99)
    before = np.exp(patch.start.log_r[rows]) * np.sqrt((1.0 + g) / (1.0 - g))
    radius = major_radii(patch, state, local)
    return np.asarray((radius > GROWTH * before) & (radius > WIDE * patch.scene.psf_fwhm))


def major_radii(patch: PatchScene, state: SceneState, local: Ints) -> Floats:
    """Return the half-light radius of each source along its major axis [pix]; 0 for stars."""
    theta = state.theta[local]
    g = np.minimum(np.hypot(theta[:, 3], theta[:, 4]), 0.99)
    star = patch.sources.kind[local] == SourceType.STAR
    return np.where(star, 0.0, np.exp(theta[:, 2]) * np.sqrt((1.0 + g) / (1.0 - g)))


def points_at_bright_star(patch: PatchScene, state: SceneState, local: Ints) -> Bools:
    """Tell which sources are thin and point at a saturated star."""
    out = np.zeros(len(local), np.bool_)
    rows = patch.rows
    full = np.asarray(patch.groups["saturated"])[rows] | np.asarray(patch.groups["hidden"])[rows]
    stars = np.flatnonzero(full & (patch.sources.kind == SourceType.STAR))
    if len(stars) == 0:
        return out
    theta = state.theta[local]
    g = np.hypot(theta[:, 3], theta[:, 4])
    thin = (1.0 - g) / (1.0 + g) < THIN
    thin &= patch.sources.kind[local] != SourceType.STAR
    axis = 0.5 * np.arctan2(theta[:, 4], theta[:, 3])
    for star in stars:
        dx, dy = theta[:, 0] - state.theta[star, 0], theta[:, 1] - state.theta[star, 1]
        turn = np.abs(np.sin(np.arctan2(dy, dx) - axis))
        near = np.hypot(dx, dy) < AWAY
        out |= thin & near & (turn < np.sin(np.radians(ALIGNED)))
    return out


def on_spikes(patch: PatchScene, state: SceneState, local: Ints) -> Bools:
    """Tell which sources lost pixels to spikes, within their half-light radius or half a FWHM."""
    out = np.zeros(len(local), np.bool_)
    spike = np.bitwise_or.reduce(patch.mask, axis=0) & np.uint8(MaskBit.SPIKE) > 0
    if not spike.any():
        return out
    ny, nx = spike.shape
    size = np.minimum(major_radii(patch, state, local), LARGEST)
    reach = np.maximum(size, 0.5 * patch.scene.psf_fwhm)
    x, y = state.theta[local, 0] - patch.box.x0, state.theta[local, 1] - patch.box.y0
    for k in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        x0, x1 = max(0, int(x[k] - reach[k])), min(nx, int(x[k] + reach[k]) + 2)
        y0, y1 = max(0, int(y[k] - reach[k])), min(ny, int(y[k] + reach[k]) + 2)
        if x0 < x1 and y0 < y1:
            dy, dx = np.ogrid[y0:y1, x0:x1]
            near = (dx - x[k]) ** 2 + (dy - y[k]) ** 2 <= reach[k] ** 2
            out[k] = bool((spike[y0:y1, x0:x1] & near).any())
    return out

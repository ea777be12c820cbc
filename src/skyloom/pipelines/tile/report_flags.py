"""What the fit itself cannot know of a source: saturation, halos, frame edge, fallback PSFs."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyloom._types import Bools, Floats, Ints
from skyloom.flags import FitFlag
from skyloom.scene import SceneState, SourceDiagnostics, SourceType

from .halo_flags import is_buried, is_swollen, major_radii, on_spikes, points_at_bright_star
from .patch_scene import PatchScene

__all__ = ["near_bright_star", "report_flags"]

POOR_CHI2 = 10.0  # mean chi-square per pixel in any band
FRAGMENT_SIGMA = -3.0  # a source this negative in a band is not a source
FRAGMENT_CHI2 = 3.0  # an extended "source" in a halo that fits worse than this is a piece of it
HALO_SNR = 2000.0  # stars brighter than this have halos that detection breaks into pieces
HALO_REACH = 40.0  # pix


def report_flags(
    flags: Ints,
    patch: PatchScene,
    state: SceneState,
    found: SourceDiagnostics,
    audit: dict[str, dict[str, Any]],
    *,
    lost: Bools,
) -> Ints:
    """Add what the fit itself cannot know: saturation, halos, frame edge, fallback PSFs.

    ``lost``: sources of the base box whose models strayed.
    """
    groups = patch.groups
    base, local = patch.base, patch.local(patch.base)
    near = np.asarray(groups["near_saturated"])[base]
    footprint = found.n_above >= 5
    poor = ((found.reduced_chi2 > POOR_CHI2) & footprint).any(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        significance = state.flux[local] / state.flux_err[local]
    negative = (significance < FRAGMENT_SIGMA).any(axis=1)
    loose = ((found.reduced_chi2 > FRAGMENT_CHI2) & footprint).any(axis=1)
    theta = state.theta[local]
    lit = near | near_bright_star(patch, state, theta[:, 0], theta[:, 1])
    buried = is_buried(found)
    spikes = on_spikes(patch, state, local)
    extended = major_radii(patch, state, local) > patch.scene.psf_fwhm
    piece = spikes & lit & points_at_bright_star(patch, state, local)
    x, y = theta[:, 0], theta[:, 1]
    ny, nx = patch.shape
    margin = patch.scene.psf_fwhm
    edge = (x < margin) | (y < margin) | (x > nx - 1 - margin) | (y > ny - 1 - margin)
    bits: list[tuple[FitFlag, Bools]] = [
        (FitFlag.SATURATED, np.asarray(groups["saturated"])[base]),
        (FitFlag.NEAR_SATURATED, near),
        (FitFlag.FORCED_STAR, np.asarray(groups["forced_star"])[base]),
        (FitFlag.HALO_FRAGMENT, piece | (lit & (negative | (extended & (loose | buried))))),
        (FitFlag.POOR_FIT, np.asarray(poor)),
        (FitFlag.EDGE, np.asarray(edge)),
        (FitFlag.SPIKE, spikes),
        (FitFlag.SWOLLEN, is_swollen(patch, state, found, local)),
        (FitFlag.STRAYED, lost),
        (FitFlag.NO_EPSF, np.full(len(base), any(not a["used_epsf"] for a in audit.values()))),
    ]
    for bit, where in bits:
        flags = flags | np.where(where, int(bit), 0)
    return np.asarray(flags)


def near_bright_star(patch: PatchScene, state: SceneState, x: Floats, y: Floats) -> Bools:
    """Tell which positions lie in the halo of a very bright star; the star itself does not."""
    stars = np.flatnonzero(
        (patch.sources.kind == SourceType.STAR) & (state.snr > HALO_SNR) & state.started
    )
    sx, sy = state.theta[stars, 0], state.theta[stars, 1]
    distance = np.hypot(x[:, None] - sx[None, :], y[:, None] - sy[None, :])
    return np.asarray(((distance > 1.0) & (distance < HALO_REACH)).any(axis=1))

"""Sources beside light that no model has: neighbours that the catalogue lacks.

Such light is partly taken up by the source, whose fluxes and shape are then wrong by more than
their errors.  What is left of it shows in the residual of all bands together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats, Ints
from skyloom.detect import find_leftovers
from skyloom.flags import FitFlag
from skyloom.scene import SceneState

from .halo_flags import major_radii
from .patch_scene import PatchScene
from .report_apertures import variance_factors
from .report_columns import Columns

__all__ = ["add_unmodelled"]

THRESHOLD: Final = 5.0  # sigma: by chance one in a thousand tiles of a million pixels
OWN: Final = 0.4  # FWHM: nearer is what the source's own model leaves
REACH: Final = 1.5  # FWHM, beyond the half-light radius
FARTHEST: Final = 12.0  # pix; surroundings of a patch are wider
MARGIN: Final = 20  # pix, around the base box
SHARE: Final = 0.02  # of the source's S/N: less is an error of its PSF, and does no harm


def add_unmodelled(
    fit: Columns,
    patch: PatchScene,
    state: SceneState,
    local: Ints,
    *,
    prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    noise: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Add ``unmodelled_snr``, and the flag to those whose fluxes it may concern.

    Parameters
    ----------
    fit : dict of ndarray
        Has ``fit_flags`` already.
    patch, state, local
        The scene, its state, and the sources of the table in it.
    prepared : tuple of ndarray
        What `ScenePass.residual` returned for this state.
    noise : mapping
        ``rho`` and ``correlated`` of the bands, where they were measured.
    """
    box = patch.base_box.grown(MARGIN).clipped(patch.box)
    cut = box.shifted(-patch.box.x0, -patch.box.y0).slices
    residual, weight = ([plane[cut] for plane in patch.planes(flat)] for flat in prepared)
    found = find_leftovers(
        residual,
        weight,
        fwhm=float(np.mean(patch.fwhm)),
        threshold=THRESHOLD,
        variance_factor=variance_factors(noise, 1.5 * patch.fwhm, patch.fwhm)[1].tolist(),
    )
    theta = state.theta[local]
    reach = np.minimum(REACH * patch.fwhm.max() + major_radii(patch, state, local), FARTHEST)
    distance = np.hypot(
        theta[:, 0, None] - (found.x + box.x0), theta[:, 1, None] - (found.y + box.y0)
    )
    is_near = (distance > OWN * patch.fwhm.max()) & (distance < reach[:, None])
    snr: Floats = np.where(is_near, found.snr, 0.0).max(axis=1, initial=0.0)
    is_much = snr > np.maximum(SHARE * state.snr[local], 0.0)
    fit["unmodelled_snr"] = snr
    flags = np.where((snr > 0.0) & is_much, int(FitFlag.UNMODELLED_LIGHT), 0)
    fit["fit_flags"] = np.asarray(fit["fit_flags"]) | flags

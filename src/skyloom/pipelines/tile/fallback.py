"""The PSF that takes over where no star is usable: an analytic profile from the header's FWHM."""

from __future__ import annotations

import numpy as np

from skyloom.protocols import Psf
from skyloom.psf import FieldPsf, GaussianMixturePsf, MoffatPsf

from .config import TileConfig

__all__ = ["FALLBACK_KEYS", "fallback_psf"]

FALLBACK_KEYS = (
    "moffat_psf.beta",
    "moffat_psf.radius_pix",
    "patch_run.psf_fallback_model",
    "patch_run.ncircular_gaussian_n",
    "patch_run.fallback_default_fwhm_pix",
    "patch_run.fallback_stamp_radius_pix",
)


def fallback_psf(config: TileConfig, fwhm: float, shape: tuple[int, int]) -> FieldPsf:
    """Return the PSF that takes over where no star is usable, the same over the whole field."""
    run = config.patch_run
    psf: Psf
    if run.psf_fallback_model == "moffat":
        psf = MoffatPsf(
            fwhm_pix=max(1.0, fwhm),
            beta=config.moffat_psf.beta,
            radius=config.moffat_psf.radius_pix,
        )
    else:
        number = run.ncircular_gaussian_n if run.psf_fallback_model == "ncircular_gaussian" else 1
        psf = GaussianMixturePsf.ncircular(
            fwhm_pix=max(1.0, fwhm), n=number, radius=run.fallback_stamp_radius_pix
        )
    basis = np.array(psf.basis, dtype=np.float32)
    return FieldPsf(basis=basis, polynomial=np.ones((1, 1)), shape=shape, fwhm=float(psf.fwhm))

"""Point-spread functions: models, fields, and the builder of effective PSFs from stars."""

from __future__ import annotations

from .builder import build_field_psf
from .cutouts import StarCutouts, cut_stars
from .field import FieldPsf
from .growth import GrowthCurve, enclosed_light, stamp_qa
from .hybrid import HybridPsf
from .local_background import (
    AnnulusBackground,
    LocalBackground,
    annulus_background,
    annulus_radii,
    without_local_background,
)
from .mixture import GaussianMixture, fit_gaussian_mixture, mixture_field
from .models import GaussianMixturePsf, MoffatPsf, PixelPsf, moffat_alpha, stamp_fwhm
from .results import BuilderOptions, FieldPsfResult, StarFits, StarFlag, residual_qa
from .wings import WingFit, flux_ratio, measure_wings, with_wings

__all__ = [
    "AnnulusBackground",
    "BuilderOptions",
    "FieldPsf",
    "FieldPsfResult",
    "GaussianMixture",
    "GaussianMixturePsf",
    "GrowthCurve",
    "HybridPsf",
    "LocalBackground",
    "MoffatPsf",
    "PixelPsf",
    "StarCutouts",
    "StarFits",
    "StarFlag",
    "WingFit",
    "annulus_background",
    "annulus_radii",
    "build_field_psf",
    "cut_stars",
    "enclosed_light",
    "fit_gaussian_mixture",
    "flux_ratio",
    "measure_wings",
    "mixture_field",
    "moffat_alpha",
    "residual_qa",
    "stamp_fwhm",
    "stamp_qa",
    "with_wings",
    "without_local_background",
]

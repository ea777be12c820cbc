"""Point-spread functions: models, fields, and the builder of effective PSFs from stars."""

from __future__ import annotations

from .builder import build_field_psf
from .cutouts import StarCutouts, cut_stars
from .field import FieldPsf
from .growth import GrowthCurve, enclosed_light, stamp_qa
from .models import GaussianMixturePsf, MoffatPsf, PixelPsf, moffat_alpha, stamp_fwhm
from .results import BuilderOptions, FieldPsfResult, StarFits, StarFlag, residual_qa

__all__ = [
    "BuilderOptions",
    "FieldPsf",
    "FieldPsfResult",
    "GaussianMixturePsf",
    "GrowthCurve",
    "MoffatPsf",
    "PixelPsf",
    "StarCutouts",
    "StarFits",
    "StarFlag",
    "build_field_psf",
    "cut_stars",
    "enclosed_light",
    "moffat_alpha",
    "residual_qa",
    "stamp_fwhm",
    "stamp_qa",
]

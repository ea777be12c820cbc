"""The engine: scenes of stars and galaxies fitted to many images at once.

>>> fit = fit_scene([SceneImage(data=image, ivar=ivar, psf=psf)], Sources.create(kind, x, y))
>>> fit.flux, fit.flux_err, fit.shape.ab  # doctest: +SKIP
"""

from __future__ import annotations

from .apertures import ApertureFluxes, measure_apertures
from .blends import BlendQuality, blend_quality
from .choice import CANDIDATES, NO_SOURCE, ChoiceReason, ChoiceRules, decide_types
from .diagnostics import SourceDiagnostics, diagnose
from .fit import ForcedPhotometry, fit_scene, forced_photometry
from .freedom import (
    BAND_SHARE,
    LAWS,
    estimate_band_spread,
    estimate_law_spread,
    law_departures,
    loose_sources,
    refine_loosely,
)
from .groups import BlendGroups, blend_groups
from .images import SceneImage
from .model_choice import ModelChoice, choose_models, choose_models_of_state
from .noise import (
    WHITE_NOISE_LIMIT,
    NoiseCorrelation,
    measure_noise_correlation,
    with_positive_power,
)
from .options import FitOptions
from .passes import ScenePass
from .render import render_reference, render_scene
from .result import ObjectTotals, SceneFit, fit_flags
from .retype import clear_types
from .shape import EllipseShape, ellipse_from_parameters, parameters_from_ellipse
from .sources import PARAMETERS, Sources, SourceType
from .stamps import field_stamp_sides
from .state import SceneState
from .structure import ResidualStructure, residual_structure
from .transforms import ProfileVariant, PsfBank, PsfTransforms, kernel_tables
from .uncertainty import noise_record
from .warm import warm_up

__all__ = [
    "BAND_SHARE",
    "CANDIDATES",
    "LAWS",
    "NO_SOURCE",
    "PARAMETERS",
    "WHITE_NOISE_LIMIT",
    "ApertureFluxes",
    "BlendGroups",
    "BlendQuality",
    "ChoiceReason",
    "ChoiceRules",
    "EllipseShape",
    "FitOptions",
    "ForcedPhotometry",
    "ModelChoice",
    "NoiseCorrelation",
    "ObjectTotals",
    "ProfileVariant",
    "PsfBank",
    "PsfTransforms",
    "ResidualStructure",
    "SceneFit",
    "SceneImage",
    "ScenePass",
    "SceneState",
    "SourceDiagnostics",
    "SourceType",
    "Sources",
    "blend_groups",
    "blend_quality",
    "choose_models",
    "choose_models_of_state",
    "clear_types",
    "decide_types",
    "diagnose",
    "ellipse_from_parameters",
    "estimate_band_spread",
    "estimate_law_spread",
    "field_stamp_sides",
    "fit_flags",
    "fit_scene",
    "forced_photometry",
    "kernel_tables",
    "law_departures",
    "loose_sources",
    "measure_apertures",
    "measure_noise_correlation",
    "noise_record",
    "parameters_from_ellipse",
    "refine_loosely",
    "render_reference",
    "render_scene",
    "residual_structure",
    "warm_up",
    "with_positive_power",
]

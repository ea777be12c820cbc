"""The engine: scenes of stars and galaxies fitted to many images at once.

>>> fit = fit_scene([SceneImage(data=image, ivar=ivar, psf=psf)], Sources.create(kind, x, y))
>>> fit.flux, fit.flux_err, fit.shape.ab  # doctest: +SKIP
"""

from __future__ import annotations

from .diagnostics import SourceDiagnostics, diagnose
from .fit import SceneFit, fit_flags, fit_scene
from .groups import BlendGroups, blend_groups
from .images import SceneImage
from .passes import FitOptions, ScenePass, SceneState
from .render import render_reference, render_scene
from .shape import EllipseShape, ellipse_from_parameters, parameters_from_ellipse
from .sources import PARAMETERS, Sources, SourceType
from .transforms import PsfTransforms, kernel_tables
from .warm import warm_up

__all__ = [
    "PARAMETERS",
    "BlendGroups",
    "EllipseShape",
    "FitOptions",
    "PsfTransforms",
    "SceneFit",
    "SceneImage",
    "ScenePass",
    "SceneState",
    "SourceDiagnostics",
    "SourceType",
    "Sources",
    "blend_groups",
    "diagnose",
    "ellipse_from_parameters",
    "fit_flags",
    "fit_scene",
    "kernel_tables",
    "parameters_from_ellipse",
    "render_reference",
    "render_scene",
    "warm_up",
]

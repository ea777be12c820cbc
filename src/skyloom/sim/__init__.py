"""Simulated fields with truth: for the demo, for tests, for measuring what a fit is worth."""

from .assess import (
    Assessment,
    SnrBin,
    assess_tile,
    match_truth,
    pool_assessments,
)
from .config import SimBand, TileSimConfig, demo_config, truth_config
from .field import SimField, draw_field
from .flatness import Flatness, Step, border_step, field_flatness
from .footprint import footprint_chi2
from .io import read_band_truth, read_truth, tile_settings, write_tile
from .psf_field import Moffat, MoffatField, draw_psf_field
from .render import Sersic, render_field, render_galaxy, render_star
from .tile import Renderer, SimTile, simulate_tile

__all__ = [
    "Assessment",
    "Flatness",
    "Moffat",
    "MoffatField",
    "Renderer",
    "Sersic",
    "SimBand",
    "SimField",
    "SimTile",
    "SnrBin",
    "Step",
    "TileSimConfig",
    "assess_tile",
    "border_step",
    "demo_config",
    "draw_field",
    "draw_psf_field",
    "field_flatness",
    "footprint_chi2",
    "match_truth",
    "pool_assessments",
    "read_band_truth",
    "read_truth",
    "render_field",
    "render_galaxy",
    "render_star",
    "simulate_tile",
    "tile_settings",
    "truth_config",
    "write_tile",
]

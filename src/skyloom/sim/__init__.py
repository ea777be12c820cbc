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
from .footprint import footprint_chi2
from .io import read_band_truth, read_truth, tile_settings, write_tile
from .psf_field import Moffat, MoffatField, draw_psf_field
from .render import Sersic, render_field, render_galaxy, render_star
from .tile import Renderer, SimTile, simulate_tile

__all__ = [
    "Assessment",
    "Moffat",
    "MoffatField",
    "Renderer",
    "Sersic",
    "SimBand",
    "SimField",
    "SimTile",
    "SnrBin",
    "TileSimConfig",
    "assess_tile",
    "demo_config",
    "draw_field",
    "draw_psf_field",
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

"""Detection: objects, backgrounds, the bright mask."""

from skyloom.detect.background import CellBackground, cell_background
from skyloom.detect.blank_sky import BlankSky, blank_sky
from skyloom.detect.bright import BrightMask, bright_mask, inside_mask
from skyloom.detect.extract import extract_candidates, extract_significant
from skyloom.detect.leftovers import Leftovers, find_leftovers
from skyloom.detect.noise_mesh import NoiseMesh, measure_noise_mesh, noise_range

__all__ = [
    "BlankSky",
    "BrightMask",
    "CellBackground",
    "Leftovers",
    "NoiseMesh",
    "blank_sky",
    "bright_mask",
    "cell_background",
    "extract_candidates",
    "extract_significant",
    "find_leftovers",
    "inside_mask",
    "measure_noise_mesh",
    "noise_range",
]

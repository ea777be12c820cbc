"""Detection: objects, backgrounds, the bright mask."""

from skyloom.detect.background import CellBackground, cell_background
from skyloom.detect.bright import BrightMask, bright_mask, inside_mask
from skyloom.detect.extract import extract_candidates

__all__ = [
    "BrightMask",
    "CellBackground",
    "bright_mask",
    "cell_background",
    "extract_candidates",
    "inside_mask",
]

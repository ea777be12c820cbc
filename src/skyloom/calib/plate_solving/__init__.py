"""Plate solving: from the stars of an image to its WCS, with the evidence.

Needs the program ``solve-field`` or the package ``astrometry`` (``pip install 'skyloom[solve]'``),
and index files.
"""

from skyloom.calib.plate_solving.backends import (
    BACKENDS,
    FieldMatch,
    PlateSolver,
    SolveRequest,
    available_backends,
    choose_backend,
)
from skyloom.calib.plate_solving.control import ExtractionSettings, settings_from_control
from skyloom.calib.plate_solving.extraction import Extraction, extract_stars
from skyloom.calib.plate_solving.failure import explain_failure
from skyloom.calib.plate_solving.io import (
    IndexFile,
    SolveInput,
    find_indexes,
    index_directories,
    read_index,
    read_reference_catalog,
    read_solve_input,
    read_star_table,
    stars_in_cone,
    write_star_table,
)
from skyloom.calib.plate_solving.parameters import Hint, SolverParameters, hint_from_header
from skyloom.calib.plate_solving.projection import SipTerms, TanSip
from skyloom.calib.plate_solving.refinement import HeldOut, Refinement, refine
from skyloom.calib.plate_solving.solution import PlateSolution
from skyloom.calib.plate_solving.solving import Attempt, SolveTask, attempts, solve
from skyloom.calib.plate_solving.stars import ReferenceStars, StarList

__all__ = [
    "BACKENDS",
    "Attempt",
    "Extraction",
    "ExtractionSettings",
    "FieldMatch",
    "HeldOut",
    "Hint",
    "IndexFile",
    "PlateSolution",
    "PlateSolver",
    "ReferenceStars",
    "Refinement",
    "SipTerms",
    "SolveInput",
    "SolveRequest",
    "SolveTask",
    "SolverParameters",
    "StarList",
    "TanSip",
    "attempts",
    "available_backends",
    "choose_backend",
    "explain_failure",
    "extract_stars",
    "find_indexes",
    "hint_from_header",
    "index_directories",
    "read_index",
    "read_reference_catalog",
    "read_solve_input",
    "read_star_table",
    "refine",
    "settings_from_control",
    "solve",
    "stars_in_cone",
    "write_star_table",
]

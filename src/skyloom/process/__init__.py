"""A small function over many files: in parallel, again tomorrow, and knowing what happened.

::

    class CountStars(FileProcessor):
        def process(self, identifier):
            return len(find_stars(identifier))

        def handle_result(self, identifier, result):
            print(identifier, result)

    if __name__ == "__main__":
        procmain(CountStars, DataSpec.from_glob("raw/*.fits"))

``python count.py -j 8 --filter night12`` runs it; ``--help`` has the rest.
"""

from __future__ import annotations

from .calibrate import CalibrateProcessor
from .cards import get_primary_header, parse_header, serialize_header
from .command import read_sources, run_command, run_script
from .data import DataSpec
from .editing import HeaderEditor, HeaderRestorer, HeaderSorter, RuleApplier
from .errors import (
    Bailed,
    CannotComputeHeader,
    FITSError,
    NotFoundError,
    SkipThis,
    TimeLimitExceeded,
    WorkerDied,
)
from .headers import HeaderProcessor, ImmediateHeaderProcessor
from .main import make_parser, procmain
from .outcome import Failure, Outcome, RunCounts
from .previews import ColorPreviewMaker, PreviewMaker, SpectralPreviewMaker
from .processor import FileProcessor, OutsideInputs
from .rewrite import recover_header, replace_primary_header_in_place, restore_header
from .rules import HeaderRules, apply_rules, read_rules
from .solve_files import get_wcs_fields_for
from .solving import AnetHeaderProcessor
from .sorting import sort_headers
from .sources import Sources
from .templates import (
    MINIMAL_IMAGE_TEMPLATE,
    WFPDB_TEMPLATE,
    Template,
    add_history_card,
    copy_fields,
    get_template_name_from_history,
    make_header_from_template,
    register_template,
    ruler,
    update_templated_header,
)
from .validate import Finding, InvalidFITS, Validator, check_fits

__all__ = [
    "MINIMAL_IMAGE_TEMPLATE",
    "WFPDB_TEMPLATE",
    "AnetHeaderProcessor",
    "Bailed",
    "CalibrateProcessor",
    "CannotComputeHeader",
    "ColorPreviewMaker",
    "DataSpec",
    "FITSError",
    "Failure",
    "FileProcessor",
    "Finding",
    "HeaderEditor",
    "HeaderProcessor",
    "HeaderRestorer",
    "HeaderRules",
    "HeaderSorter",
    "ImmediateHeaderProcessor",
    "InvalidFITS",
    "NotFoundError",
    "Outcome",
    "OutsideInputs",
    "PreviewMaker",
    "RuleApplier",
    "RunCounts",
    "SkipThis",
    "Sources",
    "SpectralPreviewMaker",
    "Template",
    "TimeLimitExceeded",
    "Validator",
    "WorkerDied",
    "add_history_card",
    "apply_rules",
    "check_fits",
    "copy_fields",
    "get_primary_header",
    "get_template_name_from_history",
    "get_wcs_fields_for",
    "make_header_from_template",
    "make_parser",
    "parse_header",
    "procmain",
    "read_rules",
    "read_sources",
    "recover_header",
    "register_template",
    "replace_primary_header_in_place",
    "restore_header",
    "ruler",
    "run_command",
    "run_script",
    "serialize_header",
    "sort_headers",
    "update_templated_header",
]

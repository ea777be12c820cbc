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

from .cards import get_primary_header, parse_header, serialize_header
from .data import DataSpec
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
from .processor import FileProcessor, OutsideInputs
from .rewrite import recover_header, replace_primary_header_in_place, restore_header
from .sorting import sort_headers
from .sources import Sources
from .validate import Finding, InvalidFITS, Validator, check_fits

__all__ = [
    "Bailed",
    "CannotComputeHeader",
    "DataSpec",
    "FITSError",
    "Failure",
    "FileProcessor",
    "Finding",
    "HeaderProcessor",
    "ImmediateHeaderProcessor",
    "InvalidFITS",
    "NotFoundError",
    "Outcome",
    "OutsideInputs",
    "RunCounts",
    "SkipThis",
    "Sources",
    "TimeLimitExceeded",
    "Validator",
    "WorkerDied",
    "check_fits",
    "get_primary_header",
    "make_parser",
    "parse_header",
    "procmain",
    "recover_header",
    "replace_primary_header_in_place",
    "restore_header",
    "serialize_header",
    "sort_headers",
]

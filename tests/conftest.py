"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import settings

mpl.use("Agg")  # no test needs a display

# A machine may stand still for seconds: how long an example takes says nothing about the code.
settings.register_profile("skyloom", deadline=None)
settings.load_profile("skyloom")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory of the real test data; the test is skipped where there is none.

    ``SKYLOOM_TEST_DATA`` names it, else it is ``shared/data`` beside the checkout. Read-only: copy
    what a run has to write beside.
    """
    default = Path(__file__).parents[2] / "shared" / "data"
    directory = Path(os.environ.get("SKYLOOM_TEST_DATA") or default)
    if not directory.is_dir():
        pytest.skip(f"no test data at {directory}; set SKYLOOM_TEST_DATA to their directory")
    return directory

"""What the tests of the display share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ds9_screen import Ds9Screen, ds9_screen


@pytest.fixture(scope="session")
def ds9() -> Iterator[Ds9Screen]:
    """A real ds9 on a screen of its own; the test is skipped where there is none."""
    with ds9_screen() as screen:
        yield screen

"""Old names for plate solving: ``from gavo.helpers import anet``."""

# ruff: noqa: N802 - old names

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from astropy.io import fits

from skyloom import process
from skyloom.errors import NotSolved, ShellCommandFailed

__all__ = ["NotSolved", "ShellCommandFailed", "getWCSFieldsFor"]


def getWCSFieldsFor(  # noqa: PLR0917 - as it was
    fitsName: str,
    solverParameters: Mapping[str, Any] | None = None,
    sexControl: str | None = None,
    objectFilter: Callable[[str], object] | None = None,
    copyTo: str | None = None,
    verbose: bool = False,  # noqa: ARG001 - messages go to the log
) -> fits.Header | None:
    """See `skyloom.process.get_wcs_fields_for`."""
    return process.get_wcs_fields_for(fitsName, solverParameters, sexControl, objectFilter, copyTo)

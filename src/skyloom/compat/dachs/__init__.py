"""Scripts written for the GAVO DaCHS file processors, under their old names.

::

    from skyloom.compat import dachs as api

    class PlateHeaders(api.HeaderProcessor):
        def _isProcessed(self, srcName):
            return "PLATENUM" in self.getPrimaryHeader(srcName)

        def _mungeHeader(self, srcName, hdr):
            hdr["PLATENUM"] = int(srcName[-9:-5])
            return hdr

    if __name__ == "__main__":
        api.procmain(PlateHeaders, "plates/q", "import")

``skyloom process script.py`` runs a script that has ``from gavo import api`` without a change.
"""

from __future__ import annotations

from typing import Any

from astropy.io import fits as pyfits  # noqa: F401 - scripts say api.pyfits

from skyloom.process import CannotComputeHeader, SkipThis

from . import _classes as _c
from . import anet, fitstools, fitstricks, imgtools
from ._classes import FileProcessor, HeaderProcessor, ImmediateHeaderProcessor, procmain
from ._modules import imports_gavo, provide_gavo
from ._rd import OldData, read_rd
from ._rd import get_config as getConfig  # noqa: N812 - old name
from ._tables import getTableConn

__all__ = [
    "CannotComputeHeader",
    "FileProcessor",
    "HeaderProcessor",
    "ImmediateHeaderProcessor",
    "OldData",
    "SkipThis",
    "anet",
    "fitstools",
    "fitstricks",
    "getConfig",
    "getTableConn",
    "imgtools",
    "imports_gavo",
    "procmain",
    "provide_gavo",
    "read_rd",
]


def __getattr__(name: str) -> Any:
    """Return AnetHeaderProcessor, PreviewMaker or SpectralPreviewMaker, made on demand."""
    found = _c.late_class(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found

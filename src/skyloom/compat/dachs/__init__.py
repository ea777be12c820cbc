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

import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from astropy.io import fits as pyfits  # noqa: F401 - scripts say api.pyfits

from skyloom import process
from skyloom.process import CannotComputeHeader, DataSpec, SkipThis
from skyloom.process.main import RUNS, main_with, make_parser

from . import fitstools, fitstricks
from ._adapt import OldOptions, adapt
from ._modules import imports_gavo, provide_gavo
from ._rd import OldData, read_rd

__all__ = [
    "CannotComputeHeader",
    "FileProcessor",
    "HeaderProcessor",
    "ImmediateHeaderProcessor",
    "OldData",
    "SkipThis",
    "fitstools",
    "fitstricks",
    "imports_gavo",
    "procmain",
    "provide_gavo",
    "read_rd",
]

P = TypeVar("P", bound=process.FileProcessor)

FileProcessor: Any = adapt(process.FileProcessor, about="Runs process(srcName) over all sources.")
ImmediateHeaderProcessor: Any = adapt(
    process.ImmediateHeaderProcessor,
    FileProcessor,
    about="Edits headers: _isProcessed(srcName, hdr), _changeHeader(srcName, hdr).",
)
HeaderProcessor: Any = adapt(
    process.HeaderProcessor,
    FileProcessor,
    about="Computes headers: _isProcessed(srcName), _mungeHeader(srcName, hdr).",
)


def __getattr__(name: str) -> Any:
    """Adapt the processors for plate solving and previews when somebody asks for them."""
    bases = {
        "AnetHeaderProcessor": "HeaderProcessor",
        "PreviewMaker": "FileProcessor",
        "SpectralPreviewMaker": "PreviewMaker",
    }
    new = getattr(process, name, None) if name in bases else None
    if new is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    adapted = adapt(new, getattr(sys.modules[__name__], bases[name]), about=new.__doc__ or name)
    globals()[name] = adapted
    return adapted


def procmain(
    cls: type[P], rdId: str | DataSpec, ddId: str = "import", argv: Sequence[str] | None = None
) -> P:
    """Run a processor over the sources of a resource descriptor.

    Parameters
    ----------
    cls : type
        The processor's class.
    rdId : str or DataSpec
        Id or path of the descriptor; or what is to be processed.
    ddId : str
        Id of the data element in it.
    argv : sequence of str, optional
        Arguments; default those of the process.
    """
    parser = make_parser(cls)
    opts = parser.parse_args(None if argv is None else list(argv), namespace=OldOptions())
    spec = rdId if isinstance(rdId, DataSpec) else read_rd(rdId, ddId)
    RUNS.append(cls)
    return main_with(cls, opts, spec)
